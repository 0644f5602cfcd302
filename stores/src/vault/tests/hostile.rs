//! Servers that are in the wrong state, in the wrong place, or no Vault at all.

use super::*;
use crate::fake::Scripted;

#[tokio::test]
async fn a_redirect_is_named_and_never_followed() {
    let elsewhere = Fake::start();
    for location in [
        format!("{}/v1/kv/data/app/db", elsewhere.address),
        "https://other.example.com:8200/v1/kv/data/app/db?token=x".to_owned(),
        "http://vault.example.com/".to_owned(),
    ] {
        for line in [LOGIN, READ] {
            let (fake, token) = (Fake::start(), file(JWT));
            fake.on(line, json(307, "").with("location", &location)).on(LOGIN, login_answer(TOKEN, 3600, true));
            let error = failure(&open(&configuration(&fake, &token)), "kv/app/db").await;
            assert_eq!(error.class(), ErrorClass::Unavailable, "{error}");
            let host = location.split('/').nth(2).unwrap();
            assert!(error.to_string().contains(&format!("://{host}, where this login is not sent")), "{error}");
            assert!(!error.to_string().contains("token=x"), "{error}");
        }
    }
    assert_eq!(elsewhere.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_redirect_to_itself_is_asked_once() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, json(307, "").with("location", "/v1/auth/kubernetes/login"));
    let error = failure(&open(&configuration(&fake, &token)), "kv/app/db").await;
    assert!(error.to_string().contains(&format!("points to {}", fake.address)), "{error}");
    assert_eq!(fake.lines(), [LOGIN]);
}

#[tokio::test]
async fn a_server_that_cannot_serve_now_is_unavailable() {
    for (status, body, words) in [
        (472, "", "is a standby"),
        (473, "", "is a standby"),
        (429, "", "is a standby"),
        (412, NOTHING, "has not caught up"),
        (501, NOTHING, "is not initialised"),
        (503, r#"{"errors":["Vault is sealed"]}"#, "cannot answer now: Vault is sealed (503)"),
        (502, "<html>", "cannot answer now: bad gateway (502)"),
        (500, NOTHING, "cannot answer now: internal server error (500)"),
        (400, r#"{"errors":["Upgrading from non-versioned to versioned data. ..."]}"#, "Upgrading"),
    ] {
        let (fake, token) = (Fake::start(), file(JWT));
        fake.on(LOGIN, login_answer(TOKEN, 3600, true)).on(READ, json(status, body)).on(READ, json(200, SECRET));
        let store = open(&configuration(&fake, &token));
        let error = failure(&store, "kv/app/db").await;
        assert_eq!(error.class(), ErrorClass::Unavailable, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(fetch(&store, "kv/app/db").await.is_ok(), "after {status} the next answer counts");
    }
}

#[tokio::test]
async fn a_connection_is_kept_until_its_server_turns_out_to_be_a_standby() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, login_answer(TOKEN, 3600, true));
    fake.on(READ, json(200, SECRET)).on(READ, json(472, "")).on(READ, json(200, SECRET));
    let store = open(&configuration(&fake, &token));
    for found in [true, false, true] {
        assert_eq!(fetch(&store, "kv/app/db").await.is_ok(), found);
    }
    let ports = fake.received(|received| received.port);
    assert_eq!(ports[0], ports[1]);
    assert_eq!(ports[1], ports[2]);
    assert_ne!(ports[2], ports[3], "another replica may answer on a new connection");
}

#[tokio::test]
async fn a_quota_is_throttling_with_the_servers_own_waiting_time() {
    let (fake, token) = (vault(), file(JWT));
    let quota = "GET /v1/kv/data/quota";
    fake.on(quota, json(429, r#"{"errors":["rate limit quota exceeded"]}"#).with("retry-after", "7"));
    fake.on(quota, json(429, NOTHING).with("retry-after", "99999999999"));
    let (until, now) = ("Sun, 06 Nov 1994 08:50:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT");
    fake.on(quota, json(429, NOTHING).with("retry-after", until).with("date", now));
    let store = open(&configuration(&fake, &token));
    let mut waits = Vec::new();
    for _ in 0..3 {
        let error = failure(&store, "kv/quota").await;
        assert_eq!(error.class(), ErrorClass::Throttled, "{error}");
        waits.extend(error.retry_after());
    }
    let seconds = std::time::Duration::from_secs;
    assert_eq!(waits, [seconds(7), StoreError::LONGEST_RETRY_AFTER, seconds(60)]);
}

#[tokio::test]
async fn an_answer_that_is_not_vaults_is_an_integrity_failure_that_repeats_nothing() {
    let huge = format!(r#"{{"data":{{"data":{{"a":"{}"}},"metadata":{{}}}}}}"#, "x".repeat(5 << 20));
    for (body, words) in [
        ("<html>secret-value", "is not Vault's JSON"),
        (r#"{"data":{"data":{"a":"secret-value""#, "is not Vault's JSON"),
        (r#"{"data":{"data":["secret-value"],"metadata":{}}}"#, "is no JSON object"),
        (r#"{"data":{"data":{"a":1,"a":"secret-value"},"metadata":{}}}"#, "is no JSON object"),
        (r#"{"warnings":null}"#, "is no JSON object"),
        (huge.as_str(), "more than 4194304 bytes"),
    ] {
        let (fake, token) = (Fake::start(), file(JWT));
        fake.on(LOGIN, login_answer(TOKEN, 3600, true)).on(READ, json(200, body));
        let error = failure(&open(&configuration(&fake, &token)), "kv/app/db").await;
        assert_eq!(error.class(), ErrorClass::Integrity, "{error}");
        assert!(error.to_string().contains(words) && !error.to_string().contains("secret-value"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_named() {
    let (listener, token) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), file(JWT));
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let fake = Fake::start();
    let error =
        failure(&open(&VaultConfiguration { server: address.clone(), ..configuration(&fake, &token) }), "kv/a").await;
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert!(error.to_string().starts_with(&format!("cannot reach {address}: Connection refused")), "{error}");
    assert!(error.during_login());
}

#[tokio::test]
async fn a_server_that_never_answers_does_not_hold_up_the_end() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, login_answer(TOKEN, 0, false)).on(READ, json(200, SECRET)).on(REVOKE_SELF, Scripted::Silence);
    let store = open(&configuration(&fake, &token));
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    // With the clock stopped, waiting for nothing but time lets it pass at once.
    tokio::time::pause();
    let error = store.close().await.unwrap_err();
    assert!(error.to_string().contains("did not revoke the login within 3 s"), "{error}");
}
