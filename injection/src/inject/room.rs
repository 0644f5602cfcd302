//! Room in memory: how much the files of a replaced volume take at most, counted as a tmpfs counts them.
//!
//! A volume that is too small starts and then never follows its store, so nothing here is a guess of what is usual. What
//! nobody knows at admission is bounded, and the sidecar refuses to start where the bound turns out to be too low.

use super::document::{at, items, text};
use crate::bindings::BoundSecrets;
use alcove_contract::binding::Binding;
use serde_json::Value;
use std::collections::BTreeMap;

/// The most that the values of one Secret or ConfigMap hold together.
const SOURCE: u64 = 1024 * 1024;
/// What every file is rounded up to.
const PAGE: u64 = 4096;
/// How many files a source has room for whose names are known to its store alone: values of 1 KiB each fill a Secret.
const UNKNOWN_FILES: u64 = 1024;
/// The files of a source that is neither Secret nor ConfigMap and has no list of them: a token, a bundle, a certificate
/// and its key.
const FEW_FILES: u64 = 2;
/// New files are written beside the old ones.
const GENERATIONS: u64 = 2;
/// The longest name whose link takes no page: with `..data/` before it and a zero behind it it has 128 bytes.
const LONGEST_FREE_NAME: usize = 120;
const MEBIBYTE: u64 = 1024 * 1024;

/// How much one generation of files takes at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// The bytes of the files.
    bytes: u64,
    /// The pages that are not full, and those of links.
    pages: u64,
}

impl Room {
    /// The room for the files of `volume`, which is a Secret's or a projected one.
    pub(super) fn of(volume: &Value, bound: &BoundSecrets<'_>) -> Self {
        let secret = at(volume, &["secret"]);
        if !secret.is_null() {
            return Self::of_secret(secret, text(secret, "secretName"), bound);
        }
        let sources = items(at(volume, &["projected"]), "sources").iter();
        sources.map(|source| Self::of_source(source, bound)).fold(Self::default(), Self::and)
    }

    /// How many mebibytes the volume may hold. Each number in `held` is one container's: how many mounts it has that show
    /// a single file, and so keep the one that was there at its start.
    pub(super) fn mebibytes(self, held: impl Iterator<Item = u64>) -> u32 {
        let held = held.fold(0, |sum: u64, mounts| sum.saturating_add(self.held_by(mounts)));
        let bytes = self.total().saturating_mul(GENERATIONS).saturating_add(held);
        u32::try_from(bytes.div_ceil(MEBIBYTE)).unwrap_or(u32::MAX)
    }

    const fn held_by(self, mounts: u64) -> u64 {
        let most = Self { bytes: mounts.saturating_mul(SOURCE), pages: mounts };
        if most.total() < self.total() { most.total() } else { self.total() }
    }

    const fn total(self) -> u64 {
        self.pages.saturating_mul(PAGE).saturating_add(self.bytes)
    }

    const fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), pages: self.pages.saturating_add(other.pages) }
    }

    fn of_source(source: &Value, bound: &BoundSecrets<'_>) -> Self {
        let [secret, map, downward] = ["secret", "configMap", "downwardAPI"].map(|kind| at(source, &[kind]));
        if !secret.is_null() {
            Self::of_secret(secret, text(secret, "name"), bound)
        } else if !map.is_null() {
            Self::of_items(map).unwrap_or_else(Self::of_unknown_names)
        } else {
            Self::of_items(downward).unwrap_or(Self { bytes: SOURCE, pages: FEW_FILES })
        }
    }

    fn of_secret(secret: &Value, name: &str, bound: &BoundSecrets<'_>) -> Self {
        let of_binding = || bound.get(name).map(|(_, bound)| Self::of_binding(bound.binding));
        Self::of_items(secret).or_else(of_binding).unwrap_or_else(Self::of_unknown_names)
    }

    /// One value may stand at several paths.
    fn of_items(source: &Value) -> Option<Self> {
        let items = items(source, "items");
        let mut uses: BTreeMap<&str, u64> = BTreeMap::new();
        for item in items {
            let value = [text(item, "key"), text(at(item, &["fieldRef"]), "fieldPath")];
            // The amount of a resource is a short number, so that it does not matter how often it is told.
            if let Some(value) = value.into_iter().find(|value| !value.is_empty()) {
                *uses.entry(value).or_default() += 1;
            }
        }
        let names = items.iter().map(|item| text(item, "path").split('/').next().unwrap_or_default());
        let most = uses.values().max().copied().unwrap_or(1);
        (!items.is_empty()).then(|| Self { bytes: SOURCE.saturating_mul(most), pages: names.map(pages).sum() })
    }

    fn of_binding(binding: &Binding) -> Self {
        if binding.data_from.is_empty() {
            return Self { bytes: SOURCE, pages: binding.data.keys().map(|name| pages(name.as_str())).sum() };
        }
        Self::of_unknown_names()
    }

    const fn of_unknown_names() -> Self {
        Self { bytes: SOURCE, pages: UNKNOWN_FILES }
    }
}

