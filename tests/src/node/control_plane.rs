//! etcd, the API server with its audit log, the controllers and the scheduler.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::Parts;
use crate::network::{API_SERVICE_ADDRESS, NODE_ADDRESS, SERVICE_RANGE};
use crate::pki::{Issued, Subject};
use crate::process::{self, Process};

const ETCD: &str = "http://127.0.0.1:2379";
const LOOPBACK: &str = "127.0.0.1";

/// Where the API server writes its audit log.
pub(super) fn audit_log(parts: &Parts) -> PathBuf {
    parts.logs().join("audit.log")
}

/// Where etcd keeps its data.
pub(super) fn etcd_data(parts: &Parts) -> PathBuf {
    parts.directory.join("etcd")
}

/// Starts etcd and the API server, which waits for etcd by itself.
pub(super) fn start_api(parts: &Parts) -> Result<[Process; 2]> {
    Ok([start_etcd(parts)?, start_api_server(parts)?])
}

/// Starts the controllers and the scheduler. They give up if the API server is not ready within seconds.
pub(super) fn start_controllers(parts: &Parts) -> Result<[Process; 2]> {
    Ok([start_controller_manager(parts)?, start_scheduler(parts)?])
}

fn start_controller_manager(parts: &Parts) -> Result<Process> {
    let user = Subject { group: "", user: "system:kube-controller-manager" };
    let kubeconfig = parts.identity("controller-manager", user, LOOPBACK)?;
    let mut command = parts.network.command(parts.tools.kubernetes.join("kube-controller-manager"));
    command
        .args(["--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--service-account-private-key-file={}", parts.directory.join("pki/sa.key").display()))
        .arg(format!("--root-ca-file={}", parts.authority.certificate().display()));
    parts.start("kube-controller-manager", command)
}

fn start_scheduler(parts: &Parts) -> Result<Process> {
    let user = Subject { group: "", user: "system:kube-scheduler" };
    let kubeconfig = parts.identity("scheduler", user, LOOPBACK)?;
    let mut command = parts.network.command(parts.tools.kubernetes.join("kube-scheduler"));
    command
        .args(["--bind-address=127.0.0.1", "--leader-elect=false"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()));
    parts.start("kube-scheduler", command)
}

fn start_etcd(parts: &Parts) -> Result<Process> {
    let mut command = parts.network.command(&parts.tools.etcd);
    command
        .arg(format!("--data-dir={}", etcd_data(parts).display()))
        .args([format!("--listen-client-urls={ETCD}"), format!("--advertise-client-urls={ETCD}")])
        .args(["--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync"]);
    parts.start("etcd", command)
}

fn start_api_server(parts: &Parts) -> Result<Process> {
    let address = parts.network.address();
    let names = ["127.0.0.1", API_SERVICE_ADDRESS, NODE_ADDRESS, &address, "kubernetes.default.svc"];
    let serving = parts.authority.issue("apiserver", Subject { group: "", user: "kube-apiserver" }, &names)?;
    let kubelet_client = Subject { group: "system:masters", user: "kube-apiserver-kubelet-client" };
    let kubelet_client = parts.authority.issue("apiserver-kubelet-client", kubelet_client, &[])?;
    let signer = parts.authority.token_signer()?;
    let mut command = parts.network.command(parts.tools.kubernetes.join("kube-apiserver"));
    command
        .args(listening())
        .args(certificates(parts, &serving, &kubelet_client))
        .args(service_accounts(&signer))
        .args(auditing(parts)?)
        .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"])
        .args(["--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true", "--profiling=false"]);
    parts.start("kube-apiserver", command)
}

fn listening() -> [String; 6] {
    [
        format!("--etcd-servers={ETCD}"),
        "--bind-address=0.0.0.0".to_owned(),
        "--secure-port=6443".to_owned(),
        // A loopback address is refused here.
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        // Webhooks are then called at their Pods, without a way through kube-proxy.
        "--enable-aggregator-routing=true".to_owned(),
    ]
}

fn certificates(parts: &Parts, serving: &Issued, kubelet_client: &Issued) -> [String; 6] {
    let authority = parts.authority.certificate();
    [
        format!("--tls-cert-file={}", serving.certificate.display()),
        format!("--tls-private-key-file={}", serving.key.display()),
        format!("--client-ca-file={}", authority.display()),
        format!("--kubelet-certificate-authority={}", authority.display()),
        format!("--kubelet-client-certificate={}", kubelet_client.certificate.display()),
        format!("--kubelet-client-key={}", kubelet_client.key.display()),
    ]
}

fn service_accounts(signer: &Issued) -> [String; 3] {
    [
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", signer.certificate.display()),
        format!("--service-account-signing-key-file={}", signer.key.display()),
    ]
}

/// Bodies are logged where a secret value could appear if Alcove leaked one: Pods, events and Alcove's own kinds.
fn auditing(parts: &Parts) -> Result<[String; 3]> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "RequestResponse",
                "verbs": ["create", "update", "patch", "delete"],
                "resources": [
                    {"group": "", "resources": ["pods", "pods/ephemeralcontainers", "events"]},
                    {"group": "events.k8s.io", "resources": ["events"]},
                    {"group": "alcove.dev"},
                ],
            },
            {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"]},
            {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets"]}]},
            {"level": "None"},
        ],
    });
    let path = parts.directory.join("audit-policy.json");
    process::write(&path, policy.to_string())?;
    Ok([
        format!("--audit-policy-file={}", path.display()),
        format!("--audit-log-path={}", audit_log(parts).display()),
        // Never rotated: a test looks for a request in one file.
        "--audit-log-maxsize=100000".to_owned(),
    ])
}
