//! Policies on trial: they are told of, and decide nothing.

use super::effort::hostile;
use super::*;
use crate::decision::{Context, Decision, decide};
use crate::effort::MOST_STEPS;
use alcove_resources::Object;

fn in_mode(mut policy: Value, mode: &str) -> Value {
    policy["spec"]["mode"] = json!(mode);
    policy
}

/// A store, and a policy that allows everything in it.
fn permissive() -> [Value; 2] {
    let store = json!({"audience": "v", "provider": {"vault": {
        "server": "https://v", "auth": {"kubernetes": {"role": "r"}},
    }}});
    [policy("ClusterExternalStore", "vault", store), own("all", &["web"], json!([vault(&["**"])]), json!([]))]
}

const KEY: &str = "kv/app/db";

/// What becomes of a Pod that asks for two keys under one Secret name, and for the first of them under another.
fn decided(catalog: &Catalog, key: &str) -> Decision {
    let (one, two) = (format!("vault:{key}"), "vault:kv/app/mail");
    let both = json!({"dataFrom": [one, two]}).to_string();
    let document = json!({
        "metadata": {"name": "web", "annotations": {"secret.alcove.dev/both": both, "secret.alcove.dev/one": one}},
        "spec": {
            "serviceAccountName": "web",
            "hostPID": true,
            "volumes": [{"name": "a", "secret": {"secretName": "both"}}, {"name": "b", "secret": {"secretName": "one"}}],
            "containers": [{"name": "app", "volumeMounts": [
                {"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b"},
            ]}],
        },
    });
    let settings = settings();
    decide(&Pod::new(document, "app").unwrap(), &Context { catalog, settings: &settings, most_steps: MOST_STEPS })
}

