//! A server that takes connections and is of no use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alcove_tests::network::NODE_ADDRESS;
use alcove_tests::node::Node;
use alcove_tests::wait::{self, Seen};
use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a store says that wants to be left alone for an hour.
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The server, until it is dropped.
pub(super) struct Peer {
    port: u16,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Peer {
    /// Reads what is sent, and never says a word.
    pub(super) fn silent(node: &Node) -> Result<Self> {
        Self::start(node, "")
    }

    /// Asks everybody to come again in an hour.
    pub(super) fn busy(node: &Node) -> Result<Self> {
        Self::start(node, BUSY)
    }

    fn start(node: &Node, answer: &'static str) -> Result<Self> {
        let port = node.next_port();
        let listener = TcpListener::from_std(node.network().listen(port)?)?;
        let asked = Arc::new(AtomicUsize::new(0));
        let server = tokio::spawn(serve(listener, answer, Arc::clone(&asked)));
        Ok(Self { port, asked, server })
    }

    /// The address for Pods.
    pub(super) fn address(&self, scheme: &str) -> String {
        format!("{scheme}://{NODE_ADDRESS}:{}", self.port)
    }

    /// Waits until somebody has asked something, and has been answered as far as that happens here.
    pub(super) async fn wait_until_asked(&self) -> Result<()> {
        wait::until("somebody to ask", async || {
            let asked = self.asked.load(Ordering::SeqCst);
            Ok(if asked > 0 { Seen::Met(()) } else { Seen::NotYet("nobody so far".to_owned()) })
        })
        .await
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, answer: &'static str, asked: Arc<AtomicUsize>) {
    while let Ok((connection, _peer)) = listener.accept().await {
        tokio::spawn(converse(connection, answer, Arc::clone(&asked)));
    }
}

async fn converse(mut connection: TcpStream, answer: &'static str, asked: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = connection.read(&mut buffer).await {
        if connection.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        asked.fetch_add(1, Ordering::SeqCst);
    }
}
