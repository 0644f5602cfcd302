//! Annotations of a Pod.
#![no_main]

use alcove_properties::annotations;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(broken) = annotations::hold(&annotations::split(text)) {
        panic!("{broken:#}");
    }
});
