//! Generated Pods before the real API server: what it accepts we accept, what it refuses is refused, and what does not
//! concern us comes back as if we were not there. Every request is a dry run, which goes through all of admission.

mod damage;
mod pods;

use std::collections::BTreeSet;

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Result, ensure};
use futures::{StreamExt as _, stream};
use http::Request;
use kube::core::Status;
use serde_json::{Map, Value, json};

use self::pods::{BOUND, is_bound};
use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_generated_pod_that_kubernetes_accepts_without_us_is_accepted_with_us,
        an_injected_pod_that_is_sent_again_stays_as_it_is,
        what_does_not_concern_us_is_what_the_api_server_answers_without_us,
        a_damaged_pod_that_kubernetes_refuses_without_us_is_refused_with_us,
    ]
}

/// How many Pods are generated.
const PODS: usize = 160;
/// How many requests are under way at a time.
const CONCURRENCY: usize = 8;

/// What the API server makes of a Pod, or why it refuses it: each complaint with its field, as a person reads it.
type Answer = Result<Value, BTreeSet<String>>;

/// A namespace that may read everything that the generated Pods name.
struct Court {
    setting: Setting<'static>,
    client: kube::Client,
}

impl Court {
    async fn open(test: &Test) -> Result<Self> {
        let setting = Setting::shared(test).await?;
        let binding = json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "SecretBinding",
            "metadata": {"name": "shared"},
            "spec": {"dataFrom": [setting.reference("shared")], "keys": ["password", "a.b"]},
        });
        setting.namespace().apply(&binding.to_string()).await?;
        Ok(Self { setting, client: test.node().client().clone() })
    }

    /// The same Pod with annotations that bind its Secrets.
    fn opted_in(&self, pod: &Value) -> Value {
        let (db, pair) = (self.setting.reference("db"), self.setting.reference("pair"));
        let mut pod = pod.clone();
        pod["metadata"]["annotations"]["alcove.dev/inject"] = "true".into();
        pod["metadata"]["annotations"]["secret.alcove.dev/db-creds"] =
            format!("{{dataFrom: ['{db}'], keys: [password, username]}}").into();
        pod["metadata"]["annotations"]["secret.alcove.dev/tls-pair"] = format!(
            "{{type: kubernetes.io/tls, data: {{tls.crt: '{pair}#crt', tls.key: {{ref: '{pair}#key', mode: 0400}}}}}}"
        )
        .into();
        pod
    }

    async fn ask(&self, pod: &Value) -> Answer {
        let namespace = self.setting.namespace().name();
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Ignore");
        let request = Request::post(path).header("Content-Type", "application/json").body(pod.to_string().into_bytes());
        let request = request.map_err(|error| BTreeSet::from([error.to_string()]))?;
        self.client.request(request).await.map_err(|error| match error {
            kube::Error::Api(status) => complaints(&status),
            other => BTreeSet::from([other.to_string()]),
        })
    }

    async fn ask_for_each(&self, pods: impl IntoIterator<Item = Value>) -> Vec<Answer> {
        let questions = pods.into_iter().map(|pod| async move { self.ask(&pod).await });
        stream::iter(questions).buffered(CONCURRENCY).collect().await
    }

    async fn with_us(&self, pods: &[Value]) -> Vec<Answer> {
        self.ask_for_each(pods.iter().map(|pod| self.opted_in(pod))).await
    }

    async fn without_us(&self, pods: &[Value]) -> Vec<Answer> {
        self.ask_for_each(pods.iter().cloned()).await
    }
}

/// What a refusal complains of: the API server lists it, and a webhook of ours writes a line for each behind a headline.
fn complaints(status: &Status) -> BTreeSet<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let listed: BTreeSet<String> = causes.map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    match status.message.split_once("denied the request: ") {
        Some((_, ours)) => ours.lines().skip(1).map(str::to_owned).collect(),
        None if listed.is_empty() => BTreeSet::from([status.message.clone()]),
        None => listed,
    }
}

/// Complaints without those that follow from others: to Kubernetes, a volume that is not valid is not there to be mounted.
fn causes(complaints: &BTreeSet<String>) -> BTreeSet<String> {
    let has_invalid_volume = complaints.iter().any(|complaint| complaint.starts_with("spec.volumes["));
    let follows = |complaint: &&String| {
        has_invalid_volume && complaint.contains("].volumeMounts[") && complaint.contains("].name: Not found: ")
    };
    complaints.iter().filter(|complaint| !follows(complaint)).cloned().collect()
}

/// Fails with the first of the differences, and how many there are.
fn none(differences: &[String], of: usize) -> Result<()> {
    let shown = differences.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    ensure!(differences.is_empty(), "{} of {of} differ:\n{shown}", differences.len());
    Ok(())
}

