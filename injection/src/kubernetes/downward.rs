//! Selectors of fields of the Pod and of resources of its containers, as variables and as files.
//!
//! Quantities (`divisor`) are not looked at; they move with the selector to where the API server sees them.

use serde_json::Value;

use super::fields::{present, text};
use super::names;
use super::report::{Path, Report};

/// The fields that a variable may show.
pub(super) const ENVIRONMENT: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The fields that a file may show.
const FILES: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The fields that have a name at all; one of them that may not be shown is refused with other words.
const LABELS: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.host",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const RESOURCE_PREFIXES: [&str; 2] = ["limits.hugepages-", "requests.hugepages-"];

/// Where the content of a file of the downward API comes from.
pub(super) fn check_source(file: &Value, path: &Path<'_>, report: &mut Report) {
    match (present(file, "fieldRef"), present(file, "resourceFieldRef")) {
        (Some(field), resource) => {
            check_field(field, &FILES, &path.child("fieldRef"), report);
            if resource.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                report.invalid(path, "resource", detail);
            }
        }
        (None, Some(resource)) => check_file_resource(resource, &path.child("resourceFieldRef"), report),
        (None, None) => report.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
}

/// A field of the Pod, one of those that are `supported` here.
pub(super) fn check_field(selector: &Value, supported: &[&str], path: &Path<'_>, report: &mut Report) {
    let field = text(selector, "fieldPath");
    if field.is_empty() {
        report.required(&path.child("fieldPath"), "");
    } else if let Some(reason) = unconvertible(text(selector, "apiVersion"), field) {
        report.invalid(&path.child("fieldPath"), field, &format!("error converting fieldPath: {reason}"));
    } else if let Some((map, key)) = subscripted(field) {
        // Annotations may be written in any case, labels may not.
        let key = if map == "metadata.annotations" { key.to_lowercase() } else { key.to_owned() };
        report.invalid_each(path, &key, &names::qualified(&key));
    } else {
        let field = if field == "spec.host" { "spec.nodeName" } else { field };
        if !supported.contains(&field) {
            report.unsupported(&path.child("fieldPath"), field, supported);
        }
    }
}

/// A resource of the container itself.
pub(super) fn check_resource(selector: &Value, path: &Path<'_>, report: &mut Report) {
    let resource = text(selector, "resource");
    if resource.is_empty() {
        report.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !RESOURCE_PREFIXES.iter().any(|prefix| resource.starts_with(prefix)) {
        report.unsupported(&path.child("resource"), resource, &RESOURCES);
    }
}

/// A file belongs to no container, so it must say whose resource it shows.
fn check_file_resource(selector: &Value, path: &Path<'_>, report: &mut Report) {
    if text(selector, "containerName").is_empty() {
        report.required(&path.child("containerName"), "");
    } else {
        check_resource(selector, path, report);
    }
}

fn unconvertible(version: &str, field: &str) -> Option<String> {
    if !matches!(version, "" | "v1") {
        return Some(format!("unsupported pod version: {version}"));
    }
    match subscripted(field) {
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {field}")),
        None if LABELS.contains(&field) => None,
        None => Some(format!("field label not supported: {field}")),
    }
}

/// The two parts of `map['key']`.
fn subscripted(field: &str) -> Option<(&str, &str)> {
    field.strip_suffix("']")?.split_once("['").filter(|(map, _)| !map.is_empty())
}
