//! Every way to log in, and that nothing is left behind.

use crate::client::{failure, fetch, open, value};
use crate::server::{Tls, Vault, file, path};
use alcove_contract::provider::vault::{ClientCertificate, EngineVersion, VaultConfiguration, VaultLogin};
use alcove_stores::{ErrorClass, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SigningKey};
use reqwest::Method;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// A Vault with one secret that the policy `web` may read.
async fn vault() -> Vault {
    let vault = Vault::start().await;
    prepare(&vault).await;
    vault
}

async fn prepare(vault: &Vault) {
    vault.allow_reading().await;
    vault.write("kv/data/app/db", json!({"data": {"password": "p"}})).await;
}

/// Reads, twice, then closes: one login while it lasts, and none afterwards.
async fn reads_and_leaves_nothing(vault: &Vault, configuration: VaultConfiguration) {
    let before = vault.tokens().await;
    let store = open(configuration);
    for _ in 0..2 {
        assert_eq!(value(&store, "kv/app/db#password").await, "p");
    }
    assert_eq!(vault.tokens().await, before + 1);
    store.close().await.unwrap();
    assert_eq!(vault.tokens().await, before);
}

async fn approle(vault: &Vault, ttl: &str) -> (String, String) {
    vault.enable_auth("approle").await;
    vault.write("auth/approle/role/web", json!({"token_policies": ["web"], "token_ttl": ttl})).await;
    let role = vault.call(Method::GET, "auth/approle/role/web/role-id", json!({})).await;
    let secret = vault.write("auth/approle/role/web/secret-id", json!({})).await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&role["data"]["role_id"]), text(&secret["data"]["secret_id"]))
}

#[tokio::test]
async fn approle_logs_in_and_gives_back() {
    let vault = vault().await;
    let (role_id, secret_id) = approle(&vault, "1h").await;
    let (right, wrong) = (file(&format!("{secret_id}\n")), file("00000000-wrong-secret-id"));
    let login = |secret_id_file| VaultLogin::AppRole {
        mount: "approle".into(),
        role_id: role_id.clone(),
        secret_id_file: path(secret_id_file),
    };
    reads_and_leaves_nothing(&vault, vault.store(None, login(&right))).await;
    let error = failure(&open(vault.store(None, login(&wrong))), "kv/app/db").await;
    assert_eq!((error.class(), error.during_login()), (ErrorClass::Unauthenticated, true));
    let shown = error.to_string();
    assert!(shown.contains("invalid role or secret ID (400)") && !shown.contains("00000000-wrong"), "{shown}");
}

