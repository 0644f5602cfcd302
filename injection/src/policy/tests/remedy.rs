//! The smallest policy: what it grants, and what it leaves out.

use super::*;
use alcove_contract::reference::Key;
use alcove_resources::{Object, SecretPolicy};

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
        "%y",
    ];
    const WILD: &[&str] = &["*", "**", "kv/*", "kv/**", "kv/a*", "\\*", "a\u{2028}b*"];
    let texts = prop_oneof![
        proptest::sample::select(AWKWARD).prop_map(str::to_owned),
        proptest::sample::select(WILD).prop_map(str::to_owned),
        "[ -~ä-ü]{1,20}",
        "kv/[ab*]{1,3}",
        "(k/){505,515}[ä-ü]{1,9}",
    ];
    // What is asked for are canonical keys.
    let is_key =
        |text: &String| KeySpace::ALL.iter().any(|space| space.canonical_key(&Key::new(text.as_str())).is_ok());
    texts.prop_map(move |text| if is_key(&text) { text } else { format!("{text}/x") }).prop_filter("no key", is_key)
}

/// Whether a pattern can say it: no star, no white space around it, and within the schema's limit.
fn is_sayable(key: &str) -> bool {
    !key.contains('*') && key.trim() == key && key.chars().count() <= 1024
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
}
