//! Who a Pod is at the store: one login, given back in the end, refused with a reason that helps.

use alcove_tests::claims;
use alcove_tests::other_webhook::OtherWebhook;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::vault::{AUDIENCE, Vault};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_service_account_that_is_made_again_leaves_the_files_and_causes_no_storm_of_logins,
        a_role_for_another_namespace_is_named_in_the_refusal,
        a_role_for_another_service_account_is_named_in_the_refusal,
        a_role_that_is_not_there_is_named_in_the_refusal,
        a_role_for_another_audience_is_told_with_the_tokens_own,
        variables_that_another_webhook_adds_steer_the_application_and_not_the_sidecar,
    ]
}

/// A Pod that mounts each Secret of `bindings` below its name.
fn pod(name: &str, bindings: &Value) -> Value {
    let (mut annotations, mut mounts, mut volumes) = (Map::new(), Vec::new(), Vec::new());
    for (secret, binding) in bindings.as_object().into_iter().flatten() {
        annotations.insert(format!("secret.alcove.dev/{secret}"), binding.clone());
        mounts.push(json!({"name": secret, "mountPath": format!("/etc/{secret}")}));
        volumes.push(json!({"name": secret, "secret": {"secretName": secret}}));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })
}

fn refreshed(reference: &str) -> String {
    format!("{{dataFrom: ['{reference}'], refreshInterval: 1s}}")
}

/// Changes the role of the test's namespace at Vault.
async fn change_role(setting: &Setting<'_>, change: Value) -> Result<()> {
    let name = setting.namespace().name();
    let mut role = json!({
        "bound_service_account_namespaces": [name],
        "bound_service_account_names": ["default"],
        "audience": AUDIENCE,
        "token_policies": [name],
        "token_ttl": "1h",
        "token_max_ttl": "2h",
    });
    for (field, value) in change.as_object().into_iter().flatten() {
        role[field] = value.clone();
    }
    setting.vault().call("POST", &format!("auth/kubernetes/role/{name}"), &role).await.map(drop)
}

fn logins(vault: &Vault) -> Result<usize> {
    vault.requests("update", "auth/kubernetes/login")
}

async fn a_service_account_that_is_made_again_leaves_the_files_and_causes_no_storm_of_logins(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let namespace = setting.namespace();
    // A login that ends soon, since the token on disk is needed at the next one.
    change_role(&setting, json!({"token_ttl": "4s", "token_max_ttl": "4s"})).await?;
    setting.put("db", json!({"password": "kept"})).await?;
    let app = pod("app", &json!({"db-creds": refreshed(&setting.reference("db"))}));
    namespace.apply(&app.to_string()).await?;
    namespace.wait_until_ready("app").await?;
    namespace.kubectl(&["delete", "serviceaccount", "default"]).await?;
    namespace.wait_for_log("app", "alcove-sidecar", "ServiceAccount was deleted and made again").await?;

    let before = logins(&vault)?;
    change_role(&setting, json!({})).await?;
    setting.put("db", json!({"password": "new"})).await?;
    let late = pod("late", &json!({"db-creds": refreshed(&setting.reference("db"))}));
    wait::until("a Pod of the new ServiceAccount to be taken", async || {
        Ok(Seen::attempt(namespace.apply(&late.to_string()).await))
    })
    .await?;
    namespace.wait_until_ready("late").await?;
    wait::until("ten refreshes of the new Pod", async || {
        let reads = setting.reads("db")?;
        Ok(if reads >= 10 { Seen::Met(()) } else { Seen::NotYet(format!("{reads} reads")) })
    })
    .await?;
    let more = logins(&vault)? - before;
    ensure!(more <= 3, "one login of the new Pod, and the old one tries at most once a minute, but there were {more}");
    let file = namespace.exec("app", "app", &["cat", "/etc/db-creds/password"]).await?;
    ensure!(file == "kept", "{file}");
    let path = "jsonpath={.status.initContainerStatuses[0].restartCount}";
    let restarts = namespace.kubectl(&["get", "pod", "app", "-o", path]).await?;
    ensure!(restarts == "0", "the sidecar has ended {restarts} times");
    vault.stop().await
}

