//! The environment of a container that takes some of it from a bound Secret.
//!
//! All its entries are checked, not only those that we replace: behind an `envFrom` that we expand, the API server
//! would count them differently. Entries with no source at all are left to it; they may have one that is newer than
//! these rules.

use std::collections::BTreeSet;

use alcove_contract::name::SecretName;
use serde_json::Value;

use super::downward::{self, ENVIRONMENT};
use super::fields::{list, present, text};
use super::report::{Path, Report};
use super::types::{self, ENV_FROM_SOURCE, ENV_VAR};
use super::{names, paths};

const ONE_SOURCE: &str = "may not have more than one field specified at a time";
const VALUE_AND_SOURCE: &str = "may not be specified when `value` is not empty";
const NOT_EMPTY_DIR: &str = "referenced volume must be of type emptyDir";
const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// Whether a variable of the container comes from a bound Secret.
pub(super) fn mentions(container: &Value, bound: &BTreeSet<SecretName>) -> bool {
    let variables = list(container, "env").iter().filter_map(|variable| present(variable, "valueFrom"));
    let keys = variables.filter_map(|source| present(source, "secretKeyRef"));
    let whole = list(container, "envFrom").iter().filter_map(|source| present(source, "secretRef"));
    keys.chain(whole).any(|secret| bound.contains(text(secret, "name")))
}

/// Checks every entry of `env` and `envFrom` of a container.
pub(super) fn check(container: &Value, path: &Path<'_>, report: &mut Report) {
    let variables = path.child("env");
    for (index, variable) in list(container, "env").iter().enumerate() {
        let path = variables.item(index);
        if types::check(variable, &ENV_VAR, &path, report) {
            check_variable(variable, &path, report);
        }
    }
    let sources = path.child("envFrom");
    for (index, source) in list(container, "envFrom").iter().enumerate() {
        let path = sources.item(index);
        if types::check(source, &ENV_FROM_SOURCE, &path, report) {
            check_prefix(text(source, "prefix"), &path.child("prefix"), report);
            check_bulk_source(source, &sources, &path, report);
        }
    }
}

/// Checks that no variable is read from a file of a volume that is no `emptyDir` yet.
pub(super) fn check_file_volumes(container: &Value, replaced: &BTreeSet<&str>, path: &Path<'_>, report: &mut Report) {
    for (index, variable) in list(container, "env").iter().enumerate() {
        let Some(file) = present(variable, "valueFrom").and_then(|source| present(source, "fileKeyRef")) else {
            continue;
        };
        let volume = text(file, "volumeName");
        if replaced.contains(volume) {
            let variables = path.child("env");
            let variable = variables.item(index);
            let source = variable.child("valueFrom");
            report.invalid(&source.child("fileKeyRef").child("volumeName"), volume, NOT_EMPTY_DIR);
        }
    }
}

fn check_variable(variable: &Value, path: &Path<'_>, report: &mut Report) {
    let name = text(variable, "name");
    if required(name, &path.child("name"), report) {
        report.invalid_each(&path.child("name"), name, &names::environment(name));
    }
    if let Some(source) = present(variable, "valueFrom") {
        check_source(source, text(variable, "value"), &path.child("valueFrom"), report);
    }
}

fn check_source(source: &Value, value: &str, path: &Path<'_>, report: &mut Report) {
    let mut stated = 0;
    for name in SOURCES {
        if let Some(reference) = present(source, name) {
            stated += 1;
            check_reference(name, reference, &path.child(name), report);
        }
    }
    if stated > 0 && !value.is_empty() {
        report.invalid(path, "", VALUE_AND_SOURCE);
    } else if stated > 1 {
        report.invalid(path, "", ONE_SOURCE);
    }
}

fn check_reference(name: &str, reference: &Value, path: &Path<'_>, report: &mut Report) {
    match name {
        "fieldRef" => downward::check_field(reference, &ENVIRONMENT, path, report),
        "resourceFieldRef" => downward::check_resource(reference, path, report),
        "fileKeyRef" => check_file(reference, path, report),
        _ => check_key(reference, path, report),
    }
}

fn check_key(reference: &Value, path: &Path<'_>, report: &mut Report) {
    let (name, key) = (text(reference, "name"), text(reference, "key"));
    report.invalid_each(&path.child("name"), name, &names::subdomain(name));
    if required(key, &path.child("key"), report) {
        report.invalid_each(&path.child("key"), key, &names::key(key));
    }
}

fn check_file(reference: &Value, path: &Path<'_>, report: &mut Report) {
    let key = text(reference, "key");
    if required(key, &path.child("key"), report) {
        report.invalid_each(&path.child("key"), key, &names::environment(key));
    }
    let volume = text(reference, "volumeName");
    if required(volume, &path.child("volumeName"), report) {
        report.invalid_each(&path.child("volumeName"), volume, &names::label(volume));
    }
    let target = text(reference, "path");
    if required(target, &path.child("path"), report) {
        paths::check_backsteps(target, &path.child("path"), report);
    }
}

fn check_prefix(prefix: &str, at: &Path<'_>, report: &mut Report) {
    report.invalid_each(at, prefix, &names::environment(prefix));
}

/// Of two sources in one entry Kubernetes complains at the whole list.
fn check_bulk_source(source: &Value, sources: &Path<'_>, path: &Path<'_>, report: &mut Report) {
    let mut stated = 0;
    for name in ["configMapRef", "secretRef"] {
        if let Some(reference) = present(source, name) {
            stated += 1;
            check_object(text(reference, "name"), &path.child(name).child("name"), report);
        }
    }
    if stated > 1 {
        report.invalid(sources, "", ONE_SOURCE);
    }
}

fn check_object(name: &str, at: &Path<'_>, report: &mut Report) {
    if required(name, at, report) {
        report.invalid_each(at, name, &names::subdomain_prefix(name));
    }
}

fn required(value: &str, at: &Path<'_>, report: &mut Report) -> bool {
    if value.is_empty() {
        report.required(at, "");
    }
    !value.is_empty()
}
