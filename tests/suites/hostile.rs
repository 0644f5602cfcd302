//! A world that does not behave: a webhook that is down, other webhooks that interfere, configurations that vanish.

use alcove_tests::alcove::Alcove;
use alcove_tests::other_webhook::OtherWebhook;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::{claims, claims_alone};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::setting::{Setting, opted_in};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = claims_alone![
        without_the_webhook_opted_in_pods_are_refused_and_all_others_start,
        a_configuration_that_is_made_again_is_trusted_within_seconds,
    ];
    tests.extend(claims![
        a_binding_that_another_webhook_adds_after_us_is_served,
        a_webhook_that_strips_restart_policy_makes_the_pod_refused,
    ]);
    tests
}

fn plain(name: &str, metadata: &Value) -> String {
    let mut metadata = metadata.clone();
    metadata["name"] = name.into();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": "localhost/busybox:test", "command": ["sleep", "1000000"]}],
        },
    })
    .to_string()
}

async fn without_the_webhook_opted_in_pods_are_refused_and_all_others_start(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let alcove = test.alcove().await?;
    namespace.apply(&opted_in("before", &setting.reference("db")).to_string()).await?;
    alcove.stop(test.node()).await?;
    let outcome = with_the_webhook_down(&setting).await;
    alcove.start(test.node()).await?;
    outcome
}

async fn with_the_webhook_down(setting: &Setting<'_>) -> Result<()> {
    let namespace = setting.namespace();
    let refusal = namespace.refusal(&opted_in("refused", &setting.reference("db")).to_string()).await?;
    ensure!(refusal.contains("failed calling webhook \"pods.alcove.dev\""), "{refusal}");
    for (name, metadata) in [
        ("no-annotations", json!({})),
        ("empty-annotations", json!({"annotations": {}})),
        ("null-annotations", json!({"annotations": null})),
        ("other-annotations", json!({"annotations": {"foo": "bar"}})),
        ("opted-out", json!({"annotations": {"alcove.dev/inject": "false"}})),
    ] {
        namespace.apply(&plain(name, &metadata)).await?;
        namespace.wait_until_ready(name).await?;
        namespace
            .kubectl(&[
                "debug",
                name,
                "--image=localhost/busybox:test",
                "--image-pull-policy=IfNotPresent",
                "--",
                "true",
            ])
            .await?;
        namespace.delete("pod", name).await?;
    }
    // A Pod that was injected can be labelled, lose a finalizer and go away without us.
    for patch in [
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        json!({"metadata": {"finalizers": null, "labels": {"a": "b"}}}),
    ] {
        namespace.kubectl(&["patch", "pod", "before", "-p", &patch.to_string()]).await?;
    }
    namespace.delete("pod", "before").await
}

async fn a_configuration_that_is_made_again_is_trusted_within_seconds(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    let kubectl = test.node().kubectl();
    kubectl.run(&["delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "alcove-webhook"]).await?;
    Alcove::apply(test.node(), "manifests/overlays/test").await?;
    setting.namespace().apply(&opted_in("app", &setting.reference("db")).to_string()).await?;
    setting.namespace().wait_until_ready("app").await.map(drop)
}

async fn a_binding_that_another_webhook_adds_after_us_is_served(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "for the late container"})).await?;
    let other = OtherWebhook::start(test.node(), namespace, adds_a_container).await?;
    let outcome = async {
        namespace.apply(&opted_in("app", &setting.reference("db")).to_string()).await?;
        namespace.wait_until_ready("app").await?;
        namespace.wait_for_output("app", "late", &["cat", "/late/password"], "for the late container").await?;
        let path = "jsonpath={.spec.containers[?(@.name=='late')].volumeMounts[0].readOnly}";
        let read_only = namespace.kubectl(&["get", "pod", "app", "-o", path]).await?;
        ensure!(read_only == "true", "the mount that came late is writable");
        let variable = namespace.variable("app", "late", "LATE").await?;
        ensure!(variable == "for the late container", "{variable}");
        Ok(())
    }
    .await;
    other.stop(test.node()).await?;
    outcome
}

/// Adds a container that names a bound Secret, once, as a proxy's injector would.
fn adds_a_container(pod: &Value) -> Value {
    let containers = pod["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice);
    if containers.iter().any(|container| container["name"] == "late") {
        return json!([]);
    }
    json!([{"op": "add", "path": "/spec/containers/0", "value": {
        "name": "late",
        "image": "localhost/busybox:test",
        "command": ["sleep", "1000000"],
        "env": [{"name": "LATE", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}],
        "volumeMounts": [{"name": "creds", "mountPath": "/late"}],
    }}])
}

async fn a_webhook_that_strips_restart_policy_makes_the_pod_refused(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let other = OtherWebhook::start(test.node(), setting.namespace(), strips_restart_policy).await?;
    let refusal = setting.namespace().refusal(&opted_in("app", &setting.reference("db")).to_string()).await;
    other.stop(test.node()).await?;
    let refusal = refusal?;
    ensure!(refusal.contains("restartPolicy"), "the field that disappeared is not named: {refusal}");
    Ok(())
}

/// Does what a webhook with types older than native sidecars does to every Pod, in every round.
fn strips_restart_policy(pod: &Value) -> Value {
    let containers = pod["spec"]["initContainers"].as_array().map_or(&[][..], Vec::as_slice);
    let stripped = containers.iter().enumerate().filter(|(_, container)| container.get("restartPolicy").is_some());
    stripped
        .map(|(index, _)| json!({"op": "remove", "path": format!("/spec/initContainers/{index}/restartPolicy")}))
        .collect()
}
