//! C10: what another webhook puts into our environment.

use super::*;
use crate::fake::{Authority, Clients};
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// Tells the test that it is the child, and where its servers are.
const CHILD: &str = "ALCOVE_TEST_ENVIRONMENT_CHILD";

#[tokio::test]
async fn nothing_in_the_environment_steers_the_client() {
    if let Some(servers) = std::env::var_os(CHILD) {
        return child(servers.to_str().unwrap()).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let counted = format!("http://{}", listener.local_addr().unwrap());
    let (plain, authority) = (vault(), Authority::new());
    let tls = Fake::start_tls(&authority, "127.0.0.1", Clients::Any);
    let foreign = file(&authority.pem());

    let name = "vault::tests::environment::nothing_in_the_environment_steers_the_client";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(CHILD, format!("{} {}", plain.address, tls.address));
    for variable in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "VAULT_ADDR",
        "VAULT_AGENT_ADDR",
        "VAULT_PROXY_ADDR",
    ] {
        command.env(variable, &counted);
    }
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR", "VAULT_CACERT", "VAULT_CAPATH"] {
        command.env(variable, foreign.path());
    }
    command
        .env("NO_PROXY", "")
        .env("VAULT_TOKEN", "foreign")
        .env("VAULT_NAMESPACE", "foreign")
        .env("VAULT_SKIP_VERIFY", "true");
    let output = tokio::task::spawn_blocking(move || command.stdout(Stdio::piped()).stderr(Stdio::piped()).output());
    let output = output.await.unwrap().unwrap();
    let log = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("1 passed"), "{log}");

    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody came to the proxy");
    assert_eq!(plain.lines(), [LOGIN, READ]);
    assert!(
        plain.received(|received| received.headers.get("x-vault-namespace").is_none()).into_iter().all(|none| none)
    );
    assert_eq!(tls.lines(), Vec::<String>::new(), "the foreign authority is not trusted");
}

async fn child(servers: &str) {
    let (plain, tls) = servers.split_once(' ').unwrap();
    let (fake, token) = (Fake::start(), file(JWT));
    let at = |server: &str| open(&VaultConfiguration { server: server.to_owned(), ..configuration(&fake, &token) });
    assert_eq!(text(&fetch(&at(plain), "kv/app/db").await.unwrap(), "password"), "p");
    let error = failure(&at(tls), "kv/app/db").await;
    assert_eq!(error.class(), ErrorClass::Misconfigured, "{error}");
    assert!(error.to_string().contains("caBundle"), "{error}");
}
