//! Answers that a real Vault cannot be brought to give. What it can is shown against it, in `tests/vault.rs`.

mod canonical;
mod engines;
mod environment;
mod hostile;
mod logins;
mod sessions;

use super::*;
use crate::fake::{Fake, json};
use alcove_contract::configuration::StoreConfiguration;
use alcove_contract::provider::vault::VaultLogin;
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;

const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsidmF1bHQiXX0.c2lnbmF0dXJl";
const TOKEN: &str = "hvs.CAESIJlU02LQZq2Vd3Kq5zJ0mGfHb3pC";
const LOGIN: &str = "POST /v1/auth/kubernetes/login";
const READ: &str = "GET /v1/kv/data/app/db";
const LOOKUP: &str = "GET /v1/sys/internal/ui/mounts/kv/app/db";
const LOOKUP_SELF: &str = "GET /v1/auth/token/lookup-self";
const RENEW_SELF: &str = "POST /v1/auth/token/renew-self";
const REVOKE_SELF: &str = "POST /v1/auth/token/revoke-self";
const DENIED: &str = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
const NOTHING: &str = r#"{"errors":[]}"#;
const SECRET: &str =
    r#"{"data":{"data":{"password":"p"},"metadata":{"version":3,"deletion_time":"","destroyed":false}}}"#;

/// A file with `content`, for as long as the test runs.
fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn path(file: &impl AsRef<Path>) -> String {
    file.as_ref().to_str().unwrap().to_owned()
}

fn login_answer(token: &str, lease: u32, renewable: bool) -> crate::fake::Scripted {
    let body = format!(r#"{{"auth":{{"client_token":"{token}","lease_duration":{lease},"renewable":{renewable}}}}}"#);
    json(200, &body)
}

/// A Vault that lets the Pod in and holds one secret.
fn vault() -> Fake {
    let fake = Fake::start();
    fake.on(LOGIN, login_answer(TOKEN, 3600, true)).on(READ, json(200, SECRET));
    fake.on(REVOKE_SELF, json(204, ""));
    fake
}

/// The case base's store: kubernetes login, version 2.
fn configuration(fake: &Fake, token_file: &NamedTempFile) -> VaultConfiguration {
    VaultConfiguration {
        server: fake.address.clone(),
        namespace: None,
        version: Some(EngineVersion::V2),
        ca_bundle: None,
        server_name: None,
        client_certificate: None,
        login: VaultLogin::Kubernetes { mount: "kubernetes".into(), role: "web".into(), token_file: path(token_file) },
    }
}

fn open(configuration: &VaultConfiguration) -> Vault {
    Sessions::default().open(configuration).unwrap()
}

async fn fetch(store: &Vault, key: &str) -> Result<Fetched, StoreError> {
    let key = match key.split_once("?version=") {
        Some((path, version)) => Key { path: path.into(), options: [("version".into(), version.into())].into() },
        None => Key::new(key),
    };
    store.fetch(&key).await
}

async fn failure(store: &Vault, key: &str) -> StoreError {
    match fetch(store, key).await {
        Ok(fetched) => panic!("{key} was fetched: {fetched:?}"),
        Err(error) => error,
    }
}

fn text(fetched: &Fetched, property: &str) -> String {
    String::from_utf8(fetched.document.property(&property.parse().unwrap()).unwrap().as_bytes().to_vec()).unwrap()
}

/// Lets `duration` pass for the store, and no time for the test.
async fn pass(duration: std::time::Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[test]
fn stores_with_an_equal_login_share_it_and_others_do_not() {
    let token = file(JWT);
    let mut logins = crate::Logins::default();
    let mut count_after = |version, role: &str| {
        let provider = ProviderConfiguration::Vault(VaultConfiguration {
            server: "http://127.0.0.1:1".into(),
            namespace: None,
            version,
            ca_bundle: None,
            server_name: None,
            client_certificate: None,
            login: VaultLogin::Kubernetes { mount: "kubernetes".into(), role: role.into(), token_file: path(&token) },
        });
        let opened =
            logins.open(&StoreConfiguration { prefix: String::new(), name: "vault".parse().unwrap(), provider });
        assert!(opened.is_ok());
        logins.vault.0.len()
    };
    assert_eq!(count_after(Some(EngineVersion::V1), "web"), 1);
    assert_eq!(count_after(None, "web"), 1);
    assert_eq!(count_after(None, "batch"), 2);
}