/// The pages of a file with this name beside the full ones: its own last page, and that of a long link.
fn pages(name: &str) -> u64 {
    1 + u64::from(name.len() > LONGEST_FREE_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcove_contract::binding::{Encoding, Entry};
    use proptest::prelude::*;
    use serde_json::json;

    /// A Secret's keys, each with the size of its value: at most so many, and all values within what a Secret holds.
    fn values(most: usize, longest: usize) -> impl Strategy<Value = BTreeMap<String, u64>> {
        // A byte into the next page is the worst that a size can be.
        let size = prop_oneof![4 => Just(1), 2 => (0..4_u64).prop_map(|pages| pages * PAGE + 1), 1 => 0..=SOURCE];
        let sizes = prop::collection::vec((size, 1..=longest), 0..=most);
        sizes.prop_map(|sizes| {
            // One byte is kept for each file that is still to come: an empty one takes no page.
            let mut left = SOURCE - u64::try_from(sizes.len()).unwrap();
            let named = sizes.into_iter().enumerate().map(|(index, (size, length))| {
                let size = size.min(left + 1);
                left = (left + 1).saturating_sub(size.max(1));
                (format!("{index:0>length$}"), size)
            });
            named.collect()
        })
    }

    /// What a tmpfs counts for files with these names and sizes, and the links to them.
    fn counted(files: impl Iterator<Item = (impl AsRef<str>, u64)>) -> u64 {
        let link = |name: &str| if "..data/".len() + name.len() < 128 { 0 } else { PAGE };
        files.map(|(name, size)| size.next_multiple_of(PAGE) + link(name.as_ref())).sum()
    }

    /// Whether two generations of such files fit, and the files that `held` mounts of a container show.
    fn fits(room: Room, held: u64, generation: u64, largest: u64) -> bool {
        let held_bytes = (held * largest.next_multiple_of(PAGE)).min(generation);
        2 * generation + held_bytes <= u64::from(room.mebibytes([held].into_iter())) * MEBIBYTE
    }

    proptest! {
        // A case is up to a thousand files.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn two_generations_of_a_full_secret_with_known_names_fit(values in values(256, 253), held in 0..4_u64) {
            let entry = Entry { reference: "vault:kv/app#x".parse().unwrap(), mode: None, encoding: Encoding::Raw };
            let data = values.keys().map(|name| (name.parse().unwrap(), entry.clone()));
            let binding = Binding { data: data.collect(), ..Binding::default() };
            let generation = counted(values.iter().map(|(name, size)| (name.as_str(), *size)));
            let largest = values.values().max().copied().unwrap_or_default();
            prop_assert!(fits(Room::of_binding(&binding), held, generation, largest));
        }

        #[test]
        fn two_generations_of_a_full_secret_with_unknown_names_fit(values in values(1024, 120), held in 0..4_u64) {
            let binding: Binding = "vault:kv/app".parse().unwrap();
            let generation = counted(values.iter().map(|(name, size)| (name.as_str(), *size)));
            let largest = values.values().max().copied().unwrap_or_default();
            prop_assert!(fits(Room::of_binding(&binding), held, generation, largest));
        }

        #[test]
        fn two_generations_of_values_at_several_paths_fit(
            values in values(40, 4),
            uses in prop::collection::vec((any::<prop::sample::Index>(), 1..250_usize), 1..200),
        ) {
            prop_assume!(!values.is_empty());
            let files: Vec<(String, &String, u64)> = uses.iter().enumerate().map(|(index, (value, length))| {
                let (key, size) = values.iter().nth(value.index(values.len())).unwrap();
                (format!("{index:0>length$}"), key, *size)
            }).collect();
            let items: Vec<Value> = files.iter().map(|(path, key, _)| json!({"key": key, "path": path})).collect();
            let generation = counted(files.iter().map(|(path, _, size)| (path.as_str(), *size)));
            let room = Room::of_items(&json!({"items": items})).unwrap();
            prop_assert!(fits(room, 0, generation, 0));
        }
    }

    #[test]
    fn a_volume_is_no_larger_than_it_has_to_be() {
        let of_binding = |text: &str| Room::of_binding(&text.parse().unwrap()).mebibytes([].into_iter());
        assert_eq!(of_binding("{data: {a: 'vault:kv/app#a'}}"), 3, "two mebibytes, and a page of each generation");
        assert_eq!(of_binding("vault:kv/app"), 10, "two mebibytes, and 1024 pages of each generation");
    }
}
