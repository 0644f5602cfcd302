//! How large a Pod may be: far beyond what anybody runs, and small enough that judging it costs little.
//!
//! A review is answered for all Pods of a cluster. One that was made to be expensive must not hold up the others.

use crate::inject::document::{at, items};
use crate::places::mentions;
use crate::pod::Pod;
use alcove_contract::{Problem, Problems};
use serde_json::Value;

/// The most places that name a Secret.
pub(crate) const MOST_MENTIONS: usize = 2_000;
/// The most mounts of all containers.
pub(crate) const MOST_MOUNTS: usize = 2_000;
/// The most `items` of all volumes.
pub(crate) const MOST_ITEMS: usize = 2_000;
/// The most volumes.
pub(crate) const MOST_VOLUMES: usize = 1_000;
/// The most containers of all kinds.
pub(crate) const MOST_CONTAINERS: usize = 1_000;

/// Everything that a Pod has more of than Alcove looks at.
pub(crate) fn excesses(pod: &Pod) -> Problems {
    let mounts = pod.containers().map(|container| container.volume_mounts().count()).sum();
    let counts = [
        ("Secret mentions", mentions(pod).len(), MOST_MENTIONS),
        ("volume mounts", mounts, MOST_MOUNTS),
        ("items of volumes", pod.volumes().map(items_of).sum(), MOST_ITEMS),
        ("volumes", pod.volumes().count(), MOST_VOLUMES),
        ("containers", pod.containers().count(), MOST_CONTAINERS),
    ];
    let excesses = counts.into_iter().filter(|(_, count, most)| count > most);
    excesses
        .map(|(what, count, most)| {
            Problem::new("spec", format!("has {count} {what}, and Alcove serves no Pod with more than {most}"))
                .with_remedy("split the Pod, or leave Alcove's annotations away")
        })
        .collect()
}

/// How many items the sources of a volume have, whatever their kind.
fn items_of(volume: &Value) -> usize {
    let sources = items(at(volume, &["projected"]), "sources");
    let kinds = sources.iter().chain([volume]).filter_map(Value::as_object).flat_map(serde_json::Map::values);
    kinds.map(|source| items(source, "items").len()).sum()
}
