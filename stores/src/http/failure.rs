//! Why no answer came, in words that do not need the library's source to be understood.

use super::{CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use crate::error::{ErrorClass, StoreError};
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io;

/// The failure of a request to `server`.
pub(super) fn explain(error: &reqwest::Error, server: &str) -> StoreError {
    if let Some(error) = tls_error(error) {
        return untrusted(error, server);
    }
    let reason = match (error.is_timeout(), error.is_connect()) {
        (true, true) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        (true, false) => format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()),
        (false, _) => root_cause(error).to_string(),
    };
    let what = if error.is_connect() { "cannot reach" } else { "lost the connection to" };
    StoreError::new(ErrorClass::Unavailable, format!("{what} {server}: {reason}"))
}

/// What TLS objects to. Only what a person must change is Misconfigured: the rest can heal by itself.
fn untrusted(error: &rustls::Error, server: &str) -> StoreError {
    let (class, remedy) = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            (ErrorClass::Misconfigured, "; the store's caBundle must hold the authority that signed it")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => (ErrorClass::Misconfigured, "; the store's serverName says which name the certificate carries"),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            (ErrorClass::Misconfigured, "; the store must name a client certificate")
        }
        _ => (ErrorClass::Unavailable, ""),
    };
    StoreError::new(class, format!("no secure connection to {server}: {error}{remedy}"))
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn root_cause(error: &reqwest::Error) -> &(dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

/// `error` and what lies behind it.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |cause| behind(*cause))
}

/// An `io::Error` that wraps another error shows as its source only what is behind that one.
fn behind<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}
