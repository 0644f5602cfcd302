//! The smallest policy of a refusal: cut out of the API server's message and applied, it lets that Pod in and nothing else.

use alcove_tests::claims;
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::naming::{self, Place, Receiver, naming};
use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        the_policy_of_a_refusal_lets_in_what_was_refused_in_every_place_and_for_every_kind_of_container,
        the_policy_of_a_refusal_means_the_same_names_to_kubectl,
        the_policy_of_a_refusal_means_the_same_keys_to_kubectl,
        the_policy_of_a_refusal_covers_several_secrets_and_stores_at_once,
        a_key_that_a_pattern_cannot_say_alone_is_named_and_nothing_wider_is_offered,
    ]
}

/// What stands before the policy in a refusal.
const OFFER: &str = "The smallest policy that allows it:\n";

/// A Pod that no policy lets in yet.
struct Wish {
    pod: Value,
    /// What its refusal says.
    told: Vec<String>,
    /// Pods that are like it and stay refused once its policy is applied.
    beyond: Vec<Value>,
}

/// Binds a Secret name of a Pod to the property `password` of a reference.
fn bound(mut pod: Value, secret: &str, reference: &str) -> Value {
    let binding = json!({"data": {"password": format!("{reference}#password")}});
    pod["metadata"]["annotations"][format!("secret.alcove.dev/{secret}")] = binding.to_string().into();
    pod
}

/// The policy that the API server's message offers.
async fn offered(namespace: &Namespace, pod: &Value) -> Result<(String, String)> {
    let refusal =
        naming::refusal(namespace, pod).await?.with_context(|| format!("is let in without a policy: {pod}"))?;
    let (_, policy) = refusal.split_once(OFFER).with_context(|| format!("no policy is offered: {refusal}"))?;
    let policy = policy.to_owned();
    Ok((refusal, policy))
}

/// Applies what the refusals of all wishes offer, as people would, and sees that it helps them and nobody else.
async fn fulfil(namespace: &Namespace, wishes: &[Wish]) -> Result<()> {
    let mut policies = Vec::new();
    for Wish { pod, told, .. } in wishes {
        let (refusal, policy) = offered(namespace, pod).await?;
        for expected in told {
            ensure!(refusal.contains(expected), "{expected} is not in: {refusal}");
        }
        policies.push(policy);
    }
    let policies = policies.join("---\n");
    namespace.apply(&policies).await?;
    for Wish { pod, beyond, .. } in wishes {
        let refusal = naming::refusal(namespace, pod).await?;
        ensure!(refusal.is_none(), "{pod}\nis refused with its policy: {refusal:?}\n{policies}");
        for other in beyond {
            let refusal = naming::refusal(namespace, other).await?;
            let refusal = refusal.with_context(|| format!("the policy lets in more than it was for: {other}"))?;
            ensure!(refusal.contains("no policy allows"), "{other}\nis refused for something else: {refusal}");
        }
    }
    Ok(())
}

async fn the_policy_of_a_refusal_lets_in_what_was_refused_in_every_place_and_for_every_kind_of_container(
    test: Test,
) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let variants: Vec<(Place, Receiver)> =
        Place::ALL.into_iter().flat_map(|place| Receiver::ALL.map(|receiver| (place, receiver))).collect();
    let account = |index: usize| format!("account-{}", index % variants.len());
    let names: Vec<String> = (0..variants.len()).map(account).collect();
    setting.namespace().apply(&naming::list(&naming::accounts(&names))).await?;
    let wish = |(index, (place, receiver)): (usize, &(Place, Receiver))| {
        let asking = |account: &str, secret: &str, key: &str| {
            bound(naming(account, *place, *receiver, secret), secret, &setting.reference(key))
        };
        let (own, key) = (account(index), format!("key-{index}"));
        Wish {
            pod: asking(&own, "db", &key),
            told: vec![
                place.path(*receiver),
                format!("{} of Pod \"app\" with ServiceAccount \"{own}\": no policy allows key", receiver.told()),
            ],
            beyond: vec![
                asking(&account(index + 1), "db", &key),
                asking(&own, "db", &format!("{key}x")),
                asking(&own, "db", &format!("{key}/x")),
                asking(&own, "db2", &key),
            ],
        }
    };
    let wishes: Vec<Wish> = variants.iter().enumerate().map(wish).collect();
    fulfil(setting.namespace(), &wishes).await
}

/// Names that the YAML of kubectl takes for something else than a text, if they are not quoted.
const NAMES: [&str; 18] = [
    "on",
    "off",
    "y",
    "n",
    "yes",
    "no",
    "true",
    "null",
    "123",
    "0777",
    "0o17",
    "0x1f",
    "0b11",
    "1e3",
    "1.5",
    "2001-01-01",
    "1-1",
    "12e03",
];

/// Here ServiceAccount, store, key and Secret name are the same word.
async fn the_policy_of_a_refusal_means_the_same_names_to_kubectl(test: Test) -> Result<()> {
    test.alcove().await?;
    let namespace = test.namespace();
    let mut objects = naming::accounts(&NAMES);
    let store = |name: &str| {
        json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "ExternalStore",
            "metadata": {"name": name},
            "spec": {"provider": {"kubernetes": {"remoteNamespace": "elsewhere"}}},
        })
    };
    objects.extend(NAMES.map(store));
    namespace.apply(&naming::list(&objects)).await?;
    let wish = |name: &str| {
        let asking =
            |key: &str| bound(naming(name, Place::Volume, Receiver::Regular, name), name, &format!("{name}:{key}"));
        Wish { pod: asking(name), told: vec![format!("\"{name}\"")], beyond: vec![asking(&format!("{name}x"))] }
    };
    fulfil(namespace, &NAMES.map(wish)).await
}

