mod accounts;
mod conditions;
mod effort;
mod remedy;
mod trial;

use super::*;
use crate::places::mentions;
use crate::pod::Pod;
use crate::settings::KubernetesVersion;
use alcove_resources::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn settings() -> Settings {
    Settings::new("registry/alcove-sidecar", KubernetesVersion::new(1, 37))
}

/// What is said to one request, in a review of its own.
fn judge(catalog: &Catalog, settings: &Settings, request: &Request<'_>) -> Judgement {
    super::judge(catalog, settings, request, &mut Effort::of(crate::effort::MOST_STEPS))
}

const REQUEST: Request<'_> = Request {
    namespace: "app",
    service_account: "web",
    secret: "db-creds",
    store_kind: StoreKind::ClusterExternalStore,
    store: "vault",
    key: "kv/app/db",
};

fn rule(kind: &str, store: &str, keys: &[&str]) -> Value {
    json!({"store": {"kind": kind, "name": store}, "keys": keys})
}

fn vault(keys: &[&str]) -> Value {
    rule("ClusterExternalStore", "vault", keys)
}

fn policy(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({"kind": kind, "metadata": {"name": name, "namespace": "app"}});
    object["spec"] = spec;
    object
}

fn own(name: &str, accounts: &[&str], allow: Value, deny: Value) -> Value {
    policy("SecretPolicy", name, rules(accounts, allow, deny))
}

fn cluster(name: &str, accounts: &[&str], allow: Value, deny: Value) -> Value {
    policy("ClusterSecretPolicy", name, rules(accounts, allow, deny))
}

fn rules(accounts: &[&str], allow: Value, deny: Value) -> Value {
    let mut spec = json!({"serviceAccounts": accounts});
    spec["allow"] = allow;
    spec["deny"] = deny;
    spec
}

fn judged(objects: impl IntoIterator<Item = Value>) -> Judgement {
    judge(&Catalog::of(objects), &settings(), &REQUEST)
}

/// The judgement in one line.
fn words(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Granted { by } => format!("granted by {by}"),
        Judgement::Denied { by } => format!("denied by {by}"),
        Judgement::Unmatched => "unmatched".to_owned(),
        Judgement::Undecided(problems) => format!("undecided: {problems}"),
        Judgement::Exhausted { at } => format!("exhausted at {at}"),
    }
}

#[test]
fn what_no_policy_speaks_of_is_unmatched_and_granted_only_by_the_administrators_default() {
    assert_eq!(judged([]), Judgement::Unmatched);
    let open = Settings { default_policy: DefaultPolicy::Allow, ..settings() };
    assert_eq!(words(&judge(&Catalog::default(), &open, &REQUEST)), "granted by the default policy");
}

#[test]
fn a_rule_allows_only_if_account_store_kind_store_key_and_secret_all_match() {
    let allow = |accounts: &[&str], rule: Value| words(&judged([own("p", accounts, json!([rule]), json!([]))]));
    let granted = "granted by spec.allow[0] of SecretPolicy app/p";
    assert_eq!(allow(&["web"], vault(&["kv/app/**"])), granted);
    assert_eq!(allow(&["w*"], vault(&["no", "kv/app/*"])), granted);
    assert_eq!(allow(&["web2", "eb", "we"], vault(&["**"])), "unmatched");
    assert_eq!(allow(&["web"], rule("ExternalStore", "vault", &["**"])), "unmatched");
    assert_eq!(allow(&["web"], rule("ClusterExternalStore", "vault2", &["**"])), "unmatched");
    assert_eq!(allow(&["web"], vault(&["kv/app"])), "unmatched");
    let mut named = vault(&["**"]);
    named["secrets"] = json!(["db-*"]);
    assert_eq!(allow(&["web"], named.clone()), granted);
    named["secrets"] = json!(["db"]);
    assert_eq!(allow(&["web"], named), "unmatched");
}

#[test]
fn a_deny_wins_over_every_allow_and_the_clusters_deny_is_named_first() {
    let all = || json!([vault(&["**"])]);
    let allow = own("a", &["*"], all(), json!([]));
    let deny = own("d", &["*"], json!([]), json!([vault(&["x"]), vault(&["kv/**"])]));
    let above = cluster("z", &["*"], json!([]), all());
    let cluster_allow = cluster("y", &["*"], all(), json!([]));
    assert_eq!(words(&judged([allow.clone(), deny.clone()])), "denied by spec.deny[1] of SecretPolicy app/d");
    assert_eq!(words(&judged([cluster_allow.clone(), deny.clone()])), "denied by spec.deny[1] of SecretPolicy app/d");
    assert_eq!(words(&judged([allow.clone(), deny, above])), "denied by spec.deny[0] of ClusterSecretPolicy z");
    assert_eq!(words(&judged([allow, cluster_allow])), "granted by spec.allow[0] of ClusterSecretPolicy y");
}

