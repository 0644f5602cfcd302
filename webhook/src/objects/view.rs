//! The objects as far as they have been seen.
//!
//! Two sources feed a view in a cluster: the watch of each kind, which sees everything but late, and live reads, which
//! see something at once. A live read may be older than what the watch has seen since, so it adds only what is newer
//! than all of that: versions count up through a whole kind, and what is not newer has been seen or has been deleted.

use std::collections::{HashMap, HashSet};

use alcove_injection::catalog::Catalog;

use super::{Content, Item, Key, Kind};

/// The objects as far as they have been seen.
#[derive(Debug, Default)]
pub struct View {
    catalog: Catalog,
    kinds: HashMap<Kind, Seen>,
}

/// What has been seen of one kind.
#[derive(Debug, Default)]
struct Seen {
    /// The objects that are in the catalog.
    objects: HashSet<(String, String)>,
    /// The newest version that the watch has delivered.
    version: u64,
}

impl View {
    /// What decisions are made from.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Takes an object from a file.
    pub fn apply(&mut self, item: Item) {
        self.seen(item.key.kind).objects.insert((item.key.namespace.clone(), item.key.name.clone()));
        self.put(item);
    }

    /// Takes an object that the watch says is new or changed.
    pub fn watched(&mut self, item: Item, version: u64) {
        let seen = self.seen(item.key.kind);
        seen.version = seen.version.max(version);
        self.apply(item);
    }

    /// Forgets an object that the watch says is gone since `version`.
    pub fn deleted(&mut self, key: &Key, version: u64) {
        let seen = self.seen(key.kind);
        seen.version = seen.version.max(version);
        seen.objects.remove(&(key.namespace.clone(), key.name.clone()));
        self.forget(key);
    }

    /// Forgets all objects of a kind that a complete list did not hold.
    pub fn retain(&mut self, kind: Kind, listed: &HashSet<Key>) {
        let known = std::mem::take(&mut self.seen(kind).objects);
        for (namespace, name) in known {
            let key = Key { kind, namespace, name };
            if listed.contains(&key) {
                self.seen(kind).objects.insert((key.namespace, key.name));
            } else {
                self.forget(&key);
            }
        }
    }

    /// Takes an object that was read live, unless the watch knows better. Says whether it was taken.
    pub fn read(&mut self, item: Item, version: u64) -> bool {
        let newer = version > self.seen(item.key.kind).version;
        if newer {
            self.apply(item);
        }
        newer
    }

    fn seen(&mut self, kind: Kind) -> &mut Seen {
        self.kinds.entry(kind).or_default()
    }

    fn put(&mut self, Item { key, content }: Item) {
        match content {
            Content::Ours(object) => self.catalog.apply(*object),
            Content::Unreadable(kind, problem) => self.catalog.apply_unreadable(key.object_name(kind), problem),
            Content::Namespace(labels) => self.catalog.apply_namespace(&key.name, labels),
            Content::ServiceAccount(account) => {
                self.catalog.apply_service_account(&key.namespace, &key.name, account);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        match key.kind {
            Kind::Namespace => self.catalog.remove_namespace(&key.name),
            Kind::ServiceAccount => self.catalog.remove_service_account(&key.namespace, &key.name),
            Kind::Ours(kind) => self.catalog.remove(&key.object_name(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn namespace(name: &str, label: &str) -> Item {
        let labels = BTreeMap::from([("version".to_owned(), label.to_owned())]);
        let key = Key { kind: Kind::Namespace, namespace: String::new(), name: name.to_owned() };
        Item { key, content: Content::Namespace(labels) }
    }

    fn label<'a>(view: &'a View, name: &str) -> Option<&'a str> {
        view.catalog().namespace_labels(name).map(|labels| labels["version"].as_str())
    }

    #[test]
    fn a_live_read_adds_only_what_the_watch_has_not_seen() {
        let mut view = View::default();
        view.watched(namespace("a", "5"), 5);
        view.deleted(&namespace("gone", "").key, 7);
        assert!(!view.read(namespace("gone", "6"), 6), "deleted at 7");
        assert!(!view.read(namespace("a", "4"), 4), "changed at 5");
        assert!(view.read(namespace("new", "8"), 8));
        assert_eq!((label(&view, "a"), label(&view, "gone"), label(&view, "new")), (Some("5"), None, Some("8")));
    }

    #[test]
    fn a_live_read_does_not_make_the_watch_look_newer_than_it_is() {
        let mut view = View::default();
        assert!(view.read(namespace("late", "9"), 9));
        assert!(view.read(namespace("later-seen", "8"), 8));
    }

    #[test]
    fn what_a_complete_list_does_not_hold_is_gone_also_if_only_a_live_read_saw_it() {
        let mut view = View::default();
        view.watched(namespace("stays", "1"), 1);
        view.watched(namespace("goes", "2"), 2);
        view.read(namespace("goes-too", "3"), 3);
        view.retain(Kind::Namespace, &HashSet::from([namespace("stays", "").key]));
        assert_eq!((label(&view, "stays"), label(&view, "goes"), label(&view, "goes-too")), (Some("1"), None, None));
    }
}
