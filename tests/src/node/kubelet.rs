//! The kubelet and kube-proxy.

use anyhow::Result;
use serde_json::{Value, json};

use super::{NODE_NAME, Parts, runtime};
use crate::network::{NODE_ADDRESS, POD_RANGE, slot_name};
use crate::pki::{Issued, Subject};
use crate::process::{self, Process};

/// Starts the kubelet and kube-proxy, which both register with the API server.
pub(super) fn start(parts: &Parts) -> Result<[Process; 2]> {
    Ok([start_kubelet(parts)?, start_proxy(parts)?])
}

fn start_kubelet(parts: &Parts) -> Result<Process> {
    let user = format!("system:node:{NODE_NAME}");
    let kubeconfig = parts.identity("kubelet", Subject { group: "system:nodes", user: &user }, "127.0.0.1")?;
    let serving =
        parts.authority.issue("kubelet-server", Subject { group: "", user: &user }, &[NODE_NAME, NODE_ADDRESS])?;
    let configuration = parts.directory.join("kubelet.json");
    process::write(&configuration, kubelet_configuration(parts, &serving).to_string())?;
    let mut command = parts.network.command(parts.tools.kubernetes.join("kubelet"));
    command
        .arg(format!("--config={}", configuration.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--hostname-override={NODE_NAME}"))
        .arg(format!("--node-ip={NODE_ADDRESS}"))
        .arg(format!("--root-dir={}", parts.directory.join("kubelet").display()))
        .arg(format!("--cert-dir={}", parts.directory.join("pki").display()));
    parts.start("kubelet", command)
}

fn kubelet_configuration(parts: &Parts, serving: &Issued) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": parts.authority.certificate()},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": serving.certificate,
        "tlsPrivateKeyFile": serving.key,
        "containerRuntimeEndpoint": format!("unix://{}", runtime::socket(parts).display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", slot_name(parts.slot)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "podLogsDir": parts.directory.join("pod-logs"),
        "volumePluginDir": parts.directory.join("volume-plugins"),
        // Nothing listens there: names fail at once. Without an address each Pod would get a warning event.
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        // Images cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "syncFrequency": "10s",
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
    })
}

fn start_proxy(parts: &Parts) -> Result<Process> {
    let kubeconfig = parts.identity("proxy", Subject { group: "", user: "system:kube-proxy" }, "127.0.0.1")?;
    let configuration = parts.directory.join("proxy.json");
    let content = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE_NAME,
        "conntrack": {"maxPerCore": 0, "min": 0},
    });
    process::write(&configuration, content.to_string())?;
    let mut command = parts.network.command(parts.tools.kubernetes.join("kube-proxy"));
    command.arg(format!("--config={}", configuration.display()));
    parts.start("kube-proxy", command)
}
