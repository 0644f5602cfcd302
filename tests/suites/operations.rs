//! What whoever runs a cluster meets: Pods that end after their permission, static Pods, audit logs, a waiting Pod.

use alcove_tests::alcove::{Alcove, ensure_no_drift};
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use alcove_tests::{claims, claims_alone, state};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = claims_alone![a_new_authority_is_trusted_and_leaves_no_difference_to_the_manifests];
    tests.extend(claims![
        a_job_completes_and_goes_although_its_policy_and_its_store_are_gone,
        a_mirror_of_a_static_pod_is_left_alone,
        the_audit_log_records_what_was_granted_by_which_policy,
        the_audit_log_records_what_was_denied,
        a_pod_that_waits_says_why_where_kubectl_describe_shows_it,
    ]);
    tests
}

fn pod(name: &str, binding: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"secret.alcove.dev/db-creds": binding}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sh", "-c", "until [ -e /tmp/go ]; do sleep 1; done"],
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
}

async fn a_job_completes_and_goes_although_its_policy_and_its_store_are_gone(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "p"})).await?;
    let mut template = pod("work", &setting.reference("db"));
    template["metadata"].as_object_mut().unwrap().remove("name");
    template["metadata"]["labels"] = json!({"job": "work"});
    template["spec"]["restartPolicy"] = "Never".into();
    let template = json!({"metadata": template["metadata"], "spec": template["spec"]});
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work"},
        "spec": {"backoffLimit": 0, "template": template},
    });
    namespace.apply(&job.to_string()).await?;
    let find = ["get", "pods", "-l", "job=work", "-o", "jsonpath={.items[*].metadata.name}"];
    let name = wait::until("the Job's Pod", async || {
        let name = namespace.kubectl(&find).await?;
        Ok(if name.is_empty() { Seen::NotYet("none".to_owned()) } else { Seen::Met(name) })
    })
    .await?;
    let running = namespace.wait_until_ready(&name).await?;
    let finalizers = running.metadata.finalizers.unwrap_or_default();
    ensure!(finalizers.contains(&"batch.kubernetes.io/job-tracking".to_owned()), "{finalizers:?}");
    namespace.delete("secretpolicy", "default").await?;
    namespace.delete("externalstore", "vault").await?;
    namespace.exec(&name, "app", &["touch", "/tmp/go"]).await?;
    namespace.kubectl(&["wait", "--for=condition=Complete", "job/work", "--timeout=120s"]).await?;
    namespace.delete("job", "work").await?;
    namespace.kubectl(&["wait", "--for=delete", "pod", &name, "--timeout=60s"]).await.map(drop)
}

