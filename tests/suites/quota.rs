//! Quotas and limit ranges that were written for the application: what an injected container means to them.

use alcove_tests::claims;
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_quota_on_processors_and_memory_lets_the_sidecar_in_and_is_charged_for_it,
        a_quota_on_ephemeral_storage_lets_the_sidecar_in,
        a_quota_that_is_used_up_says_so_and_names_what_it_counts,
        a_least_amount_of_memory_is_met,
        a_ratio_of_limit_to_request_is_met,
        a_most_amount_of_processors_is_met_and_a_contradiction_names_it_and_the_annotation,
        a_guaranteed_pod_stays_guaranteed,
    ]
}

/// A Pod whose container states everything that the quotas and limit ranges of these tests count.
fn pod(setting: &Setting<'_>, annotations: &Value) -> Value {
    let amounts = json!({"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "16Mi"});
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": {"secret.alcove.dev/db-creds": setting.reference("db")}},
        "spec": {
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sleep", "1000000"],
                "resources": {"requests": amounts, "limits": amounts},
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    });
    for (key, value) in annotations.as_object().into_iter().flatten() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    pod
}

/// The same Pod where the amounts of the sidecar are its own: in a Guaranteed one its requests are its limits.
fn burstable(setting: &Setting<'_>, annotations: &Value) -> Value {
    let mut burstable = pod(setting, annotations);
    burstable["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "10m".into();
    burstable
}

/// Sets a quota and waits until the API server counts by it.
async fn limit(namespace: &Namespace, hard: Value) -> Result<()> {
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": hard}});
    namespace.apply(&quota.to_string()).await?;
    namespace
        .kubectl(&["wait", "--for=jsonpath={.status.used}", "resourcequota/quota", "--timeout=60s"])
        .await
        .map(drop)
}

/// What a quota has counted so far.
async fn used(namespace: &Namespace, what: &str) -> Result<String> {
    let path = format!("jsonpath={{.status.used.{}}}", what.replace('.', "\\."));
    namespace.kubectl(&["get", "resourcequota", "quota", "-o", &path]).await
}

async fn a_quota_on_processors_and_memory_lets_the_sidecar_in_and_is_charged_for_it(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    limit(namespace, json!({"limits.cpu": "2", "limits.memory": "2Gi", "requests.cpu": "2", "requests.memory": "2Gi"}))
        .await?;
    namespace.apply(&burstable(&setting, &json!({})).to_string()).await?;
    let charged = used(namespace, "requests.cpu").await?;
    ensure!(charged == "15m", "10m of the application and 5m of the sidecar, as docs/operations.md says: {charged}");
    let charged = used(namespace, "requests.memory").await?;
    ensure!(
        charged == "144Mi",
        "128Mi of the application and 16Mi of the sidecar, as docs/operations.md says: {charged}"
    );
    Ok(())
}

async fn a_quota_on_ephemeral_storage_lets_the_sidecar_in(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    limit(namespace, json!({"limits.ephemeral-storage": "1Gi", "requests.ephemeral-storage": "1Gi"})).await?;
    namespace.apply(&pod(&setting, &json!({})).to_string()).await
}

async fn a_quota_that_is_used_up_says_so_and_names_what_it_counts(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    // Enough for the application, and not for the sidecar beside it.
    limit(setting.namespace(), json!({"limits.memory": "130Mi"})).await?;
    let refusal = setting.namespace().refusal(&pod(&setting, &json!({})).to_string()).await?;
    ensure!(refusal.contains("exceeded quota: quota") && refusal.contains("limits.memory"), "{refusal}");
    Ok(())
}

/// Sets a limit range and gives what the sidecar states of `resource` in a Pod that says nothing of it, as
/// `request of limit`, once the webhook knows of the range: the API server would refuse what it writes without one.
async fn fitted(setting: &Setting<'_>, limits: Value, resource: &str) -> Result<String> {
    let namespace = setting.namespace();
    let mut limits = limits;
    limits["type"] = "Container".into();
    let range =
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"}, "spec": {"limits": [limits]}});
    namespace.apply(&range.to_string()).await?;
    let pod = burstable(setting, &json!({})).to_string();
    wait::until("the Pod to be let in", async || Ok(Seen::attempt(namespace.apply(&pod).await))).await?;
    let stated = |what: &str| format!("{{.spec.initContainers[0].resources.{what}.{resource}}}");
    let path = format!("jsonpath={} of {}", stated("requests"), stated("limits"));
    namespace.kubectl(&["get", "pod", "app", "-o", &path]).await
}

async fn a_least_amount_of_memory_is_met(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let stated = fitted(&setting, json!({"min": {"memory": "128Mi"}}), "memory").await?;
    ensure!(stated == "128Mi of 128Mi", "{stated}");
    Ok(())
}

async fn a_ratio_of_limit_to_request_is_met(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let stated = fitted(&setting, json!({"maxLimitRequestRatio": {"memory": "1"}}), "memory").await?;
    let (request, limit) = stated.split_once(" of ").context("two amounts")?;
    ensure!(request == limit && !limit.is_empty(), "{stated}");
    Ok(())
}

async fn a_most_amount_of_processors_is_met_and_a_contradiction_names_it_and_the_annotation(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let stated = fitted(&setting, json!({"max": {"cpu": "50m"}}), "cpu").await?;
    ensure!(stated.ends_with(" of 50m"), "{stated}");
    let mut pod = burstable(&setting, &json!({"alcove.dev/resources": "{limits: {cpu: 100m}, requests: {cpu: 100m}}"}));
    pod["metadata"]["name"] = "other".into();
    let refusal = setting.namespace().refusal(&pod.to_string()).await?;
    for told in ["initContainers[alcove-sidecar]", "LimitRange \"range\" allows at most 50m", "alcove.dev/resources"] {
        ensure!(refusal.contains(told), "{told}: {refusal}");
    }
    Ok(())
}

async fn a_guaranteed_pod_stays_guaranteed(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.namespace().apply(&pod(&setting, &json!({})).to_string()).await?;
    let class = setting.namespace().kubectl(&["get", "pod", "app", "-o", "jsonpath={.status.qosClass}"]).await?;
    ensure!(class == "Guaranteed", "{class}");
    Ok(())
}
