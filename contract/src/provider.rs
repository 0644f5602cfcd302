//! What a store is: its kind, how it is reached and how one logs in.
//!
//! The same [`ProviderConfiguration::canonical_key`] is asked by the webhook, before policy judges a key, and by the
//! store client, before it builds a request: no spelling of a key slips past a rule.

pub mod kubernetes;
pub mod vault;

use crate::Problem;
use crate::reference::Key;
use crate::spelling;
use kubernetes::KubernetesConfiguration;
use serde::{Deserialize, Serialize};
use vault::VaultConfiguration;

/// One store, as the sidecar is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProviderConfiguration {
    /// HashiCorp Vault or OpenBao.
    Vault(VaultConfiguration),
    /// Secrets of another namespace of the same cluster.
    Kubernetes(KubernetesConfiguration),
}

impl ProviderConfiguration {
    /// The canonical form of `key` in this store.
    ///
    /// # Errors
    ///
    /// A key that the store cannot have, another spelling of a canonical key (the remedy offers the right one), or an
    /// option that the store does not know.
    pub fn canonical_key(&self, key: &Key) -> Result<Key, Problem> {
        match self {
            Self::Vault(vault) => vault::canonical_key(key, vault.version),
            Self::Kubernetes(_) => kubernetes::canonical_key(key),
        }
    }
}

/// Refuses options that are not among `known`.
fn check_options(key: &Key, known: &[&str]) -> Result<(), Problem> {
    match key.options.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) if known.is_empty() => {
            Err(Problem::new("", "has an option, and this store has none").with_value(name))
        }
        Some(name) => Err(Problem::new("", "is not an option of this store")
            .with_value(name)
            .with_remedy(spelling::remedy(name, known))),
    }
}
