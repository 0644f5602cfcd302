//! What a running server presents, replaceable between two handshakes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::identity::{Identity, IdentityError};

/// Serves one identity at a time to every client, whatever name it asks for.
///
/// API servers may call by address and then send no name at all, so the name in the handshake decides nothing.
#[derive(Debug)]
pub struct Resolver {
    serving: ArcSwap<CertifiedKey>,
}

impl Resolver {
    /// Begins with `identity`.
    ///
    /// # Errors
    ///
    /// Fails if it has expired or TLS cannot use it.
    pub fn new(identity: &Identity, now: Timestamp) -> Result<Self, ServeError> {
        Ok(Self { serving: ArcSwap::from_pointee(servable(identity, now)?) })
    }

    /// Serves `identity` from the next handshake on; connections that exist are not touched.
    ///
    /// # Errors
    ///
    /// If it has expired or TLS cannot use it, the one before stays.
    pub fn replace(&self, identity: &Identity, now: Timestamp) -> Result<(), ServeError> {
        self.serving.store(Arc::new(servable(identity, now)?));
        Ok(())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.serving.load_full())
    }
}

/// A start that lies ahead is no obstacle: the replica's clock may be the one that is behind, and its clients' are not.
fn servable(identity: &Identity, now: Timestamp) -> Result<CertifiedKey, ServeError> {
    let not_after = identity.certificate().window().not_after;
    if identity.certificate().window().has_ended(now) {
        return Err(ServeError::Expired { not_after });
    }
    identity.certified_key().map_err(|error| ServeError::Unusable(error.into()))
}

/// Why an identity is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// Every client would refuse it.
    #[error("the certificate expired at {not_after}")]
    Expired {
        /// The end of its validity.
        not_after: Timestamp,
    },
    /// The pair does not match or is of a kind that TLS cannot use.
    #[error("the certificate cannot be served")]
    Unusable(#[source] IdentityError),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::{
        ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
    };
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;
    use crate::authority::Authority;
    use crate::names::Names;
    use crate::provider::provider;

    const HOUR: Duration = Duration::from_hours(1);

    fn now() -> Timestamp {
        "2026-11-25T10:00:00Z".parse().unwrap()
    }

    fn leaf(lifetime: Duration) -> Identity {
        let authority = Authority::issue(HOUR * 5, now()).unwrap();
        authority.issue_leaf(&Names::new(["a.b.svc"]).unwrap(), lifetime, now()).unwrap()
    }

    /// Looks at what is served and checks the server's proof that it has the key, which is all that matters here.
    #[derive(Debug)]
    struct Onlooker;

    impl ServerCertVerifier for Onlooker {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &provider().signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    }

    /// A real handshake in memory; the certificate that the client saw.
    fn handshake(resolver: &Arc<Resolver>) -> CertificateDer<'static> {
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Onlooker))
            .with_no_client_auth();
        let resolver: Arc<Resolver> = Arc::clone(resolver);
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        let mut client = ClientConnection::new(Arc::new(client), "10.0.0.1".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        client.peer_certificates().unwrap()[0].clone()
    }

    #[test]
    fn the_next_handshake_sees_the_replaced_certificate() {
        let (first, second) = (leaf(HOUR), leaf(HOUR));
        let resolver = Arc::new(Resolver::new(&first, now()).unwrap());
        assert_eq!(&handshake(&resolver), first.certificate().der());
        resolver.replace(&second, now()).unwrap();
        assert_eq!(&handshake(&resolver), second.certificate().der());
    }

    #[test]
    fn an_expired_certificate_leaves_the_old_one_serving() {
        let (first, short) = (leaf(HOUR * 3), leaf(HOUR));
        let resolver = Arc::new(Resolver::new(&first, now()).unwrap());
        let late = now() + jiff::SignedDuration::from_hours(2);
        let not_after = short.certificate().window().not_after;
        assert_eq!(resolver.replace(&short, late), Err(ServeError::Expired { not_after }));
        assert_eq!(&handshake(&resolver), first.certificate().der());
        assert!(Resolver::new(&short, late).is_err());
    }

    #[test]
    fn a_replica_whose_clock_is_behind_serves_all_the_same() {
        let early = now() - jiff::SignedDuration::from_hours(1);
        assert!(Resolver::new(&leaf(HOUR), early).is_ok());
    }
}
