//! Volumes mounted inside of a volume that Alcove fills: what becomes of them over time, and where they cannot be.

use alcove_tests::claims;
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        mounts_inside_of_a_volume_outlive_rotations_and_restarts,
        a_mount_that_never_starts_with_a_real_secret_is_refused_or_never_starts_for_the_same_reason,
    ]
}

/// A Pod with a Secret and these mounts.
fn pod(name: &str, secret: &str, mounts: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                "volumeMounts": mounts,
            }],
            "volumes": [
                {"name": "creds", "secret": {"secretName": secret, "items": [{"key": "password", "path": "conf/password"}]}},
                {"name": "settings", "configMap": {"name": "settings"}},
                {"name": "cache", "emptyDir": {}},
            ],
        },
    })
}

const SETTINGS: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {color: blue}}";
const SIDECAR: &str = "alcove-sidecar";

async fn mounts_inside_of_a_volume_outlive_rotations_and_restarts(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    namespace.apply(SETTINGS).await?;
    setting.put("db", json!({"password": "first"})).await?;
    let mounts = json!([
        {"name": "creds", "mountPath": "/etc/creds"},
        {"name": "settings", "mountPath": "/etc/creds/settings"},
        {"name": "cache", "mountPath": "/etc/creds/deep/cache"},
    ]);
    let mut pod = pod("app", "db-creds", &mounts);
    let binding = format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference("db"));
    pod["metadata"]["annotations"]["secret.alcove.dev/db-creds"] = binding.into();
    namespace.apply(&pod.to_string()).await?;
    let running = namespace.wait_until_ready("app").await?;
    namespace.exec("app", "app", &["sh", "-c", "echo kept > /etc/creds/deep/cache/file"]).await?;

    rotate(&setting, "second").await?;
    shows_both(namespace).await?;
    test.node().kill_container(&running, SIDECAR).await?;
    wait_until_restarted(namespace, SIDECAR).await?;
    rotate(&setting, "third").await?;
    shows_both(namespace).await?;
    // A container that starts needs the mount points again.
    namespace.exec("app", "app", &["kill", "1"]).await?;
    wait_until_restarted(namespace, "app").await?;
    rotate(&setting, "fourth").await?;
    shows_both(namespace).await
}

async fn rotate(setting: &Setting<'_>, version: &str) -> Result<()> {
    setting.put("db", json!({"password": version})).await?;
    setting.namespace().wait_for_output("app", "app", &["cat", "/etc/creds/conf/password"], version).await
}

async fn shows_both(namespace: &Namespace) -> Result<()> {
    let read = ["cat", "/etc/creds/settings/color", "/etc/creds/deep/cache/file"];
    let shown = namespace.exec("app", "app", &read).await?;
    ensure!(shown == "bluekept\n", "{shown}");
    Ok(())
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten())
}

async fn wait_until_restarted(namespace: &Namespace, container: &str) -> Result<()> {
    let runs = |status: &ContainerStatus| {
        let is_running = status.state.as_ref().is_some_and(|state| state.running.is_some());
        status.name == container && status.restart_count == 1 && is_running
    };
    let what = format!("{container} runs again");
    namespace.wait_for("app", &what, |pod| Ok(statuses(pod).any(runs))).await.map(drop)
}

/// Mounts that the kubelet or the container runtime stumbles over: what they say, and what Alcove says, if it is known at
/// admission.
fn impossible() -> [(&'static str, Value, &'static str, Option<&'static str>); 5] {
    let creds = |path: &str| json!({"name": "creds", "mountPath": path});
    let cache = |path: &str| json!({"name": "cache", "mountPath": path});
    let part = json!({"name": "creds", "mountPath": "/etc/conf", "subPath": "conf"});
    let file = json!({"name": "settings", "mountPath": "/etc/creds/color", "subPath": "color"});
    let unwritable = "read-only file system";
    [
        (
            "outside",
            json!([creds("a/../../creds"), cache("a/../../creds/cache")]),
            "invalid container mount point ../creds",
            Some("is an invalid container mount point to the kubelet"),
        ),
        (
            "data",
            json!([creds("/etc/creds"), cache("/etc/creds/..data")]),
            "..data: invalid argument",
            Some("where it cannot have a mount point: invalid path \"..data\""),
        ),
        (
            "relative",
            json!([creds("etc/creds"), cache("/etc/creds/cache")]),
            unwritable,
            Some("lies inside volume \"creds\" at etc/creds, and the kubelet"),
        ),
        (
            "part",
            json!([part, cache("/etc/conf/cache")]),
            unwritable,
            Some("lies inside \"conf\" of volume \"creds\" at /etc/conf, and the kubelet"),
        ),
        ("file", json!([creds("/etc/creds"), file]), "not a directory", None),
    ]
}

async fn a_mount_that_never_starts_with_a_real_secret_is_refused_or_never_starts_for_the_same_reason(
    test: Test,
) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    namespace.apply(SETTINGS).await?;
    setting.put("db", json!({"password": "first"})).await?;
    let real = "{apiVersion: v1, kind: Secret, metadata: {name: real}, stringData: {password: first}}";
    namespace.apply(real).await?;
    for (name, mounts, _, _) in impossible() {
        namespace.apply(&pod(&format!("real-{name}"), "real", &mounts).to_string()).await?;
    }
    for (name, mounts, of_kubernetes, of_alcove) in impossible() {
        let mut pod = pod(name, "db-creds", &mounts);
        pod["metadata"]["annotations"]["secret.alcove.dev/db-creds"] = setting.reference("db").into();
        if let Some(expected) = of_alcove {
            let refusal = namespace.refusal(&pod.to_string()).await?;
            ensure!(refusal.contains(expected), "{name}: {refusal}");
        } else {
            namespace.apply(&pod.to_string()).await?;
            wait_for_event(namespace, name, of_kubernetes).await?;
        }
        wait_for_event(namespace, &format!("real-{name}"), of_kubernetes).await?;
    }
    Ok(())
}

/// Waits until an event of a Pod, which is what `kubectl describe` shows, holds a text.
async fn wait_for_event(namespace: &Namespace, pod: &str, text: &str) -> Result<()> {
    wait::until(&format!("an event of {pod} with \"{text}\""), async || {
        let events = namespace.events(pod).await?;
        let told = events.iter().any(|event| event.contains(text));
        Ok(if told { Seen::Met(()) } else { Seen::NotYet(events.join("\n")) })
    })
    .await
}
