//! A store that is away: a Pod waits for it at the start and keeps what it has afterwards.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};
use serde_json::json;

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_pod_waits_for_a_sealed_vault_and_starts_after_unsealing,
        files_stay_while_vault_is_sealed_and_follow_afterwards,
        a_pod_that_waits_for_its_secrets_can_be_deleted_at_once,
        a_container_that_restarts_while_the_store_is_away_has_its_last_values,
        a_job_that_waits_for_its_secrets_completes_without_a_restart_of_the_sidecar,
        a_deleted_version_leaves_the_files_and_holds_back_a_new_pod,
    ]
}

fn pod(name: &str, binding: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"secret.alcove.dev/db-creds": binding}},
        "spec": {
            "terminationGracePeriodSeconds": 600,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}],
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
    .to_string()
}

fn refreshed(setting: &Setting<'_>) -> String {
    format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference("db"))
}

async fn a_pod_waits_for_a_sealed_vault_and_starts_after_unsealing(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    setting.put("db", json!({"password": "behind a seal"})).await?;
    vault.seal().await?;
    setting.namespace().apply(&pod("app", &refreshed(&setting))).await?;
    setting.namespace().wait_for_log("app", "alcove-sidecar", "sealed").await?;
    vault.unseal().await?;
    setting.namespace().wait_until_ready("app").await?;
    setting.namespace().wait_for_output("app", "app", &["cat", "/etc/creds/password"], "behind a seal").await?;
    let log = setting.namespace().logs("app", "alcove-sidecar").await?;
    ensure!(log.contains("sealed") && !log.contains("behind a seal"), "{log}");
    let restarts = sidecar_restarts(&setting, "app").await?;
    ensure!(restarts == "0", "the sidecar was restarted {restarts} times while it waited");
    vault.stop().await
}

async fn files_stay_while_vault_is_sealed_and_follow_afterwards(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "first"})).await?;
    namespace.apply(&pod("app", &refreshed(&setting))).await?;
    namespace.wait_until_ready("app").await?;
    vault.seal().await?;
    namespace.wait_for_log("app", "alcove-sidecar", "sealed").await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "first").await?;
    vault.unseal().await?;
    setting.put("db", json!({"password": "second"})).await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "second").await?;
    vault.stop().await
}

async fn a_pod_that_waits_for_its_secrets_can_be_deleted_at_once(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    vault.seal().await?;
    setting.namespace().apply(&pod("app", &refreshed(&setting))).await?;
    setting.namespace().wait_for_log("app", "alcove-sidecar", "sealed").await?;
    // The grace period is 600 s, more than any wait of the tests: the sidecar has to react to TERM by itself.
    setting.namespace().delete("pod", "app").await?;
    vault.stop().await
}

async fn a_container_that_restarts_while_the_store_is_away_has_its_last_values(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "kept"})).await?;
    namespace.apply(&pod("app", &refreshed(&setting))).await?;
    namespace.wait_until_ready("app").await?;
    vault.seal().await?;
    namespace.exec("app", "app", &["kill", "1"]).await?;
    namespace
        .wait_for("app", "the application has restarted", |pod| {
            let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            Ok(statuses.into_iter().any(|status| status.restart_count == 1 && status.ready))
        })
        .await?;
    let variable = namespace.variable("app", "app", "PASSWORD").await?;
    ensure!(variable == "kept", "{variable}");
    let file = namespace.exec("app", "app", &["cat", "/etc/creds/password"]).await?;
    ensure!(file == "kept", "{file}");
    vault.unseal().await?;
    vault.stop().await
}

async fn a_job_that_waits_for_its_secrets_completes_without_a_restart_of_the_sidecar(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "late"})).await?;
    vault.seal().await?;
    let mut template: serde_json::Value = serde_json::from_str(&pod("app", &refreshed(&setting)))?;
    template["spec"]["restartPolicy"] = "Never".into();
    template["spec"]["containers"][0]["command"] = json!(["grep", "-q", "late", "/etc/creds/password"]);
    let labels = json!({"annotations": template["metadata"]["annotations"], "labels": {"job": "work"}});
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work"},
        "spec": {"backoffLimit": 0, "template": {"metadata": labels, "spec": template["spec"]}},
    });
    namespace.apply(&job.to_string()).await?;
    let pod = wait::until("the Job's Pod", async || {
        let name =
            namespace.kubectl(&["get", "pods", "-l", "job=work", "-o", "jsonpath={.items[*].metadata.name}"]).await?;
        Ok(if name.is_empty() { Seen::NotYet("none".to_owned()) } else { Seen::Met(name) })
    })
    .await?;
    namespace.wait_for_log(&pod, "alcove-sidecar", "sealed").await?;
    vault.unseal().await?;
    namespace.kubectl(&["wait", "--for=condition=Complete", "job/work", "--timeout=120s"]).await?;
    let restarts = sidecar_restarts(&setting, &pod).await?;
    ensure!(restarts == "0", "the sidecar was restarted {restarts} times while it waited");
    vault.stop().await
}

async fn a_deleted_version_leaves_the_files_and_holds_back_a_new_pod(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "first"})).await?;
    setting.put("db", json!({"password": "second"})).await?;
    namespace.apply(&pod("app", &refreshed(&setting))).await?;
    namespace.wait_until_ready("app").await?;
    setting.delete("db").await?;
    namespace.wait_for_log("app", "alcove-sidecar", "deleted").await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "second").await?;
    namespace.apply(&pod("late", &refreshed(&setting))).await?;
    // Never back to version 1 by itself: somebody deleted version 2 on purpose.
    namespace
        .wait_for("late", "the deleted version is named in the Pod's status", |pod| {
            let status = serde_json::to_string(&pod.status)?;
            Ok(status.contains("version 2") && status.contains("deleted"))
        })
        .await
        .map(drop)
}

async fn sidecar_restarts(setting: &Setting<'_>, pod: &str) -> Result<String> {
    let path = "jsonpath={.status.initContainerStatuses[?(@.name=='alcove-sidecar')].restartCount}";
    setting.namespace().kubectl(&["get", "pod", pod, "-o", path]).await
}
