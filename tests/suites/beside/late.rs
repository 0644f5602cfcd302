//! A way to the API server on which everything is prompt but what watches deliver: that comes when the test says so.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use alcove_tests::suite::Test;
use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The most bytes of a request.
const MOST: usize = 1024 * 1024;

/// A server in front of the API server, which it asks as the administrator.
pub(crate) struct LateWatches {
    kubeconfig: PathBuf,
    is_delivering: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
}

#[derive(Clone)]
struct Forwarding {
    client: Client,
    is_delivering: watch::Receiver<bool>,
}

impl LateWatches {
    /// Holds back what watches deliver from the beginning; lists are answered.
    pub(crate) async fn start(test: &Test) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("binding the late API server")?;
        let kubeconfig = super::write_kubeconfig(test, &format!("http://{}", listener.local_addr()?))?;
        let (sender, receiver) = watch::channel(false);
        let forwarding = Forwarding { client: test.node().client().clone(), is_delivering: receiver };
        let router = Router::new().fallback(forward).with_state(forwarding);
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self { kubeconfig, is_delivering: sender, server })
    }

    /// The kubeconfig of whoever is to be late.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Delivers what was held back, and everything from now on at once.
    pub(crate) fn deliver(&self) {
        self.is_delivering.send_replace(true);
    }
}

impl Drop for LateWatches {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(State(forwarding): State<Forwarding>, request: Request) -> Result<Response, (StatusCode, String)> {
    let answer = forwarding.ask(request).await;
    answer.map_err(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")))
}

impl Forwarding {
    async fn ask(self, request: Request) -> Result<Response> {
        let (head, body) = request.into_parts();
        let is_watch = head.uri.query().is_some_and(|query| query.contains("watch=true"));
        let mut forwarded = http::Request::builder().method(head.method).uri(head.uri);
        for name in [ACCEPT, CONTENT_TYPE] {
            if let Some(value) = head.headers.get(&name) {
                forwarded = forwarded.header(name, value);
            }
        }
        let body = to_bytes(body, MOST).await?.to_vec();
        let (head, body) = self.client.send(forwarded.body(body.into())?).await?.into_parts();
        let body = Body::new(body);
        let mut answer = Response::builder().status(head.status);
        if let Some(kind) = head.headers.get(CONTENT_TYPE) {
            answer = answer.header(CONTENT_TYPE, kind);
        }
        Ok(answer.body(if is_watch { self.held_back(body) } else { body })?)
    }

    /// The same bytes in the same order, once they are to be delivered.
    fn held_back(self, body: Body) -> Body {
        let parts = body.into_data_stream().map_err(std::io::Error::other);
        Body::from_stream(parts.then(move |part| {
            let mut is_delivering = self.is_delivering.clone();
            async move {
                is_delivering.wait_for(|is_delivering| *is_delivering).await.map_err(std::io::Error::other)?;
                part
            }
        }))
    }
}
