//! A created Pod: it must be what Alcove makes of it, field by field, whoever has touched it since.

use super::{Allowance, Verdict};
use crate::audiences;
use crate::decision::{Context, Decision, Findings, Reason, RefusalReason, decide, extent, reserved};
use crate::inject::document::{at, items, set, text};
use crate::inject::{is_own_path, position};
use crate::mountable;
use crate::pod::{ContainerKind, Pod};
use crate::settings::Settings;
use alcove_contract::annotations::{self, PodAnnotations};
use alcove_contract::{Problem, Problems, layout};
use json_patch::PatchOperation;
use serde_json::Value;

pub(super) fn validate(pod: &Pod, context: &Context<'_>) -> Verdict {
    let mut findings = Findings::default();
    let mut grants = Vec::new();
    if let Some(excess) = extent::excess_of_annotations(pod) {
        findings.refuse(RefusalReason::Invalid, [excess]);
        return super::verdict(pod, context, findings);
    }
    let normal = match Pod::new(normalized(pod.document(), context.settings), pod.namespace()) {
        Ok(normal) => normal,
        Err(problem) => {
            findings.refuse(RefusalReason::Invalid, [problem]);
            return super::verdict(pod, context, findings);
        }
    };
    match decide(&normal, context) {
        // What is left of the sidecar is reserved: its volumes. That they are there is not what is wrong.
        Decision::Deny(refusal) if refusal.reason == RefusalReason::Reserved && has_lost_its_sidecar(pod) => {
            findings.refuse(RefusalReason::Tampered, [without_sidecar()]);
        }
        Decision::Deny(refusal) => return Verdict::Deny(refusal),
        Decision::Skip(skip) => {
            findings.absent = skip.absent;
            // A Pod that asks for nothing may still look as if Alcove had been there.
            findings.refuse(RefusalReason::Reserved, reserved(pod));
            // A mirror is the image of what a kubelet has started already.
            if skip.reason != Reason::MirrorPod {
                findings.refuse(RefusalReason::Tampered, marked_without_sidecar(pod));
                mountable::judge(pod, context, &mut findings, |_| true);
                audiences::judge(pod, context, &mut findings);
            }
        }
        Decision::Inject(plan) => {
            findings.absent = plan.absent;
            findings.refuse(RefusalReason::Tampered, differences(pod, &plan.patch));
            findings.refuse(RefusalReason::Unsupported, missing_predecessor(pod));
            findings.refuse(RefusalReason::Unsupported, premature(pod));
            findings.refuse(RefusalReason::Unsupported, overtaken(pod));
            grants = plan.grants;
            findings.trials = plan.trials;
        }
    }
    match super::verdict(pod, context, findings) {
        Verdict::Allow(allowance) => Verdict::Allow(Allowance { grants, ..allowance }),
        denied @ Verdict::Deny(_) => denied,
    }
}

/// The Pod without what other webhooks may rightly add after Alcove: containers in front of the sidecar, and variables and
/// mounts of the sidecar that do not concern it. An image that is tolerated counts as the one of today.
fn normalized(document: &Value, settings: &Settings) -> Value {
    let mut document = document.clone();
    let annotations = annotations_of(&document);
    if let Some(Value::Array(containers)) = document.pointer_mut("/spec/initContainers")
        && let Some(index) = containers.iter().position(is_sidecar)
    {
        let mut sidecar = containers.remove(index);
        tolerate(&mut sidecar);
        if settings.tolerated_images.contains(text(&sidecar, "image")) {
            set(&mut sidecar, "image", settings.sidecar_image.as_str().into());
        }
        let spec = serde_json::json!({"initContainers": containers});
        let position = position::after(&spec, &annotations).unwrap_or_default();
        containers.insert(position.min(containers.len()), sidecar);
    }
    document
}

fn annotations_of(document: &Value) -> PodAnnotations {
    let stated = at(document, &["metadata", "annotations"]).as_object().into_iter().flatten();
    let texts = stated.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    PodAnnotations::parse(texts).unwrap_or_default()
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "name") == layout::CONTAINER
}

fn tolerate(sidecar: &mut Value) {
    let own = |variable: &Value| text(variable, "name").starts_with("ALCOVE_");
    keep(sidecar, "env", own);
    keep(sidecar, "volumeMounts", |mount| is_own_path(text(mount, "mountPath")));
}

fn keep(parent: &mut Value, field: &str, is_kept: impl Fn(&Value) -> bool) {
    if let Some(Value::Array(items)) = parent.get_mut(field) {
        items.retain(is_kept);
    }
}

