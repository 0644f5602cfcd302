//! A certificate chain together with the private key it belongs to.

use std::fmt;

use rustls::Error as TlsError;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::certificate::{self, Certificate, CertificateError};
use crate::provider::provider;

/// A certificate, the intermediates above it, and its key: a pair that is known to match.
#[derive(Debug)]
pub struct Identity {
    certificate: Certificate,
    intermediates: Vec<Certificate>,
    key: PrivateKey,
}

impl Identity {
    /// Joins a chain, end entity first, with its key.
    ///
    /// # Errors
    ///
    /// Fails if the key belongs to another certificate, or is of a kind that TLS cannot use.
    pub fn new(chain: Vec<Certificate>, key: PrivateKey) -> Result<Self, IdentityError> {
        let mut chain = chain.into_iter();
        let certificate = chain.next().ok_or(IdentityError::Certificate(CertificateError::Missing))?;
        let identity = Self { certificate, intermediates: chain.collect(), key };
        identity.certified_key().map(|_| identity).map_err(IdentityError::from)
    }

    /// Reads a chain and its key from PEM.
    ///
    /// # Errors
    ///
    /// Fails if either cannot be read, or if they do not belong together.
    pub fn parse(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = Certificate::parse_all(chain).map_err(IdentityError::Certificate)?;
        let key = PrivateKey::parse(key).map_err(IdentityError::Key)?;
        Self::new(chain, key)
    }

    /// The certificate that the key belongs to.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificates between this one and an authority.
    #[must_use]
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The whole chain as PEM, end entity first.
    #[must_use]
    pub fn chain_to_pem(&self) -> String {
        certificate::to_pem(self.chain())
    }

    /// What rustls serves.
    pub(crate) fn certified_key(&self) -> Result<CertifiedKey, TlsError> {
        let chain = self.chain().map(|certificate| certificate.der().clone()).collect();
        CertifiedKey::from_der(chain, self.key.der.clone_key(), &provider())
    }

    /// Gives up the key for good and keeps the certificate.
    pub(crate) fn into_certificate(self) -> Certificate {
        self.certificate
    }

    fn chain(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.certificate).chain(&self.intermediates)
    }
}

/// A private key, wiped from memory when it is dropped and never printed.
pub struct PrivateKey {
    pem: Zeroizing<String>,
    der: Zeroizing<PrivateKeyDer<'static>>,
}

impl PrivateKey {
    /// Reads a PKCS #8, PKCS #1 or SEC 1 key from PEM.
    ///
    /// # Errors
    ///
    /// Fails if the text holds no such key; the error never repeats any of it.
    pub fn parse(pem: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(pem).ok().ok_or(KeyError)?;
        let der = PrivateKeyDer::from_pem_slice(pem).ok().ok_or(KeyError)?;
        Ok(Self { pem: Zeroizing::new(text.to_owned()), der: Zeroizing::new(der) })
    }

    /// The key as PEM.
    #[must_use]
    pub fn as_pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn as_der(&self) -> &PrivateKeyDer<'static> {
        &self.der
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// A private key cannot be read. Says nothing more, because the text may be the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no usable PRIVATE KEY block found in the PEM text")]
pub struct KeyError;

/// Why a chain and a key are no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The chain cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Certificate(CertificateError),
    /// The key cannot be read.
    #[error("the private key cannot be read: {0}")]
    Key(KeyError),
    /// Both are readable, but the key is that of another certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// Both are readable, but TLS cannot use them: an algorithm or a certificate version that rustls does not know.
    #[error(
        "the key or the certificate is of a kind that TLS cannot use: use ECDSA P-256, RSA or Ed25519 and X.509 v3"
    )]
    Unusable,
}

impl From<TlsError> for IdentityError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::InconsistentKeys(_) => Self::Mismatch,
            _ => Self::Unusable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authority::Authority;

    fn pair() -> (String, String) {
        let authority = Authority::issue(Duration::from_mins(1), "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
        (authority.certificate().to_pem(), authority.key().as_pem().to_owned())
    }

    #[test]
    fn a_key_of_another_certificate_is_told_from_an_unreadable_one() {
        let ((certificate, key), (_, foreign)) = (pair(), pair());
        let parse = |certificate: &str, key: &str| Identity::parse(certificate.as_bytes(), key.as_bytes()).map(|_| ());
        assert_eq!(parse(&certificate, &key), Ok(()));
        assert_eq!(parse(&certificate, &foreign), Err(IdentityError::Mismatch));
        assert_eq!(parse(&certificate, &certificate), Err(IdentityError::Key(KeyError)));
        assert_eq!(parse(&key, &key), Err(IdentityError::Certificate(CertificateError::Missing)));
        let cut = certificate.replace("-----END CERTIFICATE-----", "");
        assert_eq!(parse(&cut, &key), Err(IdentityError::Certificate(CertificateError::Pem)));
    }

    #[test]
    fn a_key_is_not_in_any_debug_output() {
        let (certificate, key) = pair();
        let identity = Identity::parse(certificate.as_bytes(), key.as_bytes()).unwrap();
        let body = key.lines().nth(1).unwrap();
        assert!(!format!("{identity:?}").contains(body));
        assert_eq!(format!("{:?}", identity.key()), "PrivateKey(redacted)");
    }
}
