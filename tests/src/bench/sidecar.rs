//! The sidecar beside `vault agent`: time to the first file, memory and processor time while idle, change to file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use alcove_tests::process::{self, Process};
use alcove_tests::stage::Stage;
use alcove_tests::tools;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::memory;
use super::table::Table;

/// How many times a start is measured; the median counts.
const STARTS: usize = 11;
const ROOT_TOKEN: &str = "bench";

/// A Vault in development mode on loopback, whose KV engine holds numbered keys.
struct Vault {
    program: PathBuf,
    address: String,
    client: Client,
    _process: Process,
    // Sidecars write below it, so it lies on a tmpfs.
    directory: TempDir,
}

pub(super) async fn measure(sidecar: &Path, idle: Duration, table: &mut Table) -> Result<()> {
    let stage = Stage::begin("sidecar: start, memory, change");
    let vault = Vault::start().await?;
    for key in 0..50 {
        vault.put(key, "first").await?;
    }
    let ours = median(&vault, |directory| vault.sidecar(sidecar, directory, 1)).await?;
    let theirs = median(&vault, |directory| vault.agent(directory, 1)).await?;
    let starts = format!("{:.0} ms; vault agent {:.0} ms", millis(ours), millis(theirs));
    table.row("sidecar: process start → first file", starts, "≤ 1/5 of vault agent, ≤ 60 ms");
    stage.done();
    resting(&vault, sidecar, idle, table).await?;
    change(&vault, sidecar, table).await
}

/// Memory and processor time of idle processes with 1 and 50 secrets.
async fn resting(vault: &Vault, sidecar: &Path, idle: Duration, table: &mut Table) -> Result<()> {
    let stage = Stage::begin(format!("sidecar: {} s of idleness", idle.as_secs()));
    let (one, many, theirs) = (vault.subdirectory("one")?, vault.subdirectory("many")?, vault.subdirectory("agent")?);
    let ours = vault.sidecar(sidecar, &one, 1)?;
    let of_many = vault.sidecar(sidecar, &many, 50)?;
    let agent = vault.agent(&theirs, 1)?;
    for (directory, key) in [(&one, 0), (&many, 49), (&theirs, 0)] {
        vault.wait_for_file(&file(directory, key), "first").await?;
    }
    let before = memory::ticks(ours.id())?;
    tokio::time::sleep(idle).await;
    let used = memory::ticks(ours.id())? - before;
    let private = |process: &Process| memory::private(process.id()).map(memory::mebibytes);
    let sizes = format!("{}; vault agent {}", private(&ours)?, private(&agent)?);
    table.row("sidecar: private memory, idle, 1 secret", sizes, "≤ 1/8 of vault agent, ≤ 4 MiB");
    table.row("sidecar: private memory, idle, 50 secrets", private(&of_many)?, "linear in secrets");
    let spent = format!("{} ms in {} s", used * 10, idle.as_secs());
    table.row("sidecar: processor time while idle", spent, "not measurable between refreshes");
    stage.done();
    Ok(())
}

/// From a change in Vault to the change in the file, with a refresh interval of one second.
async fn change(vault: &Vault, sidecar: &Path, table: &mut Table) -> Result<()> {
    let stage = Stage::begin("sidecar: change → file");
    let directory = vault.subdirectory("change")?;
    let _process = vault.sidecar_refreshing(sidecar, &directory, 1, "1s")?;
    vault.wait_for_file(&file(&directory, 0), "first").await?;
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        let value = format!("round-{round}");
        vault.put(0, &value).await?;
        let written = Instant::now();
        vault.wait_for_file(&file(&directory, 0), &value).await?;
        slowest = slowest.max(written.elapsed());
    }
    table.row("sidecar: change → file, slowest of 10, interval 1 s", format!("{:.0} ms", millis(slowest)), "≤ 2,000 ms");
    stage.done();
    Ok(())
}

async fn median(vault: &Vault, start: impl Fn(&Path) -> Result<Process>) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let directory = vault.subdirectory("start")?;
        let began = Instant::now();
        let process = start(&directory)?;
        vault.wait_for_file(&file(&directory, 0), "first").await?;
        times.push(began.elapsed());
        process.stop(Duration::from_secs(5)).await?;
        std::fs::remove_dir_all(&directory)?;
    }
    times.sort_unstable();
    times.get(STARTS / 2).copied().context("nothing was measured")
}

