//! Pods that end: nothing that has changed since their admission holds them back.

use alcove_tests::claims;
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::beside::{Beside, Difference};
use crate::setting::{Setting, opted_in};

pub(crate) fn tests() -> Vec<Trial> {
    claims![a_finished_pod_goes_with_its_namespace_whatever_has_become_of_what_admitted_it]
}

/// What only somebody else takes away, as an archive of finished Pods would.
const FINALIZER: &str = "example.com/archive";
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// What a later version injects.
const NEWER: &str =
    "registry.example/alcove-sidecar@sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

async fn a_finished_pod_goes_with_its_namespace_whatever_has_become_of_what_admitted_it(test: Test) -> Result<()> {
    let setting = Setting::shared_in(&test, test.another_namespace("left").await?).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "p"})).await?;
    let pod = run(&setting).await?;
    let upgraded = outdate(&test, namespace).await?;

    // Of the spec only this may change, and it is we who judge it.
    let before = upgraded.answered("validating", "allowed", "valid").await?;
    patch(namespace, &pod, r#"[{"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 3600}]"#).await?;
    ensure!(upgraded.answered("validating", "allowed", "valid").await? > before, "the later version was not asked");
    // The kubelet's reports and the Job controller's update.
    namespace.exec(&pod, "app", &["touch", "/tmp/go"]).await?;
    namespace.kubectl(&["wait", "--for=condition=Complete", "job/work", "--timeout=120s"]).await?;

    let kubectl = test.node().kubectl();
    kubectl.run(&["delete", "namespace", namespace.name(), "--wait=false"]).await?;
    wait_until_held_by_the_archive_alone(namespace, &pod).await?;
    patch(namespace, &pod, r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#).await?;
    let gone = format!("namespace/{}", namespace.name());
    kubectl.run(&["wait", "--for=delete", &gone, "--timeout=120s"]).await?;
    upgraded.stop().await
}

/// Runs a Job whose Pod two finalizers hold; gives the Pod's name once it has its secret.
async fn run(setting: &Setting<'_>) -> Result<String> {
    let mut template = opted_in("work", &setting.reference("db"));
    template["metadata"]["finalizers"] = json!([FINALIZER]);
    template["spec"]["restartPolicy"] = "Never".into();
    template["spec"]["containers"][0]["command"] = json!(["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.1; done"]);
    template["metadata"].as_object_mut().context("no metadata")?.remove("name");
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work"},
        "spec": {"template": {"metadata": template["metadata"], "spec": template["spec"]}},
    });
    let namespace = setting.namespace();
    namespace.apply(&job.to_string()).await?;
    let pods: Api<Pod> = namespace.api();
    let name = wait::until("the Job's Pod", async || {
        let found = pods.list(&ListParams::default().labels("job-name=work")).await?.items;
        let name = found.into_iter().find_map(|pod| pod.metadata.name);
        Ok(name.map_or_else(|| Seen::NotYet("none".to_owned()), Seen::Met))
    })
    .await?;
    let running = namespace.wait_until_ready(&name).await?;
    let mut finalizers = running.metadata.finalizers.unwrap_or_default();
    finalizers.sort();
    ensure!(finalizers == [TRACKING, FINALIZER], "{finalizers:?}");
    let sidecars = running.spec.and_then(|spec| spec.init_containers).unwrap_or_default();
    ensure!(sidecars.iter().any(|container| container.name == "alcove-sidecar"), "it was not injected");
    Ok(name)
}

/// Takes away what the Pod was admitted by, forbids what it has, and has a later version judge its changes.
async fn outdate(test: &Test, namespace: &Namespace) -> Result<Beside> {
    let kubeconfig = test.node().kubectl().kubeconfig();
    let difference = Difference { kubeconfig, sidecar_image: NEWER, sweep_interval: "0s" };
    let upgraded = Beside::start(test.node(), namespace, &difference).await?;
    namespace.delete("secretpolicy", "default").await?;
    namespace.delete("externalstore", "vault").await?;
    let limits = json!([{"type": "Container", "min": {"memory": "1Gi", "cpu": "1"}}]);
    let range =
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"}, "spec": {"limits": limits}});
    namespace.apply(&range.to_string()).await?;
    Ok(upgraded)
}

async fn patch(namespace: &Namespace, pod: &str, patch: &str) -> Result<()> {
    namespace.kubectl(&["patch", "pod", pod, "--type=json", "-p", patch]).await.map(drop)
}

async fn wait_until_held_by_the_archive_alone(namespace: &Namespace, pod: &str) -> Result<()> {
    let held = |pod: &Pod| {
        let finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
        Ok(pod.metadata.deletion_timestamp.is_some() && finalizers == [FINALIZER])
    };
    namespace.wait_for(pod, "to be held by one finalizer", held).await.map(drop)
}