#[test]
fn the_default_allow_does_not_lift_a_deny() {
    let open = Settings { default_policy: DefaultPolicy::Allow, ..settings() };
    let catalog = Catalog::of([own("d", &["*"], json!([]), json!([vault(&["kv/**"])]))]);
    assert!(matches!(judge(&catalog, &open, &REQUEST), Judgement::Denied { .. }));
}

#[test]
fn a_policy_of_another_namespace_says_nothing() {
    let mut elsewhere = own("p", &["*"], json!([vault(&["**"])]), json!([]));
    elsewhere["metadata"]["namespace"] = json!("other");
    assert_eq!(judged([elsewhere]), Judgement::Unmatched);
}

#[test]
fn a_cluster_policy_holds_where_its_selector_says_and_an_unseen_namespace_is_never_passed_over() {
    let with = |list: &str| {
        let mut spec = json!({"serviceAccounts": ["*"], "namespaceSelector": {"matchLabels": {"team": "a"}}});
        spec[list] = json!([vault(&["**"])]);
        policy("ClusterSecretPolicy", list, spec)
    };
    let allow = own("own", &["*"], json!([vault(&["**"])]), json!([]));
    let mut denied = Catalog::of([with("deny"), allow.clone()]);
    let mut allowed = Catalog::of([with("allow")]);
    let judged = |catalog: &Catalog| words(&judge(catalog, &settings(), &REQUEST));
    let unseen = "selects namespaces by label, and namespace \"app\" is not known yet; apply again";
    assert_eq!(judged(&denied), format!("undecided: ClusterSecretPolicy deny: {unseen}"));
    assert_eq!(judged(&allowed), format!("undecided: ClusterSecretPolicy allow: {unseen}"));
    let both = Catalog::of([with("allow"), allow]);
    assert_eq!(judged(&both), "granted by spec.allow[0] of SecretPolicy app/own", "an allow that is not needed");

    for catalog in [&mut denied, &mut allowed] {
        catalog.apply_namespace("app", BTreeMap::from([("team".to_owned(), "a".to_owned())]));
    }
    assert_eq!(judged(&denied), "denied by spec.deny[0] of ClusterSecretPolicy deny");
    assert_eq!(judged(&allowed), "granted by spec.allow[0] of ClusterSecretPolicy allow");
    for catalog in [&mut denied, &mut allowed] {
        catalog.apply_namespace("app", BTreeMap::new());
    }
    assert_eq!(judged(&denied), "granted by spec.allow[0] of SecretPolicy app/own");
    assert_eq!(judged(&allowed), "unmatched");
}

#[test]
fn a_policy_that_cannot_be_read_refuses_whom_it_may_concern_and_says_where_it_is_broken() {
    let allow = own("a", &["web"], json!([vault(&["**"])]), json!([]));
    let mut no_secrets = vault(&["kv/**"]);
    no_secrets["secrets"] = json!([]);
    let broken =
        |accounts: &[&str]| own("b", accounts, json!([vault(&[""])]), json!([vault(&["x"]), no_secrets.clone()]));
    let concerned = "undecided: SecretPolicy app/b: spec.allow[0].keys[0]: is empty\n\
                     SecretPolicy app/b: spec.deny[1].secrets: is empty; write \"*\" for any";
    assert_eq!(words(&judged([allow.clone(), broken(&["w*"])])), concerned);
    assert!(words(&judged([allow.clone(), broken(&["other"])])).starts_with("granted"), "it concerns somebody else");
    let for_whom = "undecided: SecretPolicy app/b: spec.serviceAccounts: is empty; write \"*\" for any\n";
    assert!(words(&judged([allow.clone(), broken(&[])])).starts_with(for_whom), "it may concern everybody");

    let mut catalog = Catalog::of([allow]);
    let object = ObjectName { kind: Kind::ClusterSecretPolicy, namespace: String::new(), name: "c".into() };
    catalog.apply_unreadable(object.clone(), &Value::Null, Problem::new("spec.deny", "does not fit its kind"));
    let unreadable = "undecided: ClusterSecretPolicy c: spec.deny: does not fit its kind";
    assert_eq!(words(&judge(&catalog, &settings(), &REQUEST)), unreadable);
    catalog.remove(&object);
    assert!(words(&judge(&catalog, &settings(), &REQUEST)).starts_with("granted"));
}

#[test]
fn a_policy_that_states_no_rule_is_a_problem_for_whom_it_concerns() {
    let allow = own("a", &["web"], json!([vault(&["**"])]), json!([]));
    let empty = |account: &str| own("b", &[account], json!([]), json!([]));
    let expected = "undecided: SecretPolicy app/b: spec: says nothing; state a rule under allow or deny or a condition \
                    under pod, or delete the policy";
    assert_eq!(words(&judged([allow.clone(), empty("w*")])), expected);
    assert!(words(&judged([allow, empty("other")])).starts_with("granted"));
}

