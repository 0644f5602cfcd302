//! Answers of an API server.

use super::*;
use crate::fake::{Authority, Clients, Fake, json};
use std::io::Write;
use tempfile::NamedTempFile;

const READ: &str = "GET /api/v1/namespaces/vault/secrets/db";

fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn open(fake: &Fake, ca: &NamedTempFile, token: &NamedTempFile) -> Cluster {
    let path = |file: &NamedTempFile| file.path().to_str().unwrap().to_owned();
    let (server, namespace) = (fake.address.clone(), "vault".to_owned());
    Cluster::open(&KubernetesConfiguration { server, ca_file: path(ca), namespace, token_file: path(token) }).unwrap()
}

#[tokio::test]
async fn every_byte_of_a_secret_is_delivered_over_the_authority_of_the_file() {
    let authority = Authority::new();
    let fake = Fake::start_tls(&authority, "127.0.0.1", Clients::Any);
    let every_byte: Vec<u8> = (0..=255).collect();
    let body = format!(
        r#"{{"kind":"Secret","metadata":{{"name":"db","resourceVersion":"41"}},"data":{{"":"eA==","bytes":"{}","empty":""}}}}"#,
        STANDARD.encode(&every_byte)
    );
    fake.on(READ, json(200, &body));
    let fetched = open(&fake, &file(&authority.pem()), &file("token\n")).fetch(&Key::new("db")).await.unwrap();
    let values: Vec<(String, Vec<u8>)> = fetched
        .document
        .properties()
        .unwrap()
        .into_iter()
        .map(|(name, value)| (name, value.as_bytes().to_vec()))
        .collect();
    assert_eq!(values, [(String::new(), b"x".to_vec()), ("bytes".into(), every_byte), ("empty".into(), Vec::new())]);
    assert_eq!(fetched.version.as_deref(), Some("41"));
}

#[tokio::test]
async fn the_token_file_is_read_for_every_request() {
    let (fake, ca, mut token) = (Fake::start(), file(""), file("one"));
    fake.on(READ, json(200, r#"{"data":null}"#));
    let cluster = open(&fake, &ca, &token);
    assert!(cluster.fetch(&Key::new("db")).await.unwrap().document.properties().unwrap().is_empty());
    token.write_all(b"+two").unwrap();
    assert!(cluster.fetch(&Key::new("db")).await.is_ok());
    let sent = fake.received(|received| received.headers["authorization"].to_str().unwrap().to_owned());
    assert_eq!(sent, ["Bearer one", "Bearer one+two"]);
}

#[tokio::test]
async fn each_refusal_has_its_class_and_the_api_servers_own_words() {
    let status =
        |message: &str| format!(r#"{{"kind":"Status","message":"{message}","details":{{"retryAfterSeconds":4}}}}"#);
    for (code, class) in [
        (401, ErrorClass::Unauthenticated),
        (403, ErrorClass::Denied),
        (404, ErrorClass::NotFound),
        (429, ErrorClass::Throttled),
        (500, ErrorClass::Unavailable),
        (503, ErrorClass::Unavailable),
        (307, ErrorClass::Unavailable),
        (400, ErrorClass::Misconfigured),
    ] {
        let fake = Fake::start();
        fake.on(READ, json(code, &status("in its own words")));
        let error = open(&fake, &file(""), &file("token")).fetch(&Key::new("db")).await.unwrap_err();
        assert_eq!((error.class(), error.during_login()), (class, code == 401), "{error}");
        let words = format!("{} does not give Secret \"vault/db\": in its own words ({code})", fake.address);
        assert!(error.to_string().starts_with(&words), "{error}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(4)));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_an_html_page_is_not_shown() {
    let (fake, elsewhere) = (Fake::start(), Fake::start());
    fake.on(READ, json(302, "<html>secret-value").with("location", &elsewhere.address));
    let error = open(&fake, &file(""), &file("token")).fetch(&Key::new("db")).await.unwrap_err().to_string();
    assert!(error.contains(&format!("points to {}, where the token is not sent", elsewhere.address)), "{error}");
    assert!(!error.contains("secret-value") && elsewhere.lines().is_empty(), "{error}");
}

#[tokio::test]
async fn what_is_no_secret_is_an_integrity_failure_that_repeats_nothing() {
    for body in ["<html>secret-value", r#"{"data":{"a":"secret-value!"}}"#, r#"{"data":["secret-value"]}"#] {
        let fake = Fake::start();
        fake.on(READ, json(200, body));
        let error = open(&fake, &file(""), &file("token")).fetch(&Key::new("db")).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Integrity, "{error}");
        assert!(!error.to_string().contains("secret-value"), "{error}");
    }
}

#[tokio::test]
async fn a_path_as_key_and_a_closed_store_send_nothing() {
    let fake = Fake::start();
    let cluster = open(&fake, &file(""), &file("token"));
    for wrong in ["../secrets/db", "other/db", "DB"] {
        assert_eq!(cluster.fetch(&Key::new(wrong)).await.unwrap_err().class(), ErrorClass::Misconfigured);
    }
    cluster.close().await.unwrap();
    assert!(cluster.fetch(&Key::new("db")).await.is_err());
    assert!(fake.lines().is_empty());
}

#[tokio::test]
async fn more_keys_than_any_secret_has_are_refused() {
    let fake = Fake::start();
    let keys: Vec<String> = (0..=MOST_NAMES).map(|index| format!("\"{index}\":\"\"")).collect();
    fake.on(READ, json(200, &format!("{{\"data\":{{{}}}}}", keys.join(","))));
    let error = open(&fake, &file(""), &file("token")).fetch(&Key::new("db")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Integrity);
    assert!(error.to_string().contains("with 16385 keys, more than 16384"), "{error}");
}
