use std::collections::BTreeMap;

use alcove_injection::catalog::Kept;
use alcove_injection::effort::{Effort, MOST_STEPS};
use alcove_injection::policy::{Judgement, Request, judge};
use alcove_injection::settings::{KubernetesVersion, Settings};
use alcove_resources::Kind as OurKind;
use alcove_resources::policy::StoreKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn item(key: Key, version: u64) -> (Item, u64) {
    let content = match key.kind {
        Kind::Namespace => Content::Namespace(BTreeMap::from([("version".to_owned(), version.to_string())])),
        Kind::ServiceAccount => {
            let annotations = BTreeMap::from([("version".to_owned(), version.to_string())]);
            Content::ServiceAccount(alcove_injection::catalog::ServiceAccount { annotations, ..Default::default() })
        }
        Kind::LimitRange => Content::LimitRange(LimitRange::default()),
        Kind::Ours(kind) => {
            Content::Ours(Kept::unreadable(key.object_name(kind), &Value::Null, Problem::new("", "wrong")))
        }
    };
    (Item { key, content, weight: 0 }, version)
}

fn account(name: &str) -> Key {
    Key { kind: Kind::ServiceAccount, namespace: "shop".to_owned(), name: name.to_owned() }
}

fn label(view: &View, name: &str) -> Option<u64> {
    let account = view.catalog().service_account("shop", name)?;
    Some(account.annotations["version"].parse().unwrap())
}

fn watched(view: &mut View, name: &str, version: u64) {
    let (item, version) = item(account(name), version);
    view.watched(item, version);
}

/// A live read of the ServiceAccounts of the namespace, as of `version`.
fn read(view: &mut View, version: u64, accounts: &[(&str, u64)]) -> bool {
    let items = accounts.iter().map(|(name, version)| item(account(name), *version)).collect();
    view.read(List { part: Part::of(Kind::ServiceAccount, "shop"), version, items })
}

#[test]
fn a_live_read_brings_what_the_watch_has_not_seen_and_takes_away_what_is_gone() {
    let mut view = View::default();
    watched(&mut view, "stays", 1);
    watched(&mut view, "goes", 2);
    assert!(read(&mut view, 5, &[("stays", 1), ("new", 4)]));
    assert_eq!((label(&view, "stays"), label(&view, "goes"), label(&view, "new")), (Some(1), None, Some(4)));
    assert!(!read(&mut view, 6, &[("stays", 1), ("new", 4)]), "nothing has changed since");
}

#[test]
fn what_the_watch_delivers_late_does_not_undo_a_live_read() {
    let mut view = View::default();
    read(&mut view, 10, &[("made-again", 9)]);
    watched(&mut view, "gone", 5);
    view.deleted(&account("made-again"), 8);
    assert_eq!((label(&view, "gone"), label(&view, "made-again")), (None, Some(9)));
    watched(&mut view, "gone", 11);
    view.deleted(&account("made-again"), 12);
    assert_eq!((label(&view, "gone"), label(&view, "made-again")), (Some(11), None));
}

/// A SecretBinding of about half a mebibyte.
fn large_binding(namespace: &str, name: &str) -> Item {
    let reference = format!("vault:kv/{}#p", "x".repeat(1900));
    let data: serde_json::Map<_, _> = (0..250).map(|file| (format!("file-{file}"), json!(reference))).collect();
    let document = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretBinding",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"data": data},
    });
    Item::delivered(Kind::Ours(OurKind::SecretBinding), &document).unwrap()
}

/// The names of those of some bindings that can be read.
fn readable(view: &View, namespace: &str, names: &[String]) -> Vec<String> {
    let is_readable = |name: &&String| matches!(view.catalog().binding(name, namespace), Ok(Some(_)));
    names.iter().filter(is_readable).cloned().collect()
}

#[test]
fn a_namespace_takes_no_more_than_its_share_and_nothing_from_another_one() {
    let mut view = View::default();
    let names: Vec<String> = (0..60).map(|number| format!("binding-{number:02}")).collect();
    for (name, version) in names.iter().zip(1..) {
        view.watched(large_binding("crowded", name), version);
    }
    view.watched(large_binding("shop", "db"), 70);
    let kept = readable(&view, "crowded", &names);
    assert!((25..40).contains(&kept.len()), "{kept:?}");
    assert_eq!(readable(&view, "shop", &["db".to_owned()]).len(), 1);
    let problem = view.catalog().binding(&names[59], "crowded").unwrap_err().to_string();
    assert!(
        problem.contains("SecretBinding crowded/binding-59: is left out") && problem.contains("delete some"),
        "{problem}"
    );

    // The same again, smaller, larger, gone: what is taken is what is there.
    for round in 0..3 {
        for name in &kept {
            view.watched(large_binding("crowded", name), 100 + round);
        }
    }
    assert_eq!(readable(&view, "crowded", &names), kept);
    let (gone, stays) = kept.split_at(3);
    for name in gone {
        let key = Key { kind: Kind::Ours(OurKind::SecretBinding), namespace: "crowded".to_owned(), name: name.clone() };
        view.deleted(&key, 200);
    }
    // Whoever is refused looks again, and what was left out finds room, although it has not changed.
    let items = names.iter().zip(1..).filter(|(name, _)| !gone.contains(name));
    let items = items.map(|(name, version)| (large_binding("crowded", name), version)).collect();
    let part = Part::of(Kind::Ours(OurKind::SecretBinding), "crowded");
    assert!(view.read(List { part: part.clone(), version: 300, items }));
    assert_eq!(readable(&view, "crowded", &names).len(), kept.len());
    assert!(stays.iter().all(|name| readable(&view, "crowded", &names).contains(name)));
    assert!(view.read(List { part, version: 400, items: Vec::new() }));
    assert!(!view.shares.contains_key("crowded"));
}

