//! How large a Pod may be: far beyond what anybody runs, and small enough that judging it costs little.
//!
//! A review is answered for all Pods of a cluster. One that was made to be expensive must not hold up the others.

use crate::inject::document::{at, items, text};
use crate::places::mentions;
use crate::pod::Pod;
use alcove_contract::{Problem, Problems};
use serde_json::Value;

/// The most places that name a Secret.
const MOST_MENTIONS: usize = 2_000;
/// The most mounts of all containers.
const MOST_MOUNTS: usize = 2_000;
/// The most `items` of all volumes.
const MOST_ITEMS: usize = 2_000;
/// The most volumes.
const MOST_VOLUMES: usize = 1_000;
/// The most containers of all kinds.
const MOST_CONTAINERS: usize = 1_000;

/// The longest name, in bytes: what Kubernetes takes at most.
const LONGEST_NAME: usize = 253;
/// The longest path of a mount, in bytes: what the kernel takes at most.
const LONGEST_PATH: usize = 4096;

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
    let excesses = excesses.map(|(what, count, most)| {
        Problem::new("spec", format!("has {count} {what}, and Alcove serves no Pod with more than {most}"))
            .with_remedy("split the Pod, or leave Alcove's annotations away")
    });
    excesses.chain(too_long(pod)).collect()
}

/// Names and paths longer than there can be: problems repeat them at every place.
fn too_long(pod: &Pod) -> Vec<Problem> {
    let (metadata, spec) = (at(pod.document(), &["metadata"]), at(pod.document(), &["spec"]));
    let mut problems = Vec::new();
    let mut check = |place: &dyn Fn() -> String, parent: &Value, field: &str, most: usize| {
        let length = text(parent, field).len();
        if length > most {
            let reason = format!("has {length} bytes, and none may have more than {most}");
            problems.push(Problem::new(format!("{}.{field}", place()), reason));
        }
    };
    check(&|| "metadata".to_owned(), metadata, "name", LONGEST_NAME);
    check(&|| "metadata".to_owned(), metadata, "generateName", LONGEST_NAME);
    check(&|| "spec".to_owned(), spec, "serviceAccountName", LONGEST_NAME);
    check(&|| "spec".to_owned(), spec, "serviceAccount", LONGEST_NAME);
    for (index, volume) in items(spec, "volumes").iter().enumerate() {
        check(&|| format!("spec.volumes[{index}]"), volume, "name", LONGEST_NAME);
    }
    for container in pod.containers() {
        check(&|| container.path(), container.document, "name", LONGEST_NAME);
        for (index, mount) in items(container.document, "volumeMounts").iter().enumerate() {
            check(&|| format!("{}.volumeMounts[{index}]", container.path()), mount, "mountPath", LONGEST_PATH);
        }
    }
    problems
}

/// How many items the sources of a volume have, whatever their kind.
fn items_of(volume: &Value) -> usize {
    let sources = items(at(volume, &["projected"]), "sources");
    let kinds = sources.iter().chain([volume]).filter_map(Value::as_object).flat_map(serde_json::Map::values);
    kinds.map(|source| items(source, "items").len()).sum()
}
