//! The objects as far as they have been seen.
//!
//! Two sources feed a view in a cluster: the watch of each kind, which sees everything but late, and live reads, which
//! see a part at once: what one namespace depends on. Versions count up through a whole kind, so whichever of the two has
//! seen the newer version knows that part better, and the other one leaves it alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use alcove_contract::Problem;
use alcove_injection::catalog::{Catalog, LimitRange};
use alcove_injection::mountable;
use alcove_resources::policy::PolicyMode;
use serde_json::json;

use super::{Content, Item, Key, Kind, Share};

/// The objects as far as they have been seen.
#[derive(Debug, Default)]
pub struct View {
    /// Whoever looks at it holds on to it as it is; a change meanwhile is made to a copy. So a slow review keeps nobody
    /// waiting, and as a review takes microseconds, copies of ten thousand objects are rare. A lock held for as long as
    /// somebody looks would have every writer wait for the slowest review, and every other review for that writer.
    catalog: Arc<Catalog>,
    kinds: HashMap<Kind, Seen>,
    /// What is left for each namespace that has objects.
    shares: HashMap<String, Share>,
}

/// What has been seen of one kind.
#[derive(Debug, Default)]
struct Seen {
    /// The objects that are in the catalog, by their part and name.
    objects: HashMap<String, HashMap<String, Known>>,
    /// The newest version that the watch has delivered.
    version: u64,
    /// The versions of the lists by which parts were read live, where the watch is not known to be past them.
    read: HashMap<String, u64>,
}

/// What is in the catalog of one object.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Its version; 0 if another look at this version may bring more.
    version: u64,
    weight: usize,
}

/// A part of a kind that is read live: all that a namespace depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty if all namespaces depend on the same objects.
    pub namespace: String,
}

impl Part {
    /// What `namespace` depends on.
    #[must_use]
    pub fn of(kind: Kind, namespace: &str) -> Self {
        let shared = !kind.is_namespaced() && kind != Kind::Namespace;
        Self { kind, namespace: if shared { String::new() } else { namespace.to_owned() } }
    }

    fn containing(key: &Key) -> Self {
        Self::of(key.kind, if key.kind == Kind::Namespace { &key.name } else { &key.namespace })
    }

    fn key(&self, name: &str) -> Key {
        let namespace = if self.kind.is_namespaced() { self.namespace.clone() } else { String::new() };
        Key { kind: self.kind, namespace, name: name.to_owned() }
    }
}

/// A complete list of a part, read live.
#[derive(Debug)]
pub struct List {
    /// Of what.
    pub part: Part,
    /// As of which version; 0 if the API server does not count.
    pub version: u64,
    /// All objects, and their versions.
    pub items: Vec<(Item, u64)>,
}

impl View {
    /// What decisions are made from, as it is now.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Takes an object from a file.
    pub fn apply(&mut self, item: Item) {
        self.keep(item, 0);
    }

    /// Takes an object that the watch says is new or changed, unless a live read knows better.
    pub fn watched(&mut self, item: Item, version: u64) {
        if self.pass(&item.key, version) {
            self.keep(item, version);
        }
    }

    /// Forgets an object that the watch says is gone since `version`, unless a live read knows better.
    pub fn deleted(&mut self, key: &Key, version: u64) {
        if self.pass(key, version) {
            self.forget(key);
        }
    }

    /// Forgets all objects of a kind that a complete list of the watch did not hold.
    ///
    /// Which version that list has is not known. If a live read saw something newer, the watch delivers it next, and is
    /// to be believed then.
    pub fn retain(&mut self, kind: Kind, listed: &HashSet<Key>) {
        let seen = self.seen(kind);
        seen.read.clear();
        let known: Vec<Key> = seen.keys(kind).filter(|key| !listed.contains(key)).collect();
        for key in known {
            self.forget(&key);
        }
    }

    /// Takes a part that was read live, unless the watch or a later read knows better. Says whether that changed anything.
    pub fn read(&mut self, List { part, version, items }: List) -> bool {
        if !self.seen(part.kind).begin_read(&part, version) {
            return false;
        }
        let listed: HashSet<&str> = items.iter().map(|(item, _)| item.key.name.as_str()).collect();
        let gone = self.seen(part.kind).names(&part).filter(|name| !listed.contains(name));
        let gone: Vec<Key> = gone.map(|name| part.key(name)).collect();
        let mut changed = !gone.is_empty();
        for key in &gone {
            self.forget(key);
        }
        for (item, version) in items {
            changed |= self.keep(item, version);
        }
        changed
    }

    /// Notes how far the watch is. Says whether what it delivers is news.
    fn pass(&mut self, key: &Key, version: u64) -> bool {
        let seen = self.seen(key.kind);
        seen.version = seen.version.max(version);
        let read = seen.read.get(&Part::containing(key).namespace);
        version == 0 || read.is_none_or(|read| version > *read)
    }

