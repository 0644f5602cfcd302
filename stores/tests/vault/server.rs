//! A real Vault of a test's own: in memory, on a free port, initialised, unsealed, and gone with the value that stands
//! for it.

use alcove_contract::provider::vault::{EngineVersion, VaultConfiguration, VaultLogin};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::{NamedTempFile, TempDir};

/// How often a port that looked free may have been taken by somebody else in the meantime.
const ATTEMPTS: usize = 5;

/// A running Vault.
pub(crate) struct Vault {
    process: Child,
    client: Client,
    root: String,
    unseal_key: String,
    /// Its address.
    pub(crate) address: String,
    _directory: TempDir,
}

/// The files with which a Vault speaks TLS.
pub(crate) struct Tls {
    /// The authority that signed its certificate, PEM.
    pub(crate) authority: String,
    /// Its certificate, PEM.
    pub(crate) certificate: String,
    /// The certificate's key, PEM.
    pub(crate) key: String,
}

impl Vault {
    /// A Vault without TLS, with KV 2 at `kv` and KV 1 at `old`.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same with TLS.
    pub(crate) async fn start_tls(tls: &Tls) -> Self {
        Self::start_with(Some(tls)).await
    }

    async fn start_with(tls: Option<&Tls>) -> Self {
        let mut vault = (0..ATTEMPTS).find_map(|_| Self::spawn(tls)).expect("Vault starts");
        let keys = vault.call(Method::PUT, "sys/init", json!({"secret_shares": 1, "secret_threshold": 1})).await;
        vault.root = keys["root_token"].as_str().unwrap().to_owned();
        vault.unseal_key = keys["keys"][0].as_str().unwrap().to_owned();
        vault.unseal().await;
        vault.mount("kv", "2").await;
        vault.mount("old", "1").await;
        vault
    }

    /// Starts the process; nothing, where it ended before it served.
    fn spawn(tls: Option<&Tls>) -> Option<Self> {
        let (directory, plugins) = (tempfile::tempdir().unwrap(), binaries());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = |name: &str, content: &str| -> PathBuf {
            let path = directory.path().join(name);
            std::fs::File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
            path
        };
        let (listener, scheme) = match tls {
            None => ("tls_disable = true".to_owned(), "http"),
            Some(tls) => {
                let (certificate, key) = (file("tls.crt", &tls.certificate), file("tls.key", &tls.key));
                (format!("tls_cert_file = {certificate:?}\n tls_key_file = {key:?}"), "https")
            }
        };
        let address = format!("{scheme}://127.0.0.1:{port}");
        let configuration = file(
            "vault.hcl",
            &format!(
                "plugin_directory = {plugins:?}\n\
                 storage \"inmem\" {{}}\ndisable_mlock = true\nlog_level = \"error\"\napi_addr = {address:?}\n\
                 listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n {listener}\n}}\n"
            ),
        );
        let process = Command::new(plugins.join("vault"))
            .args(["server", "-config"])
            .arg(configuration)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let authorities = tls.map(|tls| reqwest::Certificate::from_pem(tls.authority.as_bytes()).unwrap());
        let client = Client::builder().no_proxy().tls_certs_only(authorities).build().unwrap();
        let (root, unseal_key) = (String::new(), String::new());
        let mut vault = Self { process, client, root, unseal_key, address, _directory: directory };
        let output = vault.process.stdout.take()?;
        wait_until_it_serves(output).then_some(vault)
    }

