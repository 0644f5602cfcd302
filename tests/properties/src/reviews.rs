//! Bodies that are sent to the webhook, by API servers or by anybody else.

use alcove_webhook::args::Webhook;
use alcove_webhook::review::{Answer, Malformed, Review, Status};
use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::cluster::Cluster;
use crate::mutation::mutate_by;

/// Holds of a body, at both webhooks: what asks is answered, with the number of the question and in the words of the
/// protocol, and twice in the same way. A patch applies, the patched Pod is left as it is when it is sent again, and it
/// may be stored.
pub fn hold(cluster: &Cluster, body: &[u8]) -> Result<()> {
    if let Some(patch) = respond(cluster, Webhook::Mutating, body)?.and_then(|response| response.patch) {
        settle(cluster, body, &patch)?;
    }
    let judged = respond(cluster, Webhook::Validating, body)?;
    ensure!(judged.is_none_or(|response| response.patch.is_none()), "the validating side changes something");
    Ok(())
}

/// The review of a Pod's creation.
#[must_use]
pub fn creation(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": pod.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("t"),
            "object": pod,
            "oldObject": null,
        },
    })
}

/// The review of a Pod's change.
#[must_use]
pub fn change(old: &Value, new: &Value) -> Value {
    let mut review = creation(new);
    if let Some(Value::Object(request)) = review.get_mut("request") {
        request.extend([("operation".to_owned(), "UPDATE".into()), ("oldObject".to_owned(), old.clone())]);
    }
    review
}

/// A body with a few changes, if it is a document.
#[must_use]
pub fn mutated(body: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut review: Value = serde_json::from_slice(body).ok()?;
    mutate_by(&mut review, seed);
    serde_json::to_vec(&review).ok()
}

/// Sends the Pod again as the patch has left it.
fn settle(cluster: &Cluster, body: &[u8], patch: &str) -> Result<()> {
    let mut review: Value = serde_json::from_slice(body)?;
    let pod = review.pointer_mut("/request/object").context("there is a patch for no object")?;
    let patch: Patch = serde_json::from_slice(&STANDARD.decode(patch)?)?;
    json_patch::patch(pod, &patch).with_context(|| format!("{patch} does not apply"))?;
    let is_complete = !waits_for_another(pod);
    let body = review.to_string();
    let sides = [Webhook::Mutating].into_iter().chain(is_complete.then_some(Webhook::Validating));
    for webhook in sides {
        let side = webhook.as_str();
        let again = respond(cluster, webhook, body.as_bytes())?.context("the patched Pod is not answered")?;
        let told = again.status.map(|status| status.message).unwrap_or_default();
        ensure!(again.allowed, "the {side} side refuses what {patch} makes of the Pod: {told}");
        let second = again.patch.map(|text| STANDARD.decode(text)).transpose()?.unwrap_or_default();
        ensure!(second.is_empty(), "after {patch} the {side} side wants {}", String::from_utf8_lossy(&second));
    }
    Ok(())
}

/// Whether the sidecar is to come after a container that is not there: until the Pod is stored, another webhook may bring it.
fn waits_for_another(pod: &Value) -> bool {
    let Some(awaited) = pod.pointer("/metadata/annotations/alcove.dev~1after").and_then(Value::as_str) else {
        return false;
    };
    let mut containers = pod.pointer("/spec/initContainers").and_then(Value::as_array).into_iter().flatten();
    !containers.any(|container| container.get("name").and_then(Value::as_str) == Some(awaited))
}

/// Answers a body as the server does; nothing to one that asks nothing.
fn respond(cluster: &Cluster, webhook: Webhook, body: &[u8]) -> Result<Option<Response>> {
    let Some(first) = answer(cluster, webhook, body) else {
        ensure!(question(body).is_none(), "a question is not answered");
        return Ok(None);
    };
    let sent = serde_json::to_vec(&first.into_document())?;
    let again = answer(cluster, webhook, body).context("there is an answer only once")?;
    ensure!(sent == serde_json::to_vec(&again.into_document())?, "one question has two answers");
    let document: Document = serde_json::from_slice(&sent).context("the answer is no AdmissionReview")?;
    let asked = question(body).context("there is an answer to no question")?;
    document.check(&asked)?;
    Ok(Some(document.response))
}

fn answer(cluster: &Cluster, webhook: Webhook, body: &[u8]) -> Option<Answer> {
    match Review::parse(body) {
        Ok(review) => Some(cluster.answer(webhook, review)),
        Err(Malformed::Incomplete { uid, what }) => Some(Answer::denied(&uid, Status::BadRequest, what.to_string())),
        Err(_) => None,
    }
}

