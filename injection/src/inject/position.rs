//! Where the sidecar stands among the init containers.

use super::document::{items, text};
use alcove_contract::annotations::PodAnnotations;
use serde_json::Value;

/// How many init containers come before the sidecar, in a Pod without it: none, or all up to the one that
/// `alcove.dev/after` names.
///
/// Gives nothing where that container is not there: another webhook may still add it, and the Pod's last review asks again.
pub(crate) fn after(spec: &Value, annotations: &PodAnnotations) -> Option<usize> {
    let Some(name) = &annotations.after else { return Some(0) };
    let named = |container: &Value| text(container, "name") == name.as_str();
    items(spec, "initContainers").iter().position(named).map(|index| index + 1)
}
