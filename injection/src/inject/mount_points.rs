//! Mounts inside of other mounts, and the directories that they need there.
//!
//! A container runtime makes the directory for a mount itself, but not in what is mounted read-only, as a Secret volume is.
//! There the kubelet makes it (`MakeNestedMountpoints`), and in a volume that has been one the sidecar does.

use super::document::{items, text};
use super::path::{clean, is_within, lexically_clean};
use serde_json::Value;

/// A mount that lies inside of another one of the same container, and of no third one between them.
#[derive(Debug)]
pub(crate) struct Nested<'a> {
    /// The place of the mount in its list.
    pub index: usize,
    /// The mount itself.
    pub mount: &'a Value,
    /// The mount that it lies in.
    pub outer: &'a Value,
    /// The path from there, cleaned.
    pub path: String,
}

/// The mounts inside of others as the kubelet sees them: it compares paths as they are written, cleaned.
pub(crate) fn for_kubelet(container: &Value) -> Vec<Nested<'_>> {
    nested(container, lexically_clean)
}

/// The mounts inside of others as the container sees them.
pub(crate) fn for_runtime(container: &Value) -> Vec<Nested<'_>> {
    nested(container, clean)
}

/// Of several mounts at one place the last one lies above the others.
fn nested(container: &Value, spelling: fn(&str) -> String) -> Vec<Nested<'_>> {
    let mounts = items(container, "volumeMounts").iter().enumerate();
    let mut mounts: Vec<_> = mounts.map(|(index, mount)| (spelling(text(mount, "mountPath")), index, mount)).collect();
    // What lies inside of a mount comes right behind it.
    mounts.sort_by(|(one, ..), (other, ..)| one.split('/').cmp(other.split('/')));
    let mut found = Vec::new();
    let mut around: Vec<(&str, &Value)> = Vec::new();
    for (path, index, mount) in &mounts {
        while around.pop_if(|(outer, _)| outer.len() == path.len() || !is_within(path, outer)).is_some() {}
        if let Some((outer_path, outer)) = around.last() {
            let inner = path.strip_prefix(outer_path).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
            found.push(Nested { index: *index, mount, outer, path: inner.to_owned() });
        }
        // Nothing can be mounted at the root of a container.
        if !path.is_empty() {
            around.push((path, mount));
        }
    }
    found.sort_by_key(|nested| nested.index);
    found
}

#[cfg(test)]
mod tests;
