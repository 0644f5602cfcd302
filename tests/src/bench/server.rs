//! An admission webhook on a loopback port, ours or another, and connections to it.

use std::path::Path;
use std::process::Command;

use alcove_tests::pki::{Authority, Issued, Subject};
use alcove_tests::process::Process;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result};
use reqwest::{Certificate, Client};
use tempfile::TempDir;

/// A port with a certificate, and a directory for what the server needs.
pub(super) struct Place {
    /// The port on 127.0.0.1.
    pub(super) port: u16,
    /// The certificate and key to serve with.
    pub(super) issued: Issued,
    root: Certificate,
    directory: TempDir,
}

/// A running webhook.
pub(super) struct Server {
    process: Process,
    place: Place,
}

impl Place {
    pub(super) fn prepare() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = Authority::create(directory.path())?;
        let issued = authority.issue("webhook", Subject { group: "", user: "webhook" }, &["127.0.0.1"])?;
        let root = Certificate::from_pem(authority.certificate_pem().as_bytes())?;
        Ok(Self { port: free_port()?, issued, root, directory })
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the server and waits until it answers at `readiness` with success.
    pub(super) async fn serve(self, name: &str, command: Command, readiness: &str) -> Result<Server> {
        let process = Process::start(name, command, self.directory())?;
        let mut server = Server { process, place: self };
        let (client, url) = (server.connection()?, server.url(readiness));
        wait::until(&format!("{name} to be ready"), async || {
            server.process.ensure_running()?;
            let answer = client.get(&url).send().await.and_then(reqwest::Response::error_for_status);
            Ok(Seen::attempt(answer.map(drop).map_err(Into::into)))
        })
        .await?;
        Ok(server)
    }
}

impl Server {
    pub(super) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.place.port)
    }

    /// A client that shares no connection with others. It speaks HTTP/1.1, which costs the load generator the least.
    pub(super) fn connection(&self) -> Result<Client> {
        let builder = Client::builder().tls_certs_only([self.place.root.clone()]).no_proxy().http1_only();
        builder.build().context("building a client")
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