    /// Asks with the root token, and wants it done.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_call(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// Asks with the root token.
    pub(crate) async fn try_call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}/v1/{path}", self.address));
        let answer = request.header("x-vault-token", &self.root).body(body.to_string()).send().await.unwrap();
        (answer.status(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Writes with the root token.
    pub(crate) async fn write(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, body).await
    }

    /// Mounts a KV engine.
    pub(crate) async fn mount(&self, path: &str, version: &str) {
        self.write(&format!("sys/mounts/{path}"), json!({"type": "kv", "options": {"version": version}})).await;
    }

    /// Enables an auth method at the path of its name.
    pub(crate) async fn enable_auth(&self, method: &str) {
        self.write(&format!("sys/auth/{method}"), json!({"type": method})).await;
    }

    /// Enables Kubernetes auth, which is a plugin in a program of its own.
    pub(crate) async fn enable_kubernetes_auth(&self, server: &str) {
        let name = "vault-plugin-auth-kubernetes";
        let sum = Command::new("sha256sum").arg(binaries().join(name)).output().unwrap().stdout;
        let sum = std::str::from_utf8(&sum).unwrap().split(' ').next().unwrap();
        self.write("sys/plugins/catalog/auth/kubernetes", json!({"sha256": sum, "command": name})).await;
        self.enable_auth("kubernetes").await;
        let configuration =
            json!({"kubernetes_host": server, "token_reviewer_jwt": "reviewer", "disable_local_ca_jwt": true});
        self.write("auth/kubernetes/config", configuration).await;
    }

    /// A policy `web` that may read all of `kv` and `old`.
    pub(crate) async fn allow_reading(&self) {
        let policy = r#"path "kv/*" { capabilities = ["read"] } path "old/*" { capabilities = ["read"] }"#;
        self.write("sys/policies/acl/web", json!({"policy": policy})).await;
    }

    /// How many tokens Vault knows, the root's among them.
    pub(crate) async fn tokens(&self) -> usize {
        self.accessors().await.len()
    }

    /// The accessors of all tokens.
    pub(crate) async fn accessors(&self) -> Vec<String> {
        let answer = self.call(Method::GET, "auth/token/accessors?list=true", json!({})).await;
        answer["data"]["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    /// When the one login that is not the root's ends.
    pub(crate) async fn expiry_of_login(&self) -> String {
        for accessor in self.accessors().await {
            let looked = self.write("auth/token/lookup-accessor", json!({"accessor": accessor})).await;
            if let Some(expiry) = looked["data"]["expire_time"].as_str() {
                return expiry.to_owned();
            }
        }
        panic!("there is no login");
    }

    /// Revokes every token but the root's.
    pub(crate) async fn revoke_all(&self) {
        for accessor in self.accessors().await {
            let looked = self.write("auth/token/lookup-accessor", json!({"accessor": accessor})).await;
            if looked["data"]["policies"] != json!(["root"]) {
                self.write("auth/token/revoke-accessor", json!({"accessor": accessor})).await;
            }
        }
    }

    /// Seals it.
    pub(crate) async fn seal(&self) {
        self.call(Method::PUT, "sys/seal", json!({})).await;
    }

    /// Unseals it, and waits until it serves.
    pub(crate) async fn unseal(&self) {
        self.call(Method::PUT, "sys/unseal", json!({"key": self.unseal_key})).await;
        while !self.try_call(Method::GET, "sys/health", json!({})).await.0.is_success() {}
    }

    /// The root token in a file.
    pub(crate) fn root_file(&self) -> NamedTempFile {
        file(&self.root)
    }

    /// A store on this Vault.
    pub(crate) fn store(&self, version: Option<EngineVersion>, login: VaultLogin) -> VaultConfiguration {
        VaultConfiguration {
            server: self.address.clone(),
            namespace: None,
            version,
            ca_bundle: None,
            server_name: None,
            client_certificate: None,
            login,
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A file with `content`, for as long as the test runs.
pub(crate) fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

/// A file's path as configurations have it.
pub(crate) fn path(file: &impl AsRef<Path>) -> String {
    file.as_ref().to_str().unwrap().to_owned()
}

/// Reads what Vault prints until it serves, and lets the rest be read to nowhere, so that it never waits for a reader.
fn wait_until_it_serves(output: ChildStdout) -> bool {
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let served = lines.any(|line| line.contains("Vault server started!"));
    std::thread::spawn(move || lines.for_each(drop));
    served
}

/// The directory with Vault and its plugins.
fn binaries() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/build.sh");
    let output = Command::new(script).arg("vault").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the tests need Vault, which tests/tools/build.sh makes");
    PathBuf::from(std::str::from_utf8(&output.stdout).unwrap().trim())
}
