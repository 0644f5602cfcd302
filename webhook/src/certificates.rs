//! The serving certificate: what is presented now, and where the next one comes from.

use std::sync::{Arc, OnceLock};

use alcove_certs::identity::Identity;
use alcove_certs::provider::provider;
use alcove_certs::resolver::{Resolver, ServeError};
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::metrics::Metrics;
use crate::readiness::Condition;

pub mod election;
pub mod files;
pub mod lease;
pub mod managed;
pub mod observed;
pub mod registration;

/// What is presented to clients: nothing until there is a first certificate, and then always the newest.
#[derive(Debug)]
pub struct Presented {
    resolver: OnceLock<Resolver>,
    expiry: ArcSwapOption<Timestamp>,
    condition: Condition,
    metrics: Arc<Metrics>,
}

impl Presented {
    /// `condition` is met while a certificate is presented that has not expired.
    #[must_use]
    pub fn new(condition: Condition, metrics: Arc<Metrics>) -> Self {
        Self { resolver: OnceLock::new(), expiry: ArcSwapOption::empty(), condition, metrics }
    }

    /// Presents `identity` from the next handshake on.
    ///
    /// # Errors
    ///
    /// If it has expired or TLS cannot use it, the one before stays.
    pub fn present(&self, identity: &Identity, now: Timestamp) -> Result<(), ServeError> {
        if let Some(resolver) = self.resolver.get() {
            resolver.replace(identity, now)?;
        } else {
            let resolver = Resolver::new(identity, now)?;
            // Only one task presents, so nobody was faster.
            let _ours = self.resolver.set(resolver);
        }
        let expiry = identity.certificate().window().not_after;
        self.metrics.serving_until(expiry);
        self.condition.met();
        // The Secret also changes when its certificate does not.
        if self.expiry.swap(Some(Arc::new(expiry))).is_none_or(|before| *before != expiry) {
            tracing::info!(%expiry, "presenting a new serving certificate");
        }
        Ok(())
    }

    /// Looks whether the certificate has expired since: then this replica is of no use.
    pub fn check(&self, now: Timestamp) {
        if let Some(expiry) = self.expiry.load_full().filter(|expiry| **expiry < now) {
            self.condition.unmet(&format!("the serving certificate expired at {expiry}"));
        }
    }

    /// Certificates could not be loaded, rotated or published.
    pub fn failed(&self) {
        self.metrics.certificate_failure();
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.resolver.get()?.resolve(hello)
    }
}

/// TLS with what is presented.
///
/// # Errors
///
/// The crypto provider lacks the protocol versions, which would be a mistake in the build.
pub fn server_config(presented: Arc<Presented>) -> Result<ServerConfig, rustls::Error> {
    let versions = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(versions.with_no_client_auth().with_cert_resolver(presented))
}

/// Makes the one crypto provider the process's own, for libraries that ask for that.
pub fn install_provider() {
    // Only the first call has an effect, and every call installs the same.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
