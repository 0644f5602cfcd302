//! Mounts of the volumes that we replace, as far as the `readOnly` that we set answers for them.
//!
//! All else in a mount stays as it is, and with it what the API server says of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::{list, text};
use super::report::{Path, Report};
use super::types::{self, VOLUME_MOUNT};

const NEEDS_READ_ONLY: &str = "may only be specified when readOnly is true";

/// Checks the mounts of a container that show a replaced volume.
pub(super) fn check(container: &Value, replaced: &BTreeSet<&str>, path: &Path<'_>, report: &mut Report) {
    let mounts = path.child("volumeMounts");
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let shown = replaced.contains(text(mount, "name"));
        if shown && types::check(mount, &VOLUME_MOUNT, &mounts.item(index), report) {
            check_recursion(mount, &mounts, report);
        }
    }
}

/// Kubernetes complains at the whole list.
fn check_recursion(mount: &Value, mounts: &Path<'_>, report: &mut Report) {
    let read_only = mount.get("readOnly").and_then(Value::as_bool).unwrap_or_default();
    if !read_only && matches!(text(mount, "recursiveReadOnly"), "Enabled" | "IfPossible") {
        report.forbidden(&mounts.child("recursiveReadOnly"), NEEDS_READ_ONLY);
    }
}
