//! A real Vault in the node's network: sealed and unsealed as in production, over TLS, with the kubernetes login.

mod api;
mod kv;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use self::api::Api;
pub use self::kv::{Kv, Version};
use crate::network::NODE_ADDRESS;
use crate::node::{self, Node};
use crate::pki::Subject;
use crate::process::{self, Process};
use crate::stage::Stage;
use crate::tools;
use crate::wait::{self, Seen};

/// The audience that the roles of the tests demand of a token.
pub const AUDIENCE: &str = "vault";

const KUBERNETES_PLUGIN: &str = "vault-plugin-auth-kubernetes";
/// How long Vault may take to end in peace.
const GRACE: Duration = Duration::from_secs(10);

/// A running, unsealed Vault with KV 2 at `kv`, KV 1 at `kv1` and the kubernetes login at `kubernetes`.
#[derive(Debug)]
pub struct Vault {
    process: Process,
    port: u16,
    api: Api,
    unseal_key: String,
    authority: String,
    audit_log: PathBuf,
}

impl Vault {
    /// Starts a Vault of its own: what a test does to it, sealing included, no other test sees.
    pub async fn start(node: &Node, name: &str) -> Result<Self> {
        let programs = tools::vault()?;
        let stage = Stage::begin(format!("Vault ({name}) is unsealed and knows the node's tokens"));
        let port = node.next_port();
        let directory = node.directory().join("vaults").join(name);
        let mut process = launch(node, &programs, &directory, port)?;
        let api = Api::new(&format!("https://{}:{port}", node.network().address()), node.authority())?;
        let (unseal_key, api) = initialize(api, &mut process).await?;
        let audit_log = directory.join("audit.log");
        let vault = Self { process, port, api, unseal_key, authority: node.authority().certificate_pem(), audit_log };
        vault.unseal().await?;
        vault.configure(node, &programs).await?;
        stage.done();
        Ok(vault)
    }

    /// Ends the program; what it stored is gone.
    pub async fn stop(self) -> Result<()> {
        self.process.stop(GRACE).await
    }

    /// The address for Pods.
    #[must_use]
    pub fn address(&self) -> String {
        format!("https://{NODE_ADDRESS}:{}", self.port)
    }

    /// The certificate of the authority that Pods must trust, PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The root token.
    #[must_use]
    pub fn root_token(&self) -> &str {
        self.api.token()
    }

