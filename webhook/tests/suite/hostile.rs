//! What anybody who reaches the port may send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_rustls::client::TlsStream;

use super::process::{HOST, Stage, Webhook, send};
use super::reviews::{creation, pod};

async fn refusal(client: &Client, url: &str, body: impl Into<reqwest::Body>) -> (StatusCode, String) {
    let response = send(client, url, body).await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn what_is_no_review_gets_a_sentence_that_says_what_was_expected() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let client = stage.client().build().unwrap();
    let review = creation(&pod("kv/app/db")).to_string();
    let cases: [(String, &str); 7] = [
        (String::new(), "the body is empty"),
        (review.strip_suffix("}}").unwrap().to_owned(), "not JSON"),
        ("[".repeat(100_000), "not JSON"),
        ("\u{0}\u{1}".to_owned(), "not JSON"),
        (review.replace("\"AdmissionReview\"", "\"Pod\""), "not an AdmissionReview"),
        (review.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), "admission.k8s.io/v1beta1"),
        (json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).to_string(), "no request.uid"),
    ];
    for path in ["/mutate", "/validate"] {
        for (body, expected) in &cases {
            let (status, text) = refusal(&client, &webhook.url(path), body.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{expected}");
            assert!(text.contains(expected), "{text}");
        }
    }
}

#[tokio::test]
async fn an_incomplete_review_with_a_number_is_refused_by_that_number() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let client = stage.client().build().unwrap();
    let mut review = creation(&pod("kv/app/db"));
    review["request"]["object"] = json!("a string");
    let (status, text) = refusal(&client, &webhook.url("/mutate"), review.to_string()).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    assert_eq!(answer["response"]["status"]["code"], 400);
}

#[tokio::test]
async fn another_content_type_method_or_path_is_named() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let client = stage.client().build().unwrap();
    let review = creation(&pod("kv/app/db")).to_string();
    let typed = client.post(webhook.url("/mutate")).header("content-type", "application/yaml").body(review.clone());
    let untyped = client.post(webhook.url("/mutate")).body(review.clone());
    for request in [typed, untyped] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(response.text().await.unwrap().contains("application/json"));
    }
    let got = client.get(webhook.url("/mutate")).send().await.unwrap();
    assert_eq!(got.status(), StatusCode::METHOD_NOT_ALLOWED);
    let (status, text) = refusal(&client, &webhook.url("/elsewhere"), review).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.contains("/mutate"), "{text}");
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes_is_refused_over_both_versions_of_http_and_service_goes_on() {
    let stage = Stage::new();
    let webhook = stage.serve();
    for builder in [stage.client(), stage.client().http1_only()] {
        let client = builder.build().unwrap();
        let (status, text) = refusal(&client, &webhook.url("/mutate"), vec![b' '; 100 * 1000 * 1000]).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text.contains("8388608 bytes"), "{text}");
        let review = creation(&pod("kv/app/db")).to_string();
        assert_eq!(refusal(&client, &webhook.url("/mutate"), review).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_review_of_almost_eight_mebibytes_is_answered() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let client = stage.client().build().unwrap();
    let mut pod = pod("kv/app/db");
    pod["spec"]["containers"][0]["args"] = json!(["x".repeat(8 * 1024 * 1024 - 4096)]);
    let (status, text) = refusal(&client, &webhook.url("/mutate"), creation(&pod).to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\"allowed\":true"));
}

#[tokio::test]
async fn plain_http_and_noise_on_the_tls_port_end_the_connection_and_nothing_else() {
    let stage = Stage::new();
    let webhook = stage.serve();
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(webhook.address()).unwrap();
        stream.write_all(noise).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // A reset and an end are both an end.
        drop(stream.read_to_end(&mut Vec::new()));
    }
    let client = stage.client().build().unwrap();
    let health = client.get(webhook.url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
}

/// How many connections the webhook is started with, and how many of each sort are held.
const CONNECTIONS: usize = 32;

/// A TLS connection for HTTP/1.1 from an address of this machine.
async fn connect(stage: &Stage, webhook: &Webhook, from: [u8; 4]) -> TlsStream<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(webhook.address()).await.unwrap();
    stage.connector().connect(HOST.try_into().unwrap(), stream).await.unwrap()
}

