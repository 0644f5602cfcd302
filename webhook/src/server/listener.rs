//! Accepting connections, as many at once as there is room for, until this replica leaves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::connection::{self, Departure, Transport};
use super::room::Room;
use crate::metrics::{Metrics, Port};

/// How long to wait after the system refused to hand out a connection, for want of file descriptors for one.
const PAUSE: Duration = Duration::from_millis(50);

/// A port, and what is served there.
#[expect(missing_debug_implementations, reason = "the TLS acceptor has none")]
pub struct Listener {
    tcp: TcpListener,
    transport: Transport,
    app: Router,
    room: Arc<Room>,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Opens a port. Up to `connections` are open at once; for a further one, one that waits for its client makes way.
    ///
    /// # Errors
    ///
    /// The system refuses the address.
    pub async fn bind(
        port: Port,
        address: SocketAddr,
        connections: usize,
        metrics: Arc<Metrics>,
    ) -> io::Result<Unserved> {
        let tcp = TcpListener::bind(address).await?;
        Ok(Unserved { tcp, room: Room::new(port, connections, Arc::clone(&metrics)), metrics })
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
            let (stream, client) = self.next().await;
            let guest = self.room.enter(client.ip()).await;
            let served = connection::serve(stream, self.transport.clone(), self.app.clone(), departure.clone(), guest);
            let metrics = Arc::clone(&self.metrics);
            tasks.spawn(async move {
                if let Err(error) = served.await {
                    metrics.handshake_failure();
                    tracing::debug!(%error, "a connection came to nothing");
                }
            });
        }
    }

    async fn next(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.tcp.accept().await {
                // Answers are small and awaited; with a delay they would wait for each other. That it cannot be turned
                // off means that the connection is gone already, which whoever reads from it will find out.
                Ok((stream, client)) => {
                    let _gone = stream.set_nodelay(true);
                    return (stream, client);
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
    room: Arc<Room>,
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
        Listener { tcp: self.tcp, transport, app, room: self.room, metrics: self.metrics }
    }
}
