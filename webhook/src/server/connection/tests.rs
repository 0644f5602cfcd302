use std::net::Ipv4Addr;

use axum::Extension;
use axum::routing::{get, post};
use hyper::client::conn::http2 as client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::Notify;

use super::super::room::Room;
use super::*;
use crate::metrics::Port;

fn app() -> Router {
    Router::new().route("/", get(async || "done"))
}

async fn guest() -> Arc<Guest> {
    Room::new(Port::Reviews, 1, Arc::default()).enter(Ipv4Addr::LOCALHOST.into()).await
}

fn request() -> Request<String> {
    Request::get("http://localhost/").body(String::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_not_waited_for() {
    let (_client, server) = duplex(1024);
    let begin = Instant::now();
    serve_http1(server, app(), Departure::default(), guest().await).await;
    assert_eq!(begin.elapsed(), HEAD_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_the_head_of_a_request_drop_by_drop_is_not_waited_for() {
    let (mut client, theirs) = duplex(1024);
    let served = tokio::spawn(serve_http1(theirs, app(), Departure::default(), guest().await));
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
    let served = tokio::spawn(serve_http2(theirs, app(), Departure::default(), guest().await));
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
    let served = tokio::spawn(serve_http2(theirs, app, departure.clone(), guest().await));
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
        drop(tokio::spawn(serve_http2(theirs, app(), departure.clone(), guest().await)));
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

async fn ask(client: &mut DuplexStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"done") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "the connection has ended");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_http1_connection_that_was_used_stays_for_as_long_as_an_api_server_keeps_it() {
    let (mut client, theirs) = duplex(64 * 1024);
    let served = tokio::spawn(serve_http1(theirs, app(), Departure::default(), guest().await));
    ask(&mut client).await;
    sleep(Duration::from_secs(100)).await;
    assert!(!ask(&mut client).await.contains("connection: close"));
    sleep(HTTP1_IDLE * 2).await;
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_about_to_leave_says_so_in_its_next_answer_over_http1() {
    let (mut client, theirs) = duplex(64 * 1024);
    let departure = Departure::default();
    let served = tokio::spawn(serve_http1(theirs, app(), departure.clone(), guest().await));
    assert!(!ask(&mut client).await.contains("connection: close"));
    departure.announced.cancel();
    sleep(DEPARTURE * 2).await;
    assert!(ask(&mut client).await.contains("connection: close"), "a request that was on its way is answered");
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_http1_connection_ends_with_an_answer() {
    let (mut client, theirs) = duplex(64 * 1024);
    let served = tokio::spawn(serve_http1(theirs, app(), Departure::default(), guest().await));
    let begin = Instant::now();
    while !ask(&mut client).await.contains("connection: close") {
        sleep(HTTP1_IDLE / 2).await;
    }
    assert!(begin.elapsed() >= AGE && begin.elapsed() < AGE + HTTP1_IDLE);
    served.await.unwrap();
}

/// A room for one connection, that connection, and what a route does that is asked for a review.
struct Full {
    room: Arc<Room>,
    guest: Arc<Guest>,
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Full {
    async fn new() -> Self {
        let room = Room::new(Port::Reviews, 1, Arc::default());
        let guest = room.enter(Ipv4Addr::LOCALHOST.into()).await;
        Self { room, guest, begun: Arc::default(), go_on: Arc::default() }
    }

    /// Answers a review when it is told to.
    fn app(&self) -> Router {
        let (begun, go_on) = (Arc::clone(&self.begun), Arc::clone(&self.go_on));
        let review = async move |Extension(guest): Extension<Arc<Guest>>, _body: String| {
            let _owed = guest.brings_a_review();
            begun.notify_one();
            go_on.notified().await;
            "done"
        };
        app().route("/", post(review))
    }

    fn serve(&self, stream: DuplexStream) -> tokio::task::JoinHandle<()> {
        tokio::spawn(serve_http1(stream, self.app(), Departure::default(), Arc::clone(&self.guest)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_its_client_makes_way_at_once() {
    for sent in ["", "GET / HT", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"] {
        for known in [false, true] {
            let (mut client, theirs) = duplex(64 * 1024);
            let (full, begin) = (Full::new().await, Instant::now());
            if known {
                drop(full.guest.brings_a_review());
            }
            let served = full.serve(theirs);
            ask(&mut client).await;
            client.write_all(sent.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            drop(full.room.enter(Ipv4Addr::LOCALHOST.into()).await);
            served.await.unwrap();
            // Of whoever has brought reviews, the rest of one is waited for a moment.
            let patience = if known { LAST_WORDS } else { Duration::ZERO };
            assert!(begin.elapsed() <= patience + Duration::from_millis(10), "{sent}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_makes_way_in_its_handshake() {
    let full = Full::new().await;
    let handshake = full.guest.unless_dismissed(std::future::pending::<()>());
    let (handshake, _place) = tokio::join!(timeout(LAST_WORDS, handshake), full.room.enter(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(handshake, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_review_is_answered_before_its_connection_makes_way() {
    // The answer takes several turns to get through.
    let (mut client, theirs) = duplex(16);
    let full = Full::new().await;
    let served = full.serve(theirs);
    client.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1").await.unwrap();
    full.begun.notified().await;
    let room = Arc::clone(&full.room);
    let coming = tokio::spawn(async move { drop(room.enter(Ipv4Addr::LOCALHOST.into()).await) });
    sleep(LAST_WORDS * 2).await;
    assert!(!coming.is_finished());
    full.go_on.notify_one();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
    served.await.unwrap();
    coming.await.unwrap();
}