async fn a_generated_pod_that_kubernetes_accepts_without_us_is_accepted_with_us(test: Test) -> Result<()> {
    let court = Court::open(&test).await?;
    let pods = pods::generate(PODS);
    let (without, with) = (court.without_us(&pods).await, court.with_us(&pods).await);
    let mut differences = Vec::new();
    let mut injected = 0;
    for ((pod, without), with) in pods.iter().zip(&without).zip(&with) {
        if let Err(refusal) = without {
            differences.push(format!("a generated Pod is not valid: {refusal:?}\n{pod}"));
        }
        match with {
            Err(refusal) => differences.push(format!("refused with us alone: {refusal:?}\n{pod}")),
            Ok(answer) => injected += usize::from(sidecar(answer).is_some()),
        }
    }
    none(&differences, pods.len())?;
    ensure!(injected > PODS * 3 / 4, "only {injected} of {PODS} Pods name a bound Secret: this would say little");
    Ok(())
}

async fn an_injected_pod_that_is_sent_again_stays_as_it_is(test: Test) -> Result<()> {
    let court = Court::open(&test).await?;
    let first: Vec<Value> = court.with_us(&pods::generate(PODS)).await.into_iter().flatten().map(as_new).collect();
    let second = court.ask_for_each(first.iter().cloned()).await;
    let mut differences = Vec::new();
    for (before, after) in first.iter().zip(second) {
        match after.map(as_new) {
            Ok(after) if after == *before => {}
            Ok(after) => differences.push(format!("sent:\n{before}\nand answered:\n{after}")),
            Err(refusal) => differences.push(format!("refused the second time: {refusal:?}\n{before}")),
        }
    }
    none(&differences, first.len())?;
    ensure!(first.len() > PODS * 3 / 4, "only {} Pods were accepted: this would say little", first.len());
    Ok(())
}

/// A Pod as one would send it to have it created.
fn as_new(mut pod: Value) -> Value {
    pod.as_object_mut().unwrap().remove("status");
    for field in ["uid", "creationTimestamp", "managedFields", "resourceVersion", "generation"] {
        pod["metadata"].as_object_mut().unwrap().remove(field);
    }
    pod
}

async fn what_does_not_concern_us_is_what_the_api_server_answers_without_us(test: Test) -> Result<()> {
    let court = Court::open(&test).await?;
    let pods = pods::generate(PODS);
    let (without, with) = (court.without_us(&pods).await, court.with_us(&pods).await);
    let mut differences = Vec::new();
    let mut compared = 0;
    for (without, with) in without.into_iter().zip(with) {
        let (Ok(without), Ok(with)) = (without, with) else { continue };
        compared += 1;
        let (expected, found) = (expectation(&without), observation(&with, &without));
        if expected != found {
            differences.push(format!("without us:\n{expected}\nwith us:\n{found}"));
        }
    }
    none(&differences, compared)?;
    ensure!(compared > PODS * 3 / 4, "only {compared} Pods were compared: this would say little");
    Ok(())
}

async fn a_damaged_pod_that_kubernetes_refuses_without_us_is_refused_with_us(test: Test) -> Result<()> {
    let court = Court::open(&test).await?;
    let damaged = damage::damaged(&pods::generate(PODS));
    ensure!(damaged.len() == damage::expected(), "only {} Pods have a place for their mistake", damaged.len());
    let pods: Vec<Value> = damaged.iter().map(|(_, pod)| pod.clone()).collect();
    let (without, with) = (court.without_us(&pods).await, court.with_us(&pods).await);
    let mut differences = Vec::new();
    for (((mistake, pod), without), with) in damaged.iter().zip(without).zip(with) {
        match (without, with) {
            (Err(without), Err(with)) if with == without || with == causes(&without) => {}
            (Err(without), with) => {
                let with = with.map_or_else(|complaints| format!("{complaints:#?}"), |_| "nothing".to_owned());
                differences.push(format!("{mistake}: without us:\n{without:#?}\nwith us:\n{with}\n{pod}"));
            }
            (Ok(_), _) => differences.push(format!("{mistake}: is no mistake to Kubernetes\n{pod}")),
        }
    }
    none(&differences, pods.len())
}

fn sidecar(pod: &Value) -> Option<&Value> {
    items(&pod["spec"], "initContainers").find(|container| container["name"] == "alcove-sidecar")
}

fn items<'a>(parent: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    parent.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// The volumes that name a bound Secret.
fn replaced(without: &Value) -> BTreeSet<&str> {
    let volumes = items(&without["spec"], "volumes").filter(|volume| {
        is_bound(&volume["secret"]["secretName"])
            || items(&volume["projected"], "sources").any(|source| is_bound(&source["secret"]["name"]))
    });
    volumes.filter_map(|volume| volume["name"].as_str()).collect()
}

