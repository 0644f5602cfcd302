use super::*;
use crate::places::mentions;
use crate::pod::Pod;
use crate::settings::KubernetesVersion;
use alcove_resources::{Kind, Object, SecretPolicy};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn settings() -> Settings {
    Settings::new("registry/alcove-sidecar", KubernetesVersion::new(1, 37))
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
    catalog.apply_unreadable(object.clone(), Problem::new("spec.deny", "does not fit its kind"));
    let unreadable = "undecided: ClusterSecretPolicy c: spec.deny: does not fit its kind";
    assert_eq!(words(&judge(&catalog, &settings(), &REQUEST)), unreadable);
    catalog.remove(&object);
    assert!(words(&judge(&catalog, &settings(), &REQUEST)).starts_with("granted"));
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

/// Applies YAML as `kubectl apply` would.
fn apply(catalog: &mut Catalog, yaml: &str) -> usize {
    let documents: Vec<Value> = serde_saphyr::from_str_multiple(yaml).unwrap();
    for document in &documents {
        catalog.apply(Object::from_value(document).unwrap().unwrap());
    }
    documents.len()
}

#[test]
fn the_smallest_policy_is_written_for_people() {
    let other = Request { secret: "tls", ..REQUEST };
    let third = Request { store_kind: StoreKind::ExternalStore, store: "own", key: "kv/x", ..REQUEST };
    let written = smallest_policy(&Catalog::default(), &[REQUEST, other, third, REQUEST]).unwrap();
    let expected = "\
apiVersion: alcove.dev/v1alpha1
kind: SecretPolicy
metadata:
  name: web
  namespace: app
spec:
  serviceAccounts:
  - web
  allow:
  - store:
      kind: ExternalStore
      name: own
    keys:
    - kv/x
    secrets:
    - db-creds
  - store:
      kind: ClusterExternalStore
      name: vault
    keys:
    - kv/app/db
    secrets:
    - db-creds
    - tls
";
    assert_eq!(written, expected);
    assert_eq!(smallest_policy(&Catalog::default(), &[]).unwrap(), "");
}

#[test]
fn a_key_that_would_be_a_wildcard_is_left_out_of_the_smallest_policy_and_the_reason_stands_there() {
    let star = Request { key: "kv/**", ..REQUEST };
    let long = "k/".repeat(600);
    let endless = Request { key: &long, ..REQUEST };
    let alone = smallest_policy(&Catalog::default(), &[star, star]).unwrap();
    let left_out = "# Left out: key \"kv/**\" of ClusterExternalStore \"vault\", because in a pattern \"*\" would stand for \
                    other keys, too.\n";
    assert_eq!(alone, left_out);
    let among_others = smallest_policy(&Catalog::default(), &[star, endless, REQUEST]).unwrap();
    let told = "because it is longer than a pattern may be.\n";
    assert!(among_others.contains(left_out) && among_others.contains(told), "{among_others}");
    let exact = smallest_policy(&Catalog::default(), &[REQUEST]).unwrap();
    assert!(among_others.ends_with(&exact) && !exact.contains("Left out"), "{among_others}");
}

#[test]
fn the_smallest_policy_grants_the_refused_request_once_applied_and_replaces_no_other_policy() {
    let others = ["web", "web-2"].map(|name| own(name, &["web"], json!([vault(&["elsewhere"])]), json!([])));
    let mut catalog = Catalog::of(others);
    assert_eq!(judge(&catalog, &settings(), &REQUEST), Judgement::Unmatched);
    let written = smallest_policy(&catalog, &[REQUEST]).unwrap();
    apply(&mut catalog, &written);
    let granted = "granted by spec.allow[0] of SecretPolicy app/web-3";
    assert_eq!(words(&judge(&catalog, &settings(), &REQUEST)), granted);
    let elsewhere = Request { key: "elsewhere", ..REQUEST };
    assert!(words(&judge(&catalog, &settings(), &elsewhere)).ends_with("SecretPolicy app/web"), "what was there stays");
}

#[test]
fn more_than_one_policy_can_hold_becomes_several() {
    let keys: Vec<String> = (0..65).map(|number| format!("kv/{number}")).collect();
    let secrets: Vec<String> = (0..65).map(|number| format!("s{number}")).collect();
    // Every Secret needs another set of keys, and the first needs more than a rule can list.
    let mut requests: Vec<_> = keys.iter().map(|key| Request { key, secret: "s0", ..REQUEST }).collect();
    requests.extend(secrets.iter().zip(&keys).skip(1).map(|(secret, key)| Request { secret, key, ..REQUEST }));
    let mut catalog = Catalog::default();
    let written = smallest_policy(&catalog, &requests).unwrap();
    assert_eq!(apply(&mut catalog, &written), 2);
    let documents: Vec<SecretPolicy> = serde_saphyr::from_str_multiple(&written).unwrap();
    for spec in documents.iter().map(|document| &document.spec) {
        let lists = spec.allow.iter().flat_map(|rule| [rule.keys.len(), rule.secrets.len()]);
        assert!(lists.chain([spec.allow.len()]).all(|length| length <= 64), "the schema admits no longer lists");
    }
    for request in &requests {
        assert!(words(&judge(&catalog, &settings(), request)).starts_with("granted"), "{request}");
    }
}

fn texts() -> impl Strategy<Value = String> {
    const AWKWARD: &[&str] = &[
        "yes", "0400", "null", "~", "1e3", "a: b", "a #b", "'", "\"", " a ", "- a", "a\\b", "{}", "[x]", "ä", "!t",
        "%y", "*", "**", "kv/*", "kv/**", "kv/a*", "\\*", "a\u{2028}b*",
    ];
    prop_oneof![
        proptest::sample::select(AWKWARD).prop_map(str::to_owned),
        "[ -~ä-ü]{1,20}",
        "kv/[ab*]{1,3}",
        "(k/){505,515}[ä-ü]{1,9}",
    ]
}

/// Whether a pattern can say it: no star, and within the schema's limit.
fn is_sayable(key: &str) -> bool {
    !key.contains('*') && key.len() <= 1024
}

/// Kind of store, key, Secret name, store.
fn borrowed((kind, key, secret, store): &(StoreKind, String, String, String)) -> Request<'_> {
    Request { secret, store_kind: *kind, store, key, ..REQUEST }
}

