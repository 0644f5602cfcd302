//! KV engines: both versions, versions of values, and what is not there.

use crate::client::{failure, fetch, open, value, with_token};
use crate::server::Vault;
use alcove_contract::provider::vault::EngineVersion;
use alcove_stores::ErrorClass;
use reqwest::Method;
use serde_json::json;

const DECLARATIONS: [Option<EngineVersion>; 3] = [None, Some(EngineVersion::V1), Some(EngineVersion::V2)];

#[tokio::test]
async fn both_engine_versions_are_read_declared_or_not() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    vault.write("kv/data/app/db", json!({"data": {"password": "two"}})).await;
    vault.write("old/app/db", json!({"password": "one"})).await;
    for declared in DECLARATIONS {
        let store = open(vault.store(declared, with_token(&root)));
        if declared != Some(EngineVersion::V1) {
            assert_eq!(value(&store, "kv/app/db#password").await, "two");
            assert_eq!(fetch(&store, "kv/app/db").await.unwrap().version.as_deref(), Some("1"));
        }
        if declared != Some(EngineVersion::V2) {
            assert_eq!(value(&store, "old/app/db#password").await, "one");
            assert_eq!(fetch(&store, "old/app/db").await.unwrap().version, None);
        }
    }
}

#[tokio::test]
async fn a_wrongly_declared_version_is_misconfigured_and_names_both() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    vault.write("kv/data/app/db", json!({"data": {"password": "two"}})).await;
    vault.write("old/app/db", json!({"password": "one"})).await;
    for (declared, key, words) in [
        (EngineVersion::V1, "kv/data/app/db", "is declared v1, but the mount answers as version 2"),
        (EngineVersion::V1, "kv/app/db", "declares version v1, and the engine that holds \"kv/app/db\" is v2"),
        (EngineVersion::V2, "old/app/db", "declares version v2, and the engine that holds \"old/app/db\" is v1"),
    ] {
        let error = failure(&open(vault.store(Some(declared), with_token(&root))), key).await;
        assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_engine_that_is_upgraded_under_a_running_client_is_followed() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    vault.write("old/app/db", json!({"password": "one"})).await;
    let store = open(vault.store(None, with_token(&root)));
    assert_eq!(value(&store, "old/app/db#password").await, "one");
    vault.write("sys/mounts/old/tune", json!({"options": {"version": "2"}})).await;
    // Vault says so itself while it moves the values.
    let fetched = loop {
        match fetch(&store, "old/app/db").await {
            Ok(fetched) => break fetched,
            Err(error) => assert_eq!(error.class(), ErrorClass::Unavailable, "{error}"),
        }
    };
    assert_eq!(fetched.version.as_deref(), Some("1"));
    assert_eq!(value(&store, "old/app/db#password").await, "one");
}

#[tokio::test]
async fn a_deleted_version_is_named_and_no_older_one_takes_its_place() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    for password in ["first", "second"] {
        vault.write("kv/data/app/db", json!({"data": {"password": password}})).await;
    }
    let store = open(vault.store(Some(EngineVersion::V2), with_token(&root)));
    let delete = async |path: &str| vault.call(Method::DELETE, path, json!({})).await;
    assert_eq!(value(&store, "kv/app/db#password").await, "second");

    delete("kv/data/app/db").await;
    let error = failure(&store, "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::NotFound);
    assert!(error.to_string().starts_with("version 2 of \"kv/app/db\" was deleted on 20"), "{error}");
    assert!(error.to_string().contains("?version=<number>"), "{error}");
    assert_eq!(value(&store, "kv/app/db?version=1#password").await, "first");

    vault.write("kv/undelete/app/db", json!({"versions": [2]})).await;
    assert_eq!(value(&store, "kv/app/db#password").await, "second");

    vault.call(Method::PUT, "kv/destroy/app/db", json!({"versions": [2]})).await;
    let error = failure(&store, "kv/app/db").await.to_string();
    assert!(error.starts_with("version 2 of \"kv/app/db\" was destroyed; write a new version"), "{error}");

    delete("kv/metadata/app/db").await;
    let error = failure(&store, "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::NotFound);
    assert!(error.to_string().ends_with("has nothing at \"kv/app/db\""), "{error}");
}

#[tokio::test]
async fn a_version_that_never_was_is_not_found_and_of_an_engine_without_versions_misconfigured() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    vault.write("kv/data/app/db", json!({"data": {"password": "p"}})).await;
    vault.write("old/app/db", json!({"password": "p"})).await;
    let store = open(vault.store(None, with_token(&root)));
    assert_eq!(failure(&store, "kv/app/db?version=9").await.class(), ErrorClass::NotFound);
    assert_eq!(failure(&store, "old/app/db?version=1").await.class(), ErrorClass::Misconfigured);
}

#[tokio::test]
async fn an_unknown_mount_is_told_apart_from_a_missing_secret() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    for declared in DECLARATIONS {
        let store = open(vault.store(declared, with_token(&root)));
        let error = failure(&store, "kvv/app/db").await;
        assert_ne!(error.class(), ErrorClass::NotFound, "{error}");
        assert!(error.to_string().contains("mount"), "{error}");
    }
}

#[tokio::test]
async fn mounts_with_a_common_beginning_are_told_apart_by_vault() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    vault.mount("secret/team", "2").await;
    vault.mount("secret/tea", "1").await;
    vault.write("secret/team/data/app", json!({"data": {"a": "second"}})).await;
    vault.write("secret/tea/app", json!({"a": "first"})).await;
    let store = open(vault.store(None, with_token(&root)));
    assert_eq!(value(&store, "secret/team/app#a").await, "second");
    assert_eq!(value(&store, "secret/tea/app#a").await, "first");
    let declared = open(vault.store(Some(EngineVersion::V2), with_token(&root)));
    assert_eq!(value(&declared, "secret/team/app#a").await, "second");
}

#[tokio::test]
async fn values_come_back_as_they_were_written() {
    let vault = Vault::start().await;
    let root = vault.root_file();
    let body = r#"{"data":{"empty":"","newline":"\n","crlf":"a\r\nb","blank":"  x","bom":"\ufeffx","<&>":"<&>",
        "float":1.5,"list":[1,{"b":2,"a":1}],"nested":{"a":{"b":"deep"}},"no":null}}"#;
    let (status, _) =
        vault.try_call(Method::POST, "kv/data/a%20b/%C3%A9%25%3F%23", serde_json::from_str(body).unwrap()).await;
    assert!(status.is_success());
    let store = open(vault.store(None, with_token(&root)));
    let key = "kv/a%20b/%C3%A9%25%3F%23";
    for (property, expected) in [
        ("empty", ""),
        ("newline", "\n"),
        ("crlf", "a\r\nb"),
        ("blank", "  x"),
        ("bom", "\u{feff}x"),
        ("%3C%26%3E", "<&>"),
        ("float", "1.5"),
        ("list[1].b", "2"),
        ("/list/0", "1"),
        ("nested.a.b", "deep"),
        ("nested", r#"{"a":{"b":"deep"}}"#),
    ] {
        assert_eq!(value(&store, &format!("{key}#{property}")).await, expected, "{property}");
    }
    let error = fetch(&store, key).await.unwrap().document.property(&"no".parse().unwrap()).err().unwrap();
    assert_eq!(error.class(), ErrorClass::NotFound, "{error}");
}