async fn a_mirror_of_a_static_pod_is_left_alone(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    // As a kubelet reports a static Pod. It is there already: to refuse its mirror would only hide it.
    let mut mirror = pod("static", &setting.reference("db"));
    mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "0123456789abcdef".into();
    mirror["spec"]["volumes"][0] = json!({"name": "creds", "emptyDir": {}});
    mirror["spec"]["nodeName"] = alcove_tests::node::NODE_NAME.into();
    let arguments = ["-n", setting.namespace().name(), "create", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
    let warnings = test.node().kubectl().failure(&arguments, &mirror.to_string()).await?;
    ensure!(warnings.contains("Warning:") && warnings.contains("static"), "{warnings}");
    let arguments = ["-n", setting.namespace().name(), "create", "--dry-run=server", "-o", "json", "-f", "-"];
    let printed = test.node().kubectl().run_with_input(&arguments, &mirror.to_string()).await?;
    let created: Value = serde_json::from_str(&printed)?;
    ensure!(created["spec"]["initContainers"].is_null(), "{created}");
    Ok(())
}

/// The audit annotations of the creation of a Pod, from the API server's log.
pub(crate) async fn audited(test: &Test, pod: &str) -> Result<Value> {
    let namespace = test.namespace().name();
    wait::until("the API server to log the request", async || {
        let log = std::fs::read_to_string(test.node().audit_log()).context("reading the audit log")?;
        let entries = log.lines().filter(|line| line.contains(namespace)).map(serde_json::from_str::<Value>);
        let found = entries.flatten().find(|entry| {
            entry["verb"] == "create"
                && entry["objectRef"]["resource"] == "pods"
                && entry["requestObject"]["metadata"]["name"] == pod
        });
        Ok(found.map_or_else(
            || Seen::NotYet(format!("no creation of {pod}")),
            |entry| Seen::Met(entry["annotations"].clone()),
        ))
    })
    .await
}

async fn the_audit_log_records_what_was_granted_by_which_policy(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.namespace().apply(&pod("granted", &setting.reference("db")).to_string()).await?;
    let annotations = audited(&test, "granted").await?;
    let grants = annotations["pods.alcove.dev/grants"].as_str().unwrap_or_default();
    let key = format!("kv/{}/db", setting.namespace().name());
    for expected in ["db-creds", "ExternalStore vault", &key, "SecretPolicy", "default"] {
        ensure!(grants.contains(expected), "{expected} is not in {annotations}");
    }
    Ok(())
}

async fn the_audit_log_records_what_was_denied(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.namespace().refusal(&pod("denied", "vault:kv/somebody-else/db").to_string()).await?;
    let annotations = audited(&test, "denied").await?;
    let denied = annotations["pods.alcove.dev/denied"].as_str().unwrap_or_default();
    for expected in ["db-creds", "ExternalStore vault", "kv/somebody-else/db"] {
        ensure!(denied.contains(expected), "{expected} is not in {annotations}");
    }
    Ok(())
}

async fn a_pod_that_waits_says_why_where_kubectl_describe_shows_it(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    vault.seal().await?;
    setting.namespace().apply(&pod("app", &setting.reference("db")).to_string()).await?;
    let waited = wait::until("the description of the Pod to say that Vault is sealed", async || {
        let description = setting.namespace().kubectl(&["describe", "pod", "app"]).await?;
        Ok(if description.contains("sealed") { Seen::Met(()) } else { Seen::NotYet(description) })
    })
    .await;
    vault.unseal().await?;
    vault.stop().await?;
    waited
}

async fn a_new_authority_is_trusted_and_leaves_no_difference_to_the_manifests(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let (kubectl, alcove) = (test.node().kubectl(), test.alcove().await?);
    let bundle = [
        "get",
        "mutatingwebhookconfiguration",
        "alcove-webhook",
        "-o",
        "jsonpath={.webhooks[0].clientConfig.caBundle}",
    ];
    let before = kubectl.run(&bundle).await?;
    // The way of docs/operations.md to begin anew.
    let patch = "[{\"op\": \"remove\", \"path\": \"/data\"}]";
    kubectl
        .run(&["patch", "secret", "alcove-webhook-tls", "-n", alcove.namespace(), "--type=json", "-p", patch])
        .await?;
    wait::until("another caBundle", async || {
        let now = kubectl.run(&bundle).await?;
        Ok(if now.is_empty() || now == before { Seen::NotYet("the old one".to_owned()) } else { Seen::Met(()) })
    })
    .await?;
    wait::until("an opted-in Pod to be taken", async || {
        let pod = pod("app", &setting.reference("db")).to_string();
        Ok(Seen::attempt(setting.namespace().apply(&pod).await))
    })
    .await?;
    let overlay = state::checkout().join("manifests/overlays/test");
    let overlay = overlay.to_str().context("the path of the checkout is not UTF-8")?;
    ensure_no_drift(kubectl, &["--server-side", "-k", overlay]).await?;
    Alcove::apply(test.node(), "manifests/overlays/test").await?;
    let after = kubectl.run(&bundle).await?;
    ensure!(after != before && !after.is_empty(), "applying the manifests again has changed caBundle");
    Ok(())
}
