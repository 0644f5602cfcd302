//! What a store is: its kind, how it is reached and how one logs in.
//!
//! The same [`KeySpace::canonical_key`] is asked by the webhook, when it reads a rule and before policy judges a key, and by
//! the store client, before it builds a request: no spelling of a key slips past a rule.

pub mod kubernetes;
pub mod vault;

use crate::Problem;
use crate::reference::Key;
use crate::spelling;
use kubernetes::KubernetesConfiguration;
use serde::{Deserialize, Serialize};
use vault::{EngineVersion, VaultConfiguration};

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
        self.key_space().canonical_key(key)
    }

    /// What the keys of this store look like.
    #[must_use]
    pub const fn key_space(&self) -> KeySpace {
        match self {
            Self::Vault(vault) => KeySpace::Vault(vault.version),
            Self::Kubernetes(_) => KeySpace::Kubernetes,
        }
    }
}

/// What the keys of a store look like: all that [`canonical_key`](Self::canonical_key) needs to know of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpace {
    /// Paths below the mounts of a Vault, whose KV engines have the declared version.
    Vault(Option<EngineVersion>),
    /// Names of Secrets.
    Kubernetes,
}

impl KeySpace {
    /// Every one there is.
    pub const ALL: [Self; 4] = [
        Self::Vault(None),
        Self::Vault(Some(EngineVersion::V1)),
        Self::Vault(Some(EngineVersion::V2)),
        Self::Kubernetes,
    ];

    /// The canonical form of `key`.
    ///
    /// # Errors
    ///
    /// As [`ProviderConfiguration::canonical_key`].
    pub fn canonical_key(self, key: &Key) -> Result<Key, Problem> {
        match self {
            Self::Vault(version) => vault::canonical_key(key, version),
            Self::Kubernetes => kubernetes::canonical_key(key),
        }
    }
}

/// Refuses options that are not among `known`.
fn check_options(key: &Key, known: &[&str]) -> Result<(), Problem> {
    match key.options.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) if known.is_empty() => Err(Problem::new("", "is an option, and this store has none")
            .with_value(name)
            .with_remedy("leave it away, with the '?' before it")),
        Some(name) => Err(Problem::new("", "is not an option of this store")
            .with_value(name)
            .with_remedy(spelling::remedy(name, known))),
    }
}