/// What must come back with us, by what came back without us.
fn expectation(without: &Value) -> Value {
    let replaced = replaced(without);
    let of_replaced = items(&without["spec"], "volumes").filter(|volume| replaced.contains(text(&volume["name"])));
    let sources = of_replaced.flat_map(|volume| items(&volume["projected"], "sources"));
    let mirrored: Vec<&Value> = sources.filter(|source| !is_bound(&source["secret"]["name"])).collect();
    let mut rest = rest(without, &replaced);
    for list in ["initContainers", "containers"] {
        for container in rest["spec"][list].as_array_mut().into_iter().flatten() {
            let bulk = take_bound_sources(container);
            replace_bound_variables(container);
            container["expanded"] = json!(bulk);
        }
    }
    json!({"rest": rest, "mirrored": mirrored})
}

/// What came back with us, read in the same terms.
fn observation(with: &Value, without: &Value) -> Value {
    let mirrors = items(&with["spec"], "volumes").filter(|volume| text(&volume["name"]).starts_with("alcove-mirror-"));
    let mirrored: Vec<&Value> = mirrors.flat_map(|volume| items(&volume["projected"], "sources")).collect();
    let mut rest = rest(with, &replaced(without));
    for list in ["initContainers", "containers"] {
        let originals: Vec<Value> = items(&without["spec"], list).cloned().collect();
        for (container, original) in rest["spec"][list].as_array_mut().into_iter().flatten().zip(originals) {
            let kept = items(&original, "env").count();
            let all = items(container, "env").count();
            let expanded = container["env"].as_array_mut().map(|env| env.drain(..all.saturating_sub(kept)).collect());
            let names = expanded.unwrap_or_else(Vec::new).into_iter().filter(is_from_file);
            let names: BTreeSet<String> = names.map(|variable| text(&variable["name"]).to_owned()).collect();
            replace_bound_variables(container);
            container["expanded"] = json!(names);
        }
    }
    json!({"rest": rest, "mirrored": mirrored})
}

/// A Pod without what Alcove adds, and without what it has to change in the volumes that it replaces.
fn rest(pod: &Value, replaced: &BTreeSet<&str>) -> Value {
    let mut spec = pod["spec"].clone();
    retain(&mut spec, "initContainers", |container| container["name"] != "alcove-sidecar");
    retain(&mut spec, "volumes", |volume| !text(&volume["name"]).starts_with("alcove-"));
    for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
        if replaced.contains(text(&volume["name"])) {
            *volume = json!({"name": volume["name"]});
        }
    }
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            for mount in container["volumeMounts"].as_array_mut().into_iter().flatten() {
                if replaced.contains(text(&mount["name"])) {
                    mount.as_object_mut().unwrap().remove("readOnly");
                }
            }
        }
    }
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let foreign = annotations.filter(|(key, _)| !key.contains("alcove.dev/") && !key.contains("safe-to-evict"));
    let foreign: Map<String, Value> = foreign.map(|(key, value)| (key.clone(), value.clone())).collect();
    let rest = json!({"labels": pod["metadata"]["labels"], "annotations": foreign, "spec": spec});
    serde_json::from_str(&without_random_names(&rest.to_string())).unwrap()
}

fn retain(parent: &mut Value, field: &str, is_kept: impl Fn(&Value) -> bool) {
    if let Some(list) = parent[field].as_array_mut() {
        list.retain(is_kept);
    }
    // Nothing, null and an empty list are the same to Kubernetes.
    if parent[field].as_array().is_none_or(Vec::is_empty) {
        parent[field] = Value::Null;
    }
}

/// The volume of the API's token is named anew for each Pod.
fn without_random_names(text: &str) -> String {
    const PREFIX: &str = "kube-api-access-";
    const RANDOM: usize = 5;
    let mut parts = text.split(PREFIX);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| whole + PREFIX + part.get(RANDOM..).unwrap_or_default())
}

/// Takes the bound sources out of `envFrom`; the names of the variables that they stand for.
fn take_bound_sources(container: &mut Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in items(container, "envFrom") {
        let keys = BOUND.iter().find(|(name, _)| source["secretRef"]["name"] == *name).map(|(_, keys)| keys);
        names.extend(keys.into_iter().flatten().map(|key| format!("{}{key}", text(&source["prefix"]))));
    }
    retain(container, "envFrom", |source| !is_bound(&source["secretRef"]["name"]));
    names
}

/// Says of each variable from a bound Secret, or from a file of ours, only what both have in common.
fn replace_bound_variables(container: &mut Value) {
    retain(container, "envFrom", |_| true);
    retain(container, "env", |_| true);
    for variable in container["env"].as_array_mut().into_iter().flatten() {
        let key = &variable["valueFrom"]["secretKeyRef"];
        let source = if is_bound(&key["name"]) { key } else { &variable["valueFrom"]["fileKeyRef"] };
        if is_bound(&key["name"]) || is_from_file(variable) {
            *variable = json!({"name": variable["name"], "bound": true, "optional": source["optional"] == true});
        }
    }
}

fn is_from_file(variable: &Value) -> bool {
    variable["valueFrom"]["fileKeyRef"]["volumeName"] == "alcove-env"
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
