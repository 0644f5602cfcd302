//! What policies may cost: honest ones are never too many, and hostile ones do not hold up a review.

use super::*;
use crate::effort::MOST_STEPS;
use crate::{Context, Decision, decide};

/// How many policies there are, of both kinds together, all of which speak of the Pod's ServiceAccount.
const HONEST: usize = 10_000;

/// How many keys the Pod asks for.
const KEYS: usize = 100;

/// The pattern of every tenth policy, which has to be followed along the whole key.
const DEAR: &str = "kv/**/team-#/*";

/// A pattern as people write them, for the team of a number.
fn honest(shape: &str, number: usize) -> String {
    shape.replace('#', &number.to_string())
}

fn key_patterns() -> impl Strategy<Value = Vec<&'static str>> {
    const SHAPES: &[&str] = &[
        "kv/team-#/**",
        "kv/team-#/*",
        "kv/team-#/db",
        "kv/*/team-#",
        "kv/shared/**",
        "kv/prod/team-#/*/db",
        "**/team-#",
    ];
    proptest::collection::vec(proptest::sample::select(SHAPES), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn ten_thousand_honest_policies_do_not_exhaust_a_review(
        shapes in proptest::collection::vec((key_patterns(), any::<bool>(), any::<bool>()), 7),
    ) {
        let objects = shapes.iter().cycle().take(HONEST).enumerate().map(|(number, (keys, is_cluster, is_deny))| {
            let dear = (number % 10 == 0).then_some(DEAR);
            let keys: Vec<String> = keys.iter().copied().chain(dear).map(|shape| honest(shape, number)).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let (listed, empty) = (json!([vault(&keys)]), json!([]));
            let (allow, deny) = if *is_deny { (empty, listed) } else { (listed, empty) };
            let make = if *is_cluster { cluster } else { own };
            make(&format!("p{number}"), &["*"], allow, deny)
        });
        let (catalog, settings, mut effort) = (Catalog::of(objects), settings(), Effort::of(MOST_STEPS));
        for number in 0..KEYS {
            let key = format!("kv/production/of-a-team-with-a-long-name-{number}/database");
            let request = Request { key: &key, ..REQUEST };
            let judgement = super::super::judge(&catalog, &settings, &request, &mut effort);
            prop_assert_eq!(judgement, Judgement::Unmatched);
        }
    }
}

/// Policies that match nothing, and take as long as they can to find out.
pub(super) fn hostile(count: usize) -> impl Iterator<Item = Value> {
    let keys: Vec<String> = (0..64).map(|number| format!("kv/{}*{number}*", "*a".repeat(8))).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let rules: Value = (0..8).map(|_| vault(&keys)).collect();
    (0..count).map(move |number| own(&format!("p{number}"), &["*"], rules.clone(), json!([])))
}

#[test]
fn hostile_policies_are_given_up_and_their_kind_and_namespace_are_named() {
    let key = format!("kv/{}", "a".repeat(1000));
    let pod = |inject: &str| {
        json!({
            "metadata": {"name": "web", "annotations": {inject: format!("vault:{key}")}},
            "spec": {
                "serviceAccountName": "web",
                "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
                "containers": [{"name": "app", "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}]}],
            },
        })
    };
    let store = json!({"audience": "v", "provider": {"vault": {
        "server": "https://v", "auth": {"kubernetes": {"role": "r"}},
    }}});
    let catalog = Catalog::of(hostile(40).chain([policy("ClusterExternalStore", "vault", store)]));
    let settings = settings();
    let pod = Pod::new(pod("secret.alcove.dev/db-creds"), "app").unwrap();
    let Decision::Deny(refusal) =
        decide(&pod, &Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS })
    else {
        panic!("it is let in")
    };
    let text = refusal.to_string();
    let expected =
        "comparing its keys with the policies takes more than 50000000 steps, which ended at SecretPolicy app/p";
    assert!(text.contains(expected), "{text}");
    let remedy = "delete those SecretPolicy objects of namespace \"app\" that nobody needs, and write patterns with fewer \
                  wildcards";
    assert!(text.contains(remedy), "{text}");
    assert_eq!(refusal.reason.as_str(), "policy");
    assert_eq!(refusal.remedy, None, "a policy more cannot help");
}

#[test]
fn policies_that_cannot_be_read_cost_too() {
    let broken: Vec<Value> = (0..4).map(|_| vault(&[""; 64])).collect();
    let catalog = Catalog::of((0..1500).map(|number| own(&format!("p{number}"), &["*"], json!(broken), json!([]))));
    let judgement = words(&judge(&catalog, &settings(), &REQUEST));
    assert!(judgement.starts_with("exhausted at SecretPolicy app/p"), "{judgement}");
}

#[test]
fn without_effort_nothing_is_granted_and_nothing_is_looked_at() {
    let catalog = Catalog::of([own("p", &["*"], json!([vault(&["**"])]), json!([]))]);
    let mut effort = Effort::of(MOST_STEPS);
    effort.spend(MOST_STEPS).unwrap();
    let judgement = super::super::judge(&catalog, &settings(), &REQUEST, &mut effort);
    assert_eq!(words(&judgement), "exhausted at SecretPolicy app/p");
}
