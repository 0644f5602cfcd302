//! Clients of the external stores, one module each, behind one promise: [`Store`].
//!
//! A client asks with the Pod's own identity, reads what one [`Key`] names, and says in one of seven [`ErrorClass`]es why
//! it could not. What it hands out is [`SecretBytes`]; what it says in errors is scrubbed. It keeps no secret, only the
//! login, and nothing in the process's environment steers it.

#![cfg_attr(
    not(all(feature = "vault", feature = "kubernetes")),
    expect(dead_code, reason = "the HTTP client serves every store, and a build with fewer uses a part of it")
)]

mod credential;
mod document;
mod error;
#[cfg(test)]
mod fake;
mod http;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod scrub;
mod secret;
#[cfg(feature = "vault")]
mod vault;

pub use document::Document;
pub use error::{ErrorClass, StoreError};
pub use secret::SecretBytes;

use alcove_contract::configuration::StoreConfiguration;
#[cfg(any(feature = "vault", feature = "kubernetes"))]
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::reference::Key;
use futures::future::BoxFuture;
use std::sync::Arc;

/// What every store promises.
pub trait Store: Send + Sync {
    /// Fetches one secret. Logs in where there is no valid login, and once more where the store no longer accepts it.
    fn fetch<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Fetched, StoreError>>;

    /// Gives back what was borrowed: a login that this client made is revoked.
    ///
    /// It ends within seconds whatever the server does, a second call does nothing, and a fetch after it is refused,
    /// also for the other stores that share the login.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// What a store answered.
#[derive(Debug)]
pub struct Fetched {
    /// The values.
    pub document: Document,
    /// The store's own name for this version of them, where it has versions.
    pub version: Option<String>,
}

/// The logins of one Pod: stores that log in alike share one.
#[derive(Debug, Default)]
pub struct Logins {
    #[cfg(feature = "vault")]
    vault: vault::Sessions,
}

impl Logins {
    /// Makes the client of one store. Nothing is sent before the first fetch.
    ///
    /// # Errors
    ///
    /// Misconfigured, where the configuration cannot work or this build does not have the provider.
    pub fn open(&mut self, configuration: &StoreConfiguration) -> Result<Arc<dyn Store>, StoreError> {
        match &configuration.provider {
            #[cfg(feature = "vault")]
            ProviderConfiguration::Vault(vault) => Ok(Arc::new(self.vault.open(vault)?)),
            #[cfg(feature = "kubernetes")]
            ProviderConfiguration::Kubernetes(kubernetes) => Ok(Arc::new(kubernetes::Cluster::open(kubernetes)?)),
            #[cfg(not(all(feature = "vault", feature = "kubernetes")))]
            _ => Err(StoreError::misconfigured("this build was made without the client of that provider")),
        }
    }
}

/// Makes the client of one store that shares its login with no other.
///
/// # Errors
///
/// Misconfigured, where the configuration cannot work or this build does not have the provider.
pub fn open(configuration: &StoreConfiguration) -> Result<Arc<dyn Store>, StoreError> {
    Logins::default().open(configuration)
}

/// The one spelling of `key` under which policy judged it; any other is refused.
#[cfg(any(feature = "vault", feature = "kubernetes"))]
fn canonical(provider: &ProviderConfiguration, key: &Key) -> Result<Key, StoreError> {
    provider
        .canonical_key(key)
        .map_err(|problem| StoreError::misconfigured(problem.below(&key.to_string()).to_string()))
}
