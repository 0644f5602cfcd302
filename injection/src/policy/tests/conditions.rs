//! Conditions on whole Pods: who meets them, who is named, and what they may cost.

use super::*;
use crate::decision::{Context, Findings};
use crate::effort::MOST_STEPS;

/// A policy that states nothing but conditions.
fn conditional(kind: &str, name: &str, account: &str, conditions: &Value) -> Value {
    let mut spec = json!({"serviceAccounts": [account]});
    spec["pod"] = conditions.clone();
    policy(kind, name, spec)
}

fn pod(spec: Value) -> Pod {
    let mut document = json!({"metadata": {"name": "web"}});
    document["spec"] = spec;
    document["spec"]["serviceAccountName"] = "web".into();
    Pod::new(document, "app").unwrap()
}

fn found(catalog: &Catalog, pod: &Pod, most_steps: usize) -> Findings {
    let (settings, mut findings) = (settings(), Findings::default());
    let context = Context { catalog, settings: &settings, most_steps };
    super::super::conditions::judge(pod, &context, &mut Effort::of(most_steps), &mut findings);
    findings
}

#[test]
fn each_offence_is_told_once_and_the_clusters_policy_is_the_one_that_is_named() {
    let conditions = json!({"denyHostPID": true, "denyPrivileged": false});
    let policies = [
        conditional("SecretPolicy", "a", "*", &conditions),
        conditional("ClusterSecretPolicy", "z", "w*", &conditions),
        conditional("SecretPolicy", "b", "web", &json!({"denyPrivileged": true})),
        conditional("SecretPolicy", "c", "other", &json!({"denySharedProcessNamespace": true})),
    ];
    let privileged = json!({"name": "app", "securityContext": {"privileged": true}});
    let found = found(&Catalog::of(policies), &pod(json!({"hostPID": true, "containers": [privileged]})), MOST_STEPS);
    let objections: Vec<String> =
        found.objections.iter().map(|one| format!("{}: {}", one.policy, one.reason)).collect();
    let expected = [
        "ClusterSecretPolicy z: spec.pod.denyHostPID forbids spec.hostPID",
        "SecretPolicy app/b: spec.pod.denyPrivileged forbids spec.containers[0].securityContext.privileged",
    ];
    assert_eq!(objections, expected);
    assert_eq!(found.problems.iter().len(), 2, "{}", found.problems);
}

#[test]
fn a_pod_that_is_too_much_to_compare_is_refused_and_more_steps_may_change_that() {
    let policies = (0..100).map(|number| {
        conditional("SecretPolicy", &format!("p{number:02}"), "*-*-*-*-x", &json!({"denyHostPID": true}))
    });
    let (catalog, pod) = (Catalog::of(policies), pod(json!({"hostPID": true})));
    assert!(found(&catalog, &pod, MOST_STEPS).is_clean());
    let exhausted = found(&catalog, &pod, 50);
    assert!(exhausted.is_exhausted);
    let told = exhausted.problems.to_string();
    let beginning = "spec.serviceAccountName: comparing its ServiceAccount with the policies takes more than 50000000 steps, \
                     which ended at SecretPolicy app/p";
    assert!(told.starts_with(beginning), "{told}");
    assert!(told.ends_with("delete those SecretPolicy objects of namespace \"app\" that nobody needs, and write patterns with fewer wildcards"), "{told}");
    let settings = settings();
    let context = Context { catalog: &catalog, settings: &settings, most_steps: 50 };
    assert!(exhausted.into_refusal(&pod, &context).is_exhausted());
}

/// The conditions of a policy, and the fields of a Pod that they are about.
const FIELDS: [(&str, &str); 3] = [
    ("denyHostPID", "spec.hostPID"),
    ("denyPrivileged", "spec.containers[0].securityContext.privileged"),
    ("denyKubeletHostPath", "spec.volumes[0].hostPath.path"),
];

proptest! {
    #[test]
    fn a_pod_is_refused_for_what_any_policy_about_it_forbids_and_for_nothing_else(
        policies in proptest::collection::vec((any::<bool>(), "web|w\\*|db", any::<[Option<bool>; 3]>()), 0..5),
        is in any::<[bool; 3]>(),
    ) {
        let objects: Vec<Value> = policies.iter().enumerate().map(|(number, (is_cluster, account, stated))| {
            let conditions: serde_json::Map<String, Value> =
                FIELDS.iter().zip(stated).filter_map(|((name, _), value)| Some(((*name).to_owned(), (*value)?.into()))).collect();
            let kind = if *is_cluster { "ClusterSecretPolicy" } else { "SecretPolicy" };
            conditional(kind, &format!("p{number}"), account, &conditions.into())
        }).collect();
        let path = if is[2] { "/var" } else { "/srv" };
        let pod = pod(json!({
            "hostPID": is[0],
            "containers": [{"name": "app", "securityContext": {"privileged": is[1]}}],
            "volumes": [{"name": "host", "hostPath": {"path": path}}],
        }));
        let forbidden = |index: usize| policies.iter().any(|(_, account, stated)| account != "db" && stated[index] == Some(true));
        let expected: Vec<&str> = FIELDS.iter().enumerate().filter(|(index, _)| is[*index] && forbidden(*index)).map(|(_, (_, place))| *place).collect();
        let told = |objects: &mut dyn Iterator<Item = Value>| {
            let found = found(&Catalog::of(objects), &pod, MOST_STEPS);
            let mut places: Vec<String> = found.problems.iter().map(|problem| problem.place.clone()).collect();
            places.sort_by_key(|place| FIELDS.iter().position(|(_, field)| field == place));
            places
        };
        prop_assert_eq!(&told(&mut objects.iter().cloned()), &expected);
        prop_assert_eq!(&told(&mut objects.iter().rev().cloned()), &expected, "the order of arrival does not matter");
    }
}
