//! Mounts inside a replaced volume: nobody can make their mount points.
//!
//! The kubelet makes mount points in the Secret volumes that it fills itself, and not in an `emptyDir`; the container
//! runtime could make them in a volume that can be written to, and ours cannot.

use crate::bindings::BoundSecrets;
use crate::inject::document::{items, text};
use crate::inject::path::{clean, is_within};
use crate::inject::sub_path;
use crate::pod::{Container, ContainerKind, Pod};
use alcove_contract::{Problem, Problems};
use std::collections::BTreeSet;

/// A mount of one container.
struct Mount<'a> {
    index: usize,
    volume: &'a str,
    /// Where it is, in its only spelling.
    path: String,
}

/// Mounts of other volumes inside one with a bound Secret.
pub(super) fn problems(pod: &Pod, bound: &BoundSecrets<'_>) -> Problems {
    let volumes = pod.volumes().filter(|volume| sub_path::names_bound(volume, bound));
    let replaced: BTreeSet<&str> = volumes.map(|volume| text(volume, "name")).collect();
    let served = pod.containers().filter(|container| container.kind != ContainerKind::Ephemeral);
    served.flat_map(|container| of_container(container, &replaced)).collect()
}

fn of_container(container: Container<'_>, replaced: &BTreeSet<&str>) -> Vec<Problem> {
    let mut mounts: Vec<Mount<'_>> = items(container.document, "volumeMounts")
        .iter()
        .enumerate()
        .map(|(index, mount)| Mount { index, volume: text(mount, "name"), path: clean(text(mount, "mountPath")) })
        .collect();
    // What lies inside of a mount comes right behind it.
    mounts.sort_by(|one, other| one.path.split('/').cmp(other.path.split('/')));
    let mut problems = Vec::new();
    let mut around: Vec<&Mount<'_>> = Vec::new();
    for mount in &mounts {
        while around.last().is_some_and(|outer| !is_within(&mount.path, &outer.path)) {
            around.pop();
        }
        let outer = around.iter().rev().find(|outer| outer.volume != mount.volume && outer.path != mount.path);
        problems.extend(outer.map(|outer| (mount.index, problem(container, mount, outer))));
        if replaced.contains(mount.volume) {
            around.push(mount);
        }
    }
    problems.sort_by_key(|(index, _)| *index);
    problems.into_iter().map(|(_, problem)| problem).collect()
}

fn problem(container: Container<'_>, mount: &Mount<'_>, outer: &Mount<'_>) -> Problem {
    let reason = format!(
        "lies inside volume \"{}\" at {}, which names a bound Secret: a volume that Alcove fills has no mount points, and \
         the container would not start",
        outer.volume, outer.path,
    );
    Problem::new(format!("{}.volumeMounts[{}].mountPath", container.path(), mount.index), reason)
        .with_value(&mount.path)
        .with_remedy("mount it elsewhere, or project both into one volume")
}
