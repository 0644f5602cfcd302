//! Everything at once: a Pod comes in the same breath as all that it depends on, before any watch has seen it.
//!
//! A bare Pod is not made again. To leave one as it is for a binding that is "not there" would have its kubelet wait for
//! ever for a Secret that never comes; to refuse it would leave its author without it.

use std::time::Duration;

use alcove_tests::alcove::SIDECAR_IMAGE;
use alcove_tests::claims;
use alcove_tests::kubectl::Kubectl;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::beside::late::LateWatches;
use crate::beside::{Beside, Difference};

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        everything_in_one_apply_is_injected_in_each_of_many_fresh_namespaces,
        everything_in_one_apply_is_injected_though_watches_deliver_nothing,
        a_namespace_that_no_watch_has_delivered_is_judged_by_its_labels,
    ]
}

/// How many fresh namespaces.
const MANY: usize = 200;
/// How many of them are applied at the same time.
const AT_ONCE: usize = 8;
/// How many where no watch delivers anything: there is no luck in it.
const SOME: usize = 5;
/// After 90 s of silence a watch reads everything anew, and would learn of it in that way.
const BEFORE_A_LIST: Duration = Duration::from_secs(45);
/// The label of a test's Pods, by which they are found in all their namespaces.
const LABEL: &str = "together";

/// What one file holds: a Namespace, all that a Pod in it depends on, and that Pod, which no node will run.
fn everything(test: &Test, namespace: &str, labels: &Value) -> Vec<Value> {
    let here = |name: &str| json!({"name": name, "namespace": namespace});
    let rule = json!({"store": {"kind": "ExternalStore", "name": "vault"}, "keys": ["kv/app/**"]});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here("web")}),
        ours("ExternalStore", &here("vault"), &json!({"audience": "vault", "provider": provider()})),
        ours("SecretBinding", &here("db-creds"), &json!({"data": {"password": "vault:kv/app/db#password"}})),
        ours("SecretPolicy", &here("web"), &json!({"serviceAccounts": ["web"], "allow": [rule]})),
        pod(test, namespace, "db-creds"),
    ]
}

fn ours(kind: &str, metadata: &Value, spec: &Value) -> Value {
    json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// Nobody asks it anything.
fn provider() -> Value {
    json!({"vault": {
        "server": "https://vault.example:8200",
        "version": "v2",
        "auth": {"kubernetes": {"role": "app"}},
    }})
}

fn pod(test: &Test, namespace: &str, secret: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "namespace": namespace,
            "labels": {LABEL: test.namespace().name()},
            "annotations": {"alcove.dev/inject": "true"},
        },
        "spec": {
            "serviceAccountName": "web",
            "schedulingGates": [{"name": "example.com/never"}],
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": secret}}],
        },
    })
}

fn names(test: &Test, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{}-{index}", test.namespace().name())).collect()
}

async fn apply(kubectl: &Kubectl, objects: Vec<Value>) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    kubectl.run_with_input(&["apply", "-f", "-"], &list).await.map(drop)
}

/// Applies everything to each of these namespaces, object by object as `kubectl apply --server-side` does, and with less
/// between the objects than the start of a process leaves.
async fn apply_each(test: &Test, names: &[String], labels: &Value) -> Result<()> {
    let client = test.node().kubectl().client_without_retries().await?;
    let applied = names.iter().map(|name| apply_in_order(&client, everything(test, name, labels)));
    stream::iter(applied).buffer_unordered(AT_ONCE).try_collect().await
}

async fn apply_in_order(client: &Client, objects: Vec<Value>) -> Result<()> {
    for object in objects {
        let object: DynamicObject = serde_json::from_value(object)?;
        let resource = ApiResource::from_gvk(&object.types.clone().context("an object of no kind")?.try_into()?);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let name = object.metadata.name.clone().context("an object without a name")?;
        api.patch(&name, &PatchParams::apply("kubectl"), &Patch::Apply(&object)).await?;
    }
    Ok(())
}

