//! How large a Pod may be: far beyond what anybody runs, and small enough that judging it costs little.
//!
//! A review is answered for all Pods of a cluster. One that was made to be expensive must not hold up the others.

use crate::bindings::BoundSecrets;
use crate::inject::document::{at, items, text};
use crate::places::mentions;
use crate::pod::Pod;
use alcove_contract::reference::Reference;
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

/// The most bytes that all annotations may have, as Kubernetes counts them: it refuses more, but only after webhooks.
const MOST_OF_ANNOTATIONS: usize = 256 * 1024;
/// The most references of all bound Secrets, each of which becomes a part of the Pod.
const MOST_REFERENCES: usize = 4_096;
/// The most bytes that they may have: no Pod can be stored that is larger.
const MOST_OF_REFERENCES: usize = 1024 * 1024;
/// How many steps of [`Effort`](crate::effort::Effort) a reference costs besides those of policies.
const STEPS_PER_REFERENCE: usize = 500;

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

/// More annotations than Kubernetes allows: nobody needs to read them.
pub(crate) fn excess_of_annotations(pod: &Pod) -> Option<Problem> {
    let lengths = pod.annotations().map(|(key, value)| key.len().saturating_add(value.len()));
    let length = lengths.fold(0, usize::saturating_add);
    (length > MOST_OF_ANNOTATIONS).then(|| {
        let reason = format!("have {length} bytes, and Kubernetes allows {MOST_OF_ANNOTATIONS}");
        Problem::new("metadata.annotations", reason)
            .with_remedy("move bindings into SecretBindings, and set alcove.dev/inject: \"true\"")
    })
}

/// More references than any Pod has, whoever wrote them: a small Pod may name hundreds of large bindings.
pub(crate) fn excess_of_references(bound: &BoundSecrets<'_>) -> Option<Problem> {
    let (count, most) = (bound.count(), MOST_REFERENCES);
    let reason = if count > most {
        format!("names Secrets with {count} references together, and Alcove serves no Pod with more than {most}")
    } else {
        let lengths = bound.iter().flat_map(|(_, secret)| secret.binding.references()).map(length_of);
        let (length, most) = (lengths.fold(0, usize::saturating_add), MOST_OF_REFERENCES);
        if length <= most {
            return None;
        }
        format!(
            "names Secrets whose references have {length} bytes together, and Alcove serves no Pod with more than {most}"
        )
    };
    Some(
        Problem::new("spec", reason)
            .with_remedy("split the Pod, or bind fewer keys; dataFrom takes all of a key at once"),
    )
}

fn length_of(reference: &Reference) -> usize {
    let Reference { store, key, property } = reference;
    let options = key.options.iter().map(|(name, value)| name.len().saturating_add(value.len()));
    let property = property.as_ref().map_or(0, |property| property.as_str().len());
    options.chain([store.as_str().len(), key.path.len(), property]).fold(0, usize::saturating_add)
}

/// Whether so many references take more steps than a review may take.
pub(crate) fn exhausts(bound: &BoundSecrets<'_>, most_steps: usize) -> bool {
    bound.count().saturating_mul(STEPS_PER_REFERENCE) > most_steps
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
