//! Whom a client trusts, and which certificate it shows.

use crate::credential;
use crate::error::StoreError;
use crate::secret::SecretBytes;
use alcove_contract::provider::vault::ClientCertificate;
use reqwest::Url;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use std::sync::Arc;

/// Where distributions and images keep the system's certificate authorities. Asked by path: the usual libraries would
/// let `SSL_CERT_FILE` choose them.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whose signature on a server's certificate is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// That of the system's authorities.
    System,
    /// That of the authorities in this PEM text alone.
    Bundle(String),
    /// That of the authorities in the PEM file at this path alone, read again with every new client.
    File(String),
}

/// TLS as a client of `server` does it.
pub(super) fn configuration(
    server: &Url,
    trust: &Trust,
    identity: Option<&ClientCertificate>,
) -> Result<ClientConfig, StoreError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = if server.scheme() == "https" { trust.roots()? } else { RootCertStore::empty() };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::misconfigured(format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots);
    let mut configuration = match identity {
        Some(identity) => with_identity(builder, identity)?,
        None => builder.with_no_client_auth(),
    };
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(configuration)
}

impl Trust {
    fn roots(&self) -> Result<RootCertStore, StoreError> {
        match self {
            Self::System => system_roots(&SYSTEM_BUNDLES),
            Self::Bundle(pem) => roots(pem.as_bytes(), "caBundle"),
            Self::File(path) => roots(credential::read(path, "CA bundle")?.as_bytes(), path),
        }
    }
}

/// All certificates of a configured bundle: one that cannot be used was meant to be.
fn roots(pem: &[u8], place: &str) -> Result<RootCertStore, StoreError> {
    let wrong = |reason: String| StoreError::misconfigured(format!("the certificate authorities in {place}: {reason}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| wrong(format!("malformed PEM, {error}")))?;
        roots.add(certificate).map_err(|error| wrong(format!("a certificate cannot be used, {error}")))?;
    }
    if roots.is_empty() { Err(wrong("no certificate".to_owned())) } else { Ok(roots) }
}

/// The authorities of the first bundle that exists; one that cannot be used is left out, as everybody does.
fn system_roots(bundles: &[&str]) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let certificates = bundles
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .map(|pem| CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect::<Vec<_>>());
    let Some(certificates) = certificates.into_iter().find(|certificates| !certificates.is_empty()) else {
        let text = "the system has no certificate authorities, and the store names none; give the store a caBundle";
        return Err(StoreError::misconfigured(text));
    };
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: &ClientCertificate,
) -> Result<ClientConfig, StoreError> {
    let ClientCertificate { certificate_file, key_file } = identity;
    let chain = credential::read(certificate_file, "client certificate")?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unusable("certificate", certificate_file, &error))?;
    let key: SecretBytes = credential::read(key_file, "client key")?.into();
    let key =
        PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unusable("private key", key_file, &error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unusable("certificate and key", certificate_file, &error))
}

fn unusable(what: &str, path: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::misconfigured(format!("the client's {what} in \"{path}\" cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_usable_certificate_is_refused_with_its_place() {
        for wrong in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = roots(wrong.as_bytes(), "caBundle").unwrap_err();
            assert!(error.to_string().starts_with("the certificate authorities in caBundle: "), "{error}");
        }
    }

    #[test]
    fn a_system_without_authorities_is_told_what_helps() {
        let error = system_roots(&["/nowhere/ca.crt"]).unwrap_err();
        assert_eq!(error.class(), crate::ErrorClass::Misconfigured);
        assert!(error.to_string().contains("caBundle"), "{error}");
    }
}
