//! Variables whose value is missing or empty: absent where a real Secret's would be, otherwise refused with the reason, and
//! never unset in silence.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_required_variable_without_a_value_keeps_the_container_from_starting_as_with_a_real_secret,
        an_empty_value_is_refused_as_a_variable_whether_optional_or_not,
        a_value_that_becomes_empty_leaves_the_variable_as_it_was,
        an_optional_variable_goes_with_its_property_at_the_next_start,
    ]
}

/// A Pod with one variable of a Secret, and beside it the same Secret as a volume.
fn pod(name: &str, secret: &str, key: &str, optional: bool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sleep", "1000000"],
                "env": [{
                    "name": "VALUE",
                    "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": optional}},
                }],
            }],
        },
    })
}

/// The same Pod with its Secret bound to the key `db`.
fn bound(setting: &Setting<'_>, mut pod: Value, binding: &str) -> Value {
    let binding = binding.replace("DB", &setting.reference("db"));
    pod["metadata"]["annotations"] = json!({"secret.alcove.dev/bound": binding});
    pod
}

/// What the status of a Pod says about its containers: what `kubectl describe` shows.
fn told(pod: &Pod) -> String {
    serde_json::to_string(&pod.status).unwrap()
}

async fn a_required_variable_without_a_value_keeps_the_container_from_starting_as_with_a_real_secret(
    test: Test,
) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"present": "p"})).await?;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "real"}, "stringData": {"present": "p"}});
    namespace.apply(&secret.to_string()).await?;
    let missing_key = setting.reference("nowhere");
    let cases = [
        (pod("real-property", "real", "missing", false), "couldn't find key missing in Secret".to_owned()),
        (pod("real-secret", "nowhere", "missing", false), "secret \\\"nowhere\\\" not found".to_owned()),
        (
            bound(&setting, pod("property-of-all", "bound", "missing", false), "{dataFrom: ['DB']}"),
            "couldn't find key missing in Secret bound".to_owned(),
        ),
        (
            bound(&setting, pod("property", "bound", "missing", false), "{data: {missing: 'DB#missing'}}"),
            "has no property".to_owned(),
        ),
        (
            bound(
                &setting,
                pod("key", "bound", "missing", false),
                &format!("{{data: {{missing: '{missing_key}#missing'}}}}"),
            ),
            missing_key.clone(),
        ),
    ];
    for (pod, _) in &cases {
        namespace.apply(&pod.to_string()).await?;
    }
    for (pod, expected) in &cases {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let found = namespace.wait_for(name, expected, |pod| Ok(told(pod).contains(expected))).await?;
        let started = found.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        ensure!(started.into_iter().all(|status| status.started != Some(true)), "{}", told(&found));
    }
    Ok(())
}

async fn an_empty_value_is_refused_as_a_variable_whether_optional_or_not(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"empty": ""})).await?;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "real"}, "stringData": {"empty": ""}});
    namespace.apply(&secret.to_string()).await?;
    for optional in [true, false] {
        let name = |kind: &str| format!("{kind}-{optional}");
        namespace.apply(&pod(&name("real"), "real", "empty", optional).to_string()).await?;
        let bound = bound(&setting, pod(&name("bound"), "bound", "empty", optional), "{dataFrom: ['DB']}");
        namespace.apply(&bound.to_string()).await?;
    }
    for optional in [true, false] {
        // What a variable of a file cannot be, and a real one is: set, and empty.
        let real = format!("real-{optional}");
        namespace.wait_until_ready(&real).await?;
        let value = namespace.variable(&real, "app", "VALUE").await?;
        ensure!(value.is_empty(), "{value}");
        let reason = "container app, env VALUE: key empty of Secret bound is empty, which an env file cannot carry";
        let refused = |pod: &Pod| Ok(told(pod).contains(reason));
        namespace.wait_for(&format!("bound-{optional}"), reason, refused).await?;
    }
    Ok(())
}

/// Starts the Pod of one optional variable whose Secret is refreshed all the time.
async fn start(setting: &Setting<'_>) -> Result<()> {
    setting.put("db", json!({"value": "kept", "clock": "1"})).await?;
    let mut pod = bound(setting, pod("app", "bound", "value", true), "{dataFrom: ['DB'], refreshInterval: 1s}");
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "bound", "mountPath": "/etc/bound"}]);
    pod["spec"]["volumes"] = json!([{"name": "bound", "secret": {"secretName": "bound"}}]);
    setting.namespace().apply(&pod.to_string()).await?;
    setting.namespace().wait_until_ready("app").await?;
    let value = setting.namespace().variable("app", "app", "VALUE").await?;
    ensure!(value == "kept", "{value}");
    Ok(())
}

/// Kills the application; its environment after the restart.
async fn restart(test: &Test) -> Result<String> {
    test.node().restart_container(test.namespace(), "app", "app").await?;
    test.namespace().exec("app", "app", &["sh", "-c", "tr '\\000' '\\n' </proc/1/environ"]).await
}

async fn a_value_that_becomes_empty_leaves_the_variable_as_it_was(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    start(&setting).await?;
    setting.put("db", json!({"value": "", "clock": "2"})).await?;
    // As a file it is what it is; as a variable it stays what it was, and the log says why.
    setting.namespace().wait_for_output("app", "app", &["cat", "/etc/bound/clock"], "2").await?;
    setting.namespace().wait_for_log("app", "alcove-sidecar", "key value of Secret bound is empty").await?;
    let environment = restart(&test).await?;
    ensure!(environment.lines().any(|line| line == "VALUE=kept"), "{environment}");
    Ok(())
}

async fn an_optional_variable_goes_with_its_property_at_the_next_start(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    start(&setting).await?;
    setting.put("db", json!({"clock": "2"})).await?;
    setting.namespace().wait_for_output("app", "app", &["cat", "/etc/bound/clock"], "2").await?;
    let environment = restart(&test).await?;
    ensure!(environment.contains("HOSTNAME=app") && !environment.contains("VALUE"), "{environment}");
    Ok(())
}
