//! containerd with the CNI plugins, and the images in it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Parts;
use crate::image::{self, Image};
use crate::network::POD_RANGE;
use crate::process::{self, Process};
use crate::wait::{self, Seen};

/// The socket of containerd.
pub(super) fn socket(parts: &Parts) -> PathBuf {
    parts.directory.join("containerd.sock")
}

/// Starts containerd and waits until it answers.
pub(super) async fn start(parts: &Parts) -> Result<Process> {
    let configuration = parts.directory.join("containerd.toml");
    process::write(&configuration, containerd_configuration(parts))?;
    process::write(&parts.directory.join("cni/10-pods.conflist"), cni_configuration(parts).to_string())?;
    let mut command = parts.network.command(parts.tools.containerd.join("containerd"));
    command.arg("--config").arg(&configuration).env("PATH", search_path(parts)?);
    let mut containerd = parts.start("containerd", command)?;
    wait::until("containerd to answer", async || {
        containerd.ensure_running()?;
        Ok(Seen::attempt(process::run_with_input(ctr(parts, &["version"]), "").await.map(drop)))
    })
    .await?;
    Ok(containerd)
}

/// Imports an image.
pub(super) async fn load(parts: &Parts, image: &Image) -> Result<()> {
    let mut command = ctr(parts, &["--namespace", "k8s.io", "images", "import"]);
    command.arg(&image.archive);
    process::run_with_input(command, "").await.map(drop)
}

/// Kills the first process of a container, or of the sandbox of a Pod.
pub(super) async fn kill(parts: &Parts, id: &str) -> Result<()> {
    let command = ctr(parts, &["--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id]);
    process::run_with_input(command, "").await.map(drop)
}

/// The sandbox of the Pod with this uid.
pub(super) async fn sandbox(parts: &Parts, pod_uid: &str) -> Result<String> {
    let filter = format!("labels.\"io.kubernetes.pod.uid\"=={pod_uid},labels.\"io.cri-containerd.kind\"==sandbox");
    let command = ctr(parts, &["--namespace", "k8s.io", "containers", "list", "--quiet", &filter]);
    let listed = process::run_with_input(command, "").await?;
    listed.lines().next().map(str::to_owned).with_context(|| format!("the Pod {pod_uid} has no sandbox"))
}

fn ctr(parts: &Parts, arguments: &[&str]) -> Command {
    let mut command = Command::new(parts.tools.containerd.join("ctr"));
    command.arg("--address").arg(socket(parts)).args(arguments);
    command
}

/// containerd looks for its shim on the PATH.
fn search_path(parts: &Parts) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(parts.tools.containerd.clone()).chain(std::env::split_paths(&path));
    std::env::join_paths(directories).context("joining the PATH of containerd")
}

/// Every default that lies outside of the node's directory is moved into it or turned off, for the sake of other nodes.
fn containerd_configuration(parts: &Parts) -> String {
    let directory = parts.directory.display();
    let socket = socket(parts);
    let runc = parts.tools.runc.join("runc");
    format!(
        r#"version = 3
root = "{directory}/containerd"
state = "{directory}/containerd-state"
[grpc]
  address = "{socket}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{pause}"
[plugins.'io.containerd.internal.v1.opt']
  path = "{directory}/containerd-opt"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.cri.v1.runtime']
  netns_mounts_under_state_dir = true
  # Without CAP_SYS_RESOURCE no process may lower its own score.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
      BinaryName = "{runc}"
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{cni}"]
    conf_dir = "{directory}/cni"
"#,
        socket = socket.display(),
        runc = runc.display(),
        cni = parts.tools.cni.display(),
        pause = image::PAUSE,
    )
}

fn cni_configuration(parts: &Parts) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": parts.directory.join("cni-leases"),
            },
        }],
    })
}
