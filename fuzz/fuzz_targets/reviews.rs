//! Bodies that are sent to the webhook.
#![no_main]

use alcove_properties::cluster::{self, Cluster};
use alcove_properties::reviews;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::sync::LazyLock;

#[path = "../src/mutator.rs"]
mod mutator;

static CLUSTER: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::of(cluster::items().expect("the objects are read")).expect("a runtime starts"));

fuzz_target!(|body: &[u8]| {
    if let Err(broken) = reviews::hold(&CLUSTER, body) {
        panic!("{broken:#}");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Now and then the bytes: not everybody sends JSON.
    let document = (seed % 8 != 0).then(|| reviews::mutated(&data[..size], seed)).flatten();
    mutator::mutate(data, size, max_size, document)
});
