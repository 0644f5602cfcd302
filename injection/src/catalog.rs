//! What is known of the cluster: our objects, the namespaces and ServiceAccounts that they speak of, and LimitRanges.
//!
//! A watch keeps it, or files fill it. Objects are read when they arrive; a lookup costs the same however many objects
//! other namespaces have.

mod account;
mod entry;
mod kept;
mod limit_range;
mod selection;
mod tables;

use crate::policy::Policy;
use alcove_contract::binding::Binding;
use alcove_contract::name::StoreName;
use alcove_contract::provider::KeySpace;
use alcove_contract::{Problem, Problems, nearest};
use alcove_resources::policy::{PolicyMode, StoreKind};
use alcove_resources::store::Provider;
use alcove_resources::{Kind, Object, ObjectName};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub(crate) use account::{Account, unlabelled};
pub(crate) use entry::{Entry, StoreContent, located};
pub use kept::Kept;
pub use limit_range::{Limit, LimitRange, Scope};
pub(crate) use selection::{Holds, Namespace, checked};
use tables::Tables;

/// What is known of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    namespaces: HashMap<String, BTreeMap<String, String>>,
    service_accounts: HashMap<String, HashMap<String, ServiceAccount>>,
    limit_ranges: HashMap<String, BTreeMap<String, LimitRange>>,
    stores: Tables<StoreContent>,
    bindings: Tables<Binding>,
    policies: Tables<Policy>,
    /// Policies that are not enforced. They are kept apart, so that whoever asks for policies cannot be given one by mistake.
    trials: Tables<Policy>,
}

/// What is known of a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The names in `secrets`.
    pub secrets: BTreeSet<String>,
    /// The names in `imagePullSecrets`.
    pub image_pull_secrets: BTreeSet<String>,
    /// Its labels; nothing where there is no memory left to keep them.
    pub labels: Option<BTreeMap<String, String>>,
}

/// A binding of a Secret name, and the object that it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CatalogBinding<'a> {
    /// The SecretBinding or ClusterSecretBinding.
    pub object: &'a ObjectName,
    /// What it says.
    pub binding: &'a Binding,
}

/// A store that a namespace may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Store<'a> {
    /// Its kind, which decides how far its word is trusted.
    pub kind: StoreKind,
    /// The name that references use.
    pub name: &'a StoreName,
    /// The object itself, for messages.
    pub object: &'a ObjectName,
    /// What kind of store it is, and where.
    pub provider: &'a Provider,
    /// The audience of the token that the sidecar logs in with.
    pub audience: Option<&'a str>,
    /// What stands before every key.
    pub prefix: &'a str,
}

/// Why a store's name leads to no store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongStore {
    /// Nothing has this name; the nearest name that the namespace may use is offered.
    Unknown {
        /// That name.
        nearest: Option<String>,
    },
    /// Both kinds have it: a tenant's store never shadows an administrator's.
    Ambiguous,
    /// A ClusterExternalStore has it, whose conditions do not admit the namespace.
    NotAdmitted,
    /// The store, or whether it admits the namespace, cannot be read.
    Unreadable(Problems),
}

impl Catalog {
    /// Takes a new or changed object of ours.
    pub fn apply(&mut self, object: Object) {
        self.keep(object.into());
    }

    /// Takes an object of ours whose `document` does not fit its kind, as [`Kept::unreadable`] says.
    pub fn apply_unreadable(&mut self, object: ObjectName, document: &Value, problem: Problem) {
        self.keep(Kept::unreadable(object, document, problem));
    }

    /// Takes a new or changed object of ours that has been read.
    pub fn keep(&mut self, Kept(content): Kept) {
        match content {
            kept::Content::Store(store) => self.stores.insert(store),
            kept::Content::Binding(binding) => self.bindings.insert(binding),
            kept::Content::Policy(policy, mode) => self.keep_policy(policy, mode),
        }
    }

    fn keep_policy(&mut self, policy: Arc<Entry<Policy>>, mode: PolicyMode) {
        let (kept_in, others) = if mode.is_trial() {
            (&mut self.trials, &mut self.policies)
        } else {
            (&mut self.policies, &mut self.trials)
        };
        others.remove(&policy.object);
        kept_in.insert(policy);
    }

