//! The one crypto provider.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// aws-lc-rs, to be passed to every rustls configuration.
///
/// The process default is never consulted: a library that installs another one, or links a second provider, would
/// otherwise turn building a configuration into a panic.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}
