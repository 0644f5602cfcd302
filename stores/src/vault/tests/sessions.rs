//! How many logins there are, and what becomes of them.

use super::*;
use futures::future::join_all;
use std::time::Duration;

const THIRD: Duration = Duration::from_mins(20);

#[tokio::test]
async fn twenty_secrets_of_two_stores_over_ten_refreshes_are_one_login() {
    let (fake, token) = (vault(), file(JWT));
    for number in 0..20 {
        fake.on(&format!("GET /v1/kv/data/app/{number}"), json(200, SECRET));
        fake.on(&format!("GET /v1/old/{number}"), json(200, r#"{"data":{"a":"b"}}"#));
    }
    let mut sessions = Sessions::default();
    let first = sessions.open(&configuration(&fake, &token)).unwrap();
    let version = Some(EngineVersion::V1);
    let second = sessions.open(&VaultConfiguration { version, ..configuration(&fake, &token) }).unwrap();
    let keys: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    for _ in 0..10 {
        let answers = join_all(keys.iter().map(async |key| {
            fetch(&first, &format!("kv/app/{key}")).await.is_ok() && fetch(&second, &format!("old/{key}")).await.is_ok()
        }));
        assert!(answers.await.into_iter().all(|found| found));
    }
    assert_eq!(fake.count(LOGIN), 1);
    assert_eq!(fake.lines().len(), 1 + 10 * 40, "one request per key and refresh");
    first.close().await.unwrap();
    second.close().await.unwrap();
    assert_eq!(fake.count(REVOKE_SELF), 1);
}

#[tokio::test]
async fn twenty_secrets_that_wait_for_a_failing_login_are_one_failing_login() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, json(403, DENIED));
    let store = open(&configuration(&fake, &token));
    let failures = join_all((0..20).map(|_| failure(&store, "kv/app/db"))).await;
    assert!(failures.iter().all(|error| *error == failures[0]));
    assert_eq!(fake.count(LOGIN), 1);
    assert_eq!(failure(&store, "kv/app/db").await, failures[0], "the next round tries again");
    assert_eq!(fake.count(LOGIN), 2);
}

