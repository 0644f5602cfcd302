//! A Vault in development mode on loopback, and what reads from it: our sidecar, or its own agent.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use alcove_tests::process::{self, Process};
use alcove_tests::tools;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server;

const ROOT_TOKEN: &str = "bench";
/// How often a file is looked at, and so how exact its time is.
const LOOK: Duration = Duration::from_millis(1);

/// A Vault, behind TLS, whose KV engine holds numbered keys.
pub(super) struct Vault {
    program: PathBuf,
    address: String,
    client: Client,
    authority: PathBuf,
    _process: Process,
    /// Sidecars write below it, so it lies on a tmpfs.
    directory: TempDir,
}

impl Vault {
    pub(super) async fn start() -> Result<Self> {
        let program = tools::vault()?.join("vault");
        let directory = tempfile::tempdir_in("/dev/shm")?;
        let port = server::free_port()?;
        let mut command = Command::new(&program);
        command
            .args(["server", "-dev", "-dev-no-store-token", "-dev-tls"])
            .arg(format!("-dev-tls-cert-dir={}", directory.path().display()))
            .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        let mut process = Process::start("vault", command, directory.path())?;
        let authority = directory.path().join("vault-ca.pem");
        let client = wait::until("Vault to write its certificate", async || {
            process.ensure_running()?;
            Ok(Seen::attempt(client(&authority)))
        });
        let (client, address) = (client.await?, format!("https://127.0.0.1:{port}"));
        let vault = Self { program, address, client, authority, _process: process, directory };
        wait::until("Vault to serve", async || Ok(Seen::attempt(vault.put(0, "first").await))).await?;
        process::write(&vault.token_file(), ROOT_TOKEN)?;
        Ok(vault)
    }

    /// Writes the value of a key.
    pub(super) async fn put(&self, key: usize, value: &str) -> Result<()> {
        let body = json!({"data": {name(key): value}}).to_string();
        let url = format!("{}/v1/secret/data/bench/{key}", self.address);
        let request = self.client.post(url).header("X-Vault-Token", ROOT_TOKEN).body(body);
        request.send().await?.error_for_status().context("writing to Vault").map(drop)
    }

    /// A directory for one reader.
    pub(super) fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.path().join(name);
        for part in ["files", "status"] {
            std::fs::create_dir_all(directory.join(part)).context("creating the directories of a sidecar")?;
        }
        Ok(directory)
    }

    /// Starts our sidecar for the first `secrets` keys.
    pub(super) fn sidecar(&self, program: &Path, directory: &Path, secrets: usize, interval: &str) -> Result<Process> {
        let authority = std::fs::read_to_string(&self.authority).context("reading Vault's certificate")?;
        let keys: Vec<String> = (0..secrets).map(|key| format!("vault:secret/bench/{key}")).collect();
        let variables = [
            ("ALCOVE_SIDECAR", json!({"version": 1, "logLevel": "warn"})),
            (
                "ALCOVE_STORE_0",
                json!({"version": 1, "name": "vault", "provider": {"vault": {
                    "server": self.address, "version": "v2", "caBundle": authority, "login": {"token": {"tokenFile": self.token_file()}},
                }}}),
            ),
            ("ALCOVE_SECRET_0", json!({"version": 1, "name": "bench", "dataFrom": keys, "refreshInterval": interval})),
            (
                "ALCOVE_VOLUME_0",
                json!({
                    "version": 1, "name": "files", "path": directory.join("files"), "defaultMode": 420,
                    "sources": [{"secret": {"name": "bench"}}],
                }),
            ),
        ];
        let mut command = Command::new(program);
        command.arg("run").arg("--status").arg(directory.join("status"));
        command.arg("--termination-log").arg(directory.join("termination-log"));
        command.env_clear().envs(variables.map(|(name, value): (&str, Value)| (name, value.to_string())));
        Process::start("sidecar", command, directory)
    }

    /// Starts `vault agent` with a template for each of the first `secrets` keys.
    pub(super) fn agent(&self, directory: &Path, secrets: usize) -> Result<Process> {
        let template = |key: usize| {
            let name = name(key);
            let contents = format!(
                "{{{{ with secret \"secret/data/bench/{key}\" }}}}{{{{ index .Data.data \"{name}\" }}}}{{{{ end }}}}"
            );
            json!({"destination": file(directory, key), "contents": contents})
        };
        let configuration = json!({
            "vault": {"address": self.address, "ca_cert": self.authority},
            "auto_auth": [{"method": [{"type": "token_file", "config": [{"token_file_path": self.token_file()}]}]}],
            "template": (0..secrets).map(template).collect::<Vec<Value>>(),
        });
        let path = directory.join("agent.json");
        process::write(&path, configuration.to_string())?;
        let mut command = Command::new(&self.program);
        command.arg("agent").arg(format!("-config={}", path.display())).arg("-log-level=warn");
        Process::start("agent", command, directory)
    }

    fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }
}

fn client(authority: &Path) -> Result<Client> {
    let root = Certificate::from_pem(&std::fs::read(authority)?)?;
    Client::builder().tls_certs_only([root]).no_proxy().build().context("building a client")
}

/// Waits until `process` has written `expected` into the file of a key.
pub(super) async fn written(process: &mut Process, directory: &Path, key: usize, expected: &str) -> Result<()> {
    let (path, deadline) = (file(directory, key), Instant::now() + wait::PATIENCE);
    let mut looks = tokio::time::interval(LOOK);
    while std::fs::read_to_string(&path).ok().as_deref() != Some(expected) {
        process.ensure_running()?;
        ensure!(Instant::now() < deadline, "{} never held {expected}", path.display());
        looks.tick().await;
    }
    Ok(())
}

fn file(directory: &Path, key: usize) -> PathBuf {
    directory.join("files").join(name(key))
}

fn name(key: usize) -> String {
    format!("key-{key}")
}
