//! A value is in three places only: the store, the sidecar's memory, the Pod's tmpfs.

use std::path::{Path, PathBuf};
use std::process::Command;

use alcove_tests::suite::{Test, Trial};
use alcove_tests::{claims, facts, process};
use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = facts![a_value_is_recognised_in_every_form];
    tests.extend(claims![a_canary_is_found_nowhere_but_where_it_belongs, no_error_text_holds_a_value]);
    tests
}

/// Is part of the names around the values, and must be found in every place where no value may be: a search that does not
/// find it has looked nowhere.
const KNOWN: &str = "known-5b1e";

/// A container that reads a canary by file and by variable.
fn pod(name: &str, binding: &str, key: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("{KNOWN}-{name}"),
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
    let app = format!("{KNOWN}-app");
    setting.put(KNOWN, json!({"password": canaries[0]})).await?;
    let binding = format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference(KNOWN));
    namespace.apply(&pod("app", &binding, "password")).await?;
    namespace.wait_until_ready(&app).await?;
    let variable = namespace.variable(&app, "app", "CANARY").await?;
    ensure!(variable == canaries[0], "the canary did not arrive: {variable}");
    setting.put(KNOWN, json!({"password": canaries[1]})).await?;
    namespace.wait_for_output(&app, "app", &["cat", "/etc/creds/password"], canaries[1]).await?;
    found_nowhere(&setting, &test, &canaries).await
}

async fn no_error_text_holds_a_value(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let canary = "canary-90ad";
    // Each of these values makes the sidecar refuse, for a reason that is a property of the value.
    setting
        .put(
            KNOWN,
            json!({
                "quote": format!("{canary}-it's"),
                "empty": "",
                "text": format!("{canary}-not-base64!"),
                "object": {"inner": canary},
            }),
        )
        .await?;
    let reference = setting.reference(KNOWN);
    for (name, binding, key, complaint) in [
        ("quoted", format!("{{data: {{k: '{reference}#quote'}}}}"), "k", "'"),
        ("encoded", format!("{{data: {{k: {{ref: '{reference}#text', encoding: base64}}}}}}"), "k", "base64"),
        ("nested", format!("{{data: {{k: '{reference}#object.other'}}}}"), "k", "other"),
        ("lacking", format!("{{type: kubernetes.io/tls, dataFrom: ['{reference}']}}"), "text", "tls.crt"),
        (
            "typed",
            format!("{{type: kubernetes.io/dockerconfigjson, data: {{.dockerconfigjson: '{reference}#text'}}}}"),
            ".dockerconfigjson",
            "is no JSON",
        ),
    ] {
        namespace.apply(&pod(name, &binding, key)).await?;
        namespace
            .wait_for(&format!("{KNOWN}-{name}"), "the complaint is in the Pod's status", |pod| {
                let status = serde_json::to_string(&pod.status)?;
                Ok(status.contains("db-creds") && status.contains(complaint))
            })
            .await?;
    }
    found_nowhere(&setting, &test, &[canary]).await
}

/// Searches everything that others than the Pod can read.
async fn found_nowhere(setting: &Setting<'_>, test: &Test, canaries: &[&str]) -> Result<()> {
    let (node, namespace) = (test.node(), setting.namespace());
    namespace.apply(&planted(namespace.name())).await?;
    let mut places = vec![
        ("the audit log", std::fs::read_to_string(node.audit_log())?),
        ("Alcove's own objects", node.kubectl().run(&["get", "alcove", "-A", "-o", "json"]).await?),
    ];
    for kind in ["pods", "events", "configmaps", "secrets"] {
        places.push((kind, namespace.kubectl(&["get", kind, "-o", "json"]).await?));
    }
    let pods = namespace.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]).await?;
    for pod in pods.split_whitespace() {
        places.push(("the log of a sidecar", namespace.wait_for_log(pod, "alcove-sidecar", KNOWN).await?));
        places.push(("the description of a Pod", namespace.kubectl(&["describe", "pod", pod]).await?));
    }
    places.push(("the log of the webhook", webhook_log(test).await?));
    for (place, text) in &places {
        ensure!(found(text, KNOWN), "{place}: not even {KNOWN} is there, so the search says nothing:\n{text}");
    }
    places.extend(counters(test).await?.into_iter().map(|text| ("the metrics of the webhook", text)));
    for (canary, (place, text)) in canaries.iter().flat_map(|canary| places.iter().map(move |place| (canary, place))) {
        ensure!(!found(text, canary), "{place} holds {canary}:\n{text}");
    }
    for (directory, known) in [(node.etcd_data(), "member"), (node.logs(), "audit.log"), (node.logs(), "kubelet.log")] {
        let files = files_with(KNOWN, &directory.join(known))?;
        ensure!(!files.is_empty(), "{known}: not even {KNOWN} is there, so the search says nothing");
        for canary in canaries {
            let files = files_with(canary, &directory)?;
            ensure!(files.is_empty(), "{canary} is in {files:?}");
        }
    }
    Ok(())
}

