//! Which engine is read, and when Vault is asked for it.

use super::*;

fn detecting(fake: &Fake, token: &NamedTempFile) -> Vault {
    open(&VaultConfiguration { version: None, ..configuration(fake, token) })
}

fn mount(path: &str, version: &str) -> crate::fake::Scripted {
    json(200, &format!(r#"{{"data":{{"path":"{path}/","type":"kv","options":{{"version":"{version}"}}}}}}"#))
}

#[tokio::test]
async fn a_declared_version_is_not_looked_up() {
    let (fake, token) = (vault(), file(JWT));
    let fetched = fetch(&open(&configuration(&fake, &token)), "kv/app/db").await.unwrap();
    assert_eq!((text(&fetched, "password").as_str(), fetched.version.as_deref()), ("p", Some("3")));
    assert_eq!(fake.lines(), [LOGIN, READ]);
}

#[tokio::test]
async fn an_undeclared_version_is_looked_up_once_and_the_longest_mount_wins() {
    let (fake, token) = (vault(), file(JWT));
    fake.on("GET /v1/sys/internal/ui/mounts/secret/team/app", mount("secret/team", "2"));
    fake.on("GET /v1/sys/internal/ui/mounts/secret/other", mount("secret", "1"));
    fake.on("GET /v1/secret/team/data/app", json(200, SECRET));
    fake.on("GET /v1/secret/other", json(200, r#"{"lease_id":"","data":{"a":"b"}}"#));
    let store = detecting(&fake, &token);
    for _ in 0..2 {
        assert_eq!(text(&fetch(&store, "secret/team/app").await.unwrap(), "password"), "p");
        assert_eq!(text(&fetch(&store, "secret/other").await.unwrap(), "a"), "b");
    }
    assert_eq!(fake.lines().iter().filter(|line| line.contains("/mounts/")).count(), 2);
}

#[tokio::test]
async fn a_refused_lookup_is_no_version_and_is_not_repeated() {
    let (fake, token) = (vault(), file(JWT));
    fake.on(LOOKUP, json(403, r#"{"errors":["preflight capability check returned 403"]}"#));
    fake.on(LOOKUP_SELF, json(200, "{}"));
    let store = detecting(&fake, &token);
    for _ in 0..3 {
        let error = failure(&store, "kv/app/db").await;
        assert_eq!(error.class(), ErrorClass::Denied);
        let shown = error.to_string();
        assert!(shown.contains("preflight capability check") && shown.contains("set the store's version"), "{shown}");
        assert!(shown.contains("the mount is unknown, or its lookup is not permitted"), "{shown}");
    }
    assert_eq!((fake.count(LOOKUP), fake.count(READ)), (1, 0));
}

#[tokio::test]
async fn a_wrongly_declared_version_2_is_misconfigured_and_asked_for_once() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, login_answer(TOKEN, 3600, true)).on(READ, json(404, NOTHING)).on(LOOKUP, mount("kv", "1"));
    let store = open(&configuration(&fake, &token));
    for _ in 0..2 {
        let error = failure(&store, "kv/app/db").await;
        assert_eq!(error.class(), ErrorClass::Misconfigured);
        assert!(
            error.to_string().contains("declares version v2, and the engine that holds \"kv/app/db\" is v1"),
            "{error}"
        );
    }
    assert_eq!(fake.count(LOOKUP), 1);
}

#[tokio::test]
async fn nothing_there_is_not_found_and_a_refused_lookup_does_not_change_that() {
    for lookup in [mount("kv", "2"), json(403, DENIED)] {
        let (fake, token) = (Fake::start(), file(JWT));
        fake.on(LOGIN, login_answer(TOKEN, 3600, true)).on(READ, json(404, NOTHING)).on(LOOKUP, lookup);
        let store = open(&configuration(&fake, &token));
        for _ in 0..2 {
            let error = failure(&store, "kv/app/db").await;
            assert_eq!(error.class(), ErrorClass::NotFound);
            assert_eq!(error.to_string(), format!("{} has nothing at \"kv/app/db\"", fake.address));
        }
        assert_eq!(fake.count(LOOKUP), 1);
    }
}

#[tokio::test]
async fn a_declared_version_2_finds_a_mount_of_two_segments() {
    let (fake, token) = (vault(), file(JWT));
    fake.on("GET /v1/secret/data/team/app", json(404, NOTHING)).on("GET /v1/secret/team/data/app", json(200, SECRET));
    fake.on("GET /v1/sys/internal/ui/mounts/secret/team/app", mount("secret/team", "2"));
    let store = open(&configuration(&fake, &token));
    for _ in 0..2 {
        assert_eq!(text(&fetch(&store, "secret/team/app").await.unwrap(), "password"), "p");
    }
    assert_eq!(fake.count("GET /v1/secret/data/team/app"), 1);
}

#[tokio::test]
async fn what_is_made_anew_at_each_read_is_refused() {
    let (fake, token) = (vault(), file(JWT));
    fake.on("GET /v1/database/creds/web", json(200, r#"{"lease_id":"database/creds/web/x","data":{"username":"u"}}"#));
    let version = Some(EngineVersion::V1);
    let store = open(&VaultConfiguration { version, ..configuration(&fake, &token) });
    let error = failure(&store, "database/creds/web").await;
    assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");

    let described = r#"{"data":{"path":"database/","type":"database","options":null}}"#;
    fake.on("GET /v1/sys/internal/ui/mounts/database/creds/web", json(200, described));
    let error = failure(&detecting(&fake, &token), "database/creds/web").await;
    assert!(error.to_string().contains("of type \"database\", which is no KV engine"), "{error}");
    assert_eq!(fake.count("GET /v1/database/creds/web"), 1);
}

#[tokio::test]
async fn only_the_canonical_spelling_is_asked_for() {
    let (fake, token) = (vault(), file(JWT));
    let store = open(&configuration(&fake, &token));
    for wrong in ["kv/data/app/db", "kv//app/db", "kv/../sys/raw", "/kv/app/db", "kv/app/db?version=03"] {
        let error = failure(&store, wrong).await;
        assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn every_character_of_a_key_stays_in_its_segment() {
    let (fake, token) = (vault(), file(JWT));
    let line = "GET /v1/kv/data/a%20b%3Fc%23d%25e/%2526%C3%A9";
    fake.on(line, json(200, SECRET));
    let answer = fetch(&open(&configuration(&fake, &token)), "kv/a b?c#d%e/%26é").await;
    assert!(answer.is_ok(), "{:?}", fake.lines());
}

/// A store that declares version 1.
fn first(fake: &Fake, token: &NamedTempFile) -> Vault {
    open(&VaultConfiguration { version: Some(EngineVersion::V1), ..configuration(fake, token) })
}

#[tokio::test]
async fn a_wrongly_declared_version_1_reads_nothing_by_the_path_of_the_api() {
    let (fake, token) = (vault(), file(JWT));
    let metadata = r#""metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"version":3}"#;
    let answers = [
        ("kv/data/app/root", format!(r#"{{"data":{{"data":{{"password":"p"}},{metadata}}}}}"#)),
        ("kv/data/team/kv/app", format!(r#"{{"lease_id":"","data":{{{metadata},"data":{{}}}}}}"#)),
        ("kv/data/empty", format!(r#"{{"data":{{"data":null,{metadata}}}}}"#)),
    ];
    for (key, body) in answers {
        fake.on(&format!("GET /v1/{key}"), json(200, &body));
        let error = failure(&first(&fake, &token), key).await;
        assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");
        let told = format!("\"{key}\" is declared v1, but the mount answers as version 2");
        assert!(error.to_string().starts_with(&told), "{error}");
    }
}

#[tokio::test]
async fn a_version_1_secret_may_have_properties_of_any_name() {
    let (fake, token) = (vault(), file(JWT));
    for data in [
        r#"{"data":"d","metadata":"m"}"#,
        r#"{"data":{"a":"b"},"metadata":{"version":"3"}}"#,
        r#"{"data":"d","version":3,"created_time":"c"}"#,
    ] {
        fake.on("GET /v1/kv/data/app", json(200, &format!(r#"{{"lease_id":"","mount_type":"kv","data":{data}}}"#)));
        assert!(fetch(&first(&fake, &token), "kv/data/app").await.is_ok(), "{data}");
    }
}

#[tokio::test]
async fn what_vault_itself_answers_is_no_secret_wherever_its_namespace_is_written() {
    let (fake, token) = (vault(), file(JWT));
    for (path, kind) in [
        ("team/auth/token/lookup", "token"),
        ("team/auth/token/lookup", "ns_token"),
        ("team/sys/host-info", "system"),
        ("team/cubbyhole/x", "ns_cubbyhole"),
        ("team/identity/entity/id/x", "identity"),
    ] {
        let body = format!(r#"{{"lease_id":"","mount_type":"{kind}","data":{{"id":"{TOKEN}"}}}}"#);
        fake.on(&format!("GET /v1/{path}"), json(200, &body));
        let error = failure(&first(&fake, &token), path).await;
        assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");
        assert!(error.to_string().contains("answered by Vault's own API"), "{error}");
    }
}

#[tokio::test]
async fn the_logins_own_token_is_no_secret_where_the_answer_names_no_engine() {
    let (fake, token) = (vault(), file(JWT));
    for (path, answer, is_secret) in [
        ("team/auth/token/mine", format!(r#"{{"lease_id":"","data":{{"accessor":"a","id":"{TOKEN}"}}}}"#), false),
        ("kv/a/token", r#"{"lease_id":"","data":{"id":"another token"}}"#.to_owned(), true),
        ("kv/a/kept", format!(r#"{{"lease_id":"","mount_type":"kv","data":{{"id":"{TOKEN}"}}}}"#), true),
    ] {
        fake.on(&format!("GET /v1/{path}"), json(200, &answer));
        let fetched = fetch(&first(&fake, &token), path).await;
        assert_eq!(fetched.is_ok(), is_secret, "{path}");
        let error = fetched.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error.contains("answered by Vault's own API"), !is_secret, "{error}");
        assert!(!error.contains(TOKEN), "{error}");
    }
}

#[tokio::test]
async fn no_store_asks_vaults_own_api_for_a_secret() {
    let (fake, token) = (vault(), file(JWT));
    for store in [first(&fake, &token), open(&configuration(&fake, &token)), detecting(&fake, &token)] {
        for path in ["auth/token/lookup-self", "sys/mounts", "identity/entity/id/x", "cubbyhole/x"] {
            let error = failure(&store, path).await;
            assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");
        }
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}
