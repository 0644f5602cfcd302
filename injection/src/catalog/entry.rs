//! One object of ours, read once when it arrives and not at each Pod.

use super::selection::Selection;
use crate::audiences::is_exclusive_by_default;
use crate::policy::Policy;
use alcove_contract::binding::Binding;
use alcove_contract::{Problem, Problems};
use alcove_resources::store::Provider;
use alcove_resources::{
    ClusterExternalStore, ClusterSecretBinding, ClusterSecretPolicy, ExternalStore, Kind, ObjectName, SecretBinding,
    SecretPolicy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

/// An object: where it holds and what it says.
///
/// What cannot be read is kept as its problems, so that the object does not grant, but is not taken for absent either.
/// If the part that says where it holds cannot be read, it holds everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub(crate) object: ObjectName,
    pub(crate) selection: Selection,
    pub(crate) content: Result<T, Problems>,
}

/// What both kinds of stores say.
#[derive(Clone, Debug)]
pub(crate) struct StoreContent {
    pub(crate) provider: Provider,
    pub(crate) audience: Option<String>,
    pub(crate) prefix: Option<String>,
    /// Whether only the sidecar may have a token with this audience.
    pub(crate) is_exclusive: bool,
}

impl StoreContent {
    fn new(provider: Provider, audience: Option<String>, prefix: Option<String>, exclusive: Option<bool>) -> Self {
        let is_exclusive = exclusive.unwrap_or_else(|| audience.as_deref().is_some_and(is_exclusive_by_default));
        Self { provider, audience, prefix, is_exclusive }
    }

    /// The audience, if it is the store's alone.
    pub(crate) fn reserved_audience(&self) -> Option<&str> {
        self.audience.as_deref().filter(|_| self.is_exclusive)
    }
}

impl<T> Entry<T> {
    /// An object that does not fit its kind. The namespaces that its selector leaves out are not concerned: what cannot be
    /// read in a selector only makes it select more.
    pub(crate) fn unreadable(object: ObjectName, document: &Value, problem: Problem) -> Self {
        let selector = document.pointer("/spec/namespaceSelector").map(LabelSelector::deserialize);
        let selection = match (object.kind, selector) {
            (Kind::ClusterSecretBinding | Kind::ClusterSecretPolicy, Some(Ok(selector))) => {
                Selection::by_selector(Some(&selector)).unwrap_or_else(|_wrong| Selection::everywhere())
            }
            _ => Selection::everywhere(),
        };
        Self::new(object, Ok(selection), Err(problem.into()))
    }

    /// What the object says.
    pub(crate) fn read(&self) -> Result<&T, Problems> {
        self.content.as_ref().map_err(|problems| located(problems, &self.object))
    }

    fn new(object: ObjectName, selection: Result<Selection, Problems>, content: Result<T, Problems>) -> Self {
        match selection {
            Ok(selection) => Self { object, selection, content },
            Err(mut problems) => {
                problems.append(content.err().unwrap_or_default());
                Self { object, selection: Selection::everywhere(), content: Err(problems) }
            }
        }
    }

    fn everywhere(object: ObjectName, content: Result<T, Problems>) -> Self {
        Self::new(object, Ok(Selection::everywhere()), content)
    }
}

/// The same problems, each naming the object that it stands in.
pub(crate) fn located(problems: &Problems, object: &ObjectName) -> Problems {
    problems.clone().map(|mut problem| {
        let separator = if problem.place.is_empty() { "" } else { ": " };
        problem.place = format!("{object}{separator}{}", problem.place);
        problem
    })
}

impl Entry<Binding> {
    pub(crate) fn of_binding(object: ObjectName, binding: &SecretBinding) -> Self {
        Self::everywhere(object, binding.spec.binding.read().map_err(|problems| problems.below("spec")))
    }

    pub(crate) fn of_cluster_binding(object: ObjectName, binding: &ClusterSecretBinding) -> Self {
        let selection = Selection::by_selector(binding.spec.namespace_selector.as_ref());
        Self::new(object, selection, binding.spec.binding.read().map_err(|problems| problems.below("spec")))
    }
}

impl Entry<StoreContent> {
    pub(crate) fn of_store(object: ObjectName, store: ExternalStore) -> Self {
        let spec = store.spec;
        let content = StoreContent::new(spec.provider, spec.audience, spec.prefix, spec.exclusive_audience);
        Self::everywhere(object, Ok(content))
    }

    pub(crate) fn of_cluster_store(object: ObjectName, store: ClusterExternalStore) -> Self {
        let selection = Selection::by_conditions(&store.spec.conditions);
        let spec = store.spec;
        let content = StoreContent::new(spec.provider, spec.audience, spec.prefix, spec.exclusive_audience);
        Self::new(object, selection, Ok(content))
    }
}

impl Entry<Policy> {
    pub(crate) fn of_policy(object: ObjectName, policy: &SecretPolicy) -> Self {
        Self::everywhere(object, Ok(Policy::read((&policy.spec).into())))
    }

    pub(crate) fn of_cluster_policy(object: ObjectName, policy: &ClusterSecretPolicy) -> Self {
        let selection = Selection::by_selector(policy.spec.namespace_selector.as_ref());
        Self::new(object, selection, Ok(Policy::read((&policy.spec).into())))
    }
}
