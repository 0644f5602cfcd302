//! Volumes that mention a bound Secret: their names, one type each, and the rules of `secret`.

use std::collections::{BTreeSet, HashSet};

use alcove_contract::name::SecretName;
use serde_json::Value;

use super::fields::{list, number, present, text};
use super::report::{Path, Report};
use super::types::{self, VOLUME};
use super::{names, paths, projected};

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const USER: &str = "must be between 0 and 2147483647, inclusive";
const ONE_TYPE: &str = "may not specify more than 1 volume type";

/// Every type of volume in the order in which Kubernetes looks for them: the first is the volume's, the rest is too
/// much. With each field goes the name that Kubernetes has for it in that error, which is twice another one.
const SOURCES: [(&str, &str); 30] = [
    ("emptyDir", "emptyDir"),
    ("hostPath", "hostPath"),
    ("gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret"),
    ("nfs", "nfs"),
    ("iscsi", "iscsi"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd"),
    ("cinder", "cinder"),
    ("cephfs", "cephFS"),
    ("quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("configMap", "configMap"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("storageos", "storageos"),
    ("projected", "projected"),
    ("scaleIO", "scaleIO"),
    ("csi", "csi"),
    ("ephemeral", "ephemeral"),
    ("image", "image"),
];

/// The names of the volumes that mention a bound Secret.
pub(super) fn replaced<'a>(volumes: &'a [Value], bound: &BTreeSet<SecretName>) -> BTreeSet<&'a str> {
    volumes.iter().filter(|volume| mentions(volume, bound)).map(|volume| text(volume, "name")).collect()
}

/// Checks those of the `volumes` that mention a bound Secret, and that no other one has the name of such a one.
pub(super) fn check(volumes: &[Value], bound: &BTreeSet<SecretName>, report: &mut Report) {
    let (spec, replaced) = (Path::Root("spec"), replaced(volumes, bound));
    let all = spec.child("volumes");
    let mut taken = HashSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let name = text(volume, "name");
        let found = report.found();
        let path = all.item(index);
        if mentions(volume, bound) && types::check(volume, &VOLUME, &path, report) {
            check_source(volume, &path, report);
            check_name(name, &path.child("name"), report);
        }
        if replaced.contains(name) && taken.contains(name) {
            report.duplicate(&path.child("name"), name);
        }
        // As in Kubernetes, a volume with a mistake does not claim its name.
        if report.found() == found && !name.is_empty() {
            taken.insert(name);
        }
    }
}

/// The rules of a file that is made from a key.
pub(super) fn check_item(item: &Value, path: &Path<'_>, report: &mut Report) {
    if text(item, "key").is_empty() {
        report.required(&path.child("key"), "");
    }
    check_file_path(item, path, report);
    check_file_attributes(item, path, report);
}

/// The rules of the mode and the owner of a file.
pub(super) fn check_file_attributes(file: &Value, path: &Path<'_>, report: &mut Report) {
    check_mode(number(file, "mode"), &path.child("mode"), report);
    check_user(file, "user", path, report);
}

/// The rules of the path of a file.
pub(super) fn check_file_path(file: &Value, path: &Path<'_>, report: &mut Report) {
    let target = text(file, "path");
    if target.is_empty() {
        report.required(&path.child("path"), "");
    }
    paths::check(target, &path.child("path"), report);
}

/// What holds for all files of a volume: `defaultMode` and `defaultUser`.
pub(super) fn check_defaults(source: &Value, path: &Path<'_>, report: &mut Report) {
    check_mode(number(source, "defaultMode"), &path.child("defaultMode"), report);
    check_user(source, "defaultUser", path, report);
}

/// The rules of the owner of a file.
pub(super) fn check_user(value: &Value, name: &str, path: &Path<'_>, report: &mut Report) {
    let user = number(value, name).unwrap_or_default();
    if !(0..=i64::from(i32::MAX)).contains(&user) {
        report.invalid_number(&path.child(name), user, USER);
    }
}

fn check_mode(mode: Option<i64>, at: &Path<'_>, report: &mut Report) {
    let mode = mode.unwrap_or_default();
    if !(0..=0o777).contains(&mode) {
        report.invalid_number(at, mode, FILE_MODE);
    }
}

fn mentions(volume: &Value, bound: &BTreeSet<SecretName>) -> bool {
    let own = present(volume, "secret").is_some_and(|secret| bound.contains(text(secret, "secretName")));
    own || present(volume, "projected").is_some_and(|projected| projected::mentions(projected, bound))
}

fn check_source(volume: &Value, path: &Path<'_>, report: &mut Report) {
    let mut stated =
        SOURCES.iter().filter_map(|(field, said)| present(volume, field).map(|source| (*field, *said, source)));
    match stated.next() {
        Some(("secret", _, secret)) => check_secret(secret, &path.child("secret"), report),
        Some(("projected", _, projected)) => projected::check(projected, &path.child("projected"), report),
        _ => {}
    }
    for (_, said, _) in stated {
        report.forbidden(&path.child(said), ONE_TYPE);
    }
}

fn check_secret(secret: &Value, path: &Path<'_>, report: &mut Report) {
    if text(secret, "secretName").is_empty() {
        report.required(&path.child("secretName"), "");
    }
    check_defaults(secret, path, report);
    for (index, item) in list(secret, "items").iter().enumerate() {
        check_item(item, &path.child("items").item(index), report);
    }
}

fn check_name(name: &str, at: &Path<'_>, report: &mut Report) {
    if name.is_empty() {
        report.required(at, "");
    } else {
        report.invalid_each(at, name, &names::label(name));
    }
}