#[test]
fn of_each_secret_name_the_first_key_is_told_with_the_policy_and_its_mode() {
    let deny = |kind: &str, name: &str, mode: &str| {
        in_mode(policy(kind, name, rules(&["w*"], json!([]), json!([vault(&["kv/app/**"])]))), mode)
    };
    let mut audit = deny("SecretPolicy", "audit", "Audit");
    audit["spec"]["pod"] = json!({"denyHostPID": true});
    let policies = permissive().into_iter().chain([audit, deny("ClusterSecretPolicy", "warn", "Warn")]);
    let Decision::Inject(plan) = decided(&Catalog::of(policies), KEY) else { panic!("it is not admitted") };
    let denied = |secret: &str, by: &str| {
        format!("{secret}: spec.deny[0] denies key \"kv/app/db\" of ClusterExternalStore \"vault\", by {by}")
    };
    let expected = [
        "spec.pod.denyHostPID forbids spec.hostPID, by SecretPolicy app/audit in mode Audit".to_owned(),
        denied("both", "ClusterSecretPolicy warn in mode Warn"),
        denied("one", "ClusterSecretPolicy warn in mode Warn"),
        denied("both", "SecretPolicy app/audit in mode Audit"),
        denied("one", "SecretPolicy app/audit in mode Audit"),
    ];
    assert_eq!(plan.trials.iter().map(Trial::to_string).collect::<Vec<_>>(), expected);
    let warnings: Vec<&String> = plan.warnings.iter().filter(|warning| warning.contains("in mode Warn")).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn a_policy_holds_in_the_mode_that_it_had_last() {
    let mut catalog = Catalog::of(permissive());
    let mut apply = |policy: Value| {
        let mut policy = policy;
        policy["apiVersion"] = json!("alcove.dev/v1alpha1");
        catalog.apply(Object::from_value(&policy).unwrap().unwrap());
        match decided(&catalog, KEY) {
            Decision::Inject(plan) => plan.trials.len().to_string(),
            _ => "refused".to_owned(),
        }
    };
    let deny = || own("d", &["*"], json!([]), json!([vault(&["**"])]));
    assert_eq!(apply(in_mode(deny(), "Audit")), "2");
    assert_eq!(apply(deny()), "refused");
    assert_eq!(apply(in_mode(deny(), "Warn")), "2");
    assert_eq!(apply(in_mode(deny(), "Enforce")), "refused");
    let [_, all] = permissive();
    assert_eq!(apply(in_mode(deny(), "Audit")), "2");
    assert_eq!(apply(in_mode(all, "Warn")), "refused", "what it allows is granted no more");
    catalog.remove(&ObjectName { kind: Kind::SecretPolicy, namespace: "app".into(), name: "d".into() });
    assert_eq!(catalog.trials("app").count(), 1);
}

#[test]
fn an_object_that_does_not_fit_its_kind_is_on_trial_only_if_it_says_so_clearly() {
    for (mode, is_refused) in [
        (json!("Warn"), false),
        (json!("Audit"), false),
        (json!("Enforce"), true),
        (json!("warn"), true),
        (json!(["Warn"]), true),
        (json!(null), true),
    ] {
        let mut catalog = Catalog::of(permissive());
        let object = ObjectName { kind: Kind::ClusterSecretPolicy, namespace: String::new(), name: "c".into() };
        let document = json!({"spec": {"mode": mode, "serviceAccounts": 7}});
        catalog.apply_unreadable(object, &document, Problem::new("spec", "does not fit its kind"));
        assert_eq!(matches!(decided(&catalog, KEY), Decision::Deny(_)), is_refused, "{mode}");
    }
}

#[test]
fn hostile_policies_on_trial_take_no_step_from_those_that_are_enforced() {
    let key = format!("kv/{}", "a".repeat(1000));
    let trials = hostile(40).map(|policy| in_mode(policy, "Warn"));
    let Decision::Inject(plan) = decided(&Catalog::of(permissive().into_iter().chain(trials)), &key) else {
        panic!("a Pod is refused for what nobody enforces")
    };
    let [warning] = plan.warnings.iter().filter(|warning| warning.contains("SecretPolicy")).collect::<Vec<_>>()[..]
    else {
        panic!("{}", plan.warnings.join("\n"))
    };
    let last = warning.split(' ').nth(2).unwrap();
    let expected = format!(
        "what SecretPolicy {last} and the policies after it would refuse is not told, since they are not enforced and take too many \
         steps"
    );
    assert_eq!(*warning, expected);
}

proptest! {
    #[test]
    fn a_policy_on_trial_changes_nothing_and_tells_what_it_would_deny_if_it_were_enforced(
        enforced in proptest::collection::vec((any::<bool>(), "web|db", "kv/\\*\\*|kv/app/db|kv/x", any::<bool>()), 0..4),
        trial in (any::<bool>(), "web|w\\*|db", "kv/\\*\\*|kv/app/db|kv/app/mail|kv/x", any::<bool>(), "Warn|Audit"),
    ) {
        let made = |name: &str, is_cluster: bool, account: &str, key: &str, is_deny: bool| {
            let (listed, empty) = (json!([vault(&[key])]), json!([]));
            let (allow, deny) = if is_deny { (empty, listed) } else { (listed, empty) };
            let make = if is_cluster { cluster } else { own };
            make(name, &[account], allow, deny)
        };
        let [store, _] = permissive();
        let others = enforced.iter().enumerate().map(|(number, (is_cluster, account, key, is_deny))| {
            made(&format!("p{number}"), *is_cluster, account, key, *is_deny)
        });
        let others: Vec<Value> = others.chain([store]).collect();
        let (is_cluster, account, key, is_deny, mode) = &trial;
        let tried = made("trial", *is_cluster, account, key, *is_deny);
        let with = |policy: Option<Value>| decided(&Catalog::of(others.iter().cloned().chain(policy)), KEY);
        match (with(None), with(Some(in_mode(tried.clone(), mode)))) {
            (Decision::Inject(before), Decision::Inject(after)) => {
                prop_assert_eq!((before.patch, before.grants), (after.patch, after.grants));
                let is_denied = matches!(with(Some(tried)), Decision::Deny(_));
                prop_assert_eq!(is_denied, !after.trials.is_empty());
                prop_assert_eq!(after.warnings.len() > before.warnings.len(), is_denied && mode == "Warn");
            }
            (Decision::Deny(before), Decision::Deny(after)) => prop_assert_eq!(before.denied, after.denied),
            _ => prop_assert!(false, "what nobody enforces has decided"),
        }
    }
}
