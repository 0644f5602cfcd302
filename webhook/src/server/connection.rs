//! One connection, from the handshake to its end.
//!
//! API servers call webhooks over HTTP/1.1, over as many connections as they have reviews at a time, and keep those; whoever
//! else comes may speak HTTP/2. A connection ends, always after what is in flight, when it was idle, when it is old (so that
//! load moves to other replicas), when the other side no longer answers pings, when its place is needed for another one, and
//! when this replica leaves. HTTP/1.1 has no way to say so but in an answer: to end a connection between two of them would
//! lose a review that is on its way. Only a connection whose place is needed ends so.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::room::Guest;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/1 client may take to send the head of its first request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may be idle before another: longer than an API server is, whose 90 seconds end the connection from the side
/// that knows whether a review is on its way.
const HTTP1_IDLE: Duration = Duration::from_mins(2);
/// How many bytes the head of an HTTP/2 request may have.
const LONGEST_HEAD: u32 = 32 * 1024;
/// How much of an HTTP/1 connection is read ahead, the head of a request included.
const HTTP1_BUFFER: usize = 64 * 1024;
/// How long an HTTP/2 connection may be idle.
const IDLE: Duration = Duration::from_mins(1);
/// How long a connection is used.
const AGE: Duration = Duration::from_mins(10);
/// How long a connection may take to finish what is in flight, once it is to end.
const FINISH: Duration = Duration::from_secs(30);
/// The same for one whose place is needed, if it has ever brought a review: an answer may still be on its way out.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often an HTTP/2 client is asked whether it is there.
const PING: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(5);
/// How many requests one HTTP/2 connection may have in flight.
const STREAMS: u32 = 256;
/// How long an HTTP/2 connection lives on, or lives at all, while this replica leaves.
const DEPARTURE: Duration = Duration::from_millis(500);
/// What a client may speak, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How connections are secured.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "the acceptor has none")]
pub enum Transport {
    /// Not at all: for what everybody may see.
    Plain,
    /// By TLS.
    Tls(TlsAcceptor),
}

impl Transport {
    /// TLS with this configuration, which learns what is spoken above it.
    #[must_use]
    pub fn tls(mut config: ServerConfig) -> Self {
        config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
        Self::Tls(TlsAcceptor::from(Arc::new(config)))
    }
}

/// How a replica leaves.
#[derive(Clone, Debug, Default)]
pub struct Departure {
    /// It is about to: whoever is connected is sent elsewhere soon, and whoever comes is still served. So nothing is lost
    /// even if the replica is given less time than it asks for.
    pub announced: CancellationToken,
    /// Nobody new is served any more.
    pub closing: CancellationToken,
}

impl Departure {
    /// Waits until a connection that exists now is to end for it.
    async fn due(&self) {
        let soon = async {
            self.announced.cancelled().await;
            sleep(DEPARTURE).await;
        };
        tokio::select! {
            () = self.closing.cancelled() => {}
            () = soon => {}
        }
    }
}

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The two sides could not agree.
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    /// The other side let us wait.
    #[error("the TLS handshake took longer than {} seconds", HANDSHAKE_TIMEOUT.as_secs())]
    TooSlow,
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    stream: TcpStream,
    transport: Transport,
    app: Router,
    departure: Departure,
    guest: Arc<Guest>,
) -> Result<(), HandshakeError> {
    match transport {
        Transport::Plain => serve_http1(stream, app, departure, guest).await,
        Transport::Tls(acceptor) => {
            let handshake = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
            let Some(handshake) = guest.unless_dismissed(handshake).await else { return Ok(()) };
            let stream = handshake.map_err(|_elapsed| HandshakeError::TooSlow)?.map_err(HandshakeError::Tls)?;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                serve_http2(stream, app, departure, guest).await;
            } else {
                serve_http1(stream, app, departure, guest).await;
            }
        }
    }
    Ok(())
}

async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    app: Router,
    departure: Departure,
    guest: Arc<Guest>,
) {
    let (activity, begin) = (Activity::default(), Instant::now());
    let service = service_fn(async |request| {
        let mut response = handle(&app, &activity, &guest, request).await?;
        if departure.announced.is_cancelled() || begin.elapsed() >= AGE {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP1_IDLE)
        .max_buf_size(HTTP1_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let patience = tokio::select! {
        // How a connection ended is the business of the client that ended it.
        _ended = connection.as_mut() => return,
        () = activity.begins_too_late() => return,
        patience = makes_way(&guest) => patience,
        () = departure.closing.cancelled() => FINISH,
    };
    finish(connection, patience).await;
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Router,
    departure: Departure,
    guest: Arc<Guest>,
) {
    let activity = Arc::new(Activity::default());
    let watched = (Arc::clone(&activity), Arc::clone(&guest));
    let service = service_fn(move |request| {
        let (app, activity, guest) = (app.clone(), Arc::clone(&activity), Arc::clone(&guest));
        async move { handle(&app, &activity, &guest, request).await }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    drive(connection, (&watched.0, &watched.1), departure).await;
}

async fn handle(
    app: &Router,
    activity: &Activity,
    guest: &Arc<Guest>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let _busy = activity.begin();
    guest.begins_a_request();
    request.extensions_mut().insert(Arc::clone(guest));
    app.clone().oneshot(request.map(Body::new)).await
}

/// Runs a connection until it ends by itself, or there is a reason to end it.
async fn drive<C: GracefulConnection>(connection: C, (activity, guest): (&Activity, &Guest), departure: Departure) {
    let mut connection = pin!(connection);
    let patience = tokio::select! {
        // How a connection ended is the business of the client that ended it.
        _ended = connection.as_mut() => return,
        patience = makes_way(guest) => patience,
        () = departure.due() => FINISH,
        () = activity.idle() => FINISH,
        () = sleep(AGE) => FINISH,
    };
    finish(connection, patience).await;
}

/// Waits until the place of a connection is needed for another one. Says how long it may take to end.
async fn makes_way(guest: &Guest) -> Duration {
    guest.is_dismissed().await;
    if guest.is_known() { LAST_WORDS } else { Duration::ZERO }
}

/// Has a connection end after what is in flight, within `patience`.
async fn finish<C: GracefulConnection>(mut connection: Pin<&mut C>, patience: Duration) {
    connection.as_mut().graceful_shutdown();
    let _ended = timeout(patience, connection).await;
}

/// How busy a connection is: requests in flight, and requests ever begun.
#[derive(Debug, Default)]
struct Activity(watch::Sender<(usize, u64)>);

/// A request in flight.
struct Busy<'a>(&'a Activity);

impl Activity {
    fn begin(&self) -> Busy<'_> {
        self.0.send_modify(|(in_flight, begun)| {
            *in_flight += 1;
            *begun = begun.wrapping_add(1);
        });
        Busy(self)
    }

    /// Waits until the time for a first request is over, if there was none.
    async fn begins_too_late(&self) {
        let mut state = self.0.subscribe();
        // The sender lives as long as `self`.
        if timeout(HEAD_TIMEOUT, state.wait_for(|(_, begun)| *begun > 0)).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until nothing has been in flight for a while.
    async fn idle(&self) {
        let mut state = self.0.subscribe();
        loop {
            // The sender lives as long as `self`.
            let Ok(begun) = state.wait_for(|(in_flight, _)| *in_flight == 0).await.map(|quiet| quiet.1) else { return };
            sleep(IDLE).await;
            if *state.borrow() == (0, begun) {
                return;
            }
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|(in_flight, _)| *in_flight = in_flight.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
