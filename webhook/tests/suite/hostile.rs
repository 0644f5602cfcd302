//! What anybody who reaches the port may send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::process::{Stage, send};
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
    pod["metadata"]["annotations"]["example.com/large"] = json!("x".repeat(8 * 1024 * 1024 - 4096));
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

#[tokio::test]
async fn connections_in_excess_wait_for_their_turn() {
    let stage = Stage::new();
    let webhook = stage.serve_with(&["--max-connections=1"]);
    let holder = TcpStream::connect(webhook.address()).unwrap();
    let client = stage.client().build().unwrap();
    let waiting = tokio::spawn({
        let url = webhook.url("/healthz");
        async move { client.get(url).send().await.unwrap().status() }
    });
    // The port for observation has its own connections.
    let ready = reqwest::get(webhook.observation("/readyz")).await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    assert!(!waiting.is_finished());
    drop(holder);
    assert_eq!(waiting.await.unwrap(), StatusCode::OK);
}
