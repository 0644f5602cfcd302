//! Pods that wait for their secrets: they end when they are told to, and nobody takes their patience for a failure.

mod peer;

use alcove_tests::claims;
use alcove_tests::namespace::Namespace;
use alcove_tests::network::NODE_ADDRESS;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::vault::AUDIENCE;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::ListParams;
use serde_json::{Value, json};

use self::peer::Peer;
use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_pod_that_waits_goes_at_once_whatever_it_waits_for,
        a_pod_that_waits_for_one_store_gives_back_its_login_at_another,
        a_job_waits_through_many_probes_and_a_crash_of_the_sidecar_and_completes,
    ]
}

const SIDECAR: &str = "alcove-sidecar";
/// Keeps what a Pod that has gone looked like at the end, until somebody has looked.
const FINALIZER: &str = "tests.alcove.dev/look";
/// How many failed probes a container survives whose probe says nothing about it, several times over.
const PROBES: i32 = 10;

/// A Pod that would take ten minutes to go if it did not follow SIGTERM, with a native sidecar of its own after ours.
fn pod(name: &str, bindings: &Value) -> Value {
    let names = || bindings.as_object().into_iter().flatten().map(|(secret, _)| secret);
    let annotations: serde_json::Map<String, Value> =
        names().map(|secret| (format!("secret.alcove.dev/{secret}"), bindings[secret].clone())).collect();
    let mounts: Vec<Value> = names().map(|name| json!({"name": name, "mountPath": format!("/etc/{name}")})).collect();
    let volumes: Vec<Value> = names().map(|name| json!({"name": name, "secret": {"secretName": name}})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations, "finalizers": [FINALIZER]},
        "spec": {
            "terminationGracePeriodSeconds": 600,
            "initContainers": [{
                "name": "proxy",
                "image": "localhost/busybox:test",
                "restartPolicy": "Always",
                "command": ["sh", "-c", "trap 'exit 0' TERM; touch /tmp/up; while :; do sleep 1; done"],
                "startupProbe": {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1},
            }],
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sleep", "1000000"],
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })
}

/// A store at `server`, and the permission to read everything in it.
fn store(name: &str, server: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "ExternalStore",
            "metadata": {"name": name},
            "spec": {
                "audience": AUDIENCE,
                "provider": {"vault": {"server": server, "version": "v2", "auth": {"kubernetes": {"role": "any"}}}},
            },
        },
        {
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": name},
            "spec": {
                "serviceAccounts": ["default"],
                "allow": [{"store": {"kind": "ExternalStore", "name": name}, "keys": ["kv/**"]}],
            },
        },
    ]})
}

async fn a_pod_that_waits_goes_at_once_whatever_it_waits_for(test: Test) -> Result<()> {
    test.alcove().await?;
    let nobody = format!("http://{NODE_ADDRESS}:{}", test.node().next_port());
    let (silent, mute, busy) = (Peer::silent(test.node())?, Peer::silent(test.node())?, Peer::busy(test.node())?);
    let namespace = test.namespace();
    let waits = [
        // A short sleep before another attempt at a port where nobody listens.
        ("nobody", nobody.clone(), None),
        // A login that is never answered.
        ("silent", silent.address("http"), Some(&silent)),
        // A handshake that is never answered.
        ("mute", mute.address("https"), Some(&mute)),
        // The long sleep that the store has asked for.
        ("busy", busy.address("http"), Some(&busy)),
    ];
    try_join_all(waits.into_iter().map(async |(name, server, peer)| {
        namespace.apply(&store(name, &server).to_string()).await?;
        namespace.apply(&pod(name, &json!({"creds": format!("{name}:kv/app/db")})).to_string()).await?;
        match peer {
            Some(peer) => peer.wait_until_asked().await?,
            None => drop(namespace.wait_for_log(name, SIDECAR, &server).await?),
        }
        goes_at_once(namespace, name).await.with_context(|| format!("the Pod that waits for {name}"))
    }))
    .await
    .map(drop)
}

/// Deletes a Pod that waits, and fails unless its sidecar ends by itself. No wait of the tests is as long as its grace period.
async fn goes_at_once(namespace: &Namespace, pod: &str) -> Result<()> {
    let waiting = namespace.wait_for(pod, "the sidecar runs", |pod| Ok(is_running(pod, SIDECAR))).await?;
    ensure!(!is_running(&waiting, "proxy"), "the second sidecar does not wait for the first");
    namespace.kubectl(&["delete", "pod", pod, "--wait=false"]).await?;
    let ended = namespace
        .wait_for(pod, "the sidecar has ended", |pod| {
            let state = status(pod, SIDECAR).and_then(|status| status.state.as_ref());
            Ok(state.is_some_and(|state| state.terminated.is_some()))
        })
        .await?;
    let state = status(&ended, SIDECAR).and_then(|status| status.state.as_ref());
    let code = state.and_then(|state| state.terminated.as_ref()).map(|ended| ended.exit_code);
    ensure!(code == Some(0), "the sidecar ended with {code:?}: {state:?}");
    namespace.kubectl(&["patch", "pod", pod, "--type=merge", "-p", "{\"metadata\":{\"finalizers\":null}}"]).await?;
    wait::until("the Pod to be gone", async || {
        let found = namespace.api::<Pod>().get_opt(pod).await?;
        Ok(if found.is_some() { Seen::NotYet("it is there".to_owned()) } else { Seen::Met(()) })
    })
    .await
}