/// What the sidecar says about a login under a changed role.
async fn refusal(test: &Test, change: Value, expected: &str) -> Result<String> {
    let setting = Setting::shared(test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    change_role(&setting, change).await?;
    let app = pod("app", &json!({"db-creds": setting.reference("db")}));
    setting.namespace().apply(&app.to_string()).await?;
    setting.namespace().wait_for_log("app", "alcove-sidecar", expected).await
}

async fn a_role_for_another_namespace_is_named_in_the_refusal(test: Test) -> Result<()> {
    let change = json!({"bound_service_account_namespaces": ["elsewhere"]});
    let log = refusal(&test, change, "does not admit this Pod's namespace (bound_service_account_namespaces)").await?;
    ensure!(log.contains(test.namespace().name()), "the role is not named: {log}");
    Ok(())
}

async fn a_role_for_another_service_account_is_named_in_the_refusal(test: Test) -> Result<()> {
    let change = json!({"bound_service_account_names": ["somebody-else"]});
    let log = refusal(&test, change, "does not admit this ServiceAccount (bound_service_account_names)").await?;
    ensure!(log.contains(test.namespace().name()), "the role is not named: {log}");
    Ok(())
}

async fn a_role_that_is_not_there_is_named_in_the_refusal(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let name = setting.namespace().name();
    setting.vault().call("DELETE", &format!("auth/kubernetes/role/{name}"), &Value::Null).await?;
    let app = pod("app", &json!({"db-creds": setting.reference("db")}));
    setting.namespace().apply(&app.to_string()).await?;
    let log = setting.namespace().wait_for_log("app", "alcove-sidecar", "there is no role").await?;
    ensure!(log.contains(name), "the role is not named: {log}");
    Ok(())
}

async fn a_role_for_another_audience_is_told_with_the_tokens_own(test: Test) -> Result<()> {
    let log = refusal(&test, json!({"audience": "elsewhere"}), "the store's and the role's must agree").await?;
    ensure!(log.contains(AUDIENCE), "the audience of the token is not named: {log}");
    Ok(())
}

/// Variables that would send a client elsewhere, or make it trust somebody else.
const STEERING: [(&str, &str); 6] = [
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("ALL_PROXY", "http://127.0.0.1:9"),
    ("NO_PROXY", ""),
    ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ("VAULT_ADDR", "https://127.0.0.1:9"),
    ("VAULT_TOKEN", "not-a-token"),
];

async fn variables_that_another_webhook_adds_steer_the_application_and_not_the_sidecar(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "from the right Vault"})).await?;
    let other = OtherWebhook::start(test.node(), namespace, adds_variables).await?;
    let created = namespace.apply(&pod("app", &json!({"db-creds": setting.reference("db")})).to_string()).await;
    other.stop(test.node()).await?;
    created?;
    namespace.wait_until_ready("app").await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/db-creds/password"], "from the right Vault").await?;
    for (name, value) in STEERING {
        let found = namespace.variable("app", "app", name).await?;
        ensure!(found == value, "the application's {name} is {found}");
    }
    Ok(())
}

/// Puts variables in front of those of every container that has none of them, as a webhook for proxies does.
fn adds_variables(pod: &Value) -> Value {
    let mut operations = Vec::new();
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"][list].as_array().map_or(&[][..], Vec::as_slice);
        for (index, container) in containers.iter().enumerate() {
            let path = format!("/spec/{list}/{index}/env");
            let env = container["env"].as_array().map_or(&[][..], Vec::as_slice);
            if env.iter().any(|variable| variable["name"] == STEERING[0].0) {
                continue;
            }
            let added = STEERING.iter().map(|(name, value)| json!({"name": name, "value": value}));
            let all: Vec<Value> = added.chain(env.iter().cloned()).collect();
            operations.push(json!({"op": "add", "path": path, "value": all}));
        }
    }
    operations.into()
}