/// Keys whose characters mean something in YAML, in patterns or in references.
const KEYS: [&str; 20] = [
    "a: b", "a #b", "'a'", "\"a\"", "{a}", "[a]", "&a", "!a", "%41", "a,b", "a\\n", "ä", "a?b=c#d", "- a", "|", ">",
    "@a", "`a`", "~", "on",
];

/// As references spell it: everything escaped but what never needs to be.
fn escaped(key: &str) -> String {
    key.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

async fn the_policy_of_a_refusal_means_the_same_keys_to_kubectl(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let account = |index: usize| format!("account-{index}");
    let names: Vec<String> = (0..KEYS.len()).map(account).collect();
    setting.namespace().apply(&naming::list(&naming::accounts(&names))).await?;
    let wish = |(index, key): (usize, &&str)| {
        let asking = |key: &str| {
            let pod = naming(&account(index), Place::Env, Receiver::Regular, "db");
            bound(pod, "db", &setting.reference(&escaped(key)))
        };
        Wish {
            pod: asking(key),
            told: Vec::new(),
            beyond: vec![asking(&format!("{key}x")), asking(&format!("x{key}"))],
        }
    };
    let wishes: Vec<Wish> = KEYS.iter().enumerate().map(wish).collect();
    fulfil(setting.namespace(), &wishes).await
}

/// A Pod whose Secrets `one` to `five` come from two stores, in all places and for three containers.
fn with_several(setting: &Setting<'_>) -> Value {
    let mut pod = naming("several", Place::Projected, Receiver::NativeSidecar, "one");
    let spec = &mut pod["spec"];
    spec["volumes"][0]["projected"]["sources"].as_array_mut().unwrap().push(json!({"secret": {"name": "two"}}));
    let volume = json!({"name": "three", "secret": {"secretName": "three"}});
    spec["volumes"].as_array_mut().unwrap().push(volume);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "three", "mountPath": "/three"}]);
    let source = json!({"secretKeyRef": {"name": "four", "key": "password"}});
    spec["containers"][0]["env"] = json!([{"name": "FOUR", "valueFrom": source}]);
    let init = json!({"name": "init", "image": "localhost/busybox:test", "envFrom": [{"secretRef": {"name": "five"}}]});
    spec["initContainers"].as_array_mut().unwrap().push(init);
    let references = [
        ("one", setting.reference("shared")),
        ("two", "kube:a".to_owned()),
        ("three", setting.reference("shared")),
        ("four", setting.reference("own")),
        ("five", "kube:b".to_owned()),
    ];
    references.into_iter().fold(pod, |pod, (secret, reference)| bound(pod, secret, &reference))
}

async fn the_policy_of_a_refusal_covers_several_secrets_and_stores_at_once(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let mut objects = naming::accounts(&["several", "other"]);
    objects.push(json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "ExternalStore",
        "metadata": {"name": "kube"},
        "spec": {"provider": {"kubernetes": {"remoteNamespace": "elsewhere"}}},
    }));
    setting.namespace().apply(&naming::list(&objects)).await?;
    let pod = with_several(&setting);
    let mut beyond = vec![
        // What one name may have, another one may not.
        bound(pod.clone(), "one", &setting.reference("own")),
        bound(pod.clone(), "four", &setting.reference("shared")),
        bound(pod.clone(), "two", "kube:b"),
        bound(pod.clone(), "three", "kube:shared"),
    ];
    let mut of_another = pod.clone();
    of_another["spec"]["serviceAccountName"] = "other".into();
    beyond.push(of_another);
    let told = ["one", "two", "three", "four", "five"].map(|secret| format!("\"{secret}\" must not be mounted by"));
    fulfil(setting.namespace(), &[Wish { pod, told: told.into(), beyond }]).await
}

async fn a_key_that_a_pattern_cannot_say_alone_is_named_and_nothing_wider_is_offered(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    namespace.apply(&naming::list(&naming::accounts(&["web"]))).await?;
    let mut pod = naming("web", Place::Env, Receiver::Regular, "plain");
    let source = json!({"secretKeyRef": {"name": "star", "key": "password"}});
    let star = json!({"name": "STAR", "valueFrom": source});
    pod["spec"]["containers"][0]["env"].as_array_mut().unwrap().push(star);
    let pod = bound(pod, "plain", &setting.reference("plain"));
    let pod = bound(pod, "star", &setting.reference("st%2A"));
    let (_, policy) = offered(namespace, &pod).await?;
    let star = format!("key \"kv/{}/st*\"", namespace.name());
    ensure!(policy.starts_with(&format!("# Left out: {star}")) && policy.matches("st*").count() == 1, "{policy}");
    namespace.apply(&policy).await?;
    let refusal = naming::refusal(namespace, &pod).await?.context("the key is granted all the same")?;
    ensure!(refusal.contains(&format!("no policy allows {star}")) && !refusal.contains("\"plain\""), "{refusal}");
    // Whoever copies the whole of it grants nothing to what the star would stand for.
    let stars = bound(pod, "star", &setting.reference("stars"));
    let refusal = naming::refusal(namespace, &stars).await?.context("the star was taken for a wildcard")?;
    ensure!(refusal.contains("no policy allows"), "{refusal}");
    Ok(())
}