    /// Forgets an object of ours.
    pub fn remove(&mut self, object: &ObjectName) {
        match object.kind {
            Kind::ExternalStore | Kind::ClusterExternalStore => self.stores.remove(object),
            Kind::SecretBinding | Kind::ClusterSecretBinding => self.bindings.remove(object),
            Kind::SecretPolicy | Kind::ClusterSecretPolicy => {
                self.policies.remove(object);
                self.trials.remove(object);
            }
        }
    }

    /// Takes a new or changed namespace. As the API server does, it gives each its name as a label.
    pub fn apply_namespace(&mut self, name: &str, mut labels: BTreeMap<String, String>) {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        self.namespaces.insert(name.to_owned(), labels);
    }

    /// Forgets a namespace, not the objects in it.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// Takes a new or changed ServiceAccount.
    pub fn apply_service_account(&mut self, namespace: &str, name: &str, account: ServiceAccount) {
        self.service_accounts.entry(namespace.to_owned()).or_default().insert(name.to_owned(), account);
    }

    /// Forgets a ServiceAccount.
    pub fn remove_service_account(&mut self, namespace: &str, name: &str) {
        if let Some(accounts) = self.service_accounts.get_mut(namespace) {
            accounts.remove(name);
        }
    }

    /// Takes a new or changed LimitRange.
    pub fn apply_limit_range(&mut self, namespace: &str, name: &str, range: LimitRange) {
        self.limit_ranges.entry(namespace.to_owned()).or_default().insert(name.to_owned(), range);
    }

    /// Forgets a LimitRange.
    pub fn remove_limit_range(&mut self, namespace: &str, name: &str) {
        if let Some(ranges) = self.limit_ranges.get_mut(namespace) {
            ranges.remove(name);
            if ranges.is_empty() {
                self.limit_ranges.remove(namespace);
            }
        }
    }

    /// The LimitRanges of a namespace, by name.
    ///
    /// That there is none is not worth a fresh look: most namespaces have none, and the API server judges by them anyhow.
    pub(crate) fn limit_ranges(&self, namespace: &str) -> impl Iterator<Item = (&str, &LimitRange)> {
        let ranges = self.limit_ranges.get(namespace).into_iter().flatten();
        ranges.map(|(name, range)| (name.as_str(), range))
    }

