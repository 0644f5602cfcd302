//! A value is in three places only: the store, the sidecar's memory, the Pod's tmpfs.

use std::path::Path;
use std::process::Command;

use alcove_tests::claims;
use alcove_tests::process;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![a_canary_is_found_nowhere_but_where_it_belongs, no_error_text_holds_a_value]
}

/// A container that reads a canary by file and by variable.
fn pod(name: &str, binding: &str, key: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "annotations": {"secret.alcove.dev/db-creds": binding, "alcove.dev/log-level": "debug"},
        },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sleep", "1000000"],
                "env": [{"name": "CANARY", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": key}}}],
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
    .to_string()
}

async fn a_canary_is_found_nowhere_but_where_it_belongs(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let canaries = ["canary-7c1f-first", "canary-7c1f-second"];
    setting.put("db", json!({"password": canaries[0]})).await?;
    let binding = format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference("db"));
    namespace.apply(&pod("app", &binding, "password")).await?;
    namespace.wait_until_ready("app").await?;
    let variable = namespace.variable("app", "app", "CANARY").await?;
    ensure!(variable == canaries[0], "the canary did not arrive: {variable}");
    setting.put("db", json!({"password": canaries[1]})).await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], canaries[1]).await?;
    found_nowhere(&setting, &test, &canaries).await
}

async fn no_error_text_holds_a_value(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let canary = "canary-90ad";
    // Each of these values makes the sidecar refuse, for a reason that is a property of the value.
    setting
        .put(
            "db",
            json!({
                "quote": format!("{canary}-it's"),
                "empty": "",
                "text": format!("{canary}-not-base64!"),
                "object": {"inner": canary},
            }),
        )
        .await?;
    let reference = setting.reference("db");
    for (name, binding, key, complaint) in [
        ("quoted", format!("{{data: {{k: '{reference}#quote'}}}}"), "k", "'"),
        ("encoded", format!("{{data: {{k: {{ref: '{reference}#text', encoding: base64}}}}}}"), "k", "base64"),
        ("nested", format!("{{data: {{k: '{reference}#object.other'}}}}"), "k", "other"),
        ("typed", format!("{{type: kubernetes.io/tls, data: {{k: '{reference}#quote'}}}}"), "k", "tls.crt"),
    ] {
        namespace.apply(&pod(name, &binding, key)).await?;
        namespace
            .wait_for(name, "the complaint is in the Pod's status", |pod| {
                let status = serde_json::to_string(&pod.status)?;
                Ok(status.contains("db-creds") && status.contains(complaint))
            })
            .await?;
    }
    found_nowhere(&setting, &test, &[canary]).await
}

async fn found_nowhere(setting: &Setting<'_>, test: &Test, canaries: &[&str]) -> Result<()> {
    let (node, namespace) = (test.node(), setting.namespace());
    let alcove = test.alcove().await?;
    let mut places = vec![
        (
            "the objects of the namespace",
            namespace.kubectl(&["get", "pods,events,configmaps,secrets", "-o", "json"]).await?,
        ),
        ("Alcove's own objects", node.kubectl().run(&["get", "alcove", "-A", "-o", "json"]).await?),
        ("the audit log", std::fs::read_to_string(node.audit_log())?),
        (
            "the log of the webhook",
            node.kubectl()
                .run(&["logs", "-n", alcove.namespace(), "-l", "app.kubernetes.io/name=alcove-webhook", "--tail=-1"])
                .await?,
        ),
    ];
    let pods = namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]).await?;
    for pod in pods.split_whitespace() {
        places.push(("the log of a sidecar", namespace.logs(pod, "alcove-sidecar").await?));
        places.push(("the description of a Pod", namespace.kubectl(&["describe", "pod", pod]).await?));
    }
    let webhooks = [
        "get",
        "pods",
        "-n",
        alcove.namespace(),
        "-l",
        "app.kubernetes.io/name=alcove-webhook",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ];
    for webhook in node.kubectl().run(&webhooks).await?.split_whitespace() {
        let path = format!("/api/v1/namespaces/{}/pods/{webhook}:9090/proxy/metrics", alcove.namespace());
        let metrics = node.kubectl().run(&["get", "--raw", &path]).await?;
        ensure!(metrics.contains("alcove_"), "these are no metrics of ours: {metrics}");
        places.push(("the metrics of the webhook", metrics));
    }
    for (place, text) in &places {
        ensure!(!text.is_empty(), "{place}: there is nothing to search");
        for form in canaries.iter().flat_map(|canary| forms(canary)) {
            ensure!(!text.contains(&form), "{place} holds {form}");
        }
    }
    for form in canaries.iter().flat_map(|canary| forms(canary)) {
        let files = grep(&form, &[&node.etcd_data(), &node.logs()])?;
        ensure!(files.is_empty(), "{form} is in {files}");
    }
    Ok(())
}

/// The shapes in which a value gets about: as it is, as base64 at each of the three offsets, and as hexadecimal digits.
fn forms(canary: &str) -> Vec<String> {
    let encoded = ["", " ", "  "].map(|before| {
        // The first and the last characters depend on what stands beside the value.
        let text = STANDARD_NO_PAD.encode(format!("{before}{canary}"));
        text.chars().skip(before.len() + 1).take(canary.len()).collect::<String>()
    });
    let digits = canary.bytes().flat_map(|byte| [byte >> 4, byte & 15]);
    let hexadecimal = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
    encoded.into_iter().chain([canary.to_owned(), hexadecimal]).collect()
}

/// The files below some directories that hold a text.
fn grep(text: &str, directories: &[&Path]) -> Result<String> {
    let mut grep = Command::new("sh");
    // grep says by its exit code that nothing was found, which is what we hope for.
    grep.args(["-c", "grep -rlaF -- \"$0\" \"$@\" || [ $? -eq 1 ]", text]).args(directories);
    process::run(grep)
}
