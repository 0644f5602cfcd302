//! A Vault that goes away and comes back.

use crate::client::{failure, open, value, with_token};
use crate::server::Vault;
use alcove_stores::ErrorClass;
use serde_json::json;

#[tokio::test]
async fn a_sealed_vault_is_unavailable_until_it_is_unsealed() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    vault.write("kv/data/app/db", json!({"data": {"password": "p"}})).await;
    let (before, during) = (open(vault.store(None, with_token(&root))), open(vault.store(None, with_token(&root))));
    assert_eq!(value(&before, "kv/app/db#password").await, "p");
    vault.seal().await;
    for (store, at_login) in [(&before, false), (&during, true)] {
        let error = failure(store, "kv/app/db").await;
        assert_eq!((error.class(), error.during_login()), (ErrorClass::Unavailable, at_login));
        assert!(error.to_string().contains("cannot answer now: Vault is sealed (503)"), "{error}");
    }
    vault.unseal().await;
    for store in [&before, &during] {
        assert_eq!(value(store, "kv/app/db#password").await, "p");
    }
}

#[tokio::test]
async fn a_vault_that_is_gone_is_unavailable_and_nothing_of_ours_is_left_to_close() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    vault.write("kv/data/app/db", json!({"data": {"password": "p"}})).await;
    let store = open(vault.store(None, with_token(&root)));
    assert_eq!(value(&store, "kv/app/db#password").await, "p");
    drop(vault);
    let error = failure(&store, "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::Unavailable, "{error}");
    store.close().await.unwrap();
}