/// Objects that hold [`KNOWN`], for the kinds that nothing else in the namespace holds it in.
fn planted(namespace: &str) -> String {
    let object = |version: &str, kind: &str, field: &str, content: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "planted"}, field: content});
    let mut event = object("v1", "Event", "message", KNOWN.into());
    event["involvedObject"] =
        json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace, "namespace": namespace});
    let items = [
        event,
        object("v1", "ConfigMap", "data", json!({"key": KNOWN})),
        object("v1", "Secret", "data", json!({"key": STANDARD.encode(KNOWN)})),
        object(
            "alcove.dev/v1alpha1",
            "SecretBinding",
            "spec",
            json!({"data": {"key": format!("vault:kv/{KNOWN}#key")}}),
        ),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

const WEBHOOK: [&str; 2] = ["-l", "app.kubernetes.io/name=alcove-webhook"];

async fn webhook_log(test: &Test) -> Result<String> {
    let arguments = [&["logs", "-n", test.alcove().await?.namespace(), "--tail=-1"], &WEBHOOK[..]];
    test.node().kubectl().run(&arguments.concat()).await
}

/// What each replica counts. Nothing that is counted has a name of a test in it.
async fn counters(test: &Test) -> Result<Vec<String>> {
    let (kubectl, namespace) = (test.node().kubectl(), test.alcove().await?.namespace());
    let names = ["get", "pods", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}"];
    let mut counted = Vec::new();
    for webhook in kubectl.run(&[&names, &WEBHOOK[..]].concat()).await?.split_whitespace() {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{webhook}:9090/proxy/metrics");
        let metrics = kubectl.run(&["get", "--raw", &path]).await?;
        ensure!(metrics.contains("alcove_webhook_admissions_total{"), "these are no metrics of ours: {metrics}");
        counted.push(metrics);
    }
    ensure!(!counted.is_empty(), "there is no replica of the webhook");
    Ok(counted)
}

fn found(text: &str, value: &str) -> bool {
    forms(value).iter().any(|form| text.contains(form))
}

/// The shapes in which a value gets about: as it is, as base64 at each of the three offsets, as hexadecimal digits, and as
/// Rust shows bytes.
fn forms(value: &str) -> Vec<String> {
    let encoded = ["", " ", "  "].map(|before| {
        // The first and the last characters depend on what stands beside the value.
        let text = STANDARD_NO_PAD.encode(format!("{before}{value}"));
        text.chars().skip(before.len() + 1).take(value.len()).collect::<String>()
    });
    let digits = value.bytes().flat_map(|byte| [byte >> 4, byte & 15]);
    let hexadecimal = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
    let numbers = value.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    encoded.into_iter().chain([value.to_owned(), hexadecimal, numbers]).collect()
}

fn a_value_is_recognised_in_every_form() -> Result<()> {
    for surrounded in ["known-5b1e", "<known-5b1e>", "<<known-5b1e>>", "<<<known-5b1e>>>"] {
        let bytes = surrounded.as_bytes();
        let hexadecimal = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        for text in [surrounded.to_owned(), STANDARD.encode(bytes), hexadecimal, format!("{bytes:?}")] {
            ensure!(found(&text, KNOWN), "not recognised in {text}");
            ensure!(!found(&text, "known-6b1e"), "recognised in {text}");
        }
    }
    Ok(())
}

/// The files below a directory that hold a value in any form.
fn files_with(value: &str, directory: &Path) -> Result<Vec<PathBuf>> {
    ensure!(directory.exists(), "{} is not there", directory.display());
    let mut grep = Command::new("sh");
    // grep says by its exit code that nothing was found, which is what we hope for.
    grep.args(["-c", "grep -rlaF \"$@\" || [ $? -eq 1 ]", "sh"]);
    for form in forms(value) {
        grep.arg("-e").arg(form);
    }
    grep.arg("--").arg(directory);
    Ok(process::run(grep)?.lines().map(PathBuf::from).collect())
}
