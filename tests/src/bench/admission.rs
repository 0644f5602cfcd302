//! Admission: throughput, latency, memory and growth of one replica of the webhook.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use alcove_tests::pki::{Authority, Issued, Subject};
use alcove_tests::process::{self, Process};
use alcove_tests::stage::Stage;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result};
use reqwest::{Certificate, Client};
use tempfile::TempDir;

use super::load;
use super::table::Table;
use super::{fixtures, memory};

/// A webhook that serves from files on a loopback port.
struct Webhook {
    process: Process,
    client: Client,
    url: String,
    // Its files go when it goes.
    _directory: TempDir,
}

pub(super) async fn measure(program: &Path, duration: Duration, table: &mut Table) -> Result<()> {
    let stage = Stage::begin("admission: throughput, latency and memory");
    let webhook = Webhook::start(program, 10).await?;
    let (url, review) = (webhook.url.as_str(), fixtures::review(2));
    for connections in [1, 16] {
        let outcome = load::apply(&webhook.client, url, &review, connections, duration).await?;
        let target = if connections == 16 { "p99 < 2 ms inside the webhook" } else { "" };
        table.row(format!("admission, 2 containers, {connections} connections"), outcome.summary(), target);
    }
    let private = memory::private(webhook.process.id())?;
    table.row("webhook: private memory after the load", memory::mebibytes(private), "≤ 1/3 of the vault-k8s injector");
    for containers in [1, 10, 100] {
        let review = fixtures::review(containers);
        let outcome = load::apply(&webhook.client, url, &review, 1, duration).await?;
        table.row(format!("admission, {containers} containers, 1 connection"), outcome.summary(), "linear");
    }
    stage.done();
    for count in [10, 1_000, 10_000] {
        let stage = Stage::begin(format!("admission beside {count} policies and bindings"));
        let webhook = Webhook::start(program, count).await?;
        let outcome = load::apply(&webhook.client, &webhook.url, &review, 1, duration).await?;
        let private = memory::private(webhook.process.id())?;
        let result = format!("{}, {}", outcome.summary(), memory::mebibytes(private));
        table.row(format!("admission beside {count} policies and bindings"), result, "time does not grow");
        stage.done();
    }
    Ok(())
}

impl Webhook {
    async fn start(program: &Path, objects: usize) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let resources = directory.path().join("resources");
        std::fs::create_dir(&resources)?;
        process::write(&resources.join("resources.yaml"), fixtures::resources(objects))?;
        let authority = Authority::create(directory.path())?;
        let issued = authority.issue("webhook", Subject { group: "", user: "webhook" }, &["127.0.0.1"])?;
        let (port, metrics) = (free_port()?, free_port()?);
        let process = launch(program, &issued, &resources, [port, metrics], directory.path())?;
        let root = Certificate::from_pem(authority.certificate_pem().as_bytes())?;
        let client = Client::builder().tls_certs_only([root]).no_proxy().build().context("building a client")?;
        let webhook = Self { process, client, url: format!("https://127.0.0.1:{port}/mutate"), _directory: directory };
        let ready = format!("https://127.0.0.1:{port}/readyz");
        wait::until("the webhook to be ready", async || {
            let answer = webhook.client.get(&ready).send().await.and_then(reqwest::Response::error_for_status);
            Ok(Seen::attempt(answer.map(drop).map_err(Into::into)))
        })
        .await?;
        Ok(webhook)
    }
}

fn launch(program: &Path, issued: &Issued, resources: &Path, ports: [u16; 2], logs: &Path) -> Result<Process> {
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(format!("--listen=127.0.0.1:{}", ports[0]))
        .arg(format!("--metrics-listen=127.0.0.1:{}", ports[1]))
        .arg(format!("--resources={}", resources.display()))
        .arg(format!("--tls-cert={}", issued.certificate.display()))
        .arg(format!("--tls-key={}", issued.key.display()))
        .args(["--kubernetes-version=1.37", "--sidecar-image=localhost/alcove-sidecar:bench", "--log=warn"]);
    Process::start("webhook", command, logs)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
