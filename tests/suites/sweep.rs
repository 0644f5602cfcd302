//! Pods that are there already, when what they were admitted by goes, or when nobody was asked about them: they keep running,
//! and whoever runs the cluster is told.

use alcove_tests::alcove::{Alcove, SIDECAR_IMAGE};
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use alcove_tests::{claims, claims_alone};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::beside::{Beside, Difference};
use crate::setting::{Setting, opted_in};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = claims![
        a_deployment_whose_policy_is_removed_keeps_running_and_is_reported_and_its_next_pod_is_refused,
        a_policy_lists_the_pods_that_it_denies_what_they_have,
        a_namespace_that_leaves_a_store_keeps_its_files_and_is_reported,
    ];
    tests.extend(claims_alone![a_pod_that_came_while_nobody_called_the_webhook_is_reported]);
    tests
}

const LOST: &str = r#"sweep_findings{kind="no-longer-granted"}"#;
const BYPASSED: &str = r#"sweep_findings{kind="not-injected"}"#;

/// An Alcove beside the shared one that looks at the Pods of a namespace every second.
async fn sweeping(test: &Test, namespace: &Namespace) -> Result<Beside> {
    let kubeconfig = test.node().kubectl().kubeconfig();
    let difference = Difference { kubeconfig, sidecar_image: SIDECAR_IMAGE, sweep_interval: "1s" };
    Beside::start(test.node(), namespace, &difference).await
}

async fn wait_for_count(sweeping: &Beside, metric: &str, expected: u64) -> Result<()> {
    wait::until(&format!("{metric} to show {expected}"), async || {
        let count = sweeping.counted(metric).await?;
        Ok(if count == expected { Seen::Met(()) } else { Seen::NotYet(count.to_string()) })
    })
    .await
}

/// The Events of a reason about a Pod, once there is one.
async fn told(namespace: &Namespace, pod: &str, reason: &str) -> Result<Vec<String>> {
    wait::until(&format!("the Event {reason} about {pod}"), async || {
        let all = namespace.events(pod).await?;
        let of_reason: Vec<String> =
            all.iter().filter(|event| event.starts_with(&format!("{reason}: "))).cloned().collect();
        Ok(if of_reason.is_empty() { Seen::NotYet(all.join("\n")) } else { Seen::Met(of_reason) })
    })
    .await
}

/// Runs a Deployment of one Pod, and gives that Pod's name.
async fn deploy(setting: &Setting<'_>) -> Result<String> {
    setting.put("db", json!({"password": "p"})).await?;
    let mut template = opted_in("app", &setting.reference("db"));
    template["metadata"]["labels"] = json!({"app": "app"});
    template["metadata"].as_object_mut().context("no metadata")?.remove("name");
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app"},
        "spec": {
            "selector": {"matchLabels": {"app": "app"}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    });
    let namespace = setting.namespace();
    namespace.apply(&deployment.to_string()).await?;
    namespace.kubectl(&["rollout", "status", "deployment/app", "--timeout=120s"]).await?;
    namespace.kubectl(&["get", "pods", "-l", "app=app", "-o", "jsonpath={.items[0].metadata.name}"]).await
}

async fn a_deployment_whose_policy_is_removed_keeps_running_and_is_reported_and_its_next_pod_is_refused(
    test: Test,
) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let pod = deploy(&setting).await?;
    let sweeping = sweeping(&test, namespace).await?;
    namespace.delete("secretpolicy", "default").await?;
    let events = told(namespace, &pod, "AlcoveNoLongerGranted").await?;
    let [event] = events.as_slice() else { anyhow::bail!("more than one: {events:?}") };
    for expected in ["db-creds", "no policy allows", "the next Pod like it is refused"] {
        ensure!(event.contains(expected), "{expected} is not in: {event}");
    }
    wait_for_count(&sweeping, LOST, 1).await?;

    namespace.kubectl(&["scale", "deployment/app", "--replicas=2"]).await?;
    namespace.kubectl(&["wait", "--for=condition=ReplicaFailure", "deployment/app", "--timeout=60s"]).await?;
    let path = "jsonpath={.status.conditions[?(@.type=='ReplicaFailure')].message}";
    let refusal = namespace.kubectl(&["get", "deployment", "app", "-o", path]).await?;
    ensure!(refusal.contains("db-creds") && refusal.contains("no policy allows"), "{refusal}");
    let still = namespace.exec(&pod, "app", &["cat", "/etc/creds/password"]).await?;
    ensure!(still == "p", "{still}");
    let swept = sweeping.counted("last_sweep_timestamp_seconds").await?;
    wait::until("another sweep", async || {
        let last = sweeping.counted("last_sweep_timestamp_seconds").await?;
        Ok(if last > swept + 1 { Seen::Met(()) } else { Seen::NotYet(last.to_string()) })
    })
    .await?;
    let again = told(namespace, &pod, "AlcoveNoLongerGranted").await?;
    ensure!(again.len() == 1, "told more than once within an hour: {again:?}");
    sweeping.stop().await
}