async fn a_pod_that_waits_for_one_store_gives_back_its_login_at_another(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let silent = Peer::silent(test.node())?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "p"})).await?;
    namespace.apply(&store("silent", &silent.address("http")).to_string()).await?;
    let tokens = vault.token_count().await?;
    let bindings = json!({"creds": setting.reference("db"), "other": "silent:kv/app/db"});
    namespace.apply(&pod("app", &bindings).to_string()).await?;
    silent.wait_until_asked().await?;
    wait::until("the login at Vault", async || {
        let now = vault.token_count().await?;
        Ok(if now > tokens { Seen::Met(()) } else { Seen::NotYet(format!("{now} tokens")) })
    })
    .await?;
    goes_at_once(namespace, "app").await?;
    let left = vault.token_count().await?;
    ensure!(left == tokens, "{left} tokens are left of {tokens} before");
    vault.stop().await
}

async fn a_job_waits_through_many_probes_and_a_crash_of_the_sidecar_and_completes(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "late"})).await?;
    vault.seal().await?;
    let jobs = ["patient", "shaken"];
    for job in jobs {
        namespace.apply(&self::job(job, &setting.reference("db")).to_string()).await?;
    }
    let [patient, shaken] = [pod_of(namespace, "patient").await?, pod_of(namespace, "shaken").await?];
    let waiting = namespace.wait_for(&shaken, "the sidecar runs", |pod| Ok(is_running(pod, SIDECAR))).await?;
    test.node().kill_container(&waiting, SIDECAR).await?;
    namespace
        .wait_for(&shaken, "another sidecar runs", |pod| Ok(restarts(pod) == 1 && is_running(pod, SIDECAR)))
        .await?;
    for pod in [&patient, &shaken] {
        wait_for_failed_probes(namespace, pod).await?;
    }
    vault.unseal().await?;
    for job in jobs {
        let job = format!("job/{job}");
        namespace.kubectl(&["wait", "--for=condition=Complete", &job, "--timeout=120s"]).await?;
    }
    for (pod, expected) in [(&patient, 0), (&shaken, 1)] {
        let found = restarts(&namespace.api::<Pod>().get(pod).await?);
        ensure!(found == expected, "the sidecar of {pod} was restarted {found} times");
    }
    let probe = namespace.api::<Pod>().get(&patient).await?.spec.unwrap().init_containers.unwrap()[0]
        .startup_probe
        .clone()
        .unwrap();
    let patience = i64::from(probe.period_seconds.unwrap()) * i64::from(probe.failure_threshold.unwrap());
    ensure!(patience >= 24 * 60 * 60, "a store that is away for {patience} s has the kubelet kill the sidecar");
    vault.stop().await
}

/// A Job that ends with its first failure.
fn job(name: &str, reference: &str) -> Value {
    let mut template = pod(name, &json!({"creds": reference}));
    template["spec"]["restartPolicy"] = "Never".into();
    template["spec"]["containers"][0]["command"] = json!(["grep", "-q", "late", "/etc/creds/password"]);
    let metadata = json!({"annotations": template["metadata"]["annotations"], "labels": {"job": name}});
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"metadata": metadata, "spec": template["spec"]}},
    })
}

async fn pod_of(namespace: &Namespace, job: &str) -> Result<String> {
    let selector = format!("job={job}");
    wait::until("the Job's Pod", async || {
        let find = ["get", "pods", "-l", &selector, "-o", "jsonpath={.items[*].metadata.name}"];
        let name = namespace.kubectl(&find).await?;
        Ok(if name.is_empty() { Seen::NotYet("none".to_owned()) } else { Seen::Met(name) })
    })
    .await
}

/// Waits until the sidecar was probed often, and fails if a probe did not answer at once.
async fn wait_for_failed_probes(namespace: &Namespace, pod: &str) -> Result<()> {
    let about = ListParams::default().fields(&format!("involvedObject.name={pod},reason=Unhealthy"));
    wait::until("the sidecar to be probed", async || {
        let mut failed = 0;
        for event in namespace.api::<Event>().list(&about).await?.items {
            let message = event.message.unwrap_or_default();
            ensure!(!message.contains("timed out"), "{message}");
            if event.involved_object.field_path.is_some_and(|path| path.contains(SIDECAR)) {
                failed += event.count.unwrap_or(1);
            }
        }
        Ok(if failed >= PROBES { Seen::Met(()) } else { Seen::NotYet(format!("{failed} probes failed")) })
    })
    .await
}

fn status<'pod>(pod: &'pod Pod, container: &str) -> Option<&'pod ContainerStatus> {
    let mut statuses = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    statuses.find(|status| status.name == container)
}

fn is_running(pod: &Pod, container: &str) -> bool {
    let state = status(pod, container).and_then(|status| status.state.as_ref());
    state.is_some_and(|state| state.running.is_some())
}

fn restarts(pod: &Pod) -> i32 {
    status(pod, SIDECAR).map_or(0, |status| status.restart_count)
}