/// Whether the Pod says that Alcove has changed it, and has no sidecar.
fn has_lost_its_sidecar(pod: &Pod) -> bool {
    annotations_of(pod.document()).injected.is_some() && super::sidecar_of(pod).is_none()
}

/// What is not as Alcove left it.
fn differences(pod: &Pod, patch: &[PatchOperation]) -> Problems {
    match super::sidecar_of(pod) {
        None => without_sidecar().into(),
        Some(_) => patch.iter().filter_map(difference).collect(),
    }
}

/// The mark of a Pod that nothing is bound in, where no sidecar could be missed otherwise.
fn marked_without_sidecar(pod: &Pod) -> Option<Problem> {
    has_lost_its_sidecar(pod).then(|| {
        let reason = format!("says that Alcove has changed this Pod, which has no container {}", layout::CONTAINER);
        let remedy = "leave the annotation away: only Alcove writes it; if it did, another webhook has taken the \
                      container away";
        Problem::new(annotations::place(annotations::INJECTED), reason).with_remedy(remedy)
    })
}

fn without_sidecar() -> Problem {
    let reason = format!("has no container {}, without which the Pod would wait for ever", layout::CONTAINER);
    Problem::new("spec.initContainers", reason).with_remedy(
        "apply again; if that does not help, another webhook takes the container away, or Alcove's own is not called",
    )
}

fn difference(operation: &PatchOperation) -> Option<Problem> {
    let place = field_path(operation.path().as_str());
    // Which version has changed the Pod is of no consequence, and replicas differ while they are replaced.
    if place == annotations::place(annotations::INJECTED) {
        return None;
    }
    let reason = match operation {
        PatchOperation::Add(_) => "is missing, and Alcove has written it",
        PatchOperation::Remove(_) => "was added, and Alcove has not written it",
        _ => "is not what Alcove has written",
    };
    Some(
        Problem::new(place, reason).with_remedy(
            "apply again; if it stays, let the webhook that changed it come before Alcove, or leave it alone",
        ),
    )
}

/// A JSON pointer as Kubernetes writes field paths.
fn field_path(pointer: &str) -> String {
    let mut path = String::new();
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let is_index = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
        if is_index || token.contains(['.', '/']) {
            path = format!("{path}[{token}]");
        } else {
            let separator = if path.is_empty() { "" } else { "." };
            path = format!("{path}{separator}{token}");
        }
    }
    path
}

/// `alcove.dev/after` names a container that never came.
fn missing_predecessor(pod: &Pod) -> Option<Problem> {
    let annotations = annotations_of(pod.document());
    let name = annotations.after.as_ref()?;
    let mut names =
        items(at(pod.document(), &["spec"]), "initContainers").iter().map(|container| text(container, "name"));
    (!names.any(|found| found == name.as_str())).then(|| {
        Problem::new(annotations::place(annotations::AFTER), "names an init container that this Pod does not have")
            .with_value(name.as_str())
            .with_remedy("name one that it has, or leave the annotation away for the sidecar to be first")
    })
}

/// The sidecar stands before the container that `alcove.dev/after` puts in front of it.
///
/// What is compared with the intended Pod has it in its place already: only here the real order counts.
fn premature(pod: &Pod) -> Option<Problem> {
    let annotations = annotations_of(pod.document());
    let after = annotations.after.as_ref()?;
    let containers = items(at(pod.document(), &["spec"]), "initContainers");
    let sidecar = containers.iter().position(is_sidecar)?;
    let named = containers.iter().position(|container| text(container, "name") == after.as_str())?;
    (sidecar < named).then(|| {
        Problem::new(
            format!("spec.initContainers[{sidecar}].name"),
            format!("stands before \"{after}\", which {} puts in front of it", annotations::AFTER),
        )
        .with_value(layout::CONTAINER)
        .with_remedy("apply again; if it stays, let the webhook that adds or moves that container come before Alcove")
    })
}

/// Init containers that stand before the sidecar and need what it delivers.
fn overtaken(pod: &Pod) -> Problems {
    let init = || pod.containers().filter(|container| container.kind == ContainerKind::Init);
    let Some(sidecar) = init().find(|container| is_sidecar(container.document)) else { return Problems::none() };
    let served = super::volumes_of(sidecar.document);
    let early = init().filter(|container| container.index < sidecar.index);
    early
        .filter(|container| super::uses(container.document, &served).next().is_some())
        .map(|container| {
            Problem::new(format!("{}.name", container.path()), "needs a bound Secret and stands before the sidecar")
                .with_value(container.name)
                .with_remedy("let the webhook that moved it or the sidecar come before Alcove")
        })
        .collect()
}
