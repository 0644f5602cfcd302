//! Places that cannot be served, names that are Alcove's own, and what the author of a Pod should know.

use super::Context;
use crate::bindings::BoundSecrets;
use crate::inject::document::{at, items, says, text};
use crate::inject::environment::OLDEST_WITH_FILE_KEY_REF;
use crate::inject::{position, sub_path, user};
use crate::places::{Mention, Place};
use crate::pod::{Container, ContainerKind, Pod};
use alcove_contract::annotations::PodAnnotations;
use alcove_contract::{Problem, Problems, layout};
use std::collections::BTreeSet;

/// Bound Secrets in places where nobody can put them.
pub(super) fn unserved(
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
    Some(Problem::new(&mention.path, reason).with_value(mention.secret).with_remedy(remedy))
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
        Problem::new(&mention.path, reason)
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

/// Names that only Alcove may use, in a Pod from which everything of Alcove's has been taken away.
pub(crate) fn reserved(pod: &Pod) -> Problems {
    let spec = at(pod.document(), &["spec"]);
    let reason = "is a name that only Alcove may use";
    let named =
        |place: String, name: &str| Problem::new(place, reason).with_value(name).with_remedy("use another name");
    let volumes = items(spec, "volumes").iter().enumerate().filter_map(|(index, volume)| {
        let name = text(volume, "name");
        is_reserved(name).then(|| named(format!("spec.volumes[{index}].name"), name))
    });
    let containers = pod.containers().flat_map(|container| {
        let own =
            (container.name == layout::CONTAINER).then(|| named(format!("{}.name", container.path()), container.name));
        own.into_iter().chain(reserved_uses(container))
    });
    volumes.chain(containers).collect()
}

fn reserved_uses(container: Container<'_>) -> Vec<Problem> {
    let used = |place: String, name: &str| {
        Problem::new(place, "is a volume that only Alcove's sidecar may use")
            .with_value(name)
            .with_remedy("leave it away")
    };
    let path = container.path();
    let mounts = items(container.document, "volumeMounts").iter().enumerate().filter_map(|(index, mount)| {
        let name = text(mount, "name");
        is_reserved(name).then(|| used(format!("{path}.volumeMounts[{index}].name"), name))
    });
    let references = items(container.document, "env").iter().enumerate().filter_map(|(index, variable)| {
        let name = text(at(variable, &["valueFrom", "fileKeyRef"]), "volumeName");
        is_reserved(name).then(|| used(format!("{path}.env[{index}].valueFrom.fileKeyRef.volumeName"), name))
    });
    mounts.chain(references).collect()
}

fn is_reserved(volume: &str) -> bool {
    volume.starts_with(layout::VOLUME_PREFIX)
}

/// What the author of an injected Pod should know.
pub(super) fn warnings(pod: &Pod, mentions: &[Mention<'_>], bound: &BoundSecrets<'_>) -> Vec<String> {
    let spec = at(pod.document(), &["spec"]);
    let of_mounts = sub_path::warnings(pod, bound);
    of_mounts
        .into_iter()
        .chain(stale_variables(mentions, bound))
        .chain(porous(pod, user::shares_processes(spec)))
        .collect()
}

/// A Secret that is both a file and a variable changes in one place and not in the other.
fn stale_variables(mentions: &[Mention<'_>], bound: &BoundSecrets<'_>) -> Vec<String> {
    let names = |wanted: fn(Place) -> bool| -> BTreeSet<&str> {
        let chosen = mentions.iter().filter(|mention| wanted(mention.place) && bound.get(mention.secret).is_some());
        chosen.map(|mention| mention.secret).collect()
    };
    let files = names(|place| matches!(place, Place::Volume { .. } | Place::ProjectedSource { .. }));
    let variables = names(|place| matches!(place, Place::Env { .. } | Place::EnvFrom { .. }));
    let both = files.intersection(&variables);
    both.map(|name| {
        format!("Secret \"{name}\": its files follow the store, its variables change when the container restarts")
    })
    .collect()
}

/// What lets one container see the files of another.
fn porous(pod: &Pod, shares_processes: bool) -> Vec<String> {
    let is_privileged = |container: &Container<'_>| says(at(container.document, &["securityContext"]), "privileged");
    let privileged = pod.containers().filter(is_privileged).map(|container| {
        format!("container \"{}\" is privileged: it can read every secret of its node", container.name)
    });
    let shared = shares_processes.then(|| {
        "processes are shared in this Pod: its containers can read each other's secrets through /proc".to_owned()
    });
    privileged.chain(shared).collect()
}
