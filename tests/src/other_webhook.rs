//! Somebody else's mutating webhook, in the order of names after ours, that does to Pods what a test wants.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::namespace::Namespace;
use crate::node::Node;
use crate::pki::Subject;

/// What the webhook does: the operations of a JSON patch for a Pod.
type Rule = fn(&Value) -> Value;

/// A registered webhook that serves from this process.
#[derive(Debug)]
pub struct OtherWebhook {
    configuration: String,
    server: JoinHandle<()>,
}

impl OtherWebhook {
    /// Serves `rule` for the Pods of one namespace, in both rounds of admission.
    pub async fn start(node: &Node, namespace: &Namespace, rule: Rule) -> Result<Self> {
        let host = node.network().host_side();
        let listener = TcpListener::bind((host.as_str(), 0)).await.context("binding the other webhook")?;
        let address = listener.local_addr()?;
        let acceptor = acceptor(node, &host, &address)?;
        let server = tokio::spawn(serve(listener, acceptor, rule));
        let configuration = format!("zz-{}", namespace.name());
        let webhook = registration(node, namespace, &configuration, &address);
        node.kubectl().run_with_input(&["apply", "-f", "-"], &webhook.to_string()).await?;
        Ok(Self { configuration, server })
    }

    /// Takes the registration back and ends the server.
    pub async fn stop(self, node: &Node) -> Result<()> {
        let removed = node.kubectl().run(&["delete", "mutatingwebhookconfiguration", &self.configuration]).await;
        self.server.abort();
        removed.map(drop)
    }
}

fn acceptor(node: &Node, host: &str, address: &SocketAddr) -> Result<TlsAcceptor> {
    let subject = Subject { group: "", user: "other-webhook" };
    let issued = node.authority().issue(&format!("other-webhook-{}", address.port()), subject, &[host])?;
    let chain = CertificateDer::pem_file_iter(&issued.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&issued.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let configuration = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(configuration)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, rule: Rule) {
    let router = Router::new().route("/", post(review)).with_state(rule);
    while let Ok((connection, _peer)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(connection).await else { return };
            let served = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
                .await;
            // A connection that the API server drops is the API server's business.
            drop(served);
        });
    }
}

async fn review(State(rule): State<Rule>, Json(review): Json<Value>) -> Json<Value> {
    let patch = rule(review.pointer("/request/object").unwrap_or(&Value::Null)).to_string();
    Json(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": review.pointer("/request/uid"),
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": STANDARD.encode(patch),
        },
    }))
}

fn registration(node: &Node, namespace: &Namespace, name: &str, address: &SocketAddr) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "other.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "clientConfig": {
                "url": format!("https://{address}/"),
                "caBundle": STANDARD.encode(node.authority().certificate_pem()),
            },
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    })
}
