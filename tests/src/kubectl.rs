//! kubectl with the kubeconfig of a node, and the client that reads the same file.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::pki::Issued;
use crate::process;

/// kubectl as a certain user of a certain node.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl at `program` with the configuration in `kubeconfig`.
    #[must_use]
    pub fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig }
    }

    /// The program itself.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The configuration, for other programs.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl and returns its stdout.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with_input(arguments, "").await
    }

    /// Runs kubectl with `input` on its stdin and returns its stdout.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        process::run_with_input(self.command(arguments), input).await
    }

    /// Runs kubectl, which must fail, and returns its stderr: the text that a person would see.
    pub async fn failure(&self, arguments: &[&str], input: &str) -> Result<String> {
        let (shown, output) = process::output_with_input(self.command(arguments), input).await?;
        if output.status.success() {
            bail!("`{shown}` was expected to fail but printed: {}", String::from_utf8_lossy(&output.stdout).trim());
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs `kubectl diff` and returns the difference that it prints; an empty text is none.
    pub async fn diff(&self, arguments: &[&str]) -> Result<String> {
        let (shown, output) = process::output_with_input(self.command(&[&["diff"], arguments].concat()), "").await?;
        match output.status.code() {
            Some(0) => Ok(String::new()),
            Some(1) if !output.stdout.is_empty() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            _ => bail!("`{shown}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim()),
        }
    }

    /// Runs kubectl with `-o json` and parses what it prints.
    pub async fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let printed = self.run(&[arguments, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&printed).context("parsing the output of kubectl")
    }

    /// A client of the API as the same user. It asks again after an answer that speaks of a moment: 429, 503 or 504.
    pub async fn client(&self) -> Result<kube::Client> {
        kube::Client::try_from(self.config().await?).context("building a client of the API")
    }

    /// The same without a second try, as kubectl is: for tests of what a refusal would spoil.
    pub async fn client_without_retries(&self) -> Result<kube::Client> {
        let mut config = self.config().await?;
        config.default_retry = false;
        kube::Client::try_from(config).context("building a client of the API")
    }

    async fn config(&self) -> Result<kube::Config> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // The node is on this machine; a proxy of the developer is not for it.
        config.proxy_url = None;
        Ok(config)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments).env("NO_PROXY", "*");
        command
    }
}

/// Writes the kubeconfig of a user who is known by a certificate.
pub(crate) fn write_kubeconfig(path: &Path, server: &str, authority: &Path, user: &Issued) -> Result<()> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testkit", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "testkit", "user": {"client-certificate": user.certificate, "client-key": user.key}}],
        "contexts": [{"name": "testkit", "context": {"cluster": "testkit", "user": "testkit"}}],
        "current-context": "testkit",
    });
    process::write(path, format!("{kubeconfig:#}"))
}
