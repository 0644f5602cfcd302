//! The Vault Agent injector beside our webhook: the same Pod, the same load, one after the other.
//!
//! The injector runs only inside a cluster. It gets one: the API server of a node, and the token of a ServiceAccount at the
//! place where Pods find theirs, in a mount namespace of its own. Our webhook is measured beside the same idle node.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use alcove_tests::node::Node;
use alcove_tests::stage::Stage;
use alcove_tests::{process, tools};
use anyhow::{Context as _, Result};

use super::admission;
use super::load::Outcome;
use super::server::{Place, Server};
use super::table::Table;
use super::usage;

const ACCESS: &str = "
{apiVersion: v1, kind: ServiceAccount, metadata: {name: injector, namespace: default}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: injector}
rules: [{apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], verbs: [get, list, watch, patch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: injector}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: injector}
subjects: [{kind: ServiceAccount, name: injector, namespace: default}]
";

/// Puts the identity in `$1` where a Pod has its own, visible to nobody else, and becomes the program that follows.
const AS_IN_A_POD: &str = r#"
set -e
mount -t tmpfs tmpfs "$(readlink -f /var/run)"
mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
cp "$1"/* /var/run/secrets/kubernetes.io/serviceaccount/
shift
exec "$@"
"#;

/// What one webhook showed.
type Shown = (Outcome, u64);

pub(super) async fn compare(program: &Path, duration: Duration, table: &mut Table) -> Result<()> {
    let node = Node::start().await?;
    let measured = both(&node, program, duration).await;
    node.stop_and_forget()?;
    match measured {
        Ok((ours, theirs)) => show(&ours, &theirs, table),
        // A rival that cannot be built or started here takes nothing from the rest of the table.
        Err(error) => {
            let reason = format!("not measured: {error:#}").replace('\n', " ");
            table.row("vault-k8s injector, same Pod, 16 connections", reason, "≥ 10 × throughput, ≤ 1/3 of memory");
        }
    }
    Ok(())
}

async fn both(node: &Node, program: &Path, duration: Duration) -> Result<(Shown, Shown)> {
    let injector = tools::vault_k8s()?;
    let stage = Stage::begin("admission: the vault-k8s injector, then Alcove, 16 connections");
    let theirs = admission::under_load(&start(node, &injector).await?, duration).await?;
    let ours = admission::under_load(&admission::typical(program).await?, duration).await?;
    stage.done();
    Ok((ours, theirs))
}

fn show((ours, our_memory): &Shown, (theirs, their_memory): &Shown, table: &mut Table) {
    table.row("vault-k8s injector, same Pod, 16 connections", theirs.summary(), "");
    table.row("Alcove beside it, same Pod, 16 connections", ours.summary(), "");
    let throughput = ours.throughput() / theirs.throughput();
    table.row("… throughput", format!("{throughput:.1} × the injector's"), "≥ 10 ×");
    let cost = theirs.processor_time().as_secs_f64() / ours.processor_time().as_secs_f64();
    table.row("… reviews per second of processor time", format!("{cost:.1} × the injector's"), "");
    let sizes = format!("{}; injector {}", usage::mebibytes(*our_memory), usage::mebibytes(*their_memory));
    table.row("… private memory, most under load", sizes, "≤ 1/3");
}

async fn start(node: &Node, program: &Path) -> Result<Server> {
    let place = Place::prepare()?;
    let identity = place.directory().join("identity");
    node.kubectl().run_with_input(&["apply", "-f", "-"], ACCESS).await?;
    let token = node.kubectl().run(&["create", "token", "injector", "-n", "default"]).await?;
    process::write(&identity.join("token"), token.trim())?;
    process::write(&identity.join("ca.crt"), node.authority().certificate_pem())?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", AS_IN_A_POD, "sh"])
        .arg(identity)
        .arg(program)
        .arg("agent-inject")
        .arg(format!("-listen=127.0.0.1:{}", place.port))
        .arg(format!("-tls-cert-file={}", place.issued.certificate.display()))
        .arg(format!("-tls-key-file={}", place.issued.key.display()))
        .args([
            "-vault-address=https://vault.example.com:8200",
            "-vault-image=hashicorp/vault:bench",
            "-log-level=warn",
        ])
        .env("KUBERNETES_SERVICE_HOST", node.network().address())
        .env("KUBERNETES_SERVICE_PORT", "6443")
        .env("NO_PROXY", "*");
    place.serve("vault-k8s", command, "/health/ready").await.context("starting the injector")
}