#[tokio::test]
async fn userpass_logs_in_and_gives_back() {
    let vault = vault().await;
    vault.enable_auth("userpass").await;
    vault.write("auth/userpass/users/web", json!({"password": "s3cret pass", "token_policies": ["web"]})).await;
    let password = file("s3cret pass\n");
    let login = |username: &str| VaultLogin::UserPass {
        mount: "userpass".into(),
        username: username.into(),
        password_file: path(&password),
    };
    reads_and_leaves_nothing(&vault, vault.store(None, login("web"))).await;
    let error = failure(&open(vault.store(None, login("nobody"))), "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::Unauthenticated, "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_token_of_somebody_else_is_used_and_left_alone() {
    let vault = vault().await;
    let created = vault.write("auth/token/create", json!({"policies": ["web"], "ttl": "1h"})).await;
    let token = file(created["auth"]["client_token"].as_str().unwrap());
    let before = vault.tokens().await;
    let store = open(vault.store(None, VaultLogin::Token { token_file: path(&token) }));
    assert_eq!(value(&store, "kv/app/db#password").await, "p");
    store.close().await.unwrap();
    assert_eq!(vault.tokens().await, before);
}

fn jwt(key: &KeyPair, audience: &str) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": "web", "aud": audience, "nbf": 1, "iat": 1, "exp": 4_102_444_800_u64});
    let signed = format!("{}.{}", part(json!({"alg": "EdDSA", "typ": "JWT"})), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn jwt_logs_in_and_says_which_audience_is_wrong() {
    let vault = vault().await;
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    vault.enable_auth("jwt").await;
    let keys = json!({"jwt_validation_pubkeys": [key.public_key_pem()], "jwt_supported_algs": ["EdDSA"]});
    vault.write("auth/jwt/config", keys).await;
    let role =
        json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["web"]});
    vault.write("auth/jwt/role/web", role).await;
    let (good, wrong) = (file(&jwt(&key, "vault")), file(&jwt(&key, "elsewhere")));
    let login = |token| VaultLogin::Jwt { mount: "jwt".into(), role: Some("web".into()), token_file: path(token) };
    reads_and_leaves_nothing(&vault, vault.store(None, login(&good))).await;

    let error = failure(&open(vault.store(None, login(&wrong))), "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::Unauthenticated);
    assert!(
        error.to_string().contains("the token is for audience \"elsewhere\", and the role \"web\" wants"),
        "{error}"
    );
}

#[tokio::test]
async fn an_auth_method_that_is_not_there_is_misconfigured_or_refused_but_never_not_found() {
    let vault = vault().await;
    let token = file("x.y.z");
    let login = VaultLogin::Kubernetes { mount: "nowhere".into(), role: "web".into(), token_file: path(&token) };
    let error = failure(&open(vault.store(None, login)), "kv/app/db").await;
    assert!(matches!(error.class(), ErrorClass::Misconfigured | ErrorClass::Unauthenticated), "{error}");
    assert!(error.to_string().contains("login by kubernetes at \"auth/nowhere\""), "{error}");
}

#[tokio::test]
async fn a_certificate_logs_in_over_tls_with_another_name() {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (parameters.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, key) = issue("vault.internal");
    let vault = Vault::start_tls(&Tls { authority: authority.pem(), certificate, key }).await;
    prepare(&vault).await;
    vault.enable_auth("cert").await;
    let (certificate, key) = issue("web");
    vault.write("auth/cert/certs/web", json!({"certificate": certificate, "token_policies": ["web"]})).await;
    let (certificate, key) = (file(&certificate), file(&key));
    let identity = ClientCertificate { certificate_file: path(&certificate), key_file: path(&key) };
    let configuration = VaultConfiguration {
        ca_bundle: Some(authority.pem()),
        server_name: Some("vault.internal".into()),
        client_certificate: Some(identity),
        ..vault.store(None, VaultLogin::Cert { mount: "cert".into(), name: Some("web".into()) })
    };
    reads_and_leaves_nothing(&vault, configuration.clone()).await;

    let without = VaultConfiguration { client_certificate: None, ..configuration.clone() };
    let error = failure(&open(without), "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::Unauthenticated, "{error}");
    let unknown = VaultConfiguration { ca_bundle: None, ..configuration };
    assert_eq!(failure(&open(unknown), "kv/app/db").await.class(), ErrorClass::Misconfigured);
}

#[tokio::test]
async fn a_login_that_is_revoked_under_us_is_made_again_once_and_with_the_file_of_now() {
    let vault = vault().await;
    vault.enable_auth("userpass").await;
    vault.write("auth/userpass/users/web", json!({"password": "first", "token_policies": ["web"]})).await;
    let mut password = file("first");
    let login =
        VaultLogin::UserPass { mount: "userpass".into(), username: "web".into(), password_file: path(&password) };
    let store = open(vault.store(Some(EngineVersion::V2), login));
    assert_eq!(value(&store, "kv/app/db#password").await, "p");

    vault.revoke_all().await;
    vault.write("auth/userpass/users/web", json!({"password": "first, then second"})).await;
    password.write_all(b", then second").unwrap();
    let answers = join_all((0..20).map(|_| fetch(&store, "kv/app/db"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(vault.tokens().await, 2, "the root's and one of ours");
}

#[tokio::test]
async fn a_login_is_renewed_and_stays_the_same_one() {
    let vault = vault().await;
    let (role_id, secret_id) = approle(&vault, "1h").await;
    let secret_id = file(&secret_id);
    let login = VaultLogin::AppRole { mount: "approle".into(), role_id, secret_id_file: path(&secret_id) };
    let store = open(vault.store(None, login));
    assert_eq!(value(&store, "kv/app/db#password").await, "p");
    let before = vault.expiry_of_login().await;
    // For the client alone 41 minutes pass.
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(41)).await;
    tokio::time::resume();
    assert_eq!(value(&store, "kv/app/db#password").await, "p");
    assert_eq!(vault.tokens().await, 2);
    assert_ne!(vault.expiry_of_login().await, before);
}

#[tokio::test]
async fn a_forbidden_secret_leaves_no_trail_of_logins() {
    let vault = vault().await;
    let (role_id, secret_id) = approle(&vault, "1h").await;
    vault.mount("private", "2").await;
    vault.write("private/data/x", json!({"data": {"a": "b"}})).await;
    let secret_id = file(&secret_id);
    let login = VaultLogin::AppRole { mount: "approle".into(), role_id, secret_id_file: path(&secret_id) };
    for declared in [None, Some(EngineVersion::V2)] {
        let store: Arc<dyn Store> = open(vault.store(declared, login.clone()));
        for _ in 0..5 {
            assert_eq!(failure(&store, "private/x").await.class(), ErrorClass::Denied);
        }
        assert_eq!(vault.tokens().await, 2);
        store.close().await.unwrap();
        assert_eq!(vault.tokens().await, 1);
    }
}