fn file(directory: &Path, key: usize) -> PathBuf {
    directory.join("files").join(format!("key-{key}"))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl Vault {
    async fn start() -> Result<Self> {
        let program = tools::vault()?.join("vault");
        let directory = tempfile::tempdir_in("/dev/shm")?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(&program);
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        let process = Process::start("vault", command, directory.path())?;
        let client = Client::builder().tls_certs_only([]).no_proxy().build().context("building a client")?;
        let vault = Self { program, address, client, _process: process, directory };
        wait::until("Vault to serve", async || Ok(Seen::attempt(vault.put(0, "first").await))).await?;
        process::write(&vault.token_file(), ROOT_TOKEN)?;
        Ok(vault)
    }

    async fn put(&self, key: usize, value: &str) -> Result<()> {
        let body = json!({"data": {format!("key-{key}"): value}}).to_string();
        let url = format!("{}/v1/secret/data/bench/{key}", self.address);
        let request = self.client.post(url).header("X-Vault-Token", ROOT_TOKEN).body(body);
        request.send().await?.error_for_status().context("writing to Vault").map(drop)
    }

    fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.path().join(name);
        std::fs::create_dir_all(directory.join("files"))?;
        std::fs::create_dir_all(directory.join("status"))?;
        Ok(directory)
    }

    fn sidecar(&self, program: &Path, directory: &Path, secrets: usize) -> Result<Process> {
        self.sidecar_refreshing(program, directory, secrets, "10m")
    }

    fn sidecar_refreshing(&self, program: &Path, directory: &Path, secrets: usize, interval: &str) -> Result<Process> {
        let keys: Vec<String> = (0..secrets).map(|key| format!("vault:secret/bench/{key}")).collect();
        let variables = [
            ("ALCOVE_SIDECAR", json!({"version": 1, "logLevel": "warn"})),
            ("ALCOVE_STORE_0", json!({"version": 1, "name": "vault", "provider": {"vault": {
                "server": self.address, "version": "v2", "login": {"token": {"tokenFile": self.token_file()}},
            }}})),
            ("ALCOVE_SECRET_0", json!({"version": 1, "name": "bench", "dataFrom": keys, "refreshInterval": interval})),
            ("ALCOVE_VOLUME_0", json!({
                "version": 1, "name": "files", "path": directory.join("files"), "defaultMode": 420,
                "sources": [{"secret": {"name": "bench"}}],
            })),
        ];
        let mut command = Command::new(program);
        command.arg("run").env_clear().envs(variables.map(|(name, value): (&str, Value)| (name, value.to_string())));
        Process::start("sidecar", command, directory)
    }

    fn agent(&self, directory: &Path, secrets: usize) -> Result<Process> {
        let templates: Vec<Value> = (0..secrets)
            .map(|key| {
                let contents = format!("{{{{ with secret \"secret/data/bench/{key}\" }}}}{{{{ index .Data.data \"key-{key}\" }}}}{{{{ end }}}}");
                json!({"destination": file(directory, key), "contents": contents})
            })
            .collect();
        let configuration = json!({
            "vault": {"address": self.address},
            "auto_auth": {"method": {"type": "token_file", "config": {"token_file_path": self.token_file()}}},
            "template": templates,
        });
        let path = directory.join("agent.json");
        process::write(&path, configuration.to_string())?;
        let mut command = Command::new(&self.program);
        command.arg("agent").arg(format!("-config={}", path.display())).arg("-log-level=warn");
        Process::start("agent", command, directory)
    }

    /// Looks without a pause, since the time is what is measured.
    async fn wait_for_file(&self, path: &Path, expected: &str) -> Result<()> {
        let deadline = Instant::now() + wait::PATIENCE;
        while std::fs::read_to_string(path).ok().as_deref() != Some(expected) {
            anyhow::ensure!(Instant::now() < deadline, "{} never held {expected}", path.display());
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
