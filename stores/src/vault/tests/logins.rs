//! What is sent to log in, and what people are told when it is refused.

use super::*;

#[tokio::test]
async fn the_token_file_is_read_at_every_login() {
    let fake = Fake::start();
    fake.on(LOGIN, login_answer(TOKEN, 60, false)).on(READ, json(200, SECRET)).on(REVOKE_SELF, json(204, ""));
    let mut token = file("first-token");
    let store = open(&configuration(&fake, &token));
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    token.as_file_mut().set_len(0).unwrap();
    std::io::Seek::rewind(token.as_file_mut()).unwrap();
    token.write_all(b"second-token\n").unwrap();
    pass(std::time::Duration::from_mins(1)).await;
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    let bodies = fake.received(|received| received.body.clone());
    let sent: Vec<_> = bodies.iter().filter(|body| body.contains("jwt")).map(String::as_str).collect();
    assert_eq!(sent, [r#"{"role":"web","jwt":"first-token"}"#, r#"{"role":"web","jwt":"second-token"}"#]);
}

#[tokio::test]
async fn one_status_of_a_login_has_many_reasons_and_each_its_own_text() {
    let forbidden = "namespace not authorized err=failed to get namespace (namespaces \\\"t\\\" is forbidden)";
    let unavailable = ErrorClass::Unavailable;
    let refused = ErrorClass::Unauthenticated;
    for (status, error, class, words) in [
        (403, forbidden, refused, "Vault cannot check namespaces: its own ServiceAccount needs"),
        (403, "namespace not authorized", refused, "\"web\" does not admit this Pod's namespace"),
        (403, "service account name not authorized", refused, "\"web\" does not admit this ServiceAccount"),
        (403, "permission denied", refused, "the TokenReview that Vault asks for failed"),
        (
            400,
            "invalid audience (aud) claim: no match",
            refused,
            "the token is for audience \"vault\", and the role \"web\"",
        ),
        (500, "", unavailable, "cannot answer now: internal server error (500)"),
        (404, "no handler for route", ErrorClass::Misconfigured, "no auth method is mounted at \"auth/kubernetes\""),
    ] {
        let (fake, token) = (Fake::start(), file(JWT));
        let errors = if error.is_empty() { String::new() } else { format!("\"{error}\"") };
        fake.on(LOGIN, json(status, &format!(r#"{{"errors":[{errors}]}}"#)));
        let failure = failure(&open(&configuration(&fake, &token)), "kv/app/db").await;
        assert!(failure.during_login());
        assert_eq!(failure.class(), class, "{failure}");
        let shown = failure.to_string();
        assert!(shown.contains(words) && shown.contains(&error.replace("\\\"", "\"")), "{shown}");
    }
}

#[tokio::test]
async fn what_a_server_repeats_of_the_credentials_is_not_shown() {
    let (fake, token) = (Fake::start(), file("plain-secret-1"));
    fake.on(LOGIN, json(403, &format!(r#"{{"errors":["cannot verify plain-secret-1 or {JWT}"]}}"#)));
    let error = failure(&open(&configuration(&fake, &token)), "kv/app/db").await.to_string();
    assert!(error.contains("cannot verify [scrubbed] or [scrubbed]"), "{error}");
}

#[tokio::test]
async fn every_request_carries_the_namespace_and_only_those_with_a_login_the_token() {
    let (fake, token) = (vault(), file(JWT));
    let configuration = VaultConfiguration { namespace: Some("team/a".into()), ..configuration(&fake, &token) };
    let store = open(&configuration);
    assert!(fetch(&store, "kv/app/db").await.is_ok());
    store.close().await.unwrap();
    let header = |name: &'static str| {
        fake.received(move |received| received.headers.get(name).map(|value| value.to_str().unwrap().to_owned()))
    };
    assert_eq!(fake.lines(), [LOGIN, READ, REVOKE_SELF]);
    assert_eq!(header("x-vault-namespace"), [(); 3].map(|()| Some("team/a".to_owned())));
    assert_eq!(header("x-vault-request"), [(); 3].map(|()| Some("true".to_owned())));
    assert_eq!(header("x-vault-token"), [None, Some(TOKEN.to_owned()), Some(TOKEN.to_owned())]);
}

#[tokio::test]
async fn a_login_without_its_file_sends_nothing() {
    let (fake, token) = (vault(), file(""));
    let error = failure(&open(&configuration(&fake, &token)), "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::Misconfigured);
    assert!(error.to_string().contains("the ServiceAccount token in \"/"), "{error}");
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_login_that_wants_a_second_factor_says_so() {
    let (fake, token) = (Fake::start(), file(JWT));
    fake.on(LOGIN, json(200, r#"{"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"x"}}}"#));
    let error = failure(&open(&configuration(&fake, &token)), "kv/app/db").await;
    assert!(error.to_string().contains("more than one factor"), "{error}");
}
