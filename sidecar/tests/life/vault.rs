//! A real Vault in development mode, in memory, which ends with the test.

use crate::pod::until;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The token of a Vault in development mode.
pub(crate) const TOKEN: &str = "root-token";

/// A Vault, running or not.
pub(crate) struct Vault {
    port: u16,
    running: Option<Running>,
}

/// Its process.
struct Running {
    process: Child,
    unseal_key: String,
}

impl Vault {
    /// A running Vault with a KV 2 engine at `kv`.
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let vault = Self { running: Some(Running::start(port)), ..Self::at(port) };
        until("vault answers", || vault.try_command(&["status"]));
        vault.command(&["secrets", "enable", "-path=kv", "-version=2", "kv"]);
        vault
    }

    /// A Vault that this test does not run.
    pub(crate) const fn at(port: u16) -> Self {
        Self { port, running: None }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Writes all values of a key.
    pub(crate) fn put(&self, key: &str, values: &[&str]) {
        until("vault takes the value", || self.try_command(&[&["kv", "put", key], values].concat()));
    }

    pub(crate) fn unseal(&self) {
        let key = &self.running.as_ref().unwrap().unseal_key;
        self.command(&["operator", "unseal", key]);
    }

    /// Runs a command of Vault's own client.
    pub(crate) fn command(&self, arguments: &[&str]) {
        assert!(self.try_command(arguments), "vault {arguments:?} failed");
    }

    fn try_command(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new(program());
        command.args(arguments).env("VAULT_ADDR", self.address()).env("VAULT_TOKEN", TOKEN);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }
}

impl Running {
    fn start(port: u16) -> Self {
        let mut command = Command::new(program());
        command.args(["server", "-dev", "-dev-no-store-token", "-dev-root-token-id", TOKEN, "-dev-listen-address"]);
        command.arg(format!("127.0.0.1:{port}")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut output = process.stdout.take().unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains("Root Token:") {
            let count = output.read(&mut buffer).unwrap();
            assert!(count > 0, "vault ended: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        // Nobody reads what it says from now on, and it must not be stopped by a full pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let unseal_key = text.lines().find_map(|line| line.strip_prefix("Unseal Key: ")).unwrap().trim().to_owned();
        Self { process, unseal_key }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The program, built from source once per machine.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/build.sh");
        let output = Command::new(build).arg("vault").stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "vault could not be built");
        Path::new(String::from_utf8(output.stdout).unwrap().trim()).join("vault")
    })
}
