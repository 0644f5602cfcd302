//! A server that answers as it is told, for what no real one can be brought to say.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use reqwest::header::HeaderMap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A request as it came.
pub(crate) struct Received {
    /// Method, path and query.
    pub(crate) line: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body as text.
    pub(crate) body: String,
    /// The port that it came from: one for each connection.
    pub(crate) port: u16,
}

/// An answer to give.
#[derive(Clone)]
pub(crate) enum Scripted {
    /// This one.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Bytes },
    /// None, ever.
    Silence,
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, body: &str) -> Scripted {
    Scripted::Answer { status, headers: Vec::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

impl Scripted {
    /// The same answer with a header.
    pub(crate) fn with(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name, value.to_owned()));
                Self::Answer { status, headers, body }
            }
            Self::Silence => self,
        }
    }
}

#[derive(Default)]
struct Script {
    answers: HashMap<String, VecDeque<Scripted>>,
    received: Vec<Received>,
}

/// The server. It lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Fake {
    /// Its address.
    pub(crate) address: String,
    script: Arc<Mutex<Script>>,
}

impl Fake {
    /// A server without TLS.
    pub(crate) fn start() -> Self {
        let (listener, port) = listen();
        let (fake, router) = Self::new(format!("http://127.0.0.1:{port}"));
        tokio::spawn(
            axum_server::from_tcp(listener).unwrap().serve(router.into_make_service_with_connect_info::<SocketAddr>()),
        );
        fake
    }

    /// A server whose certificate `authority` signed for `name`, open to `clients`.
    pub(crate) fn start_tls(authority: &Authority, name: &str, clients: Clients) -> Self {
        let (listener, port) = listen();
        let (fake, router) = Self::new(format!("https://127.0.0.1:{port}"));
        let tls = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(authority.server(name, clients)));
        tokio::spawn(
            axum_server::from_tcp_rustls(listener, tls)
                .unwrap()
                .serve(router.into_make_service_with_connect_info::<SocketAddr>()),
        );
        fake
    }

    fn new(address: String) -> (Self, Router) {
        let fake = Self { address, script: Arc::default() };
        (fake.clone(), Router::new().fallback(answer).with_state(fake))
    }

    /// Answers the next request to `line` with `scripted`; the last answer of a line is repeated for ever.
    pub(crate) fn on(&self, line: &str, scripted: Scripted) -> &Self {
        self.script.lock().unwrap().answers.entry(line.to_owned()).or_default().push_back(scripted);
        self
    }

    /// How often `line` was requested.
    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|received| *received == line).count()
    }

    /// Everything that was requested, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.received(|received| received.line.clone())
    }

    /// Something of every request, in order.
    pub(crate) fn received<T>(&self, of: impl Fn(&Received) -> T) -> Vec<T> {
        self.script.lock().unwrap().received.iter().map(of).collect()
    }
}

/// Whom a server with TLS lets in.
#[derive(Clone, Copy)]
pub(crate) enum Clients {
    /// Everybody.
    Any,
    /// Those with a certificate of its own authority.
    Known,
}

async fn answer(State(fake): State<Fake>, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let line = format!("{} {}", head.method, head.uri.path_and_query().unwrap());
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let scripted = {
        let mut script = fake.script.lock().unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        script.received.push(Received { line: line.clone(), headers: head.headers, body, port: peer.port() });
        match script.answers.get_mut(&line) {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().cloned(),
            None => None,
        }
    };
    // Nobody asks for a teapot: an unexpected request shows in the test.
    match scripted.unwrap_or_else(|| json(418, &format!(r#"{{"errors":["not scripted: {line}"]}}"#))) {
        Scripted::Answer { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Scripted::Silence => std::future::pending().await,
    }
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A certificate authority of a test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name` and its key.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (parameters.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self, name: &str, clients: Clients) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (certificate, key) = self.issue(name);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let verifier = match clients {
            Clients::Any => WebPkiClientVerifier::no_client_auth(),
            Clients::Known => {
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap()
            }
        };
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap()
    }
}
