//! Mounts with `subPath`: they work, and never see a change.

use super::document::{CONTAINER_LISTS, at, items, text};
use super::volumes::is_sub_path;
use crate::bindings::BoundSecrets;
use crate::pod::Pod;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A warning for each mount of a volume with a bound Secret that shows only a part of it.
pub(crate) fn warnings(pod: &Pod, bound: &BoundSecrets<'_>) -> Vec<String> {
    let spec = at(pod.document(), &["spec"]);
    let volumes: BTreeMap<&str, BTreeSet<&str>> = pod
        .volumes()
        .filter(|volume| names_bound(volume, bound))
        .map(|volume| (text(volume, "name"), stated_paths(volume)))
        .collect();
    let containers = CONTAINER_LISTS.iter().flat_map(|list| items(spec, list));
    containers
        .flat_map(|container| {
            items(container, "volumeMounts").iter().map(move |mount| (text(container, "name"), mount))
        })
        .filter(|(_, mount)| is_sub_path(mount))
        .filter_map(|(container, mount)| Some(warning(container, mount, volumes.get(text(mount, "name"))?)))
        .collect()
}

/// Whether a volume names a bound Secret.
pub(crate) fn names_bound(volume: &Value, bound: &BoundSecrets<'_>) -> bool {
    sources(volume).any(|(name, _)| bound.get(name).is_some())
}

/// The paths that the sources of a volume put files at, as far as they name them.
pub(crate) fn stated_paths(volume: &Value) -> BTreeSet<&str> {
    sources(volume).flat_map(|(_, source)| paths(source)).collect()
}

/// The names of the Secrets that a volume shows every key of.
pub(crate) fn whole_secrets(volume: &Value) -> impl Iterator<Item = &str> {
    sources(volume).filter(|(name, source)| !name.is_empty() && items(source, "items").is_empty()).map(|(name, _)| name)
}

fn warning(container: &str, mount: &Value, files: &BTreeSet<&str>) -> String {
    let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
    let sub_path = text(mount, "subPath").trim_matches('/');
    let fate = if is_directory(files, sub_path) {
        "will be empty after the first change, since subPath names a directory"
    } else {
        "will not see changes, since it uses subPath"
    };
    format!("container \"{container}\": {path} of volume \"{name}\" {fate}; mount the whole volume")
}

/// Whether one of the files lies below this path.
fn is_directory(files: &BTreeSet<&str>, sub_path: &str) -> bool {
    let directory = format!("{sub_path}/");
    let first = files.range(directory.as_str()..).next();
    !sub_path.is_empty() && first.is_some_and(|path| path.starts_with(&directory))
}

/// The sources of a volume, each with the name of the Secret that it mentions.
fn sources(volume: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let secret = at(volume, &["secret"]);
    let own = (text(secret, "secretName"), secret);
    let projected = items(at(volume, &["projected"]), "sources").iter().filter_map(Value::as_object);
    let projected = projected.flat_map(|kinds| kinds.iter()).map(|(kind, source)| {
        let name = if kind == "secret" { text(source, "name") } else { "" };
        (name, source)
    });
    projected.chain([own])
}

/// The paths that a source puts files at, as far as it names them.
fn paths(source: &Value) -> impl Iterator<Item = &str> {
    let of_items = items(source, "items").iter().map(|item| text(item, "path"));
    of_items.chain([text(source, "path")])
}