/// The number of the question that a body asks, read without the code under test.
fn question(body: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let is = |field, expected| document.get(field).and_then(Value::as_str) == Some(expected);
    let is_review = is("kind", "AdmissionReview") && is("apiVersion", "admission.k8s.io/v1");
    let uid = document.pointer("/request/uid").and_then(Value::as_str).filter(|uid| is_review && !uid.is_empty());
    uid.map(str::to_owned)
}

/// An AdmissionReview that answers, as the API server reads it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    response: Response,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Response {
    uid: String,
    allowed: bool,
    patch_type: Option<String>,
    patch: Option<String>,
    status: Option<Failure>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    audit_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    status: String,
    message: String,
    reason: String,
    code: u16,
}

/// What the API server passes on of all warnings together.
const MOST_OF_WARNINGS: usize = 4096;

impl Document {
    fn check(&self, uid: &str) -> Result<()> {
        let Self { api_version, kind, response } = self;
        ensure!(api_version == "admission.k8s.io/v1" && kind == "AdmissionReview", "{kind} of {api_version} is sent");
        ensure!(response.uid == uid, "{uid} is asked and {} is answered", response.uid);
        ensure!(
            response.patch_type.as_deref() == response.patch.as_ref().map(|_| "JSONPatch"),
            "a patch and its type are not both there or both absent"
        );
        match (&response.status, response.allowed) {
            (None, true) => {}
            (Some(failure), false) => failure.check()?,
            (None, false) => bail!("a refusal has no reason"),
            (Some(_), true) => bail!("a permission has a reason to refuse"),
        }
        ensure!(response.allowed || response.patch.is_none(), "what is refused is changed");
        let spoken: usize = response.warnings.iter().map(String::len).sum();
        ensure!(spoken <= MOST_OF_WARNINGS, "{spoken} bytes of warnings are more than the API server passes on");
        ensure!(response.warnings.iter().all(|warning| !warning.is_empty()), "a warning says nothing");
        ensure!(response.audit_annotations.values().all(|value| !value.is_empty()), "a record says nothing");
        Ok(())
    }
}

impl Failure {
    fn check(&self) -> Result<()> {
        let Self { status, message, reason, code } = self;
        ensure!(status == "Failure" && matches!(code, 400 | 403 | 422), "{status} {code} {reason}: {message}");
        ensure!(!message.trim().is_empty() && !reason.is_empty(), "{code} says nothing");
        Ok(())
    }
}

/// Whether a body is answered with a patch.
#[cfg(test)]
pub(crate) fn is_patched(cluster: &Cluster, body: &[u8]) -> Result<bool> {
    let response = respond(cluster, Webhook::Mutating, body)?;
    Ok(response.is_some_and(|response| response.patch.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{documents, item, items};
    use crate::mutation::mutate;
    use crate::seeds;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use std::sync::LazyLock;

    static SEEDS: LazyLock<Vec<String>> =
        LazyLock::new(|| seeds::reviews().unwrap().into_iter().map(|body| String::from_utf8(body).unwrap()).collect());

    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::of(items().unwrap()).unwrap());

    #[test]
    fn the_pods_of_all_cases_are_answered_as_any_review_must_be() {
        let base = documents(&seeds::base().unwrap()).unwrap();
        for case in seeds::cases().unwrap() {
            let own = documents(&case.resources).unwrap();
            let cluster = Cluster::of(base.iter().chain(&own).filter_map(item)).unwrap();
            for body in case.reviews().unwrap() {
                hold(&cluster, &body).unwrap_or_else(|broken| panic!("{}: {broken:#}", case.name));
            }
        }
    }

    #[test]
    fn the_cluster_of_the_properties_has_a_patch_for_many_of_them() {
        let count = SEEDS.iter().filter(|body| is_patched(&CLUSTER, body.as_bytes()).unwrap()).count();
        assert!(count >= 40, "only {count} of {} bodies get a patch: the properties would say little", SEEDS.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_review_that_somebody_has_changed_is_answered_as_any_other(
            seed in select(SEEDS.clone()), choices in prop::collection::vec(any::<u16>(), 0..24),
        ) {
            let mut review: Value = serde_json::from_str(&seed).unwrap();
            let mut choices = choices.into_iter().map(usize::from);
            while mutate(&mut review, &mut choices) {}
            let held = hold(&CLUSTER, review.to_string().as_bytes());
            prop_assert!(held.is_ok(), "{:#}\n{review}", held.unwrap_err());
        }

        #[test]
        fn whatever_bytes_are_sent_what_asks_is_answered(
            seed in select(SEEDS.clone()), place in any::<Index>(), bytes in prop::collection::vec(any::<u8>(), 0..8), cut in 0..9_usize,
        ) {
            let mut body = seed.into_bytes();
            let place = place.index(body.len());
            body.splice(place..(place + cut).min(body.len()), bytes);
            let held = hold(&CLUSTER, &body);
            prop_assert!(held.is_ok(), "{:#}\n{}", held.unwrap_err(), String::from_utf8_lossy(&body));
        }
    }
}
