//! Manifests of what reviews depend on, some of which tenants write.

use alcove_resources::Object;
use alcove_webhook::objects::Item;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::sync::LazyLock;

use crate::annotations;
use crate::cluster::{Cluster, documents, item};
use crate::mutation::mutate_by;
use crate::reviews;

/// The review of a Pod that depends on as many objects as one Pod can.
static REVIEW: LazyLock<String> = LazyLock::new(|| {
    let pod = documents(include_str!("pod.yaml")).unwrap_or_default().into_iter().next().unwrap_or_default();
    reviews::creation(&pod).to_string()
});

/// Holds of manifests: an object that is read is the same when it is printed and read again, and beside any objects, in
/// order or not, the review of a Pod that depends on them is answered as any other.
pub fn hold(others: &[Item], yaml: &str) -> Result<()> {
    let Some(documents) = documents(yaml) else { return Ok(()) };
    documents.iter().try_for_each(reads_back)?;
    let cluster = Cluster::of(others.iter().cloned().chain(documents.iter().filter_map(item)))?;
    reviews::hold(&cluster, REVIEW.as_bytes())
}

/// Manifests with a few changes, if they are any.
#[must_use]
pub fn mutated(yaml: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut all = Value::from(documents(std::str::from_utf8(yaml).ok()?)?);
    mutate_by(&mut all, seed);
    let printed = all.as_array()?.iter().map(|document| format!("---\n{document}\n"));
    Some(printed.collect::<String>().into_bytes())
}

fn reads_back(document: &Value) -> Result<()> {
    let Ok(Some(object)) = Object::from_value(document) else { return Ok(()) };
    let (printed, name) = (printed(&object)?, object.object_name());
    let again = Object::from_value(&printed).ok().flatten();
    ensure!(again.as_ref() == Some(&object), "{printed} is read as another {name} than it was printed from");
    let binding = match &object {
        Object::SecretBinding(object) => object.spec.binding.read(),
        Object::ClusterSecretBinding(object) => object.spec.binding.read(),
        _ => return Ok(()),
    };
    binding.map_or(Ok(()), |binding| annotations::reads_back(&binding).with_context(|| name.to_string()))
}

fn printed(object: &Object) -> Result<Value> {
    let printed = match object {
        Object::ExternalStore(object) => serde_json::to_value(object),
        Object::ClusterExternalStore(object) => serde_json::to_value(object),
        Object::SecretBinding(object) => serde_json::to_value(object),
        Object::ClusterSecretBinding(object) => serde_json::to_value(object),
        Object::SecretPolicy(object) => serde_json::to_value(object),
        Object::ClusterSecretPolicy(object) => serde_json::to_value(object),
    };
    printed.context("an object cannot be printed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::items;
    use crate::mutation::mutate;
    use crate::seeds;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    static SEEDS: LazyLock<Vec<String>> = LazyLock::new(|| {
        seeds::resources().unwrap().into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    });

    static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(|| items().unwrap());

    #[test]
    fn the_pod_of_the_properties_depends_on_the_objects_of_their_cluster() {
        let alone = Cluster::of([]).unwrap();
        let among = Cluster::of(ITEMS.clone()).unwrap();
        assert!(!reviews::is_patched(&alone, REVIEW.as_bytes()).unwrap());
        assert!(reviews::is_patched(&among, REVIEW.as_bytes()).unwrap());
    }

    #[test]
    fn the_objects_of_all_cases_hold() {
        for yaml in SEEDS.iter() {
            hold(&ITEMS, yaml).unwrap_or_else(|broken| panic!("{yaml}: {broken:#}"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn objects_that_somebody_has_changed_hold(
            seed in select(SEEDS.clone()), document in any::<Index>(), choices in prop::collection::vec(any::<u16>(), 0..24),
        ) {
            let mut documents = documents(&seed).unwrap();
            let document = document.get_mut(&mut documents);
            let mut choices = choices.into_iter().map(usize::from);
            while mutate(document, &mut choices) {}
            let yaml = document.to_string();
            let held = hold(&ITEMS, &yaml);
            prop_assert!(held.is_ok(), "{:#}\n{yaml}", held.unwrap_err());
        }

        #[test]
        fn manifests_with_another_piece_in_them_hold(
            seed in select(SEEDS.clone()), place in any::<Index>(), cut in 0..9_usize, piece in "[ \\n:{}\\[\\],\"'&*!|>#-]{0,4}|\\PC{0,4}",
        ) {
            let mut letters: Vec<char> = seed.chars().collect();
            let place = place.index(letters.len());
            letters.splice(place..(place + cut).min(letters.len()), piece.chars());
            let yaml: String = letters.into_iter().collect();
            let held = hold(&ITEMS, &yaml);
            prop_assert!(held.is_ok(), "{:#}\n{yaml}", held.unwrap_err());
        }
    }
}