    /// The labels of a namespace, if it has been seen.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(name)
    }

    /// A ServiceAccount, if it has been seen.
    #[must_use]
    pub fn service_account(&self, namespace: &str, name: &str) -> Option<&ServiceAccount> {
        self.service_accounts.get(namespace)?.get(name)
    }

    /// The namespaces that have been seen.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = Namespace<'_>> {
        self.namespaces.iter().map(|(name, labels)| Namespace { name, labels: Some(labels) })
    }

    /// The ServiceAccounts of a namespace.
    pub(crate) fn accounts(&self, namespace: &str) -> impl Iterator<Item = Account<'_>> {
        let accounts = self.service_accounts.get(namespace).into_iter().flatten();
        accounts.map(|(name, account)| Account { name, known: Some(account) })
    }

    /// A ServiceAccount, whether or not it has been seen.
    pub(crate) fn account<'a>(&'a self, namespace: &str, name: &'a str) -> Account<'a> {
        Account { name, known: self.service_account(namespace, name) }
    }

    /// The binding of the Secret name `secret` in `namespace`: a SecretBinding, else a ClusterSecretBinding.
    ///
    /// # Errors
    ///
    /// A binding that cannot be read, or of which it cannot be told whether it holds because the namespace has not been
    /// seen: such a name is neither bound nor plain. A fresh look at the cluster may cure both.
    pub fn binding(&self, secret: &str, namespace: &str) -> Result<Option<CatalogBinding<'_>>, Problems> {
        let Some(entry) = self.bindings.namespaced(namespace, secret) else {
            return self.cluster_binding(secret, self.namespace(namespace));
        };
        Ok(Some(CatalogBinding { object: &entry.object, binding: entry.read()? }))
    }

    fn cluster_binding(&self, secret: &str, namespace: Namespace<'_>) -> Result<Option<CatalogBinding<'_>>, Problems> {
        let Some(entry) = self.bindings.cluster.get(secret) else { return Ok(None) };
        match entry.selection.holds_in(namespace) {
            Holds::No => Ok(None),
            Holds::Unknown => Err(unseen(namespace, &entry.object).into()),
            Holds::Yes => Ok(Some(CatalogBinding { object: &entry.object, binding: entry.read()? })),
        }
    }

    /// The store that references in `namespace` call `name`.
    ///
    /// # Errors
    ///
    /// Why that name leads to no store there.
    pub fn store<'a>(&'a self, name: &'a StoreName, namespace: &str) -> Result<Store<'a>, WrongStore> {
        let here = self.namespace(namespace);
        let own = self.stores.namespaced(namespace, name.as_str());
        let Some(cluster) = self.stores.cluster.get(name.as_str()) else {
            let own = own.ok_or_else(|| self.unknown_store(name, here))?;
            return found(StoreKind::ExternalStore, name, own);
        };
        match (cluster.selection.holds_in(here), own) {
            (Holds::Unknown, _) => Err(WrongStore::Unreadable(unseen(here, &cluster.object).into())),
            (Holds::Yes, Some(_)) => Err(WrongStore::Ambiguous),
            (Holds::Yes, None) => found(StoreKind::ClusterExternalStore, name, cluster),
            (Holds::No, Some(own)) => found(StoreKind::ExternalStore, name, own),
            (Holds::No, None) => Err(WrongStore::NotAdmitted),
        }
    }

    /// What the keys of a store look like, if it has been seen and can be read.
    pub(crate) fn key_space(&self, kind: StoreKind, namespace: &str, name: &str) -> Option<KeySpace> {
        let entry = match kind {
            StoreKind::ExternalStore => self.stores.namespaced(namespace, name)?,
            StoreKind::ClusterExternalStore => self.stores.cluster.get(name)?,
        };
        let Provider { vault, kubernetes } = &entry.content.as_ref().ok()?.provider;
        match (vault, kubernetes) {
            (Some(vault), None) => Some(KeySpace::Vault(vault.version)),
            (None, Some(_)) => Some(KeySpace::Kubernetes),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    /// What every key of a store begins with; nothing is known of a store that is not there or cannot be read.
    pub(crate) fn prefix(&self, kind: StoreKind, namespace: &str, name: &str) -> &str {
        let entry = match kind {
            StoreKind::ExternalStore => self.stores.namespaced(namespace, name),
            StoreKind::ClusterExternalStore => self.stores.cluster.get(name).map(Arc::as_ref),
        };
        let content = entry.and_then(|entry| entry.content.as_ref().ok());
        content.and_then(|content| content.prefix.as_deref()).unwrap_or_default()
    }

    /// Of which kind an ExternalStore is, and where.
    pub(crate) fn provider_of_own_store(&self, namespace: &str, name: &str) -> Option<&Provider> {
        Some(&self.stores.namespaced(namespace, name)?.content.as_ref().ok()?.provider)
    }

    fn unknown_store(&self, name: &StoreName, here: Namespace<'_>) -> WrongStore {
        let own = self.stores.all_in(here.name).map(|entry| entry.object.name.as_str());
        let admitted = self.stores.cluster.values().filter(|entry| entry.selection.holds_in(here) == Holds::Yes);
        let candidates = own.chain(admitted.map(|entry| entry.object.name.as_str()));
        WrongStore::Unknown { nearest: nearest(name.as_str(), candidates).map(str::to_owned) }
    }

    /// The ClusterExternalStores, by name, wherever they hold.
    pub(crate) fn cluster_stores(&self) -> impl Iterator<Item = &Entry<StoreContent>> {
        self.stores.cluster.values().map(Arc::as_ref)
    }

    /// The audiences that a store has for itself, with that store: those of the cluster, wherever they hold, and those of
    /// the namespace. A store that cannot be read has none that is known.
    pub(crate) fn reserved_audiences(&self, namespace: &str) -> impl Iterator<Item = (&str, &ObjectName)> {
        // Of two stores with the same audience, the last one is named: an administrator's.
        let entries = self.stores.all_in(namespace).chain(self.cluster_stores());
        entries.filter_map(|entry| Some((entry.content.as_ref().ok()?.reserved_audience()?, &entry.object)))
    }

    /// The policies of a namespace that are enforced, by name.
    pub(crate) fn policies(&self, namespace: &str) -> impl Iterator<Item = &Entry<Policy>> {
        self.policies.all_in(namespace)
    }

    /// The policies of the cluster that are enforced, by name, wherever they hold.
    pub(crate) fn cluster_policies(&self) -> impl Iterator<Item = &Entry<Policy>> {
        self.policies.cluster.values().map(Arc::as_ref)
    }

    /// The policies that are not enforced: those of the cluster, wherever they hold, and those of the namespace.
    pub(crate) fn trials(&self, namespace: &str) -> impl Iterator<Item = &Entry<Policy>> {
        self.trials.cluster.values().map(Arc::as_ref).chain(self.trials.all_in(namespace))
    }

    /// The policy of this name in a namespace, readable or not, enforced or not.
    pub(crate) fn policy(&self, namespace: &str, name: &str) -> Option<&Entry<Policy>> {
        self.policies.namespaced(namespace, name).or_else(|| self.trials.namespaced(namespace, name))
    }

    pub(crate) fn namespace<'a>(&'a self, name: &'a str) -> Namespace<'a> {
        Namespace { name, labels: self.namespace_labels(name) }
    }
}

impl WrongStore {
    /// Whether a fresh look at the cluster may find the store.
    #[must_use]
    pub const fn may_be_late(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::NotAdmitted | Self::Unreadable(_) => true,
            Self::Ambiguous => false,
        }
    }

    /// What to tell whoever wrote `name` in `namespace`.
    #[must_use]
    pub fn problems(&self, name: &StoreName, namespace: &str) -> Problems {
        let about = |reason: &str| Problem::new("", reason).with_value(name.as_str());
        match self {
            Self::Unknown { nearest } => {
                let remedy = nearest.as_ref().map_or_else(
                    || format!("create an ExternalStore of this name in namespace \"{namespace}\""),
                    |nearest| format!("did you mean \"{nearest}\"?"),
                );
                about(&format!("is not a store that namespace \"{namespace}\" may use")).with_remedy(remedy).into()
            }
            Self::Ambiguous => about(&format!(
                "is both an ExternalStore in namespace \"{namespace}\" and a ClusterExternalStore, and neither shadows the other"
            ))
            .with_remedy("rename the ExternalStore")
            .into(),
            Self::NotAdmitted => {
                about(&format!("is a ClusterExternalStore whose conditions do not admit namespace \"{namespace}\""))
                    .with_remedy("ask its administrator, or use a store of the namespace's own")
                    .into()
            }
            Self::Unreadable(problems) => {
                problems.clone().map(|problem| about(&format!("names a store that cannot be read: {problem}")))
            }
        }
    }
}

fn found<'a>(kind: StoreKind, name: &'a StoreName, entry: &'a Entry<StoreContent>) -> Result<Store<'a>, WrongStore> {
    let content = entry.read().map_err(WrongStore::Unreadable)?;
    let (audience, prefix) = (content.audience.as_deref(), content.prefix.as_deref().unwrap_or_default());
    Ok(Store { kind, name, object: &entry.object, provider: &content.provider, audience, prefix })
}

/// The problem of an object of which it cannot be told whether it holds.
pub(crate) fn unseen(namespace: Namespace<'_>, object: &ObjectName) -> Problem {
    let Namespace { name, .. } = namespace;
    Problem::new(object.to_string(), format!("selects namespaces by label, and namespace \"{name}\" is not known yet"))
        .with_remedy("apply again")
}

#[cfg(test)]
mod tests;