#[tokio::test]
async fn a_login_is_renewed_at_two_thirds_and_replaced_where_renewals_give_less() {
    let (fake, token) = (vault(), file(JWT));
    let renewed = |seconds| json(200, &format!(r#"{{"auth":{{"lease_duration":{seconds},"renewable":true}}}}"#));
    fake.on(RENEW_SELF, renewed(3600)).on(RENEW_SELF, renewed(60));
    let store = open(&configuration(&fake, &token));
    let mut logins_and_renewals = Vec::new();
    for wait in [Duration::ZERO, THIRD, THIRD, THIRD * 2, Duration::from_secs(50)] {
        pass(wait).await;
        assert!(fetch(&store, "kv/app/db").await.is_ok());
        logins_and_renewals.push((fake.count(LOGIN), fake.count(RENEW_SELF)));
    }
    assert_eq!(logins_and_renewals, [(1, 0), (1, 0), (1, 1), (1, 2), (2, 2)]);
    assert_eq!(fake.count(REVOKE_SELF), 1, "the login that was replaced is given back");
}

#[tokio::test]
async fn a_refused_renewal_is_a_new_login_and_a_failing_server_is_asked_later() {
    let (fake, token) = (vault(), file(JWT));
    fake.on(RENEW_SELF, json(503, NOTHING)).on(RENEW_SELF, json(403, DENIED));
    let store = open(&configuration(&fake, &token));
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    pass(THIRD * 2).await;
    let error = failure(&store, "kv/app/db").await;
    assert_eq!((error.class(), error.during_login()), (ErrorClass::Unavailable, true));
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    assert_eq!((fake.count(LOGIN), fake.count(RENEW_SELF)), (2, 2));
}

#[tokio::test]
async fn a_forbidden_secret_costs_no_login_while_the_login_is_young() {
    let (fake, token) = (vault(), file(JWT));
    fake.on("GET /v1/kv/data/other", json(403, DENIED)).on(LOOKUP_SELF, json(200, "{}"));
    let store = open(&configuration(&fake, &token));
    for _ in 0..3 {
        let error = failure(&store, "kv/other").await;
        assert_eq!((error.class(), error.during_login()), (ErrorClass::Denied, false));
        let words = "does not let this login read \"kv/other\": permission denied (403); its policies need \"read\" on \"kv/data/other\"";
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(fake.count(LOGIN), 1);
    // A role that was given more policies shows them to new logins only.
    pass(Duration::from_mins(6)).await;
    assert_eq!(failure(&store, "kv/other").await.class(), ErrorClass::Denied);
    assert_eq!((fake.count(LOGIN), fake.count(REVOKE_SELF)), (2, 1));
}

#[tokio::test]
async fn a_renewal_does_not_make_a_login_young() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, login_answer(TOKEN, 360, true)).on(LOOKUP_SELF, json(200, "{}")).on(REVOKE_SELF, json(204, ""));
    fake.on(RENEW_SELF, json(200, r#"{"auth":{"lease_duration":360,"renewable":true}}"#));
    fake.on(READ, json(200, SECRET)).on("GET /v1/kv/data/other", json(403, DENIED));
    let store = open(&configuration(&fake, &token));
    for _ in 0..2 {
        assert!(fetch(&store, "kv/app/db").await.is_ok());
        pass(Duration::from_mins(5)).await;
    }
    assert_eq!(failure(&store, "kv/other").await.class(), ErrorClass::Denied);
    assert_eq!((fake.count(RENEW_SELF), fake.count(LOGIN)), (2, 2));
}

#[tokio::test]
async fn an_older_login_stays_where_the_new_one_fails() {
    let fake = Fake::start();
    let token = file(JWT);
    fake.on(LOGIN, login_answer(TOKEN, 3600, true)).on(LOGIN, json(403, DENIED)).on(LOOKUP_SELF, json(200, "{}"));
    fake.on("GET /v1/kv/data/other", json(403, DENIED)).on(READ, json(200, SECRET));
    let store = open(&configuration(&fake, &token));
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    pass(Duration::from_mins(6)).await;
    let (denied, read) = futures::join!(failure(&store, "kv/other"), fetch(&store, "kv/app/db"));
    assert!(denied.to_string().contains("does not let this login read \"kv/other\""), "{denied}");
    assert!(read.is_ok(), "who reads with the older login is not told of the new one's failure");
    assert_eq!(fake.count(LOGIN), 2);
}

#[tokio::test]
async fn a_login_that_vault_forgot_is_made_again_once_for_all() {
    let (fake, token) = (vault(), file(JWT));
    let store = open(&configuration(&fake, &token));
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    fake.on(LOOKUP_SELF, json(403, DENIED));
    for number in 0..20 {
        let line = format!("GET /v1/kv/data/app/{number}");
        fake.on(&line, json(403, DENIED)).on(&line, json(200, SECRET));
    }
    let keys: Vec<String> = (0..20).map(|number| format!("kv/app/{number}")).collect();
    let answers = join_all(keys.iter().map(|key| fetch(&store, key))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(fake.count(LOGIN), 2);
}

#[tokio::test]
async fn a_refusal_is_answered_with_one_more_try_and_not_with_a_loop() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, login_answer(TOKEN, 3600, true)).on(READ, json(403, DENIED)).on(LOOKUP_SELF, json(403, DENIED));
    let error = failure(&open(&configuration(&fake, &token)), "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::Denied);
    assert_eq!(fake.lines(), [LOGIN, READ, LOOKUP_SELF, LOGIN, READ]);
}

#[tokio::test]
async fn a_closed_store_sends_nothing_and_closing_twice_revokes_once() {
    let (fake, token) = (vault(), file(JWT));
    let store = open(&configuration(&fake, &token));
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(failure(&store, "kv/app/db").await.to_string(), "the store is closed");
    assert_eq!(fake.lines(), [LOGIN, READ, REVOKE_SELF]);
}

#[tokio::test]
async fn a_token_of_somebody_else_is_renewed_and_never_revoked() {
    let (fake, token) = (vault(), file(TOKEN));
    fake.on(LOOKUP_SELF, json(200, r#"{"data":{"ttl":3600,"renewable":true}}"#));
    fake.on(RENEW_SELF, json(200, r#"{"auth":{"lease_duration":3600,"renewable":true}}"#));
    let login = VaultLogin::Token { token_file: path(&token) };
    let store = open(&VaultConfiguration { login, ..configuration(&fake, &token) });
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    pass(THIRD * 2).await;
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    store.close().await.unwrap();
    assert_eq!(fake.lines(), [LOOKUP_SELF, READ, RENEW_SELF, READ]);
}

#[tokio::test]
async fn a_batch_token_is_not_revoked_because_nothing_can() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, login_answer("hvb.AAAAAQJ", 3600, false)).on(READ, json(200, SECRET));
    let store = open(&configuration(&fake, &token));
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    store.close().await.unwrap();
    assert_eq!(fake.lines(), [LOGIN, READ]);
}