#[test]
fn a_live_read_that_is_older_than_what_was_seen_changes_nothing() {
    let mut view = View::default();
    watched(&mut view, "made-after-the-list", 5);
    assert!(!read(&mut view, 4, &[("deleted-since", 1)]));
    assert_eq!((label(&view, "made-after-the-list"), label(&view, "deleted-since")), (Some(5), None));
    read(&mut view, 8, &[("later", 7)]);
    assert!(!read(&mut view, 6, &[]), "a later list has been read");
    assert_eq!(label(&view, "later"), Some(7));
}

#[test]
fn a_live_read_of_one_namespace_leaves_the_others_alone() {
    let mut view = View::default();
    for kind in [Kind::Namespace, Kind::ServiceAccount] {
        for namespace in ["shop", "other"] {
            let key = Part::of(kind, namespace).key(namespace);
            let (item, version) = item(key, 1);
            view.watched(item, version);
        }
        view.read(List { part: Part::of(kind, "shop"), version: 2, items: Vec::new() });
    }
    assert_eq!((view.catalog().namespace_labels("shop"), label(&view, "shop")), (None, None));
    assert!(view.catalog().namespace_labels("other").is_some());
    assert!(view.catalog().service_account("other", "other").is_some());
    assert_eq!(Part::of(Kind::Ours(OurKind::ClusterSecretPolicy), "shop").namespace, "", "all namespaces share them");
}

#[test]
fn what_a_complete_list_of_the_watch_does_not_hold_is_gone_also_if_only_a_live_read_saw_it() {
    let mut view = View::default();
    watched(&mut view, "stays", 1);
    watched(&mut view, "goes", 2);
    read(&mut view, 3, &[("stays", 1), ("goes", 2), ("goes-too", 3)]);
    view.retain(Kind::ServiceAccount, &HashSet::from([account("stays")]));
    assert_eq!((label(&view, "stays"), label(&view, "goes"), label(&view, "goes-too")), (Some(1), None, None));
    watched(&mut view, "goes-too", 3);
    assert_eq!(label(&view, "goes-too"), Some(3), "the list was older, and the watch goes on from there");
}

#[test]
fn whoever_looks_at_the_catalog_keeps_no_change_waiting_and_sees_none() {
    let mut view = View::default();
    watched(&mut view, "web", 1);
    let held = Arc::clone(view.catalog());
    watched(&mut view, "web", 2);
    assert_eq!(held.service_account("shop", "web").unwrap().annotations["version"], "1");
    assert_eq!(label(&view, "web"), Some(2));
    let held = Arc::clone(view.catalog());
    read(&mut view, 9, &[("web", 2)]);
    assert!(Arc::ptr_eq(&held, view.catalog()), "a read without news copies nothing");
}

/// What happens to three ServiceAccounts, one version after the other: made or changed, or deleted.
fn history() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0..NAMES.len(), any::<bool>()), 1..12)
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The accounts after `version` events of a history.
fn at(history: &[(usize, bool)], version: usize) -> BTreeMap<&'static str, u64> {
    let mut accounts = BTreeMap::new();
    for (version, (account, made)) in (1..).zip(history.iter().take(version)) {
        if *made {
            accounts.insert(NAMES[*account], version)
        } else {
            accounts.remove(NAMES[*account])
        };
    }
    accounts
}

proptest! {
    #[test]
    fn the_view_is_never_older_than_the_newest_of_watch_and_live_reads(
        history in history(),
        steps in prop::collection::vec(prop::option::of(0usize..12), 0..24),
    ) {
        let (mut view, mut seen, mut newest) = (View::default(), 0, 0);
        for step in steps {
            match step {
                // A live read, as of some version.
                Some(version) => {
                    let version = version.min(history.len()).max(1);
                    let list: Vec<_> = at(&history, version).into_iter().collect();
                    read(&mut view, u64::try_from(version).unwrap(), &list);
                    newest = newest.max(version);
                }
                // The next event of the watch.
                None if seen < history.len() => {
                    let (account_index, made) = history[seen];
                    seen += 1;
                    let version = u64::try_from(seen).unwrap();
                    if made {
                        watched(&mut view, NAMES[account_index], version);
                    } else {
                        view.deleted(&account(NAMES[account_index]), version);
                    }
                    newest = newest.max(seen);
                }
                None => {}
            }
            let known: BTreeMap<_, _> =
                NAMES.into_iter().filter_map(|name| Some((name, label(&view, name)?))).collect();
            prop_assert_eq!(&known, &at(&history, newest));
        }
    }
}

