//! A running `alcove-webhook serve`, and clients that trust it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use alcove_certs::authority::Authority;
use alcove_certs::names::Names;
use reqwest::{Certificate, Client, ClientBuilder, Response};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

/// The name that the certificates are for.
pub(crate) const HOST: &str = "localhost";
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program under test.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alcove-webhook"));
    // Nothing of the surroundings decides what is tested.
    command.env_clear();
    command
}

/// Objects, a certificate, and who vouches for it.
pub(crate) struct Stage {
    directory: TempDir,
    pub(crate) authority: Authority,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let now = jiff::Timestamp::now();
        let authority = Authority::issue(Duration::from_hours(1), now).unwrap();
        let stage = Self { directory: tempfile::tempdir().unwrap(), authority };
        fs::create_dir(stage.resources()).unwrap();
        write(&stage.resources().join("objects.yaml"), super::reviews::OBJECTS);
        stage.issue(&stage.authority);
        stage
    }

    pub(crate) fn resources(&self) -> PathBuf {
        self.directory.path().join("resources")
    }

    /// Puts a new certificate in the place of the one that is served.
    pub(crate) fn issue(&self, authority: &Authority) {
        let names = Names::new([HOST]).unwrap();
        let leaf = authority.issue_leaf(&names, Duration::from_hours(1), jiff::Timestamp::now()).unwrap();
        write(&self.certificate(), &leaf.chain_to_pem());
        write(&self.key(), leaf.key().as_pem());
    }

    pub(crate) fn serve(&self) -> Webhook {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Webhook {
        self.start(program(), arguments)
    }

    /// Serves in what a line of shell script leaves.
    pub(crate) fn serve_within(&self, script: &str) -> Webhook {
        let mut command = Command::new("sh");
        command.env_clear().args(["-c", &format!("{script}; exec \"$0\" \"$@\"")]).arg(program().get_program());
        self.start(command, &[])
    }

    fn start(&self, mut command: Command, arguments: &[&str]) -> Webhook {
        command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
        command.arg("--resources").arg(self.resources());
        command.arg("--tls-cert").arg(self.certificate()).arg("--tls-key").arg(self.key()).args(arguments);
        Webhook::start(command)
    }

    pub(crate) fn client(&self) -> ClientBuilder {
        client_of(&self.authority)
    }

    /// Makes TLS connections of which the test decides what is sent over them.
    pub(crate) fn connector(&self) -> TlsConnector {
        let mut trusted = RootCertStore::empty();
        trusted.add(CertificateDer::from_pem_slice(self.authority.certificate().to_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        TlsConnector::from(Arc::new(builder.with_root_certificates(trusted).with_no_client_auth()))
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("serving.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("serving-key.pem")
    }
}

/// A client that trusts one authority and nobody else.
pub(crate) fn client_of(authority: &Authority) -> ClientBuilder {
    let trusted = Certificate::from_pem(authority.certificate().to_pem().as_bytes()).unwrap();
    Client::builder().tls_certs_only([trusted]).resolve(HOST, SocketAddr::from(([127, 0, 0, 1], 0))).timeout(PATIENCE)
}

/// A running webhook; it does not outlive the test.
pub(crate) struct Webhook {
    child: Child,
    reviews: SocketAddr,
    observation: SocketAddr,
    log: mpsc::Receiver<String>,
}

impl Webhook {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut seen = Vec::new();
        let serving = std::iter::from_fn(|| log.recv_timeout(PATIENCE).ok()).find_map(|line| {
            let entry = serde_json::from_str::<Value>(&line).ok().filter(|entry| entry["message"] == "serving");
            seen.push(line);
            entry
        });
        let serving = serving.unwrap_or_else(|| panic!("it does not serve:\n{}", seen.join("\n")));
        let address = |field: &str| serving[field].as_str().unwrap().parse().unwrap();
        Self { child, reviews: address("reviews"), observation: address("observation"), log }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.reviews
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.reviews.port())
    }

    pub(crate) fn observation(&self, path: &str) -> String {
        format!("http://{}{path}", self.observation)
    }

    /// Tells it to stop, as the kubelet does.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// What it has logged since it began to serve; the whole log once it has ended.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a review as an API server does.
pub(crate) async fn send(client: &Client, url: &str, body: impl Into<reqwest::Body>) -> reqwest::Result<Response> {
    client.post(url).header("content-type", "application/json").body(body).send().await
}

pub(crate) fn write(path: &Path, text: &str) {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.persist(path).unwrap();
}
