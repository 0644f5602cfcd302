//! Pods for Windows: its nodes have no memory volumes, so who asks for secrets there is told, and nobody else is asked about.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::operations::audited;
use crate::setting::{Setting, opted_in};

pub(crate) fn tests() -> Vec<Trial> {
    claims![a_pod_for_windows_is_refused_however_it_says_so, a_pod_for_windows_that_asks_for_nothing_never_reaches_us,]
}

/// The fields of a Pod's spec that say it is for Windows, and the place that a refusal names.
fn windows(runtime_class: &str) -> [(Value, &'static str); 4] {
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]}]});
    [
        (json!({"os": {"name": "windows"}}), "spec.os.name"),
        (json!({"nodeSelector": {"kubernetes.io/os": "windows"}}), "spec.nodeSelector[kubernetes.io/os]"),
        (
            json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
            }}}),
            "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]",
        ),
        // The API server merges the selector of the class into the Pod before it asks webhooks.
        (json!({"runtimeClassName": runtime_class}), "spec.nodeSelector[kubernetes.io/os]"),
    ]
}

/// Makes a RuntimeClass for Windows for as long as `work` takes, named as the test's namespace.
async fn with_runtime_class(test: &Test, work: impl AsyncFnOnce(&str) -> Result<()>) -> Result<()> {
    let name = test.namespace().name();
    let class = json!({
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": name},
        "handler": "runhcs-wcow-process",
        "scheduling": {"nodeSelector": {"kubernetes.io/os": "windows"}},
    });
    test.node().kubectl().run_with_input(&["create", "-f", "-"], &class.to_string()).await?;
    let outcome = work(name).await;
    test.node().kubectl().run(&["delete", "runtimeclass", name]).await?;
    outcome
}

fn add(mut pod: Value, fields: &Value) -> Value {
    for (field, value) in fields.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

async fn a_pod_for_windows_is_refused_however_it_says_so(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    with_runtime_class(&test, async |class| {
        for (fields, place) in windows(class) {
            let pod = add(opted_in("app", &setting.reference("db")), &fields);
            let refusal = setting.namespace().refusal(&pod.to_string()).await?;
            for told in [place, "\"windows\" chooses a Windows node", "no memory volumes", "mount a real Secret"] {
                ensure!(refusal.contains(told), "{told} is not in what {fields} leads to: {refusal}");
            }
        }
        Ok(())
    })
    .await
}

async fn a_pod_for_windows_that_asks_for_nothing_never_reaches_us(test: Test) -> Result<()> {
    test.alcove().await?;
    with_runtime_class(&test, async |class| {
        for (index, (fields, _)) in windows(class).into_iter().enumerate() {
            let name = format!("app-{index}");
            let mut pod = add(opted_in(&name, ""), &fields);
            pod["metadata"] = json!({"name": name});
            test.namespace().apply(&pod.to_string()).await?;
            let path = "jsonpath={.spec.initContainers}{.spec.volumes[0].secret.secretName}";
            let left = test.namespace().kubectl(&["get", "pod", &name, "-o", path]).await?;
            ensure!(left == "db-creds", "{left}");
            ensure!(!was_asked(&test, &name).await?, "we were asked about the Pod that says {fields}");
        }
        // Whom the API server asks is in its audit log: so a Pod that does reach us is found there.
        let known = json!({"nodeSelector": {"kubernetes.io/os": "linux"}});
        let mut pod = add(opted_in("linux", "vault:kv/app/db"), &known);
        pod["metadata"]["annotations"] = json!({"alcove.dev/inject": "true"});
        test.namespace().apply(&pod.to_string()).await?;
        ensure!(was_asked(&test, "linux").await?, "nobody was asked about a Pod that asks for injection");
        Ok(())
    })
    .await
}

/// Whether the API server asked us about the creation of a Pod.
async fn was_asked(test: &Test, pod: &str) -> Result<bool> {
    let annotations = audited(test, pod).await?;
    let mut webhooks = annotations.as_object().into_iter().flatten();
    Ok(webhooks.any(|(key, value)| {
        key.starts_with("mutation.webhook.admission.k8s.io/") && value.to_string().contains("pods.alcove.dev")
    }))
}
