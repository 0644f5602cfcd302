//! Certificates that change while they are served.

use std::time::Duration;

use alcove_certs::authority::Authority;

use super::process::{Stage, client_of};

/// New connections until one is accepted; the certificate is looked at every other second.
async fn trusted_by(authority: &Authority, url: &str) {
    loop {
        let client = client_of(authority).build().unwrap();
        if client.get(url).send().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn three_rotations_of_the_files_are_served_one_after_the_other() {
    let stage = Stage::new();
    let webhook = stage.serve();
    trusted_by(&stage.authority, &webhook.url("/healthz")).await;
    for _ in 0..3 {
        let next = Authority::issue(Duration::from_hours(1), jiff::Timestamp::now()).unwrap();
        stage.issue(&next);
        trusted_by(&next, &webhook.url("/healthz")).await;
    }
}

#[test]
fn certificates_that_are_not_there_are_named_before_anything_is_served() {
    let stage = Stage::new();
    let output = super::process::program()
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
        .args(["--tls-cert", "/nowhere/tls.crt", "--tls-key", "/nowhere/tls.key"])
        .arg("--resources")
        .arg(stage.resources())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(text.contains("/nowhere/tls.crt cannot be read"), "{text}");
}