/// A ServiceAccount as the API server delivers it.
fn delivered(namespace: &str, name: &str, annotation: (&str, &str), secrets: &Value) -> Item {
    let document = json!({
        "metadata": {"name": name, "namespace": namespace, "annotations": {annotation.0: annotation.1}},
        "secrets": secrets,
    });
    Item::delivered(Kind::ServiceAccount, &document).unwrap()
}

#[test]
fn of_a_service_account_its_labels_and_what_it_enforces_are_kept() {
    let listed = json!([{"name": "db"}]);
    let mut view = View::default();
    view.watched(delivered("shop", "plain", ("notes", &"x".repeat(250_000)), &listed), 1);
    view.watched(delivered("shop", "strict", ("alcove.dev/enforce-mountable-secrets", "true"), &listed), 2);
    let account = |name: &str| view.catalog().service_account("shop", name).cloned().unwrap();
    let bare = alcove_injection::catalog::ServiceAccount { labels: Some(BTreeMap::new()), ..Default::default() };
    assert_eq!(account("plain"), bare);
    assert_eq!((account("strict").annotations.len(), account("strict").secrets.contains("db")), (1, true));
}

#[test]
fn labels_of_service_accounts_are_weighed_and_those_that_are_left_out_are_not_taken_for_none() {
    let mut view = View::default();
    for number in 0..100_u64 {
        let labels: Value = (0..1_000).map(|key| (format!("key-{key}"), Value::from("x".repeat(250)))).collect();
        let document = json!({"metadata": {"name": format!("a{number}"), "namespace": "crowded", "labels": labels}});
        view.watched(Item::delivered(Kind::ServiceAccount, &document).unwrap(), number + 1);
    }
    let labels =
        |number: usize| view.catalog().service_account("crowded", &format!("a{number}")).unwrap().labels.as_ref();
    assert_eq!(labels(0).unwrap().len(), 1_000);
    assert_eq!(labels(99), None);
    let kept = (0..100).filter(|number| labels(*number).is_some()).count();
    assert!((10..60).contains(&kept), "{kept}");
}

#[test]
fn a_service_account_beyond_the_share_of_its_namespace_lets_its_pods_name_no_secret() {
    let mut view = View::default();
    let many: Value = (0..1_000).map(|number| json!({"name": format!("{number:0250}")})).collect();
    for number in 0..100_u64 {
        let annotation = ("kubernetes.io/enforce-mountable-secrets", "true");
        view.watched(delivered("crowded", &format!("a{number}"), annotation, &many), number + 1);
    }
    let lists = |view: &View| -> usize {
        let accounts = (0..100).map(|number| view.catalog().service_account("crowded", &format!("a{number}")).unwrap());
        accounts.filter(|account| !account.secrets.is_empty()).count()
    };
    assert!((30..60).contains(&lists(&view)), "{}", lists(&view));
    let last = view.catalog().service_account("crowded", "a99").unwrap();
    assert_eq!(*last, mountable::closed());
    // Other namespaces have theirs.
    view.watched(delivered("shop", "web", ("alcove.dev/enforce-mountable-secrets", "true"), &many), 200);
    assert_eq!(view.catalog().service_account("shop", "web").unwrap().secrets.len(), 1_000);
}

#[test]
fn a_policy_beyond_the_share_of_its_namespace_refuses_nobody_if_it_is_on_trial() {
    let policy = |name: &str, mode: &str| {
        let keys: Vec<String> = (0..64).map(|number| format!("kv/{number}/{}", "a".repeat(1000))).collect();
        let rule = json!({"store": {"kind": "ExternalStore", "name": "vault"}, "keys": keys});
        let document = json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": name, "namespace": "crowded"},
            "spec": {"serviceAccounts": ["*"], "deny": vec![rule; 60], "mode": mode},
        });
        Item::delivered(Kind::Ours(OurKind::SecretPolicy), &document).unwrap()
    };
    let judged = |last: &str| {
        let mut view = View::default();
        for number in 0..4_u64 {
            view.watched(policy(&format!("p{number}"), if number < 3 { "Audit" } else { last }), number + 1);
        }
        let request = Request {
            namespace: "crowded",
            service_account: "web",
            secret: "db",
            store_kind: StoreKind::ExternalStore,
            store: "vault",
            key: "kv/app/db",
        };
        let settings = Settings::new("sidecar", KubernetesVersion::new(1, 37));
        judge(view.catalog(), &settings, &request, &mut Effort::of(MOST_STEPS))
    };
    assert_eq!(judged("Warn"), Judgement::Unmatched);
    assert!(matches!(judged("Enforce"), Judgement::Undecided(_)), "it is left out, since the others take all there is");
}