#[test]
fn an_object_that_does_not_fit_its_kind_concerns_no_namespace_that_its_selector_leaves_out() {
    let allow = own("a", &["web"], json!([vault(&["**"])]), json!([]));
    let object = ObjectName { kind: Kind::ClusterSecretPolicy, namespace: String::new(), name: "c".into() };
    let judged = |selector: Value| {
        let mut catalog = Catalog::of([allow.clone()]);
        catalog.apply_namespace("app", BTreeMap::from([("team".to_owned(), "a".to_owned())]));
        let document = json!({"spec": {"namespaceSelector": selector, "serviceAccounts": 7}});
        catalog.apply_unreadable(object.clone(), &document, Problem::new("spec", "does not fit its kind"));
        words(&judge(&catalog, &settings(), &REQUEST)).starts_with("granted")
    };
    assert!(judged(json!({"matchLabels": {"team": "b"}})));
    let may_hold_here = [
        json!({"matchLabels": {"team": "a"}}),
        json!({"matchLabel": {"team": "b"}}),
        json!({"matchExpressions": [{"key": "team", "operator": "In"}]}),
        json!({"matchLabels": 7}),
        json!(null),
        json!("team b"),
    ];
    for selector in may_hold_here {
        assert!(!judged(selector.clone()), "{selector}");
    }
}

/// Denies that a store of this kind cannot have a key for.
fn idle(provider: &Value, deny: &[&str]) -> String {
    let mut spec = json!({"provider": provider});
    if provider.get("vault").is_some() {
        spec["audience"] = json!("vault");
    }
    let store = policy("ClusterExternalStore", "vault", spec);
    let allow = own("a", &["web"], json!([vault(&["**"])]), json!([]));
    words(&judged([store, allow, own("d", &["web"], json!([]), json!([vault(deny)]))]))
}

#[test]
fn a_deny_that_no_key_of_its_store_can_meet_refuses_whom_it_is_about_with_the_right_spelling() {
    let provider = |version: &str| {
        let mut vault = json!({"server": "https://vault:8200", "auth": {"kubernetes": {"role": "web"}}});
        if !version.is_empty() {
            vault["version"] = json!(version);
        }
        json!({"vault": vault})
    };
    let place = "undecided: SecretPolicy app/d: spec.deny[0].keys[1]";
    let why = "denies no key of ClusterExternalStore \"vault\": it is the API's path of a KV version 2 secret, not the secret's \
               own; write \"kv/x/**\"";
    let keys = ["kv/other", "kv/data/x/**"];
    assert_eq!(idle(&provider("v2"), &keys), format!("{place}: \"kv/data/x/**\" {why}"));
    let undeclared = format!("{place}: \"kv/data/x/**\" {why}, or set version: v1 in the store if the mount is KV 1");
    assert_eq!(idle(&provider(""), &keys), undeclared);
    assert!(idle(&provider("v1"), &keys).starts_with("granted"), "data is an ordinary folder there");
    assert!(idle(&provider("v2"), &["kv/metadata/**"]).starts_with("granted"), "so is metadata everywhere");
    assert!(idle(&provider("v2"), &["db"]).contains("\"db\" denies no key of"), "a Secret's name in Vault");
    let kubernetes = json!({"kubernetes": {"remoteNamespace": "secrets"}});
    let expected =
        "\"kv/x\" denies no key of ClusterExternalStore \"vault\": it must be a lowercase RFC 1123 subdomain";
    assert!(idle(&kubernetes, &["kv/x"]).contains(expected), "{}", idle(&kubernetes, &["kv/x"]));
    assert!(idle(&kubernetes, &["db"]).starts_with("granted"));
    assert!(
        idle(&provider("v2"), &["kv/data/**", "kv/app/**"]).starts_with("denied"),
        "what denies need not be mended first"
    );
}

#[test]
fn a_deny_about_other_accounts_secrets_or_stores_is_left_alone_however_idle() {
    let allow = own("a", &["web"], json!([vault(&["**"])]), json!([]));
    let store = policy(
        "ClusterExternalStore",
        "vault",
        json!({"audience": "vault", "provider": {"vault": {
            "server": "https://vault:8200", "auth": {"kubernetes": {"role": "web"}},
        }}}),
    );
    let mut other_secret = vault(&["kv/data/x"]);
    other_secret["secrets"] = json!(["other"]);
    for (account, rule) in [
        ("other", vault(&["kv/data/x"])),
        ("web", other_secret),
        ("web", rule("ClusterExternalStore", "elsewhere", &["kv/data/x"])),
        ("web", rule("ExternalStore", "vault", &["kv/data/x"])),
    ] {
        let deny = own("d", &[account], json!([]), json!([rule]));
        assert!(words(&judged([store.clone(), allow.clone(), deny.clone()])).starts_with("granted"), "{deny}");
    }
}

