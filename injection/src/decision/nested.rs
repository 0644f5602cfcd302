//! Mounts inside of a replaced volume: refused where the container would never start with a Secret volume either.
//!
//! The kubelet makes the directories for them in the Secret volumes that it fills, and the sidecar makes the same ones.

use crate::bindings::{BoundSecret, BoundSecrets};
use crate::inject::document::{items, text};
use crate::inject::mount_points::{self, Nested};
use crate::inject::path::{clean, lexically_clean};
use crate::inject::sub_path;
use crate::pod::{Container, ContainerKind, Pod};
use alcove_contract::name::FileName;
use alcove_contract::path::RelativePath;
use alcove_contract::{Problem, Problems};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The replaced volumes, each with the paths in it that are known to be there.
type Paths<'a> = BTreeMap<&'a str, BTreeSet<String>>;

/// Mounts inside of replaced volumes that no mount point can be made for.
pub(super) fn problems(pod: &Pod, bound: &BoundSecrets<'_>) -> Problems {
    let volumes = pod.volumes().filter(|volume| sub_path::names_bound(volume, bound));
    let mut paths: Paths<'_> = volumes
        .map(|volume| (text(volume, "name"), sub_path::stated_paths(volume).into_iter().map(str::to_owned).collect()))
        .collect();
    for container in served(pod) {
        let nested = mount_points::for_kubelet(container.document).into_iter();
        let made = nested.map(|nested| (text(nested.outer, "name"), nested.path));
        // What is not there when it is mounted is made.
        let mounts = items(container.document, "volumeMounts").iter();
        for (volume, path) in made.chain(mounts.map(|mount| (text(mount, "name"), part_of(mount)))) {
            if let Some(paths) = paths.get_mut(volume) {
                paths.insert(path);
            }
        }
    }
    served(pod).flat_map(|container| of_container(container, &paths)).collect()
}

/// A warning for each mount that takes the place of a file in a replaced volume, as far as its files are known.
pub(super) fn warnings(pod: &Pod, bound: &BoundSecrets<'_>) -> Vec<String> {
    let volumes = pod.volumes().filter(|volume| sub_path::names_bound(volume, bound));
    let names: BTreeMap<&str, BTreeSet<&str>> =
        volumes.map(|volume| (text(volume, "name"), visible_names(volume, bound))).collect();
    let mut warnings = Vec::new();
    for container in served(pod) {
        for Nested { mount, outer, path, .. } in mount_points::for_kubelet(container.document) {
            let (first, volume) = (path.split('/').next().unwrap_or_default(), text(outer, "name"));
            if names.get(volume).is_some_and(|names| names.contains(first)) {
                let (name, place) = (container.name, text(mount, "mountPath"));
                warnings.push(format!(
                    "container \"{name}\": the mount at {place} hides \"{first}\" of volume \"{volume}\", as in a Secret \
                     volume; mount it elsewhere"
                ));
            }
        }
    }
    warnings
}

fn served(pod: &Pod) -> impl Iterator<Item = Container<'_>> {
    pod.containers().filter(|container| container.kind != ContainerKind::Ephemeral)
}

/// The part of its volume that a mount shows; empty for all of it.
fn part_of(mount: &Value) -> String {
    clean(text(mount, "subPath")).trim_start_matches('/').to_owned()
}

/// The names that a volume shows, as far as the Pod and its bindings say.
fn visible_names<'a>(volume: &'a Value, bound: &'a BoundSecrets<'_>) -> BTreeSet<&'a str> {
    let keys = |secret: &'a BoundSecret<'_>| secret.binding.data.keys().chain(&secret.binding.keys);
    let whole = sub_path::whole_secrets(volume).filter_map(|name| Some(bound.get(name)?.1));
    let stated = sub_path::stated_paths(volume).into_iter().filter_map(|path| path.split('/').next());
    stated.chain(whole.flat_map(keys).map(FileName::as_str)).collect()
}

fn of_container(container: Container<'_>, paths: &Paths<'_>) -> Vec<Problem> {
    let mounts = items(container.document, "volumeMounts").iter().enumerate();
    let fills = |mount: &Value| paths.contains_key(text(mount, "name"));
    let outside = mounts.filter(|(_, mount)| fills(mount) && leads_outside(mount)).map(|(index, mount)| {
        let problem =
            Problem::new("", "is an invalid container mount point to the kubelet: it leads out of the container");
        (index, problem.with_value(text(mount, "mountPath")).with_remedy("begin the path with '/'"))
    });
    let unnamed = mount_points::for_kubelet(container.document).into_iter().filter(|nested| fills(nested.outer));
    let unnamed = unnamed.filter_map(|nested| Some((nested.index, unnamed_problem(&nested)?)));
    let missing = mount_points::for_runtime(container.document).into_iter();
    let missing = missing.filter(|nested| is_missing(nested, paths)).map(|nested| (nested.index, problem(&nested)));
    let mut problems: Vec<(usize, Problem)> = outside.chain(unnamed).chain(missing).collect();
    problems.sort_by_key(|(index, _)| *index);
    let place = |index: usize| format!("{}.volumeMounts[{index}].mountPath", container.path());
    problems.into_iter().map(|(index, problem)| problem.below(&place(index))).collect()
}

fn leads_outside(mount: &Value) -> bool {
    lexically_clean(text(mount, "mountPath")).starts_with("../")
}

fn unnamed_problem(nested: &Nested<'_>) -> Option<Problem> {
    let error = nested.path.parse::<RelativePath>().err()?;
    let reason = format!("lies inside {}, where it cannot have a mount point: {error}", subject(nested.outer));
    Some(Problem::new("", reason).with_value(text(nested.mount, "mountPath")).with_remedy("mount it elsewhere"))
}

/// Whether nothing will be there that the container runtime could mount on. What `subPathExpr` shows is known at the
/// container's start only, where it is as with a Secret volume.
fn is_missing(nested: &Nested<'_>, paths: &Paths<'_>) -> bool {
    let Some(paths) = paths.get(text(nested.outer, "name")) else { return false };
    let part = part_of(nested.outer);
    let path = if part.is_empty() { nested.path.clone() } else { format!("{part}/{}", nested.path) };
    let below = format!("{path}/");
    let is_parent = || paths.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below));
    text(nested.outer, "subPathExpr").is_empty() && !paths.contains(&path) && !is_parent()
}

fn problem(nested: &Nested<'_>) -> Problem {
    let (reason, remedy) = if part_of(nested.outer).is_empty() {
        ("the kubelet, which compares paths as they are written", "begin both paths with '/'")
    } else {
        ("the kubelet, which looks at whole volumes", "mount the whole volume, or project both into one")
    };
    let outer = subject(nested.outer);
    let reason =
        format!("lies inside {outer}, and {reason}, makes no mount point for it: the container would never start");
    Problem::new("", reason).with_value(text(nested.mount, "mountPath")).with_remedy(remedy)
}

fn subject(outer: &Value) -> String {
    let (name, place) = (text(outer, "name"), text(outer, "mountPath"));
    match text(outer, "subPath") {
        "" => format!("volume \"{name}\" at {place}"),
        part => format!("\"{part}\" of volume \"{name}\" at {place}"),
    }
}
