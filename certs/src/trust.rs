//! What a client trusts, and whether a served chain passes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{ServerName, UnixTime};

use crate::certificate::{self, Certificate, CertificateError};
use crate::identity::Identity;
use crate::provider::provider;

/// The authorities of a `caBundle`: a set, so that one order is as good as another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust(Vec<Certificate>);

impl Trust {
    /// Trusts these authorities.
    ///
    /// # Errors
    ///
    /// Fails if there is none: a client that trusts nobody is a mistake.
    pub fn new(authorities: impl IntoIterator<Item = Certificate>) -> Result<Self, CertificateError> {
        let mut authorities = authorities.into_iter();
        let first = authorities.next().ok_or(CertificateError::Missing)?;
        Ok(Self::of_current(first, authorities))
    }

    pub(crate) fn of_current(current: Certificate, others: impl IntoIterator<Item = Certificate>) -> Self {
        let mut authorities: Vec<_> = std::iter::once(current).chain(others).collect();
        authorities
            .sort_unstable_by(|a, b| (a.window().not_before, &**a.der()).cmp(&(b.window().not_before, &**b.der())));
        authorities.dedup();
        Self(authorities)
    }

    /// Reads a `caBundle`.
    ///
    /// # Errors
    ///
    /// Fails if there is no certificate in it, or one that cannot be read.
    pub fn parse(pem: &[u8]) -> Result<Self, CertificateError> {
        Self::new(Certificate::parse_all(pem)?)
    }

    /// The authorities as PEM, the oldest first.
    #[must_use]
    pub fn to_pem(&self) -> String {
        certificate::to_pem(&self.0)
    }

    /// Judges what `identity` serves as an API server would that calls it by `name`.
    ///
    /// Like the API server, and unlike webpki alone, an authority outside its own validity vouches for nobody.
    ///
    /// # Errors
    ///
    /// Says why the client would refuse the handshake.
    pub fn verify(&self, identity: &Identity, name: &str, now: Timestamp) -> Result<(), VerifyError> {
        let name = ServerName::try_from(name.to_owned()).ok().ok_or(VerifyError::Name)?;
        let time = u64::try_from(now.as_second()).ok().ok_or(VerifyError::NoAuthority)?;
        let intermediates: Vec<_> = identity.intermediates().iter().map(|one| one.der().clone()).collect();
        self.verifier(now)?
            .verify_server_cert(
                identity.certificate().der(),
                &intermediates,
                &name,
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(time)),
            )
            .map(|_| ())
            .map_err(VerifyError::Refused)
    }

    fn verifier(&self, now: Timestamp) -> Result<Arc<WebPkiServerVerifier>, VerifyError> {
        let mut roots = RootCertStore::empty();
        let valid = self.0.iter().filter(|authority| authority.window().contains(now));
        roots.add_parsable_certificates(valid.map(|authority| authority.der().clone()));
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .ok()
            .ok_or(VerifyError::NoAuthority)
    }
}

/// Why a client would refuse a served certificate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The client's name for the server is no host name.
    #[error("the server's name is not a DNS name or an address")]
    Name,
    /// No trusted authority is valid at this time.
    #[error("no authority in the caBundle is valid now")]
    NoAuthority,
    /// The chain does not lead to a trusted authority, is for another name, or is not valid at this time.
    #[error("the served certificate does not verify against the configured caBundle")]
    Refused(#[source] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::names::Names;

    const HOUR: Duration = Duration::from_hours(1);

    fn now() -> Timestamp {
        "2026-11-25T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_authority_that_is_not_trusted_or_no_longer_valid_vouches_for_nobody() {
        let (ours, other) = (Authority::issue(HOUR, now()).unwrap(), Authority::issue(HOUR * 9, now()).unwrap());
        let leaf = ours.issue_leaf(&Names::new(["a.b.svc"]).unwrap(), HOUR, now()).unwrap();
        let both = Trust::new([other.certificate().clone(), ours.certificate().clone()]).unwrap();
        let foreign = Trust::new([other.certificate().clone()]).unwrap();
        let late = now() + jiff::SignedDuration::from_hours(2);

        assert_eq!(both.verify(&leaf, "a.b.svc", now()), Ok(()));
        assert!(matches!(foreign.verify(&leaf, "a.b.svc", now()), Err(VerifyError::Refused(_))));
        assert!(matches!(both.verify(&leaf, "a.b.svc", late), Err(VerifyError::Refused(_))));
        let alone = Trust::new([ours.certificate().clone()]).unwrap();
        assert_eq!(alone.verify(&leaf, "a.b.svc", late), Err(VerifyError::NoAuthority));
    }

    #[test]
    fn two_bundles_of_the_same_authorities_are_equal_whatever_the_order() {
        let [a, b] = [(), ()].map(|()| Authority::issue(HOUR, now()).unwrap().certificate().clone());
        let published = [b.to_pem(), a.to_pem(), b.to_pem()].concat();
        let published = Trust::parse(published.as_bytes()).unwrap();
        assert_eq!(published, Trust::new([a.clone(), b]).unwrap());
        assert_ne!(published, Trust::new([a]).unwrap());
    }
}
