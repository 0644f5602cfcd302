//! Bound Secrets in places where nobody can put them in time.

use super::Context;
use crate::bindings::BoundSecrets;
use crate::inject::document::{at, items, text};
use crate::inject::environment::OLDEST_WITH_FILE_KEY_REF;
use crate::inject::{position, sub_path};
use crate::places::{Mention, Place};
use crate::pod::{Container, ContainerKind, Pod};
use alcove_contract::annotations::PodAnnotations;
use alcove_contract::{Problem, Problems};
use std::collections::BTreeSet;

/// Bound Secrets in places where nobody can put them.
pub(super) fn problems(
    pod: &Pod,
    mentions: &[Mention<'_>],
    bound: &BoundSecrets<'_>,
    annotations: &PodAnnotations,
    context: &Context<'_>,
) -> Problems {
    let spec = at(pod.document(), &["spec"]);
    let first_served = position::after(spec, annotations).unwrap_or_default();
    let bound_mentions = mentions.iter().filter(|mention| bound.get(mention.secret).is_some());
    let of_places = bound_mentions
        .filter_map(|mention| unserved_place(mention, first_served).or_else(|| too_old(mention, context)));
    of_places.chain(early_mounts(pod, bound, first_served)).collect()
}

fn unserved_place(mention: &Mention<'_>, first_served: usize) -> Option<Problem> {
    let (reason, remedy) = match mention.place {
        Place::ImagePullSecret { .. } => (
            "cannot come from a store: the kubelet pulls images before any container runs",
            "name a real Secret there, or let a kubelet credential provider serve the registry",
        ),
        place if place.is_read_by_kubelet_alone() => {
            ("cannot come from a store: the volume is mounted before any container runs", "name a real Secret there")
        }
        Place::Env { kind: ContainerKind::Ephemeral, .. } | Place::EnvFrom { kind: ContainerKind::Ephemeral, .. } => (
            "may not be given to an ephemeral container",
            "leave it away: what the Pod's own containers were granted is not for whoever debugs them",
        ),
        Place::Env { kind: ContainerKind::Init, container, .. }
        | Place::EnvFrom { kind: ContainerKind::Init, container, .. }
            if container < first_served =>
        {
            (TOO_EARLY, TOO_EARLY_REMEDY)
        }
        _ => return None,
    };
    Some(Problem::new(mention.path(), reason).with_value(mention.secret).with_remedy(remedy))
}

const TOO_EARLY: &str =
    "is needed by an init container that runs before the sidecar, which alcove.dev/after puts behind it";
const TOO_EARLY_REMEDY: &str = "move the init container behind the one that alcove.dev/after names";

fn too_old(mention: &Mention<'_>, context: &Context<'_>) -> Option<Problem> {
    let is_variable = matches!(mention.place, Place::Env { .. } | Place::EnvFrom { .. });
    let version = context.settings.kubernetes_version;
    (is_variable && version < OLDEST_WITH_FILE_KEY_REF).then(|| {
        let reason = format!(
            "cannot become a variable: that needs Kubernetes {OLDEST_WITH_FILE_KEY_REF} on the server and every node, and \
             this cluster has {version}"
        );
        Problem::new(mention.path(), reason)
            .with_value(mention.secret)
            .with_remedy("mount the Secret as a volume and read the file")
    })
}

/// Init containers that mount a bound Secret and run before the sidecar has filled it.
fn early_mounts(pod: &Pod, bound: &BoundSecrets<'_>, first_served: usize) -> Vec<Problem> {
    let volumes: BTreeSet<&str> = pod
        .volumes()
        .filter(|volume| sub_path::names_bound(volume, bound))
        .map(|volume| text(volume, "name"))
        .collect();
    let is_early = |container: &Container<'_>| container.kind == ContainerKind::Init && container.index < first_served;
    let early = pod.containers().filter(is_early);
    early
        .flat_map(|container| {
            let mounts = items(container.document, "volumeMounts").iter().enumerate();
            mounts.map(move |(index, mount)| {
                (format!("{}.volumeMounts[{index}].name", container.path()), text(mount, "name"))
            })
        })
        .filter(|(_, name)| volumes.contains(name))
        .map(|(place, name)| Problem::new(place, TOO_EARLY).with_value(name).with_remedy(TOO_EARLY_REMEDY))
        .collect()
}