    /// Calls the API as root and returns the body of the answer, `null` if it has none.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.api.call(method, path, body).await
    }

    /// Seals Vault: from now on it answers 503.
    pub async fn seal(&self) -> Result<()> {
        self.call("PUT", "sys/seal", &json!({})).await.map(drop)
    }

    /// Unseals Vault and waits until it serves.
    pub async fn unseal(&self) -> Result<()> {
        self.call("PUT", "sys/unseal", &json!({"key": self.unseal_key})).await?;
        wait::until("Vault to be unsealed and active", async || {
            Ok(Seen::attempt(self.call("GET", "sys/health", &Value::Null).await.map(drop)))
        })
        .await
    }

    /// The KV 2 engine at `kv`.
    #[must_use]
    pub fn kv(&self) -> Kv<'_> {
        Kv::at(self, "kv", Version::Two)
    }

    /// The KV 1 engine at `kv1`.
    #[must_use]
    pub fn kv1(&self) -> Kv<'_> {
        Kv::at(self, "kv1", Version::One)
    }

    /// Mounts another KV engine.
    pub async fn mount_kv(&self, mount: &'static str, version: Version) -> Result<Kv<'_>> {
        let body = json!({"type": "kv", "options": {"version": version.as_str()}});
        self.call("POST", &format!("sys/mounts/{mount}"), &body).await?;
        let kv = Kv::at(self, mount, version);
        kv.wait_until_ready().await?;
        Ok(kv)
    }

    /// Writes a policy in Vault's language.
    pub async fn policy(&self, name: &str, rules: &str) -> Result<()> {
        self.call("PUT", &format!("sys/policies/acl/{name}"), &json!({"policy": rules})).await.map(drop)
    }

    /// Lets a ServiceAccount log in with tokens for [`AUDIENCE`] under `role`, and gives it the policies.
    pub async fn role(&self, role: &str, service_account: (&str, &str), policies: &[&str]) -> Result<()> {
        let (namespace, name) = service_account;
        let body = json!({
            "bound_service_account_namespaces": [namespace],
            "bound_service_account_names": [name],
            "audience": AUDIENCE,
            "token_policies": policies,
            "token_ttl": "1h",
        });
        self.call("POST", &format!("auth/kubernetes/role/{role}"), &body).await.map(drop)
    }

    /// The tokens that exist now, that of root among them.
    pub async fn token_count(&self) -> Result<usize> {
        let listed = self.call("LIST", "auth/token/accessors", &Value::Null).await?;
        let accessors = listed.pointer("/data/keys").and_then(Value::as_array);
        accessors.map(Vec::len).context("Vault's list of token accessors has no keys")
    }

    /// How many requests with this operation (`read`, `update`, …) Vault has seen for a path, such as `kv/data/app/db`.
    pub fn requests(&self, operation: &str, path: &str) -> Result<usize> {
        let log = std::fs::read_to_string(&self.audit_log).context("reading Vault's audit log")?;
        let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let field = |entry: &Value, pointer: &str, wanted: &str| {
            entry.pointer(pointer).and_then(Value::as_str).is_some_and(|found| found == wanted)
        };
        Ok(entries
            .filter(|entry| field(entry, "/type", "request"))
            .filter(|entry| field(entry, "/request/operation", operation) && field(entry, "/request/path", path))
            .count())
    }

    async fn configure(&self, node: &Node, programs: &Path) -> Result<()> {
        let audit = json!({"type": "file", "options": {"file_path": self.audit_log}});
        self.call("PUT", "sys/audit/file", &audit).await?;
        self.mount_kv("kv", Version::Two).await?;
        self.mount_kv("kv1", Version::One).await?;
        self.register_kubernetes_plugin(programs).await?;
        let body = json!({
            "kubernetes_host": format!("https://{NODE_ADDRESS}:6443"),
            "kubernetes_ca_cert": self.authority,
            "token_reviewer_jwt": reviewer_token(node, self.port).await?,
        });
        self.call("POST", "auth/kubernetes/config", &body).await.map(drop)
    }

    /// The minimal build of Vault has no plugin built in.
    async fn register_kubernetes_plugin(&self, programs: &Path) -> Result<()> {
        let program = std::fs::read(programs.join(KUBERNETES_PLUGIN)).context("reading Vault's kubernetes plugin")?;
        let sum = digest(&SHA256, &program);
        let sum = sum.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let body = json!({"sha256": sum, "command": KUBERNETES_PLUGIN});
        self.call("PUT", &format!("sys/plugins/catalog/auth/{KUBERNETES_PLUGIN}"), &body).await?;
        self.call("POST", "sys/auth/kubernetes", &json!({"type": KUBERNETES_PLUGIN})).await.map(drop)
    }
}

fn launch(node: &Node, programs: &Path, directory: &Path, port: u16) -> Result<Process> {
    let names = node::server_names(node.network());
    let names = names.each_ref().map(String::as_str);
    let file_name = format!("vault-{port}");
    let serving = node.authority().issue(&file_name, Subject { group: "", user: "vault" }, &names)?;
    let configuration = directory.join("vault.json");
    let content = json!({
        "storage": {"inmem": {}},
        "listener": {"tcp": {
            "address": format!("0.0.0.0:{port}"),
            "cluster_address": format!("127.0.0.1:{}", port + 1000),
            "tls_cert_file": serving.certificate,
            "tls_key_file": serving.key,
        }},
        "api_addr": format!("https://{NODE_ADDRESS}:{port}"),
        "plugin_directory": programs,
        "disable_mlock": true,
    });
    process::write(&configuration, content.to_string())?;
    let mut command: Command = node.network().command(programs.join("vault"));
    command.arg("server").arg(format!("-config={}", configuration.display()));
    Process::start(&file_name, command, &node.logs())
}

/// Initialises a new Vault with one key share; returns the key and a client that acts as root.
async fn initialize(api: Api, process: &mut Process) -> Result<(String, Api)> {
    let body = json!({"secret_shares": 1, "secret_threshold": 1});
    let answer = wait::until("Vault to be initialised", async || {
        process.ensure_running()?;
        Ok(Seen::attempt(api.call("PUT", "sys/init", &body).await))
    })
    .await?;
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let key = text("/keys_base64/0").context("Vault's answer to init has no key")?;
    let token = text("/root_token").context("Vault's answer to init has no root token")?;
    Ok((key, api.with_token(token)))
}

/// A token of a ServiceAccount that may ask the API server about the tokens of others.
async fn reviewer_token(node: &Node, port: u16) -> Result<String> {
    let reviewer = format!("vault-{port}-reviewer");
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": reviewer, "namespace": "kube-system"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": reviewer},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": reviewer, "namespace": "kube-system"}],
        },
    ]});
    node.kubectl().run_with_input(&["create", "-f", "-"], &objects.to_string()).await?;
    let token = node.kubectl().run(&["create", "token", &reviewer, "-n", "kube-system", "--duration=24h"]).await?;
    Ok(token.trim().to_owned())
}