#[test]
fn the_index_of_a_rule_counts_the_rules_that_cannot_be_read() {
    let deny = json!([vault(&[""]), vault(&["kv/**"])]);
    assert_eq!(words(&judged([own("p", &["*"], json!([]), deny)])), "denied by spec.deny[1] of SecretPolicy app/p");
}

fn refused(objects: impl IntoIterator<Item = Value>) -> Vec<String> {
    let document = json!({"metadata": {"generateName": "web-"}, "spec": {
        "serviceAccountName": "web",
        "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        "initContainers": [{"name": "setup", "volumeMounts": [{"name": "creds"}]}],
        "containers": [
            {"name": "app", "volumeMounts": [{"name": "tmp"}, {"name": "creds"}], "env": [
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}},
            ]},
            {"name": "idle"},
        ],
    }});
    let pod = Pod::new(document, "app").unwrap();
    let judgement = judged(objects);
    let told = |mention| Refused { pod: &pod, mention, request: &REQUEST }.problems(&judgement).to_string();
    mentions(&pod).iter().map(told).collect()
}

#[test]
fn a_refusal_names_pod_container_place_service_account_and_that_no_rule_matched() {
    let tail = "of Pod \"web-*\" with ServiceAccount \"web\": no policy allows key \"kv/app/db\" of ClusterExternalStore \"vault\"";
    assert_eq!(
        refused([]),
        [
            format!(
                "spec.volumes[0].secret.secretName: \"db-creds\" must not be mounted by init container \"setup\", container \
                 \"app\" {tail}"
            ),
            format!(
                "spec.containers[0].env[0].valueFrom.secretKeyRef.name: \"db-creds\" must not be mounted by container \
                 \"app\" {tail}"
            ),
        ]
    );
}

#[test]
fn a_refusal_names_the_rule_that_denies_and_the_policy_that_cannot_be_read() {
    let deny = cluster("no-root", &["*"], json!([]), json!([vault(&["kv/**"])]));
    let [_, denied] = refused([deny]).try_into().unwrap();
    let expected =
        ": spec.deny[0] of ClusterSecretPolicy no-root denies key \"kv/app/db\" of ClusterExternalStore \"vault\"";
    assert!(denied.ends_with(expected), "{denied}");
    let [_, undecided] = refused([own("b", &["*"], json!([]), json!([vault(&[""])]))]).try_into().unwrap();
    let expected = ": the policies about it cannot all be read\nSecretPolicy app/b: spec.deny[0].keys[0]: is empty";
    assert!(undecided.ends_with(expected), "{undecided}");
}

#[test]
fn a_granted_request_has_no_problem() {
    let allow = own("a", &["web"], json!([vault(&["**"])]), json!([]));
    assert_eq!(refused([allow]), [String::new(), String::new()]);
}

proptest! {
    #[test]
    fn a_request_is_granted_if_a_policy_allows_it_and_none_denies_it(
        policies in proptest::collection::vec((any::<bool>(), "web|w\\*|db", "kv/\\*\\*|kv/app/db|kv/x", any::<bool>()), 0..6),
    ) {
        let objects: Vec<_> = policies.iter().enumerate().map(|(index, (is_cluster, account, key, is_deny))| {
            let (listed, empty) = (json!([vault(&[key])]), json!([]));
            let (allow, deny) = if *is_deny { (empty, listed) } else { (listed, empty) };
            let make = if *is_cluster { cluster } else { own };
            make(&format!("p{index}"), &[account], allow, deny)
        }).collect();
        let matching = |wanted: bool, cluster: bool| policies.iter().any(|(is_cluster, account, key, is_deny)| {
            *is_deny == wanted && *is_cluster == cluster && account != "db" && key != "kv/x"
        });
        let judgement = judged(objects.iter().cloned());
        prop_assert_eq!(&judgement, &judged(objects.into_iter().rev()), "the order of arrival does not matter");
        match judgement {
            Judgement::Denied { by } => {
                prop_assert!(matching(true, by.policy.kind == Kind::ClusterSecretPolicy));
                prop_assert!(by.policy.kind == Kind::ClusterSecretPolicy || !matching(true, true));
            }
            Judgement::Granted { .. } => {
                prop_assert!(!matching(true, true) && !matching(true, false));
                prop_assert!(matching(false, true) || matching(false, false));
            }
            Judgement::Unmatched => {
                prop_assert!([true, false].into_iter().all(|cluster| !matching(true, cluster) && !matching(false, cluster)));
            }
            other @ (Judgement::Undecided(_) | Judgement::Exhausted { .. }) => prop_assert!(false, "{}", words(&other)),
        }
    }
}
