//! An Alcove beside the one that all tests share: a process of this machine, which the API server asks first about what
//! happens in the namespaces that a test labels. It is told apart by what it counts.

pub(crate) mod late;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use alcove_tests::builds::Products;
use alcove_tests::kubectl::Kubectl;
use alcove_tests::namespace::Namespace;
use alcove_tests::node::Node;
use alcove_tests::pki::Subject;
use alcove_tests::process::Process;
use alcove_tests::suite::Test;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The label of the namespaces that an Alcove beside the shared one serves; its value says which one.
pub(crate) const LABEL: &str = "alcove-beside";

/// Registrations that begin so are asked before the shared one, `alcove-webhook`.
const FIRST: &str = "aa";
/// Where its Lease is, if it takes part in an election.
const HOME: &str = "alcove-system";
const KINDS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// A running and registered webhook.
pub(crate) struct Beside {
    /// The name of its registrations, and the value of [`LABEL`].
    name: String,
    metrics: String,
    kubectl: Kubectl,
    process: Process,
}

/// What it differs in from the shared one.
pub(crate) struct Difference<'a> {
    /// By which it reaches the API server.
    pub kubeconfig: &'a Path,
    /// What it injects.
    pub sidecar_image: &'a str,
    /// How often it looks at the Pods that are there already; `0s` for never.
    pub sweep_interval: &'a str,
}

impl Beside {
    /// Starts it beside the shared one, which is there already, and waits until the API server asks it about `namespace`.
    pub(crate) async fn start(node: &Node, namespace: &Namespace, difference: &Difference<'_>) -> Result<Self> {
        let name = format!("{FIRST}-{}", namespace.name());
        let host = node.network().host_side();
        let (reviews, metrics) = (format!("{host}:{}", free_port(&host)?), format!("{host}:{}", free_port(&host)?));
        register(node, &name, &reviews).await?;
        let issued = node.authority().issue(&name, Subject { group: "", user: &name }, &[&host])?;
        let mut command = Command::new(Products::built().webhook);
        command
            .arg("serve")
            .arg(format!("--kubeconfig={}", difference.kubeconfig.display()))
            .arg(format!("--sidecar-image={}", difference.sidecar_image))
            .arg(format!("--configuration-name={name}"))
            .arg(format!("--sweep-interval={}", difference.sweep_interval))
            // With that of the shared one it would take part in its election.
            .arg(format!("--lease={name}"))
            .arg(format!("--listen={reviews}"))
            .arg(format!("--metrics-listen={metrics}"))
            .arg(format!("--tls-cert={}", issued.certificate.display()))
            .arg(format!("--tls-key={}", issued.key.display()))
            .env("NO_PROXY", "*");
        let process = Process::start(&name, command, &node.logs())?;
        let mut beside = Self { name, metrics, kubectl: node.kubectl().clone(), process };
        beside.wait_until_ready().await?;
        beside.wait_until_asked(namespace).await?;
        Ok(beside)
    }

    /// The label of the namespaces that it serves, as `(key, value)`.
    pub(crate) fn label(&self) -> (&'static str, &str) {
        (LABEL, &self.name)
    }

    /// How many reviews it has answered so: webhook, outcome and reason.
    pub(crate) async fn answered(&self, webhook: &str, outcome: &str, reason: &str) -> Result<u64> {
        let labels = format!(r#"{{webhook="{webhook}",outcome="{outcome}",reason="{reason}"}}"#);
        self.counted(&format!("admissions_total{labels}")).await
    }

    /// What a metric with its labels shows; 0 where it is not there.
    pub(crate) async fn counted(&self, metric: &str) -> Result<u64> {
        let metric = format!("alcove_webhook_{metric} ");
        let text = self.observe("metrics").await?;
        let count = text.lines().find_map(|line| line.strip_prefix(&metric));
        count.map_or(Ok(0), |count| count.parse().with_context(|| format!("{metric}{count}")))
    }

    /// Takes its registrations back and ends it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for kind in KINDS {
            self.kubectl.run(&["delete", kind, &self.name]).await?;
        }
        self.process.kill()?;
        let lease = format!("{}-sweep", self.name);
        self.kubectl.run(&["delete", "lease", &lease, "-n", HOME, "--ignore-not-found"]).await.map(drop)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        wait::until("the webhook beside the shared one to be ready", async || {
            self.process.ensure_running()?;
            Ok(Seen::attempt(self.observe("readyz").await))
        })
        .await
        .map(drop)
    }

    /// The API server learns of registrations and labels a moment late.
    async fn wait_until_asked(&self, namespace: &Namespace) -> Result<()> {
        namespace.label(&format!("{LABEL}={}", self.name)).await?;
        let container = json!({"name": "app", "image": "localhost/busybox:test"});
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "asked-", "annotations": {"alcove.dev/inject": "true"}},
            "spec": {"containers": [container]},
        });
        wait::until("the API server to ask the webhook beside the shared one", async || {
            let arguments = ["-n", namespace.name(), "create", "--dry-run=server", "-f", "-"];
            self.kubectl.run_with_input(&arguments, &pod.to_string()).await?;
            let mutating = self.answered("mutating", "allowed", "nothing-bound").await?;
            let validating = self.answered("validating", "allowed", "valid").await?;
            let asked = format!("asked {mutating} and {validating} times");
            Ok(if mutating > 0 && validating > 0 { Seen::Met(()) } else { Seen::NotYet(asked) })
        })
        .await
    }

    async fn observe(&self, path: &str) -> Result<String> {
        let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let answer = client.get(format!("http://{}/{path}", self.metrics)).send().await?;
        answer.error_for_status()?.text().await.context("reading what the webhook tells of itself")
    }
}

/// Registers it as the shared one is, under another address and for labelled namespaces alone.
async fn register(node: &Node, name: &str, address: &str) -> Result<()> {
    let kubectl = node.kubectl();
    let authority = STANDARD.encode(node.authority().certificate_pem());
    for kind in KINDS {
        let mut registration = kubectl.json(&["get", kind, "alcove-webhook"]).await?;
        registration["metadata"] = json!({"name": name});
        for webhook in registration["webhooks"].as_array_mut().context("no webhooks are registered")? {
            let path = webhook["clientConfig"]["service"]["path"].as_str().context("a webhook has no path")?;
            webhook["clientConfig"] = json!({"url": format!("https://{address}{path}"), "caBundle": authority});
            webhook["namespaceSelector"] = json!({"matchLabels": {LABEL: name}});
        }
        kubectl.run_with_input(&["create", "-f", "-"], &registration.to_string()).await?;
    }
    Ok(())
}

/// A port that was free a moment ago.
fn free_port(host: &str) -> Result<u16> {
    Ok(TcpListener::bind((host, 0))?.local_addr()?.port())
}

/// Writes a kubeconfig for a server that asks nobody who he is.
fn write_kubeconfig(test: &Test, server: &str) -> Result<PathBuf> {
    let kubeconfig: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "late", "cluster": {"server": server}}],
        "users": [{"name": "late", "user": {}}],
        "contexts": [{"name": "late", "context": {"cluster": "late", "user": "late"}}],
        "current-context": "late",
    });
    let path = test.node().directory().join("pki").join(format!("{}.kubeconfig", test.namespace().name()));
    alcove_tests::process::write(&path, kubeconfig.to_string())?;
    Ok(path)
}
