//! Manifests of what reviews depend on.
#![no_main]

use alcove_properties::cluster::{self, Item};
use alcove_properties::resources;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::sync::LazyLock;

#[path = "../src/mutator.rs"]
mod mutator;

static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(|| cluster::items().expect("the objects are read"));

fuzz_target!(|yaml: &str| {
    if let Err(broken) = resources::hold(&ITEMS, yaml) {
        panic!("{broken:#}");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Every other time the bytes: YAML has more to it than documents.
    let document = (seed % 2 == 0).then(|| resources::mutated(&data[..size], seed)).flatten();
    mutator::mutate(data, size, max_size, document)
});