    fn seen(&mut self, kind: Kind) -> &mut Seen {
        self.kinds.entry(kind).or_default()
    }

    /// Puts an object into the catalog, unless just this version of it is there.
    fn keep(&mut self, item: Item, version: u64) -> bool {
        let part = Part::containing(&item.key);
        let objects = self.seen(item.key.kind).objects.entry(part.namespace.clone()).or_default();
        let before = objects.get(&item.key.name).copied();
        if version > 0 && before.is_some_and(|before| before.version == version) {
            return false;
        }
        let share = self.shares.entry(payer(&item.key).to_owned()).or_default();
        share.give_back(before.map_or(0, |before| before.weight));
        let item = share.admit(item);
        // One that was left out is looked at again: what others took may be free then.
        let version = if matches!(item.content, Content::LeftOut(_)) { 0 } else { version };
        let known = Known { version, weight: item.weight };
        self.seen(item.key.kind).objects.entry(part.namespace).or_default().insert(item.key.name.clone(), known);
        self.put(item);
        true
    }

    fn put(&mut self, Item { key, content, weight: _ }: Item) {
        let catalog = Arc::make_mut(&mut self.catalog);
        match content {
            Content::Ours(kept) => catalog.keep(kept),
            Content::LeftOut(mode) => leave_out(catalog, &key, mode),
            Content::Namespace(labels) => catalog.apply_namespace(&key.name, labels),
            Content::ServiceAccount(account) => catalog.apply_service_account(&key.namespace, &key.name, account),
            Content::LimitRange(range) => catalog.apply_limit_range(&key.namespace, &key.name, range),
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(known) = self.seen(key.kind).remove(key) else { return };
        if let Some(share) = self.shares.get_mut(payer(key)) {
            share.give_back(known.weight);
            if share.is_whole() {
                self.shares.remove(payer(key));
            }
        }
        let catalog = Arc::make_mut(&mut self.catalog);
        match key.kind {
            Kind::Namespace => catalog.remove_namespace(&key.name),
            Kind::ServiceAccount => catalog.remove_service_account(&key.namespace, &key.name),
            Kind::LimitRange => catalog.remove_limit_range(&key.namespace, &key.name),
            Kind::Ours(kind) => catalog.remove(&key.object_name(kind)),
        }
    }
}

impl Seen {
    fn names(&self, part: &Part) -> impl Iterator<Item = &str> {
        self.objects.get(&part.namespace).into_iter().flat_map(HashMap::keys).map(String::as_str)
    }

    fn keys(&self, kind: Kind) -> impl Iterator<Item = Key> {
        let parts = self.objects.iter().map(move |(namespace, objects)| (Part::of(kind, namespace), objects));
        parts.flat_map(|(part, objects)| objects.keys().map(move |name| part.key(name)))
    }

    /// Whether a list of this version knows a part better than what has been seen of it; notes that it has been read.
    fn begin_read(&mut self, part: &Part, version: u64) -> bool {
        // What the watch has passed keeps nobody from believing the watch.
        self.read.retain(|_, read| *read > self.version);
        let newest = self.read.get(&part.namespace).map_or(self.version, |read| self.version.max(*read));
        let newer = version == 0 || version >= newest;
        if newer {
            self.read.insert(part.namespace.clone(), version);
        }
        newer
    }

    fn remove(&mut self, key: &Key) -> Option<Known> {
        let part = Part::containing(key);
        let objects = self.objects.get_mut(&part.namespace)?;
        let known = objects.remove(&key.name);
        if objects.is_empty() {
            self.objects.remove(&part.namespace);
        }
        known
    }
}

/// The namespace out of whose share an object is kept.
fn payer(key: &Key) -> &str {
    if key.kind == Kind::Namespace { &key.name } else { &key.namespace }
}

/// Notes an object that is left out, so that nobody takes it for absent.
fn leave_out(catalog: &mut Catalog, key: &Key, mode: PolicyMode) {
    match key.kind {
        Kind::Ours(kind) => {
            let rest = json!({"spec": {"mode": mode}});
            catalog.apply_unreadable(key.object_name(kind), &rest, left_out(&key.namespace));
        }
        Kind::ServiceAccount => catalog.apply_service_account(&key.namespace, &key.name, mountable::closed()),
        Kind::LimitRange => catalog.apply_limit_range(&key.namespace, &key.name, LimitRange::default()),
        // Its labels are always kept.
        Kind::Namespace => {}
    }
}

fn left_out(namespace: &str) -> Problem {
    let reason =
        format!("is left out, since the objects of alcove.dev in namespace \"{namespace}\" are too large together");
    Problem::new("", reason).with_remedy("delete some of them, or make them smaller")
}

#[cfg(test)]
mod tests;
