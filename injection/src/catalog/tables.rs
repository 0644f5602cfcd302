//! The objects of a pair of kinds, by namespace and name.

use super::Entry;
use alcove_resources::ObjectName;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The objects of a pair of kinds: those of namespaces, and those of the cluster.
///
/// A copy shares them: a catalog is copied when it changes while somebody decides from it, and they may be large.
#[derive(Clone, Debug)]
pub(super) struct Tables<T> {
    namespaced: HashMap<String, Table<T>>,
    pub(super) cluster: Table<T>,
}

/// Objects by name.
pub(super) type Table<T> = BTreeMap<String, Arc<Entry<T>>>;

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self { namespaced: HashMap::new(), cluster: BTreeMap::new() }
    }
}

impl<T> Tables<T> {
    pub(super) fn insert(&mut self, entry: Arc<Entry<T>>) {
        let ObjectName { kind, namespace, name } = entry.object.clone();
        let table =
            if kind.is_namespaced() { self.namespaced.entry(namespace).or_default() } else { &mut self.cluster };
        table.insert(name, entry);
    }

    pub(super) fn remove(&mut self, object: &ObjectName) {
        if !object.kind.is_namespaced() {
            self.cluster.remove(&object.name);
        } else if let Some(table) = self.namespaced.get_mut(&object.namespace) {
            table.remove(&object.name);
            if table.is_empty() {
                self.namespaced.remove(&object.namespace);
            }
        }
    }

    pub(super) fn namespaced(&self, namespace: &str, name: &str) -> Option<&Entry<T>> {
        self.namespaced.get(namespace)?.get(name).map(Arc::as_ref)
    }

    pub(super) fn all_in(&self, namespace: &str) -> impl Iterator<Item = &Entry<T>> {
        self.namespaced.get(namespace).into_iter().flat_map(BTreeMap::values).map(Arc::as_ref)
    }
}
