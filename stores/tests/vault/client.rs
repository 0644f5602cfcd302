//! What a sidecar does with a store, for tests.

use crate::server::path;
use alcove_contract::configuration::StoreConfiguration;
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::provider::vault::{VaultConfiguration, VaultLogin};
use alcove_contract::reference::Reference;
use alcove_stores::{Fetched, Store, StoreError};
use std::sync::Arc;
use tempfile::NamedTempFile;

pub(crate) fn open(configuration: VaultConfiguration) -> Arc<dyn Store> {
    let provider = ProviderConfiguration::Vault(configuration);
    alcove_stores::open(&StoreConfiguration { prefix: String::new(), name: "vault".parse().unwrap(), provider })
        .unwrap()
}

pub(crate) fn with_token(token_file: &NamedTempFile) -> VaultLogin {
    VaultLogin::Token { token_file: path(token_file) }
}

pub(crate) fn reference(key: &str) -> Reference {
    format!("vault:{key}").parse().unwrap()
}

pub(crate) async fn fetch(store: &Arc<dyn Store>, key: &str) -> Result<Fetched, StoreError> {
    store.fetch(&reference(key).key).await
}

pub(crate) async fn failure(store: &Arc<dyn Store>, key: &str) -> StoreError {
    match fetch(store, key).await {
        Ok(fetched) => panic!("{key} was fetched: {fetched:?}"),
        Err(error) => error,
    }
}

/// The value of a reference with a property.
pub(crate) async fn value(store: &Arc<dyn Store>, text: &str) -> String {
    let reference = reference(text);
    let fetched = store.fetch(&reference.key).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    let value = fetched.document.property(&reference.property.unwrap()).unwrap();
    String::from_utf8(value.as_bytes().to_vec()).unwrap()
}
