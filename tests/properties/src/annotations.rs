//! Annotations of a Pod, which whoever may create Pods writes.

use alcove_contract::annotations::{PodAnnotations, SECRET_PREFIX, is_ours, place};
use alcove_contract::binding::{Binding, BindingDocument};
use alcove_contract::reference::Reference;
use anyhow::{Result, ensure};

/// What separates keys and values where annotations are one text.
const SEPARATOR: char = '\0';

/// Annotations as one text.
#[must_use]
pub fn joined<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let texts: Vec<&str> = pairs.into_iter().flat_map(|(key, value)| [key, value]).collect();
    texts.join(&SEPARATOR.to_string())
}

/// The annotations of such a text; any text is one.
#[must_use]
pub fn split(text: &str) -> Vec<(&str, &str)> {
    let texts: Vec<&str> = text.split(SEPARATOR).collect();
    texts.chunks(2).filter_map(|pair| Some((*pair.first()?, pair.get(1).copied().unwrap_or_default()))).collect()
}

/// Holds of annotations: what is read is the same when it is printed and read again; what is refused is named with its
/// place, and what is not ours is not looked at.
pub fn hold(annotations: &[(&str, &str)]) -> Result<()> {
    match PodAnnotations::parse(annotations.iter().copied()) {
        Ok(read) => {
            read.bindings.values().try_for_each(reads_back)?;
            let ours = annotations.iter().any(|(key, _)| is_ours(key));
            ensure!(ours || read == PodAnnotations::default(), "something is read of annotations of others");
            same_when_printed(&read)
        }
        Err(problems) => {
            ensure!(!problems.is_empty(), "annotations are refused for nothing");
            for problem in &problems {
                let is_there =
                    annotations.iter().any(|(key, _)| is_ours(key) && problem.place.starts_with(&place(key)));
                ensure!(is_there && !problem.reason.is_empty(), "\"{problem}\" is about no annotation of ours");
            }
            Ok(())
        }
    }
}

/// Prints the bindings as a Pod's author would write them, and reads them again.
fn same_when_printed(read: &PodAnnotations) -> Result<()> {
    let printed = read.bindings.iter().map(|(name, binding)| {
        let key = format!("{SECRET_PREFIX}{name}");
        (key, binding.to_document().to_string())
    });
    let printed: Vec<(String, String)> = printed.collect();
    let again = PodAnnotations::parse(printed.iter().map(|(key, text)| (key.as_str(), text.as_str())));
    ensure!(again.is_ok_and(|again| again.bindings == read.bindings), "printed and read again they are others");
    Ok(())
}

/// A binding is the same when it is printed and read again, in an annotation and in an object.
pub(crate) fn reads_back(binding: &Binding) -> Result<()> {
    let document = binding.to_document();
    let again = Binding::from_document(&document);
    ensure!(again.as_ref() == Ok(binding), "{document} is read as another binding than it was printed from");
    let stored: BindingDocument = serde_json::from_value(document.clone())?;
    ensure!(stored.read().as_ref() == Ok(binding), "{document} is another binding in an object");
    for reference in binding.references() {
        let printed = reference.to_string();
        ensure!(printed.parse::<Reference>().as_ref() == Ok(reference), "{printed} is read as another reference");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use std::sync::LazyLock;

    static SEEDS: LazyLock<Vec<String>> = LazyLock::new(|| {
        seeds::annotations().unwrap().into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    });

    /// What annotations are made of.
    const PIECES: [&str; 26] = [
        "{",
        "}",
        "[",
        "]",
        ": ",
        ", ",
        "\n",
        "\"",
        "vault:",
        "kv/app/db",
        "#",
        "?version=1",
        "%2F",
        "%23",
        "%3F",
        "data",
        "dataFrom",
        "keys",
        "ref",
        "mode",
        "0400",
        "refreshInterval",
        "5m",
        "kubernetes.io/tls",
        "optional",
        "&a *a",
    ];

    #[test]
    fn annotations_of_all_cases_hold() {
        for text in SEEDS.iter() {
            hold(&split(text)).unwrap_or_else(|broken| panic!("{text}: {broken:#}"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_annotation_is_read_as_it_is_printed_or_refused_at_its_place(
            known in select(vec!["", "alcove.dev/", "secret.alcove.dev/", "secret.alcove.dev/db", "alcove.dev/resources"]),
            key in "\\PC{0,20}",
            value in prop_oneof!["\\PC{0,40}".boxed(), prop::collection::vec(select(PIECES.to_vec()), 0..12).prop_map(|pieces| pieces.concat()).boxed()],
            is_suffixed in any::<bool>(),
        ) {
            let key = if is_suffixed { format!("{known}{key}") } else { known.to_owned() };
            let held = hold(&[(&key, &value)]);
            prop_assert!(held.is_ok(), "{:#}", held.unwrap_err());
        }

        #[test]
        fn annotations_that_somebody_has_changed_hold(
            seed in select(SEEDS.clone()), place in any::<Index>(), cut in 0..6_usize, piece in select(PIECES.to_vec()),
        ) {
            let mut letters: Vec<char> = seed.chars().collect();
            let place = place.index(letters.len());
            letters.splice(place..(place + cut).min(letters.len()), piece.chars());
            let text: String = letters.into_iter().collect();
            let held = hold(&split(&text));
            prop_assert!(held.is_ok(), "{:#}\n{text}", held.unwrap_err());
        }
    }
}
