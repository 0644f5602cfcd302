//! Addresses and TLS, which every store has in common.

use super::*;
use crate::fake::{Authority, Clients, Fake, json};
use std::io::{Read, Write};

const LINE: &str = "GET /v1/x";

fn request(server: &Server) -> Request {
    Request { method: Method::GET, url: server.url(&["v1", "x"]), headers: HeaderMap::new(), body: Bytes::new() }
}

async fn ask(server: &Server) -> Result<StatusCode, StoreError> {
    server.send(request(server)).await.map(|answer| answer.status)
}

fn bundle(authority: &Authority) -> Trust {
    Trust::Bundle(authority.pem())
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn path(file: &tempfile::NamedTempFile) -> String {
    file.path().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_the_configured_authority_is_trusted() {
    let authority = Authority::new();
    let fake = Fake::start_tls(&authority, "127.0.0.1", Clients::Any);
    fake.on(LINE, json(200, "{}"));
    let good = Server::new(&fake.address, None, bundle(&authority)).unwrap();
    assert_eq!(ask(&good).await, Ok(StatusCode::OK));
    for trust in [bundle(&Authority::new()), Trust::System] {
        let error = ask(&Server::new(&fake.address, None, trust).unwrap()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");
        assert!(error.to_string().contains("caBundle"), "{error}");
    }
    assert_eq!(fake.lines().len(), 1);
}

#[tokio::test]
async fn a_server_name_is_what_the_certificate_must_carry_while_the_address_stays() {
    let authority = Authority::new();
    let fake = Fake::start_tls(&authority, "vault.internal", Clients::Any);
    fake.on(LINE, json(200, "{}"));
    let named = |name| Server::new(&fake.address, name, bundle(&authority)).unwrap();
    assert_eq!(ask(&named(Some("vault.internal"))).await, Ok(StatusCode::OK));
    for wrong in [None, Some("other.internal")] {
        let error = ask(&named(wrong)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");
        assert!(error.to_string().contains("serverName") && error.to_string().contains(&fake.address), "{error}");
    }
}

#[tokio::test]
async fn the_client_certificate_is_shown_and_read_again_for_a_new_connection() {
    let authority = Authority::new();
    let fake = Fake::start_tls(&authority, "127.0.0.1", Clients::Known);
    fake.on(LINE, json(200, "{}"));
    let (foreign, foreign_key) = Authority::new().issue("web");
    let (certificate_file, key_file) = (file(&foreign), file(&foreign_key));
    let identity = ClientCertificate { certificate_file: path(&certificate_file), key_file: path(&key_file) };
    let server = Server::new(&fake.address, None, bundle(&authority)).unwrap();
    assert!(ask(&server).await.is_err());
    let server = server.with_identity(Some(identity));
    assert!(ask(&server).await.is_err());

    let (certificate, key) = authority.issue("web");
    for (file, content) in [(&certificate_file, certificate), (&key_file, key)] {
        let mut file = std::fs::File::create(file.path()).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }
    assert_eq!(ask(&server).await, Ok(StatusCode::OK), "a failure makes the next request read the files");
}

#[tokio::test]
async fn an_unreadable_client_certificate_is_misconfigured_and_named() {
    let authority = Authority::new();
    let junk = file("junk");
    let identity = ClientCertificate { certificate_file: path(&junk), key_file: path(&junk) };
    let server = Server::new("https://127.0.0.1:1", None, bundle(&authority)).unwrap().with_identity(Some(identity));
    let error = ask(&server).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Misconfigured);
    assert!(error.to_string().contains(&path(&junk)), "{error}");
}

#[test]
fn addresses_that_cannot_be_meant_are_refused() {
    for wrong in [
        "",
        "vault:8200",
        "ftp://vault",
        "https://",
        "https://u:p@vault",
        "https://u:p/w@vault",
        "https://vault?x=1",
        "https://vault#x",
        "file:///etc",
    ] {
        let error = Server::new(wrong, None, Trust::System).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Misconfigured, "{wrong}");
        assert!(!error.to_string().contains("u:p"), "{error}");
    }
    // An address as the server's name would be connected to, instead of the server.
    for wrong in ["10.0.0.1", "::1", "[::1]", "", "a/b", "a b"] {
        assert!(Server::new("https://vault:8200", Some(wrong), Trust::System).is_err(), "{wrong}");
    }
}

#[test]
fn a_path_of_the_address_stays_before_the_request_s() {
    for (address, url) in
        [("https://host/proxy/", "https://host/proxy/v1/a%2Fb"), ("https://host:8200", "https://host:8200/v1/a%2Fb")]
    {
        let server = Server::new(address, None, Trust::System).unwrap();
        assert_eq!(server.url(&["v1", "a/b"]).as_str(), url);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::new(&address, None, Trust::System).unwrap();
    let serve = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsecret-value").unwrap();
    });
    let error = ask(&server).await.unwrap_err();
    serve.await.unwrap();
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert!(error.to_string().starts_with(&format!("lost the connection to {address}: ")), "{error}");
    assert!(!error.to_string().contains("secret-value"));
}

#[test]
fn a_wait_is_a_number_or_the_difference_of_the_servers_own_dates() {
    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let wait = |wanted: &str, date: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(wanted).unwrap());
        headers.extend(date.map(|date| (DATE, HeaderValue::from_str(date).unwrap())));
        retry_after(&headers).map(|wait| wait.as_secs())
    };
    assert_eq!(wait(" 7 ", None), Some(7));
    assert_eq!(wait("Sun, 06 Nov 1994 08:51:07 GMT", Some(NOW)), Some(90));
    assert_eq!(wait("Sunday, 06-Nov-94 08:49:38 GMT", Some(NOW)), Some(1), "the older form of a date");
    assert_eq!(wait("Sun, 06 Nov 1994 08:49:36 GMT", Some(NOW)), Some(0), "a date that has passed");
    assert_eq!(wait("Sun, 06 Nov 1994 08:51:07 GMT", None), None, "no clock but the server's is believed");
    for nonsense in ["soon", "-1", "1.5", "", "18446744073709551616", "Sun, 06 Nov 1994"] {
        assert_eq!(wait(nonsense, Some(NOW)), None, "{nonsense}");
    }
    assert_eq!(wait("Sun, 06 Nov 1994 08:51:07 GMT", Some("yesterday")), None);
}