/// A connection that has sent `bytes` and got what is answered to the first of them.
async fn hold(stage: &Stage, webhook: &Webhook, bytes: &[u8], is_answered: bool) -> TlsStream<tokio::net::TcpStream> {
    let mut stream = connect(stage, webhook, [127, 0, 0, 1]).await;
    stream.write_all(bytes).await.unwrap();
    if is_answered {
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
    }
    stream
}

/// What clients send that hold on to a connection, and whether they get an answer before they fall silent.
fn holders() -> Vec<(String, bool)> {
    let review = creation(&pod("kv/app/db")).to_string();
    let head = |length: usize| {
        format!(
            "POST /mutate HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    vec![
        (String::new(), false),
        ("GET /healthz HTT".to_owned(), false),
        (format!("GET /healthz HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), true),
        (format!("{}{{", head(1000)), false),
        (format!("{}{review}", head(review.len())), true),
        (format!("{}{review}{}{{", head(review.len()), head(1000)), true),
    ]
}

#[tokio::test]
async fn whatever_connections_are_held_a_new_reviewer_is_answered_and_one_that_was_there_before_is_kept() {
    let stage = Stage::new();
    let webhook = stage.serve_with(&[&format!("--max-connections={CONNECTIONS}")]);
    // One connection from an address of its own, as an API server keeps it.
    let kept = TokioIo::new(connect(&stage, &webhook, [127, 0, 0, 2]).await);
    let (mut kept, connection) = http1::handshake(kept).await.unwrap();
    let connection = tokio::spawn(connection);
    let review = creation(&pod("kv/app/db")).to_string();
    let mut held = Vec::new();
    for (bytes, is_answered) in holders() {
        let bare = (0..CONNECTIONS).map(|_| TcpStream::connect(webhook.address()).unwrap());
        held.push((bare.collect::<Vec<_>>(), Vec::new()));
        for _ in 0..2 * CONNECTIONS {
            let stream = hold(&stage, &webhook, bytes.as_bytes(), is_answered).await;
            held.last_mut().unwrap().1.push(stream);
        }
        // Behind an address translation, a reviewer has the address of whoever holds the connections.
        for builder in [stage.client(), stage.client().http1_only()] {
            let answer = refusal(&builder.build().unwrap(), &webhook.url("/mutate"), review.clone()).await;
            assert_eq!(answer.0, StatusCode::OK, "{bytes}");
        }
        let request = Request::post("/mutate").header("host", HOST).header("content-type", "application/json");
        let answer = kept.send_request(request.body(review.clone()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{bytes}");
        assert!(answer.into_body().collect().await.is_ok(), "{bytes}");
    }
    assert!(!connection.is_finished());
    let open = shown(&webhook, r#"connections{port="reviews"}"#).await;
    assert!((CONNECTIONS / 2..=CONNECTIONS).contains(&open), "{open}");
    for reviews in ["none", "some"] {
        assert!(evictions(&webhook, reviews).await > CONNECTIONS, "{reviews}");
    }
}

/// What a metric of the webhook shows.
async fn shown(webhook: &Webhook, metric: &str) -> usize {
    let metrics = reqwest::get(webhook.observation("/metrics")).await.unwrap().text().await.unwrap();
    let name = format!("alcove_webhook_{metric} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
    value.unwrap_or_else(|| panic!("{name}\nis not in\n{metrics}"))
}

/// How many connections for reviews have made way that had brought so many.
async fn evictions(webhook: &Webhook, reviews: &str) -> usize {
    shown(webhook, &format!(r#"connection_evictions_total{{port="reviews",reviews="{reviews}"}}"#)).await
}

#[tokio::test]
async fn each_port_has_connections_of_its_own_and_answers_when_all_are_held() {
    let stage = Stage::new();
    let webhook = stage.serve_with(&["--max-connections=2"]);
    let address = webhook.observation("").trim_start_matches("http://").to_owned();
    let _held: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let client = stage.client().build().unwrap();
    let health = client.get(webhook.url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    let ready = reqwest::get(webhook.observation("/readyz")).await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_low_limit_of_open_files_shuts_nobody_out() {
    let stage = Stage::new();
    let webhook = stage.serve_within("ulimit -n 200");
    let _held: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(webhook.address()).unwrap()).collect();
    let client = stage.client().build().unwrap();
    let review = creation(&pod("kv/app/db")).to_string();
    assert_eq!(refusal(&client, &webhook.url("/mutate"), review).await.0, StatusCode::OK);
    // Nobody had to wait until others gave up.
    assert!(evictions(&webhook, "none").await > 200);
}
