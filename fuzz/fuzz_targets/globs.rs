//! Patterns of policies, each on a line before the key that it is compared with.
#![no_main]

use alcove_properties::globs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (pattern, key) = text.split_once('\n').unwrap_or((text, text));
    if let Err(broken) = globs::hold(pattern, key) {
        panic!("{broken:#}");
    }
});
