//! Which Pods are looked at, and which nodes they may run on.

use super::{Reason, Skip};
use crate::inject::document::{at, items, text};
use crate::pod::Pod;
use alcove_contract::annotations::{self, EnvDelivery, PodAnnotations};
use alcove_contract::{Problem, Problems};
use serde_json::Value;

/// What the kubelet writes into the Pod that stands for a static one.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The labels of a node that name its operating system.
const OS_LABELS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// Pods that are left alone whatever else they say.
pub(crate) fn left_alone(pod: &Pod) -> Option<Skip> {
    let annotation = |name: &str| pod.annotations().find(|(key, _)| *key == name).map(|(_, value)| value);
    if annotation(MIRROR).is_some() {
        let is_annotated = pod.annotations().any(|(key, _)| annotations::is_ours(key));
        let warning = "this Pod is the mirror of a static one: the kubelet has started it without Alcove, and its \
                       annotations have no effect";
        let warnings = if is_annotated { vec![warning.to_owned()] } else { Vec::new() };
        return Some(Skip { warnings, ..Skip::because(Reason::MirrorPod) });
    }
    (annotation(annotations::INJECT) == Some("false")).then(|| Skip::because(Reason::OptedOut))
}

/// What no Pod with this way of delivery, or on these nodes, can have.
pub(super) fn platform(pod: &Pod, annotations: &PodAnnotations) -> Problems {
    let spec = at(pod.document(), &["spec"]);
    windows(spec).into_iter().chain(exec(annotations)).collect()
}

fn exec(annotations: &PodAnnotations) -> Option<Problem> {
    (annotations.env == EnvDelivery::Exec).then(|| {
        Problem::new(
            annotations::place(annotations::ENV),
            "is not possible: this version of Alcove has no command wrapper",
        )
        .with_value("exec")
        .with_remedy("write \"file\", or leave the annotation away")
    })
}

fn windows(spec: &Value) -> Option<Problem> {
    let is_windows = |value: &str| value.eq_ignore_ascii_case("windows");
    let selector = at(spec, &["nodeSelector"]);
    let place = if is_windows(text(at(spec, &["os"]), "name")) {
        "spec.os.name".to_owned()
    } else if let Some(label) = OS_LABELS.iter().find(|label| is_windows(text(selector, label))) {
        format!("spec.nodeSelector[{label}]")
    } else {
        let terms = ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
        let index = items(at(spec, &terms), "nodeSelectorTerms").iter().position(demands_windows)?;
        format!("spec.{}.nodeSelectorTerms[{index}]", terms.join("."))
    };
    Some(
        Problem::new(place, "chooses a Windows node, which has no memory volumes and cannot run the sidecar")
            .with_value("windows")
            .with_remedy("mount a real Secret, and leave Alcove's annotations away"),
    )
}

fn demands_windows(term: &Value) -> bool {
    items(term, "matchExpressions").iter().any(|expression| {
        OS_LABELS.contains(&text(expression, "key"))
            && text(expression, "operator") == "In"
            && items(expression, "values").iter().any(|value| value.as_str() == Some("windows"))
    })
}