/// The namespaces of the test's Pods, and whether each has its secrets from us.
async fn injected(test: &Test) -> Result<Vec<(String, bool)>> {
    let selector = format!("{LABEL}={}", test.namespace().name());
    let pods = test.node().kubectl().json(&["get", "pods", "-A", "-l", &selector]).await?;
    let pods = pods["items"].as_array().context("kubectl printed no list")?.iter();
    let mut found: Vec<(String, bool)> =
        pods.map(|pod| (text(&pod["metadata"]["namespace"]), is_injected(pod))).collect();
    found.sort();
    Ok(found)
}

fn is_injected(pod: &Value) -> bool {
    let has_sidecar = pod["spec"]["initContainers"][0]["name"] == "alcove-sidecar";
    has_sidecar && pod["spec"]["volumes"][0]["emptyDir"]["medium"] == "Memory"
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// That there is a Pod in each of these namespaces, and that each has its secrets from us.
async fn ensure_injected(test: &Test, names: &[String]) -> Result<()> {
    let found = injected(test).await?;
    ensure!(found.len() == names.len(), "{} of {} Pods are there", found.len(), names.len());
    let left: Vec<&str> = found.iter().filter(|(_, is_injected)| !is_injected).map(|(name, _)| name.as_str()).collect();
    ensure!(left.is_empty(), "left as they were: {}", left.join(", "));
    Ok(())
}

/// Removes namespaces, and does not wait for it.
async fn remove(test: &Test, names: &[String]) -> Result<()> {
    let arguments =
        [["delete", "namespace", "--wait=false"].as_slice(), &names.iter().map(String::as_str).collect::<Vec<_>>()];
    test.node().kubectl().run(&arguments.concat()).await.map(drop)
}

async fn everything_in_one_apply_is_injected_in_each_of_many_fresh_namespaces(test: Test) -> Result<()> {
    test.alcove().await?;
    let names = names(&test, MANY);
    apply_each(&test, &names, &json!({})).await?;
    ensure_injected(&test, &names).await?;
    // The namespaces stay until the node goes: to remove one takes a hundred requests.
    let gone = names.iter().map(|name| async {
        let pods: Api<Pod> = Api::namespaced(test.node().client().clone(), name);
        pods.delete("web", &DeleteParams::default()).await.map(drop)
    });
    Ok(stream::iter(gone).buffer_unordered(AT_ONCE).try_collect().await?)
}

async fn everything_in_one_apply_is_injected_though_watches_deliver_nothing(test: Test) -> Result<()> {
    test.alcove().await?;
    let late = LateWatches::start(&test).await?;
    let beside = start(&test, &late).await?;
    let names = names(&test, SOME);
    let (key, value) = beside.label();
    apply_each(&test, &names, &json!({key: value})).await?;
    ensure_injected(&test, &names).await?;
    let (injected, expected) = (beside.answered("mutating", "injected", "changed").await?, names.len());
    ensure!(usize::try_from(injected)? == expected, "the late one has injected {injected} of {expected} Pods");
    late.deliver();
    news_count_again(&test, &beside, &names).await?;
    beside.stop().await?;
    remove(&test, &names).await
}

/// Once watches deliver, they are believed again, and only where something has changed since. They deliver in order: when
/// the last news has come, so has everything before.
async fn news_count_again(test: &Test, beside: &Beside, names: &[String]) -> Result<()> {
    let (last, others) = names.split_last().context("no namespaces")?;
    let kubectl = test.node().kubectl();
    kubectl.run(&["delete", "secretpolicy", "web", "-n", last]).await?;
    let again = |namespace: &str| {
        let mut pod = pod(test, namespace, "db-creds");
        pod["metadata"]["name"] = "again".into();
        pod.to_string()
    };
    let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    wait::until_within(BEFORE_A_LIST, "the watch to deliver that a policy is gone", async || {
        // The shared one refuses it from the first time on.
        drop(kubectl.run_with_input(&create, &again(last)).await);
        let denied = beside.answered("mutating", "denied", "policy").await?;
        Ok(if denied > 0 { Seen::Met(()) } else { Seen::NotYet("the late one still grants it".to_owned()) })
    })
    .await?;
    for namespace in others {
        let pod: Value = serde_json::from_str(&kubectl.run_with_input(&create, &again(namespace)).await?)?;
        ensure!(is_injected(&pod), "what came late has undone what was known: {pod}");
    }
    Ok(())
}

async fn start(test: &Test, late: &LateWatches) -> Result<Beside> {
    Beside::start(
        test.node(),
        test.namespace(),
        &Difference { kubeconfig: late.kubeconfig(), sidecar_image: SIDECAR_IMAGE, sweep_interval: "0s" },
    )
    .await
}

/// Objects of the cluster for namespaces of one team: a store, a binding, and a policy that allows; and one that denies
/// where the namespace is on hold. All are named as the test's namespace, which is the team, too.
fn of_cluster(team: &str) -> Vec<Value> {
    let (selector, on_hold) = (json!({"matchLabels": {"team": team}}), json!({"matchLabels": {"hold": team}}));
    let (name, hold) = (json!({"name": team}), json!({"name": format!("{team}-hold")}));
    let conditions = json!([{"namespaceSelector": selector}]);
    let store = json!({"audience": "elsewhere", "provider": provider(), "conditions": conditions});
    let binding = json!({"namespaceSelector": selector, "data": {"password": format!("{team}:kv/app/db#password")}});
    let rule = json!([{"store": {"kind": "ClusterExternalStore", "name": team}, "keys": ["kv/app/**"]}]);
    let allowing = json!({"namespaceSelector": selector, "serviceAccounts": ["web"], "allow": rule});
    let denying = json!({"namespaceSelector": on_hold, "serviceAccounts": ["web"], "deny": rule});
    vec![
        ours("ClusterExternalStore", &name, &store),
        ours("ClusterSecretBinding", &name, &binding),
        ours("ClusterSecretPolicy", &name, &allowing),
        ours("ClusterSecretPolicy", &hold, &denying),
    ]
}

async fn a_namespace_that_no_watch_has_delivered_is_judged_by_its_labels(test: Test) -> Result<()> {
    test.alcove().await?;
    let kubectl = test.node().kubectl();
    let of_cluster = of_cluster(test.namespace().name());
    apply(kubectl, of_cluster.clone()).await?;
    let outcome = judged_by_labels(&test).await;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": of_cluster}).to_string();
    kubectl.run_with_input(&["delete", "-f", "-"], &list).await?;
    outcome
}

async fn judged_by_labels(test: &Test) -> Result<()> {
    let (team, kubectl) = (test.namespace().name(), test.node().kubectl());
    // The objects of the cluster are in the first lists. Of namespaces that come later nothing is delivered.
    let late = LateWatches::start(test).await?;
    let beside = start(test, &late).await?;
    let (key, value) = beside.label();
    let [chosen, outside, on_hold] = ["in", "out", "hold"].map(|suffix| format!("{team}-{suffix}"));
    let fresh = |namespace: &str, labels: &Value| {
        let pod = pod(test, namespace, team);
        everything(test, namespace, labels).into_iter().take(2).chain([pod]).collect::<Vec<_>>()
    };
    apply(kubectl, fresh(&chosen, &json!({key: value, "team": team}))).await?;
    apply(kubectl, fresh(&outside, &json!({key: value}))).await?;
    let refused = apply(kubectl, fresh(&on_hold, &json!({key: value, "team": team, "hold": team}))).await;
    let refusal = refused.err().context("a Pod that is denied its secret was admitted")?.to_string();
    ensure!(refusal.contains(&format!("ClusterSecretPolicy {team}-hold")), "{refusal}");
    let found = injected(test).await?;
    ensure!(found == [(chosen.clone(), true), (outside.clone(), false)], "{found:?}");
    for (outcome, reason) in [("injected", "changed"), ("denied", "policy")] {
        let answered = beside.answered("mutating", outcome, reason).await?;
        ensure!(answered == 1, "the late one has {outcome} {answered} Pods");
    }
    beside.stop().await?;
    remove(test, &[chosen, outside, on_hold]).await
}
