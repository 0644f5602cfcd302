//! A refused Pod that nobody created by hand: what makes it is told, and no more than once an hour.

use alcove_tests::alcove::SIDECAR_IMAGE;
use alcove_tests::claims;
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::beside::{Beside, Difference};
use crate::setting::{Setting, opted_in};

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        whatever_makes_refused_pods_has_one_event_however_often_it_tries,
        a_dry_run_makes_no_event_and_a_flood_of_owners_is_bounded_and_counted,
    ]
}

const REASON: &str = "AlcoveRefused: ";
/// How many Events one namespace gets in an hour.
const MOST: usize = 100;

/// A workload of a kind whose Pods no policy allows what they ask for.
fn workload(kind: &str, pod: &Value) -> Value {
    let mut template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
    template["metadata"].as_object_mut().unwrap().remove("name");
    template["metadata"]["labels"] = json!({"of": kind.to_lowercase()});
    let mut spec = json!({"template": template});
    let mut api_version = "apps/v1";
    match kind {
        "Job" => {
            api_version = "batch/v1";
            spec["template"]["spec"]["restartPolicy"] = "Never".into();
        }
        _ => spec["selector"] = json!({"matchLabels": {"of": kind.to_lowercase()}}),
    }
    if kind == "StatefulSet" {
        spec["serviceName"] = "none".into();
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": kind.to_lowercase()}, "spec": spec})
}

/// The Events of ours about an object, once there is one.
async fn told(namespace: &Namespace, object: &str) -> Result<Vec<String>> {
    wait::until(&format!("an Event about {object}"), async || {
        let all = namespace.events(object).await?;
        let ours: Vec<String> = all.iter().filter(|event| event.starts_with(REASON)).cloned().collect();
        Ok(if ours.is_empty() { Seen::NotYet(all.join("\n")) } else { Seen::Met(ours) })
    })
    .await
}

/// Waits until the controller of an object has tried several times: Kubernetes counts its own Events.
async fn wait_for_tries(namespace: &Namespace, object: &str) -> Result<()> {
    let selector = format!("--field-selector=involvedObject.name={object},reason=FailedCreate");
    wait::until(&format!("{object} to be tried again and again"), async || {
        let counts = namespace.kubectl(&["get", "events", &selector, "-o", "jsonpath={.items[*].count}"]).await?;
        let tries: u32 = counts.split_whitespace().filter_map(|count| count.parse::<u32>().ok()).sum();
        Ok(if tries >= 6 { Seen::Met(()) } else { Seen::NotYet(format!("{tries} times")) })
    })
    .await
}

fn hour() -> i64 {
    jiff::Timestamp::now().as_second() / 3_600
}

async fn whatever_makes_refused_pods_has_one_event_however_often_it_tries(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "canary-of-a-refused-pod"})).await?;
    namespace.delete("secretpolicy", "default").await?;
    let begin = hour();
    let pod = opted_in("app", &setting.reference("db"));
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job"] {
        namespace.apply(&workload(kind, &pod).to_string()).await?;
    }
    let path = "jsonpath={.items[0].metadata.name}";
    let replica_set = wait::until("the ReplicaSet", async || {
        Ok(Seen::attempt(namespace.kubectl(&["get", "replicasets", "-l", "of=deployment", "-o", path]).await))
    })
    .await?;
    for owner in [replica_set.as_str(), "statefulset", "daemonset", "job"] {
        told(namespace, owner).await?;
    }
    wait_for_tries(namespace, &replica_set).await?;
    for owner in [replica_set.as_str(), "statefulset", "daemonset", "job"] {
        let events = told(namespace, owner).await?;
        let hours = usize::try_from(hour() - begin + 1)?;
        ensure!(events.len() <= hours, "{owner} is told {} times: {events:?}", events.len());
        let [event, ..] = events.as_slice() else { anyhow::bail!("no Event about {owner}") };
        for expected in ["is refused", "db-creds", "ServiceAccount \"default\"", "no policy allows"] {
            ensure!(event.contains(expected), "{expected} is not in: {event}");
        }
        ensure!(event.len() <= REASON.len() + 1_024 && !event.contains("canary"), "{event}");
    }
    Ok(())
}

/// A Pod without a policy that says to be made by an object.
fn owned(setting: &Setting<'_>, owner: usize) -> Result<Pod> {
    let mut pod = opted_in("app", &setting.reference("db"));
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": format!("owner-{owner}"),
        "uid": format!("0f0e0d0c-0b0a-0908-0706-{owner:012}"),
        "controller": true,
    }]);
    pod["metadata"]["name"] = format!("of-{owner}").into();
    serde_json::from_value(pod).context("no Pod")
}

/// Has the API server refuse a Pod.
async fn refuse(namespace: &Namespace, pod: Pod, parameters: &PostParams) -> Result<()> {
    match namespace.api::<Pod>().create(parameters, &pod).await {
        Err(kube::Error::Api(status)) if status.message.contains("no policy allows") => Ok(()),
        other => anyhow::bail!("not refused for want of a policy: {other:?}"),
    }
}

async fn a_dry_run_makes_no_event_and_a_flood_of_owners_is_bounded_and_counted(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let kubeconfig = test.node().kubectl().kubeconfig();
    let difference = Difference { kubeconfig, sidecar_image: SIDECAR_IMAGE, sweep_interval: "0s" };
    let beside = Beside::start(test.node(), namespace, &difference).await?;
    namespace.delete("secretpolicy", "default").await?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    refuse(namespace, owned(&setting, 0)?, &dry_run).await?;
    refuse(namespace, owned(&setting, 1)?, &PostParams::default()).await?;
    told(namespace, "owner-1").await?;
    // One after the other they are told, so the first would be there by now.
    let silent = namespace.events("owner-0").await?;
    ensure!(silent.is_empty(), "a dry run is told: {silent:?}");

    let flood = 2 * MOST;
    let real = PostParams::default();
    let pods: Vec<Pod> = (1..=flood).map(|owner| owned(&setting, owner)).collect::<Result<_>>()?;
    let refusals = pods.into_iter().map(|pod| refuse(namespace, pod, &real));
    let () = stream::iter(refusals).buffer_unordered(8).try_collect().await?;
    let outcome =
        async |outcome: &str| beside.counted(&format!(r#"refusal_events_total{{outcome="{outcome}"}}"#)).await;
    wait::until("all refusals to be told or counted", async || {
        let (created, dropped) = (outcome("created").await?, outcome("dropped").await?);
        let seen = format!("{created} created, {dropped} dropped");
        let expected = (u64::try_from(MOST)?, u64::try_from(flood - MOST)?);
        Ok(if (created, dropped) == expected { Seen::Met(()) } else { Seen::NotYet(seen) })
    })
    .await?;
    beside.stop().await
}
