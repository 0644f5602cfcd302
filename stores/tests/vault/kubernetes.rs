//! Kubernetes auth, with the real plugin and an API server that answers its questions as it is told.

use crate::client::{failure, open, value};
use crate::server::{Vault, file, path};
use alcove_contract::provider::vault::VaultLogin;
use alcove_stores::{ErrorClass, Store, StoreError};
use axum::http::StatusCode;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What the API server says to the next question.
type Answer = Arc<Mutex<(StatusCode, Value)>>;

async fn api_server() -> (String, Answer) {
    let answer: Answer = Arc::new(Mutex::new((StatusCode::CREATED, authenticated())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let given = Arc::clone(&answer);
    let router = Router::new().fallback(async move || {
        let (status, body) = given.lock().unwrap().clone();
        (status, Json(body))
    });
    tokio::spawn(axum::serve(listener, router).into_future());
    (address, answer)
}

fn authenticated() -> Value {
    let user = json!({"username": "system:serviceaccount:t:web", "uid": "1"});
    json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
        "status": {"authenticated": true, "user": user, "audiences": ["vault"]}})
}

/// A token of the ServiceAccount `web` in the namespace `t`; only the API server would check its signature.
fn token(audience: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let account = json!({"namespace": "t", "serviceaccount": {"name": "web", "uid": "1"}});
    let claims = json!({"sub": "system:serviceaccount:t:web", "aud": [audience], "kubernetes.io": account});
    format!("{}.{}.{}", part(json!({"alg": "RS256"})), part(claims), URL_SAFE_NO_PAD.encode("signature"))
}

async fn vault_with_role(server: &str, role: Value) -> Vault {
    let vault = Vault::start().await;
    vault.allow_reading().await;
    vault.write("kv/data/app/db", json!({"data": {"password": "p"}})).await;
    vault.enable_kubernetes_auth(server).await;
    let mut role = role;
    role["token_policies"] = json!(["web"]);
    vault.write("auth/kubernetes/role/web", role).await;
    vault
}

fn store(vault: &Vault, role: &str, token_file: &tempfile::NamedTempFile) -> Arc<dyn Store> {
    let login = VaultLogin::Kubernetes { mount: "kubernetes".into(), role: role.into(), token_file: path(token_file) };
    open(vault.store(None, login))
}

async fn refusal(vault: &Vault, role: &str, token: &str) -> StoreError {
    let error = failure(&store(vault, role, &file(token)), "kv/app/db").await;
    assert_eq!((error.class(), error.during_login()), (ErrorClass::Unauthenticated, true), "{error}");
    assert!(!error.to_string().contains(token), "{error}");
    error
}

#[tokio::test]
async fn the_pods_own_token_logs_in_and_each_refusal_says_whose_fault_it_is() {
    let (server, answer) = api_server().await;
    let role =
        json!({"bound_service_account_names": "web", "bound_service_account_namespaces": "t", "audience": "vault"});
    let vault = vault_with_role(&server, role).await;
    let good = file(&token("vault"));
    let before = vault.tokens().await;
    let web = store(&vault, "web", &good);
    assert_eq!(value(&web, "kv/app/db#password").await, "p");
    web.close().await.unwrap();
    assert_eq!(vault.tokens().await, before);

    let error = refusal(&vault, "web", &token("elsewhere")).await.to_string();
    assert!(error.contains("invalid audience (aud) claim"), "{error}");
    assert!(error.contains("the token is for audience \"elsewhere\", and the role \"web\" wants another"), "{error}");
    let error = refusal(&vault, "nobody", &token("vault")).await.to_string();
    assert!(error.contains("there is no role \"nobody\" at \"auth/kubernetes\""), "{error}");

    // Vault's own reviewer is refused: all that Vault says is "permission denied".
    *answer.lock().unwrap() = (StatusCode::UNAUTHORIZED, json!({"kind": "Status", "code": 401}));
    let error = refusal(&vault, "web", &token("vault")).await.to_string();
    assert!(error.contains("permission denied (403); the TokenReview that Vault asks for failed"), "{error}");
}

#[tokio::test]
async fn a_role_that_admits_other_pods_is_told_from_one_that_cannot_be_checked() {
    let (server, answer) = api_server().await;
    let other = |names: &str, namespaces: &str| json!({"bound_service_account_names": names, "bound_service_account_namespaces": namespaces});
    let vault = vault_with_role(&server, other("web", "other")).await;
    let error = refusal(&vault, "web", &token("vault")).await.to_string();
    assert!(error.contains("does not admit this Pod's namespace"), "{error}");

    vault.write("auth/kubernetes/role/web", other("other", "t")).await;
    let error = refusal(&vault, "web", &token("vault")).await.to_string();
    assert!(error.contains("does not admit this ServiceAccount"), "{error}");

    let selector = json!({"bound_service_account_names": "web", "bound_service_account_namespaces": "other",
        "bound_service_account_namespace_selector": "{\"matchLabels\":{\"a\":\"b\"}}"});
    vault.write("auth/kubernetes/role/web", selector).await;
    let forbidden = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "namespaces \"t\" is forbidden"});
    *answer.lock().unwrap() = (StatusCode::FORBIDDEN, forbidden);
    let error = refusal(&vault, "web", &token("vault")).await.to_string();
    assert!(error.contains("Vault cannot check namespaces: its own ServiceAccount needs \"get\""), "{error}");
}
