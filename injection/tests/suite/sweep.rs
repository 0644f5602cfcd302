//! Pods that are there already: what the cluster of today says to them.

use crate::cluster;
use crate::properties::{hostile, patched, pods};
use alcove_injection::effort::MOST_STEPS;
use alcove_injection::sweep::{Finding, inspect};
use alcove_injection::{Catalog, Context, Decision, Pod, Settings, decide};
use alcove_resources::{Kind, ObjectName};
use proptest::prelude::*;
use serde_json::{Value, json};

const BASE: &str = include_str!("../cases/base.yaml");

/// What every Pod here finds in the cluster, and `more`.
fn catalog(more: &str) -> Catalog {
    let mut catalog = Catalog::default();
    cluster::apply(&mut catalog, BASE);
    cluster::apply(&mut catalog, more);
    catalog
}

fn settings() -> Settings {
    cluster::settings(&Value::Null)
}

fn context<'a>(catalog: &'a Catalog, settings: &'a Settings) -> Context<'a> {
    Context { catalog, settings, most_steps: MOST_STEPS }
}

fn pod(document: &Value) -> Pod {
    Pod::new(document.clone(), "t").unwrap()
}

/// A Pod that asks for a Secret, in a volume and a variable.
fn asking(annotations: &Value) -> Value {
    json!({
        "metadata": {"name": "web-1", "annotations": annotations},
        "spec": {
            "serviceAccountName": "web",
            "containers": [{
                "name": "app",
                "image": "busybox",
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
                "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
        "status": {"phase": "Running"},
    })
}

fn bound() -> Value {
    json!({"secret.alcove.dev/db-creds": "vault:kv/app/db"})
}

fn injected(document: &Value, catalog: &Catalog) -> Value {
    match decide(&pod(document), &context(catalog, &settings())) {
        Decision::Inject(plan) => patched(document, &plan.patch),
        other => panic!("{other:?}"),
    }
}

/// What is found in the cluster of `catalog`, as it would be told.
fn told(document: &Value, catalog: &Catalog) -> Option<String> {
    let finding = inspect(&pod(document), &context(catalog, &settings()))?;
    Some(format!("{} {finding}", finding.as_str()))
}

fn without_policy() -> Catalog {
    let mut catalog = catalog("");
    catalog.remove(&ObjectName { kind: Kind::SecretPolicy, namespace: "t".into(), name: "web".into() });
    catalog
}

/// An object of ours, as YAML.
fn ours(kind: &str, name: &str, spec: &Value) -> String {
    let metadata =
        json!({"name": name, "namespace": if kind.starts_with("Cluster") { Value::Null } else { "t".into() }});
    json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}).to_string()
}

fn rule(keys: &str) -> Value {
    json!([{"store": {"kind": "ClusterExternalStore", "name": "vault"}, "keys": [keys]}])
}

const GONE: &str = "no-longer-granted keeps the secrets that it has, and the next Pod like it is refused:\n";

#[test]
fn a_pod_whose_policy_has_gone_is_told_of_as_its_next_pod_would_be() {
    let running = injected(&asking(&bound()), &catalog(""));
    assert_eq!(told(&running, &catalog("")), None);
    let told = told(&running, &without_policy()).unwrap();
    let expected = format!(
        "{GONE}spec.volumes[0].secret.secretName: \"db-creds\" must not be mounted by container \"app\" of Pod \"web-1\" \
         with ServiceAccount \"web\": no policy allows key \"kv/app/db\" of ClusterExternalStore \"vault\""
    );
    assert_eq!(told, expected);
}

#[test]
fn a_deny_that_matches_now_is_held_against_its_policy() {
    let running = injected(&asking(&bound()), &catalog(""));
    let deny = |keys: &str| {
        let spec = json!({"serviceAccounts": ["*"], "deny": rule(keys)});
        catalog(&ours("ClusterSecretPolicy", "nobody", &spec))
    };
    assert_eq!(told(&running, &deny("kv/other/**")), None);
    let finding = inspect(&pod(&running), &context(&deny("kv/app/**"), &settings())).unwrap();
    let objections = finding.objections().into_iter();
    let against: Vec<String> =
        objections.map(|one| format!("{} {}: {}", one.policy, one.secret.unwrap(), one.reason)).collect();
    let expected =
        "ClusterSecretPolicy nobody db-creds: spec.deny[0] denies key \"kv/app/db\" of ClusterExternalStore \"vault\"";
    assert_eq!(against, [expected]);
    let unmatched = inspect(&pod(&running), &context(&without_policy(), &settings())).unwrap();
    assert_eq!(unmatched.objections(), [], "there is no policy to hold it against");
}

#[test]
fn a_condition_that_holds_now_is_held_against_its_policy_and_not_for_a_debug_container() {
    let mut document = asking(&bound());
    document["spec"]["hostPID"] = true.into();
    let running = injected(&document, &catalog(""));
    let debugged = with(&running, &["spec", "ephemeralContainers"], json!([{"name": "debug"}]));
    let stating = |conditions: Value| {
        catalog(&ours("SecretPolicy", "strict", &json!({"serviceAccounts": ["*"], "pod": conditions})))
    };
    let finding = inspect(&pod(&running), &context(&stating(json!({"denyHostPID": true})), &settings())).unwrap();
    assert!(finding.to_string().contains("\nspec.hostPID: must not be true for Pod \"web-1\""), "{finding}");
    let objections = finding.objections();
    let against: Vec<_> = objections.iter().map(|one| (one.secret.as_ref(), one.reason.as_str())).collect();
    assert_eq!(against, [(None, "spec.pod.denyHostPID forbids spec.hostPID")]);
    assert_eq!(told(&debugged, &stating(json!({"allowEphemeral": false}))), None, "the next Pod comes without it");
    assert_eq!(told(&running, &stating(json!({"denyPrivileged": true}))), None);
}

#[test]
fn what_a_policy_on_trial_would_refuse_is_held_against_it_and_is_no_loss() {
    let running = injected(&asking(&bound()), &catalog(""));
    let spec = json!({"serviceAccounts": ["*"], "deny": rule("kv/app/**"), "mode": "Audit"});
    let trial = ours("ClusterSecretPolicy", "later", &spec);
    let told = told(&running, &catalog(&trial)).unwrap();
    let expected = "would-be-refused keeps the secrets that it has, and policies on trial would refuse the next Pod like it:\n\
                    ClusterSecretPolicy later: spec.deny[0] denies key \"kv/app/db\" of ClusterExternalStore \"vault\"";
    assert_eq!(told, expected);
    let finding = inspect(&pod(&running), &context(&catalog(&trial), &settings())).unwrap();
    assert_eq!(finding.objections().len(), 1);
    let other = ours("SecretPolicy", "now", &json!({"serviceAccounts": ["*"], "pod": {"denyPrivileged": true}}));
    let both = catalog(&format!("{trial}\n---\n{other}"));
    assert_eq!(inspect(&pod(&running), &context(&both, &settings())).unwrap().as_str(), "would-be-refused");
    let mut document = asking(&bound());
    document["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let running = injected(&document, &catalog(""));
    let lost = inspect(&pod(&running), &context(&both, &settings())).unwrap();
    let against: Vec<String> = lost.objections().iter().map(|one| one.policy.name.clone()).collect();
    assert_eq!((lost.as_str(), against), ("no-longer-granted", vec!["now".to_owned(), "later".to_owned()]));
}

#[test]
fn what_counts_is_what_the_sidecar_reads_and_not_what_a_binding_has_become() {
    let binding = |key: &str| {
        catalog(&ours(
            "SecretBinding",
            "db-creds",
            &json!({"dataFrom": [format!("vault:{key}")], "keys": ["password"]}),
        ))
    };
    let running = injected(&asking(&json!({"alcove.dev/inject": "true"})), &binding("kv/app/db"));
    assert_eq!(told(&running, &binding("kv/elsewhere/db")), None, "it still reads what it may");
    assert_eq!(told(&running, &catalog("")), None, "the binding has gone, and the Pod has what it was granted");
    assert!(told(&running, &without_policy()).unwrap().contains("kv/app/db"));
}

#[test]
fn a_store_that_has_gone_or_admits_the_namespace_no_more_is_told_of() {
    let running = injected(&asking(&bound()), &catalog(""));
    let mut gone = catalog("");
    gone.remove(&ObjectName { kind: Kind::ClusterExternalStore, namespace: String::new(), name: "vault".into() });
    assert!(told(&running, &gone).unwrap().contains("\"vault\" is not a store that namespace \"t\" may use"));
    let elsewhere = BASE.replace(
        "  audience: vault\n",
        "  audience: vault\n  conditions: [{namespaceSelector: {matchLabels: {team: b}}}]\n",
    );
    let mut left = Catalog::default();
    cluster::apply(&mut left, &elsewhere);
    let told = told(&running, &left).unwrap();
    assert!(told.contains("ClusterExternalStore whose conditions do not admit namespace \"t\""), "{told}");
}

#[test]
fn a_list_of_mountable_secrets_that_has_become_enforced_is_told_of() {
    let running = injected(&asking(&bound()), &catalog(""));
    let account = |secret: &str| {
        let annotations = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
        let metadata = json!({"name": "web", "namespace": "t", "annotations": annotations});
        catalog(&json!({"kind": "ServiceAccount", "metadata": metadata, "secrets": [{"name": secret}]}).to_string())
    };
    assert_eq!(told(&running, &account("db-creds")), None);
    assert!(told(&running, &account("other")).unwrap().starts_with(GONE));
}

#[test]
fn what_changes_beside_policy_is_nothing_to_tell_of() {
    let running = injected(&asking(&bound()), &catalog(""));
    let limits = json!({"kind": "LimitRange", "metadata": {"name": "l", "namespace": "t"},
        "spec": {"limits": [{"type": "Container", "min": {"memory": "1Gi"}}]}});
    let (today, newer) = (catalog(&limits.to_string()), cluster::settings(&json!({"sidecarImage": "newer"})));
    assert_eq!(inspect(&pod(&running), &context(&today, &newer)), None);
}

#[test]
fn an_opted_in_pod_without_a_sidecar_is_told_of_if_admission_would_have_acted() {
    let past = "not-injected asks for secrets and has no container alcove-sidecar: it came past the webhook";
    let told = |document: &Value| told(document, &catalog(""));
    assert!(told(&asking(&bound())).unwrap().starts_with(&format!("{past}, or before what binds its Secrets")));
    let not_granted = told(&asking(&json!({"secret.alcove.dev/db-creds": "vault:kv/other/db"}))).unwrap();
    assert!(not_granted.starts_with(&format!("{past}, which would have refused it: spec.volumes[0]")), "{not_granted}");
    let misspelt = told(&asking(&json!({"alcove.dev/injct": "true"}))).unwrap();
    assert!(misspelt.contains("did you mean \"alcove.dev/inject\"?"), "{misspelt}");

    let by_name = asking(&json!({"alcove.dev/inject": "true"}));
    assert_eq!(told(&by_name), None, "none of its names is bound");
    let binding = ours("SecretBinding", "db-creds", &json!({"dataFrom": ["vault:kv/app/db"], "keys": ["password"]}));
    let finding = inspect(&pod(&by_name), &context(&catalog(&binding), &settings()));
    assert!(matches!(finding, Some(Finding::NotInjected { .. })), "{finding:?}");

    let mut forged = asking(&bound());
    forged["spec"]["initContainers"] =
        json!([{"name": "alcove-sidecar", "image": "busybox", "restartPolicy": "Always"}]);
    let told = told(&forged).unwrap();
    assert!(told.starts_with("not-injected ") && told.contains("has the name of Alcove's own container"), "{told}");
}

/// The Pod, with `value` at `path` made what it says.
fn with(document: &Value, path: &[&str], value: Value) -> Value {
    let mut changed = document.clone();
    let place = path.iter().fold(&mut changed, |place, field| &mut place[*field]);
    *place = value;
    changed
}

#[test]
fn whoever_has_ended_opted_out_or_never_asked_is_nothing_to_tell_of() {
    let running = injected(&asking(&bound()), &catalog(""));
    for document in [asking(&bound()), running] {
        assert!(told(&document, &without_policy()).is_some());
        let annotation = |key: &str, value: &str| with(&document, &["metadata", "annotations", key], value.into());
        for silent in [
            with(&document, &["status", "phase"], "Succeeded".into()),
            with(&document, &["status", "phase"], "Failed".into()),
            with(&document, &["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z".into()),
            annotation("alcove.dev/inject", "false"),
            annotation("kubernetes.io/config.mirror", "0123"),
        ] {
            assert_eq!(told(&silent, &without_policy()), None, "{silent}");
        }
    }
    assert_eq!(told(&asking(&json!({})), &without_policy()), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pod_as_admission_leaves_it_is_no_finding_and_without_sidecar_or_policy_it_is(document in pods()) {
        let (catalog, settings) = (catalog(""), settings());
        let context = context(&catalog, &settings);
        let is_found = |document: &Value, catalog: &Catalog| inspect(&pod(document), &Context { catalog, ..context }).map(|finding| finding.as_str());
        match decide(&pod(&document), &context) {
            Decision::Skip(_) => prop_assert_eq!(is_found(&document, &catalog), None),
            Decision::Deny(_) => prop_assert_eq!(is_found(&document, &catalog), Some("not-injected")),
            Decision::Inject(plan) => {
                let running = patched(&document, &plan.patch);
                prop_assert_eq!(is_found(&document, &catalog), Some("not-injected"));
                prop_assert_eq!(is_found(&running, &catalog), None);
                prop_assert_eq!(is_found(&running, &without_policy()), Some("no-longer-granted"));
            }
        }
    }

    #[test]
    fn no_document_makes_it_panic(spec in hostile(), status in hostile()) {
        let annotations = bound();
        let document = json!({"metadata": {"annotations": annotations}, "spec": spec, "status": status});
        drop(inspect(&pod(&document), &context(&catalog(""), &settings())));
    }
}
