//! An object of ours as the catalog keeps it.

use super::{Entry, StoreContent};
use crate::footprint::{Footprint, allocated};
use crate::policy::{self, Policy};
use alcove_contract::binding::Binding;
use alcove_contract::{Problem, Problems};
use alcove_resources::policy::PolicyMode;
use alcove_resources::{Kind, Object, ObjectName};
use serde_json::Value;
use std::sync::Arc;

/// An object of ours as the catalog keeps it: read, whether or not all of it could be.
#[derive(Clone, Debug)]
pub struct Kept(pub(super) Content);

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Store(Arc<Entry<StoreContent>>),
    Binding(Arc<Entry<Binding>>),
    Policy(Arc<Entry<Policy>>, PolicyMode),
}

impl Kept {
    /// An object whose `document` does not fit its kind: whoever depends on it is refused with `problem`. Nobody depends on
    /// a policy that says in all clarity that it is not enforced.
    #[must_use]
    pub fn unreadable(object: ObjectName, document: &Value, problem: Problem) -> Self {
        Self(match object.kind {
            Kind::ExternalStore | Kind::ClusterExternalStore => {
                Content::Store(Arc::new(Entry::unreadable(object, document, problem)))
            }
            Kind::SecretBinding | Kind::ClusterSecretBinding => {
                Content::Binding(Arc::new(Entry::unreadable(object, document, problem)))
            }
            Kind::SecretPolicy | Kind::ClusterSecretPolicy => {
                Content::Policy(Arc::new(Entry::unreadable(object, document, problem)), policy::stated_mode(document))
            }
        })
    }

    /// Whether a policy is enforced; every other object is.
    #[must_use]
    pub const fn mode(&self) -> PolicyMode {
        match &self.0 {
            Content::Store(_) | Content::Binding(_) => PolicyMode::Enforce,
            Content::Policy(_, mode) => *mode,
        }
    }
}

impl From<Object> for Kept {
    fn from(object: Object) -> Self {
        let name = object.object_name();
        Self(match object {
            Object::ExternalStore(store) => Content::Store(Arc::new(Entry::of_store(name, store))),
            Object::ClusterExternalStore(store) => Content::Store(Arc::new(Entry::of_cluster_store(name, store))),
            Object::SecretBinding(binding) => Content::Binding(Arc::new(Entry::of_binding(name, &binding))),
            Object::ClusterSecretBinding(binding) => {
                Content::Binding(Arc::new(Entry::of_cluster_binding(name, &binding)))
            }
            Object::SecretPolicy(policy) => {
                Content::Policy(Arc::new(Entry::of_policy(name, &policy)), policy.spec.mode.unwrap_or_default())
            }
            Object::ClusterSecretPolicy(policy) => {
                Content::Policy(Arc::new(Entry::of_cluster_policy(name, &policy)), policy.spec.mode.unwrap_or_default())
            }
        })
    }
}

impl Footprint for Kept {
    fn heap(&self) -> usize {
        match &self.0 {
            Content::Store(store) => weight(store),
            Content::Binding(binding) => weight(binding),
            Content::Policy(policy, _) => weight(policy),
        }
    }
}

/// What an entry takes in its table, where it has a place of its own, which is counted.
fn weight<T: Footprint>(entry: &Entry<T>) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    allocated(size_of::<Entry<T>>() + COUNTS).saturating_add(entry.heap())
}

impl<T: Footprint> Footprint for Entry<T> {
    fn heap(&self) -> usize {
        let Self { object, selection, content } = self;
        let ObjectName { kind: _, namespace, name } = object;
        let content = content.as_ref().map_or_else(Problems::heap, T::heap);
        namespace.heap().saturating_add(name.heap()).saturating_add(selection.heap()).saturating_add(content)
    }
}

impl Footprint for StoreContent {
    fn heap(&self) -> usize {
        let Self { provider, audience, prefix, is_exclusive: _ } = self;
        provider.heap().saturating_add(audience.heap().saturating_add(prefix.heap()))
    }
}