proptest! {
    #[test]
    fn the_smallest_policy_grants_exactly_what_was_asked_and_names_what_it_cannot_say(
        asked in proptest::collection::vec((texts(), "[a-c]", "[a-c]", any::<bool>()), 1..8),
        others in proptest::collection::vec((texts(), "[a-d]", "[a-d]", any::<bool>()), 1..20),
    ) {
        let request = |(key, secret, store, is_own): &(String, String, String, bool)| {
            let kind = if *is_own { StoreKind::ExternalStore } else { StoreKind::ClusterExternalStore };
            (kind, key.clone(), secret.clone(), store.clone())
        };
        let owned: Vec<_> = asked.iter().map(request).collect();
        let requests: Vec<_> = owned.iter().map(borrowed).collect();
        let mut catalog = Catalog::default();
        let written = smallest_policy(&catalog, &requests).unwrap();
        if requests.iter().any(|request| is_sayable(request.key)) {
            apply(&mut catalog, &written);
        }
        for request in &requests {
            let judgement = words(&judge(&catalog, &settings(), request));
            prop_assert_eq!(judgement.starts_with("granted"), is_sayable(request.key), "{}: {}\n{}", request, judgement, written);
            let left_out = format!("# Left out: key \"{}\" of ", request.key.escape_debug());
            prop_assert_eq!(written.lines().any(|line| line.starts_with(&left_out)), !is_sayable(request.key), "{}", written);
        }
        // Also what lies around each key, under the same Secret name and in the same store.
        let around = owned.iter().flat_map(|(kind, key, secret, store)| {
            ["x", "/x", "/x/y"].map(|more| (*kind, format!("{key}{more}"), secret.clone(), store.clone()))
        });
        for other in others.iter().map(request).chain(around).filter(|other| !owned.contains(other)) {
            prop_assert_eq!(judge(&catalog, &settings(), &borrowed(&other)), Judgement::Unmatched, "{:?}\n{}", other, written);
        }
    }

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
            Judgement::Undecided(problems) => prop_assert!(false, "{}", problems),
        }
    }
}
