//! One connection, from the handshake to its end.
//!
//! API servers keep few HTTP/2 connections for all their reviews. One ends, always after what is in flight, when it was
//! idle, when it is old (so that load moves to other replicas), when the other side no longer answers pings, and when
//! this replica leaves.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/1 client may take to send the head of a request, and may be idle before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes the head of an HTTP/2 request may have.
const LONGEST_HEAD: u32 = 32 * 1024;
/// How much of an HTTP/1 connection is read ahead, the head of a request included.
const HTTP1_BUFFER: usize = 64 * 1024;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_mins(1);
/// How long a connection is used.
const AGE: Duration = Duration::from_mins(10);
/// How long a connection may take to finish what is in flight, once it is to end.
const FINISH: Duration = Duration::from_secs(30);
/// How often an HTTP/2 client is asked whether it is there.
const PING: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(5);
/// How many requests one HTTP/2 connection may have in flight. An API server opens another connection for more, so this
/// is also about how many reviews are lost on a connection that has died without a word: each that was given up goes on
/// to count until the other side answers. A review takes about a millisecond; 16 at once are thousands a second.
const STREAMS: u32 = 16;
/// How long a connection lives on, or lives at all, while this replica leaves.
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
) -> Result<(), HandshakeError> {
    match transport {
        Transport::Plain => serve_http1(stream, app, departure).await,
        Transport::Tls(acceptor) => {
            let handshake = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
            let stream = handshake.await.map_err(|_elapsed| HandshakeError::TooSlow)?.map_err(HandshakeError::Tls)?;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                serve_http2(stream, app, departure).await;
            } else {
                serve_http1(stream, app, departure).await;
            }
        }
    }
    Ok(())
}

async fn serve_http1(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, app: Router, departure: Departure) {
    // HTTP/1 cannot say "no further request on this connection" without losing one that is on its way, so such a connection
    // serves on until nobody comes any more. API servers speak HTTP/2.
    let departure = Departure { announced: CancellationToken::new(), ..departure };
    let activity = Activity::default();
    let service = service_fn(|request| handle(&app, &activity, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HTTP1_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    drive(connection, &activity, departure).await;
}

async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router, departure: Departure) {
    let activity = Arc::new(Activity::default());
    let watched = Arc::clone(&activity);
    let service = service_fn(move |request| {
        let (app, activity) = (app.clone(), Arc::clone(&activity));
        async move { handle(&app, &activity, request).await }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    drive(connection, &watched, departure).await;
}

async fn handle(app: &Router, activity: &Activity, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let _busy = activity.begin();
    app.clone().oneshot(request.map(Body::new)).await
}

/// Runs a connection until it ends by itself, or there is a reason to end it.
async fn drive<C: GracefulConnection>(connection: C, activity: &Activity, departure: Departure) {
    let mut connection = pin!(connection);
    tokio::select! {
        // How a connection ended is the business of the client that ended it.
        _ended = connection.as_mut() => return,
        () = departure.due() => {}
        () = activity.idle() => {}
        () = sleep(AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ended = timeout(FINISH, connection).await;
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
mod tests {
    use axum::routing::get;
    use hyper::client::conn::http2 as client;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;

    fn app() -> Router {
        Router::new().route("/", get(async || "done"))
    }

    fn request() -> Request<String> {
        Request::get("http://localhost/").body(String::new()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_not_waited_for() {
        let (_client, server) = duplex(1024);
        let begin = Instant::now();
        serve_http1(server, app(), Departure::default()).await;
        assert_eq!(begin.elapsed(), HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_the_head_of_a_request_drop_by_drop_is_not_waited_for() {
        let (mut client, theirs) = duplex(1024);
        let served = tokio::spawn(serve_http1(theirs, app(), Departure::default()));
        for byte in b"GET / HTTP/1.1\r\nX: " {
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        served.await.unwrap();
        // What it is told is its business; that it is told something is ours.
        client.read_to_end(&mut Vec::new()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_ends_after_it_was_idle_and_not_before() {
        let (ours, theirs) = duplex(64 * 1024);
        let begin = Instant::now();
        let served = tokio::spawn(serve_http2(theirs, app(), Departure::default()));
        let (mut send, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(ours)).await.unwrap();
        let connection = tokio::spawn(connection);
        sleep(IDLE / 2).await;
        assert_eq!(send.send_request(request()).await.unwrap().status(), 200);
        drop(served.await);
        assert!(begin.elapsed() >= IDLE + IDLE / 2);
        assert!(begin.elapsed() < IDLE * 2 + FINISH);
        drop(connection.await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_leaves_answers_what_is_in_flight_first() {
        let (ours, theirs) = duplex(64 * 1024);
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let app = Router::new().route(
            "/",
            get({
                let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
                async move || {
                    begun.notify_one();
                    go_on.notified().await;
                    "done"
                }
            }),
        );
        let departure = Departure::default();
        let served = tokio::spawn(serve_http2(theirs, app, departure.clone()));
        let (mut send, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(ours)).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = send.send_request(request());
        begun.notified().await;
        departure.closing.cancel();
        sleep(Duration::from_secs(1)).await;
        go_on.notify_one();
        assert_eq!(answer.await.unwrap().status(), 200);
        served.await.unwrap();
        connection.await.unwrap().unwrap();
        assert!(send.send_request(request()).await.is_err(), "nothing new is begun");
    }
    #[tokio::test(start_paused = true)]
    async fn a_replica_that_is_about_to_leave_sends_its_clients_elsewhere_and_serves_whoever_still_comes() {
        let departure = Departure::default();
        let connect = async || {
            let (ours, theirs) = duplex(64 * 1024);
            drop(tokio::spawn(serve_http2(theirs, app(), departure.clone())));
            let (send, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(ours)).await.unwrap();
            drop(tokio::spawn(connection));
            send
        };
        let mut before = connect().await;
        assert_eq!(before.send_request(request()).await.unwrap().status(), 200);
        departure.announced.cancel();
        let mut after = connect().await;
        assert_eq!(after.send_request(request()).await.unwrap().status(), 200);
        sleep(DEPARTURE * 2).await;
        assert!(before.send_request(request()).await.is_err(), "nothing new is begun");
        assert!(after.send_request(request()).await.is_err(), "nothing new is begun");
        assert_eq!(connect().await.send_request(request()).await.unwrap().status(), 200);
    }
}
