//! Where the testkit keeps what it makes.
//!
//! Everything lies below one directory of the checkout, so that two checkouts share nothing but what is read-only.

use std::path::{Path, PathBuf};

/// The root of the checkout that this testkit was compiled from.
#[must_use]
pub fn checkout() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The state directory: `$ALCOVE_STATE`, or `.state` in the checkout.
#[must_use]
pub fn directory() -> PathBuf {
    std::env::var_os("ALCOVE_STATE").map_or_else(|| checkout().join(".state"), PathBuf::from)
}

/// Where packed images are kept between runs.
#[must_use]
pub fn images() -> PathBuf {
    directory().join("images")
}

/// Where the traces of failed tests are kept, one directory per test.
#[must_use]
pub fn failures() -> PathBuf {
    directory().join("failures")
}