async fn a_policy_lists_the_pods_that_it_denies_what_they_have(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let pod = deploy(&setting).await?;
    let sweeping = sweeping(&test, namespace).await?;
    let rule = json!({"store": {"kind": "ExternalStore", "name": "vault"}, "keys": ["kv/**"]});
    let policy = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "nobody"},
        "spec": {"serviceAccounts": ["*"], "deny": [rule]},
    });
    namespace.apply(&policy.to_string()).await?;
    let status = wait::until("the status of the policy", async || {
        let printed = namespace.kubectl(&["get", "secretpolicy", "nobody", "-o", "jsonpath={.status}"]).await?;
        let status: Value = serde_json::from_str(&printed).unwrap_or_default();
        Ok(if status["violatingPods"] == 1 { Seen::Met(status) } else { Seen::NotYet(printed) })
    })
    .await?;
    let listed = &status["violations"][0];
    ensure!(listed["namespace"] == namespace.name() && listed["pod"] == pod.as_str(), "{status}");
    ensure!(listed["secret"] == "db-creds" && listed["reason"].to_string().contains("spec.deny[0]"), "{status}");
    let columns = namespace.kubectl(&["get", "secretpolicy", "nobody", "--no-headers"]).await?;
    // Its name, whom it is about, how many these are, how many Pods it is held against, whether it can be read.
    let columns: Vec<&str> = columns.split_whitespace().collect();
    ensure!(columns.get(..5) == Some(&["nobody", r#"["*"]"#, "1", "1", "True"]), "{columns:?}");

    namespace.delete("deployment", "app").await?;
    wait_for_count(&sweeping, LOST, 0).await?;
    wait::until("the policy to be held against nobody", async || {
        let path = "jsonpath={.status.violatingPods} {.status.violations}";
        let printed = namespace.kubectl(&["get", "secretpolicy", "nobody", "-o", path]).await?;
        Ok(if printed == "0 " { Seen::Met(()) } else { Seen::NotYet(printed) })
    })
    .await?;
    sweeping.stop().await
}

async fn a_namespace_that_leaves_a_store_keeps_its_files_and_is_reported(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let name = namespace.name();
    let sweeping = sweeping(&test, namespace).await?;
    // The store of the namespace, for every namespace that is labelled so.
    let own = namespace.kubectl(&["get", "externalstore", "vault", "-o", "json"]).await?;
    let mut store: Value = serde_json::from_str(&own)?;
    store["kind"] = "ClusterExternalStore".into();
    store["metadata"] = json!({"name": name});
    store["spec"]["conditions"] = json!([{"namespaceSelector": {"matchLabels": {"member": name}}}]);
    let rule = json!({"store": {"kind": "ClusterExternalStore", "name": name}, "keys": [format!("kv/{name}/**")]});
    let policy = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "cluster"},
        "spec": {"serviceAccounts": ["default"], "allow": [rule]},
    });
    namespace.label(&format!("member={name}")).await?;
    let work = async {
        namespace.apply(&format!("{store}\n---\n{policy}")).await?;
        setting.put("db", json!({"password": "p"})).await?;
        let binding = format!("{name}:kv/{name}/db");
        namespace.apply(&opted_in("app", &binding).to_string()).await?;
        namespace.wait_until_ready("app").await?;
        namespace.kubectl(&["label", "namespace", name, "member-"]).await?;
        let [event] = told(namespace, "app", "AlcoveNoLongerGranted").await?.try_into().unwrap();
        ensure!(
            event.contains(&format!("\"{name}\" is a ClusterExternalStore whose conditions do not admit")),
            "{event}"
        );
        let still = namespace.exec("app", "app", &["cat", "/etc/creds/password"]).await?;
        ensure!(still == "p", "{still}");
        let refusal = namespace.refusal(&opted_in("next", &binding).to_string()).await?;
        ensure!(refusal.contains("whose conditions do not admit"), "{refusal}");
        anyhow::Ok(())
    };
    let outcome = work.await;
    test.node().kubectl().run(&["delete", "clusterexternalstore", name, "--ignore-not-found"]).await?;
    outcome?;
    sweeping.stop().await
}

async fn a_pod_that_came_while_nobody_called_the_webhook_is_reported(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let kubectl = test.node().kubectl();
    namespace.kubectl(&["create", "secret", "generic", "db-creds", "--from-literal=password=plain"]).await?;
    let pod = opted_in("bypassed", &setting.reference("db"));
    let policies = "validatingadmissionpolicybindings";
    let ours = kubectl.run(&["get", policies, "-o", "jsonpath={.items[*].metadata.name}"]).await?;
    let ours: Vec<&str> = ours.split_whitespace().filter(|name| name.starts_with("alcove-")).collect();
    kubectl.run(&[&["delete", policies], ours.as_slice()].concat()).await?;
    let registrations = "mutatingwebhookconfiguration,validatingwebhookconfiguration";
    kubectl.run(&["delete", registrations, "alcove-webhook"]).await?;
    // The API server forgets them after a moment.
    let came = wait::until("the API server to take the Pod as it is", async || {
        let arguments = ["-n", namespace.name(), "create", "--dry-run=server", "-o", "json", "-f", "-"];
        let tried = kubectl.run_with_input(&arguments, &pod.to_string()).await;
        let printed = tried.unwrap_or_else(|error| format!("{error:#}"));
        let taken: Value = serde_json::from_str(&printed).unwrap_or_default();
        let as_it_is = taken["spec"]["containers"].is_array() && taken["spec"]["initContainers"].is_null();
        Ok(if as_it_is { Seen::Met(()) } else { Seen::NotYet(printed) })
    })
    .await;
    let created = namespace.apply(&pod.to_string()).await;
    Alcove::apply(test.node(), "manifests/overlays/test").await?;
    came.and(created)?;

    namespace.wait_until_ready("bypassed").await?;
    let sweeping = sweeping(&test, namespace).await?;
    let [event] = told(namespace, "bypassed", "AlcoveNotInjected").await?.try_into().unwrap();
    ensure!(event.contains("has no container alcove-sidecar"), "{event}");
    wait_for_count(&sweeping, BYPASSED, 1).await?;
    namespace.wait_until_ready("bypassed").await?;
    sweeping.stop().await
}
