//! Accepting connections, a bounded number at once, until this replica leaves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::connection::{self, Departure, Transport};
use crate::metrics::Metrics;

/// How long to wait after the system refused to hand out a connection, for want of file descriptors for one.
const PAUSE: Duration = Duration::from_millis(50);

/// A port, and what is served there.
#[expect(missing_debug_implementations, reason = "the TLS acceptor has none")]
pub struct Listener {
    tcp: TcpListener,
    transport: Transport,
    app: Router,
    connections: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Opens a port; up to `connections` are served at once, further ones wait.
    ///
    /// # Errors
    ///
    /// The system refuses the address.
    pub async fn bind(address: SocketAddr, connections: u32, metrics: Arc<Metrics>) -> io::Result<Unserved> {
        let tcp = TcpListener::bind(address).await?;
        let connections = usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Ok(Unserved { tcp, connections: Arc::new(Semaphore::new(connections)), metrics })
    }

    /// Serves until this replica closes, then lets every connection finish what is in flight, and returns when all have.
    pub async fn serve(self, departure: Departure) {
        let tasks = TaskTracker::new();
        tokio::select! {
            () = self.accept(&tasks, &departure) => {}
            () = departure.closing.cancelled() => {}
        }
        // From here on the system refuses connections instead of letting them wait for nobody.
        drop(self);
        tasks.close();
        tasks.wait().await;
    }

    async fn accept(&self, tasks: &TaskTracker, departure: &Departure) {
        loop {
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else { return };
            let stream = self.next().await;
            let served = connection::serve(stream, self.transport.clone(), self.app.clone(), departure.clone());
            let metrics = Arc::clone(&self.metrics);
            tasks.spawn(async move {
                if let Err(error) = served.await {
                    metrics.handshake_failure();
                    tracing::debug!(%error, "a connection came to nothing");
                }
                drop(permit);
            });
        }
    }

    async fn next(&self) -> TcpStream {
        loop {
            match self.tcp.accept().await {
                // Answers are small and awaited; with a delay they would wait for each other. That it cannot be turned
                // off means that the connection is gone already, which whoever reads from it will find out.
                Ok((stream, _)) => {
                    let _gone = stream.set_nodelay(true);
                    return stream;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// An open port at which nothing is served yet: clients wait.
#[derive(Debug)]
pub struct Unserved {
    tcp: TcpListener,
    connections: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Unserved {
    /// The address, with the port that the system chose if none was asked for.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Says what is served.
    #[must_use]
    pub fn with(self, transport: Transport, app: Router) -> Listener {
        Listener { tcp: self.tcp, transport, app, connections: self.connections, metrics: self.metrics }
    }
}
