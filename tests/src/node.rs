//! A real Kubernetes node in a network namespace: etcd, the control plane, containerd, kubelet, kube-proxy.
//!
//! Started from nothing in seconds, thrown away afterwards. Nothing of it touches a cluster that is already on the machine.

mod control_plane;
mod crash;
mod cut;
mod kubelet;
mod runtime;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;

use crate::image::Image;
use crate::janitor::Janitor;
use crate::kubectl::{self, Kubectl};
use crate::network::{self, NODE_ADDRESS, Network, Slot};
use crate::pki::{Authority, Subject};
use crate::process::Process;
use crate::stage::Stage;
use crate::tools::Tools;
use crate::wait::{self, Seen};
use crate::{cgroups, image, state, sweep};

/// The name of the only node.
pub const NODE_NAME: &str = "node-1";

/// The kernel's limit for the path of a Unix socket is 107 bytes; the kubelet's longest is this long below its directory.
const LONGEST_DIRECTORY: usize = 60;
/// The first port for servers of the tests in the node's network; Vault's usual one.
const FIRST_PORT: u16 = 8200;

/// A running node. [`Node::stop`] ends it; should the testkit die before, its janitor does.
pub struct Node {
    parts: Parts,
    kubectl: Kubectl,
    client: kube::Client,
    running: Mutex<Option<Running>>,
    next_port: AtomicU16,
}

/// What every part of the node is started from.
#[derive(Debug)]
struct Parts {
    tools: Tools,
    network: Network,
    authority: Authority,
    /// Everything the node writes is below this directory.
    directory: PathBuf,
    slot: u8,
}

#[derive(Debug)]
struct Running {
    processes: Vec<Process>,
    janitor: Janitor,
    slot: Slot,
}

impl Parts {
    fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    /// Issues a certificate for a user of the API and writes the kubeconfig that uses it.
    fn identity(&self, name: &str, subject: Subject<'_>, server: &str) -> Result<PathBuf> {
        let issued = self.authority.issue(name, subject, &[])?;
        let path = self.directory.join("pki").join(format!("{name}.kubeconfig"));
        kubectl::write_kubeconfig(&path, &format!("https://{server}:6443"), &self.authority.certificate(), &issued)?;
        Ok(path)
    }

    fn start(&self, name: &str, command: Command) -> Result<Process> {
        Process::start(name, command, &self.logs())
    }
}

impl Node {
    /// Starts a node and waits until it is Ready.
    pub async fn start() -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a node needs root: it makes network namespaces, mounts and cgroups"
        );
        let tools = Tools::find()?;
        let stage = Stage::begin("a Kubernetes node is Ready");
        let mut slot = Slot::claim()?;
        let directory = prepare_directory(&mut slot)?;
        // From here on nothing can be left behind, whatever happens to this process.
        let janitor = Janitor::start(slot.number())?;
        cgroups::create(&network::slot_name(slot.number()))?;
        let parts = Parts {
            tools,
            network: Network::create(&slot)?,
            authority: Authority::create(&directory.join("pki"))?,
            directory,
            slot: slot.number(),
        };
        let node = Self::boot(parts, Running { processes: Vec::new(), janitor, slot }).await?;
        stage.done();
        Ok(node)
    }

    async fn boot(parts: Parts, mut running: Running) -> Result<Self> {
        let admin = Subject { group: "system:masters", user: "admin" };
        let kubeconfig = parts.identity("admin", admin, &parts.network.address())?;
        let kubectl = Kubectl::new(parts.tools.kubernetes.join("kubectl"), kubeconfig);
        let client = kubectl.client().await?;

        let began = Stage::quiet("  containerd, etcd and the API server");
        running.processes.extend(control_plane::start_api(&parts)?);
        running.processes.push(runtime::start(&parts).await?);
        for image in [image::pause()?, image::busybox()?] {
            runtime::load(&parts, &image).await?;
        }
        wait::until("the API server to be ready", async || {
            running.ensure_all()?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(Seen::attempt(client.request_text(request).await.map(drop).map_err(Into::into)))
        })
        .await?;
        began.done();

        running.processes.extend(control_plane::start_controllers(&parts)?);
        running.processes.extend(kubelet::start(&parts)?);
        wait_until_ready(&client, &mut running).await?;
        let next_port = AtomicU16::new(FIRST_PORT);
        Ok(Self { parts, kubectl, client, running: Mutex::new(Some(running)), next_port })
    }

    /// Ends the node: kills everything it consists of, and unmounts and removes everything but its files.
    pub fn stop(&self) -> Result<()> {
        let taken = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = taken else { return Ok(()) };
        sweep::sweep(running.slot.number(), &self.parts.directory)?;
        drop(running.processes);
        running.janitor.dismiss()
    }

    /// Ends the node and removes its files, logs included.
    pub fn stop_and_forget(&self) -> Result<()> {
        self.stop()?;
        std::fs::remove_dir_all(&self.parts.directory)
            .with_context(|| format!("removing {}", self.parts.directory.display()))
    }

    /// Imports an image, so that Pods can name it with the pull policy `IfNotPresent`.
    pub async fn load(&self, image: &Image) -> Result<()> {
        runtime::load(&self.parts, image).await
    }

    /// A free TCP port for a server in the node's network.
    pub fn next_port(&self) -> u16 {
        self.next_port.fetch_add(1, Ordering::Relaxed)
    }

    /// kubectl as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A client of the API as the administrator.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The network, to run programs in it and to know its addresses.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.parts.network
    }

    /// The authority that issued all certificates of the node.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.parts.authority
    }

    /// The directory with everything the node writes.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.parts.directory
    }

    /// The directory of log files.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.parts.logs()
    }

    /// The audit log: requests and responses with their bodies for Pods and for Alcove's kinds.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        control_plane::audit_log(&self.parts)
    }

    /// The directory where etcd keeps its data, to be searched for what must not be in it.
    #[must_use]
    pub fn etcd_data(&self) -> PathBuf {
        control_plane::etcd_data(&self.parts)
    }
}

impl Running {
    fn ensure_all(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::ensure_running)
    }
}

fn prepare_directory(slot: &mut Slot) -> Result<PathBuf> {
    let directory = state::directory().join(format!("node-{}", slot.number()));
    ensure!(
        directory.as_os_str().len() <= LONGEST_DIRECTORY,
        "{} is too long for the Unix sockets below it ({LONGEST_DIRECTORY} bytes at most); set ALCOVE_STATE to a shorter path",
        directory.display()
    );
    sweep::present(std::fs::remove_dir_all(&directory)).with_context(|| format!("removing {}", directory.display()))?;
    for part in ["logs", "pki", "cni"] {
        std::fs::create_dir_all(directory.join(part)).with_context(|| format!("creating {}", directory.display()))?;
    }
    slot.record(&directory)?;
    Ok(directory)
}

async fn wait_until_ready(client: &kube::Client, running: &mut Running) -> Result<()> {
    let nodes = Api::<NodeObject>::all(client.clone());
    wait::until("the node to be Ready", async || {
        running.ensure_all()?;
        let Some(node) = nodes.get_opt(NODE_NAME).await? else { return Ok(Seen::NotYet("not registered".to_owned())) };
        Ok(ready(&node))
    })
    .await
}

/// Ready, and free of the taint that a controller removes a moment later.
fn ready(node: &NodeObject) -> Seen<()> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let Some(condition) = conditions.into_iter().find(|condition| condition.type_ == "Ready") else {
        return Seen::NotYet("no Ready condition".to_owned());
    };
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    match (condition.status.as_str(), taints.map(|taint| taint.key.as_str()).next()) {
        ("True", None) => Seen::Met(()),
        ("True", Some(taint)) => Seen::NotYet(format!("tainted with {taint}")),
        (status, _) => Seen::NotYet(format!("Ready={status}: {}", condition.message.as_deref().unwrap_or_default())),
    }
}

/// The names and addresses that a server on the node's address goes by.
pub(crate) fn server_names(network: &Network) -> [String; 3] {
    ["127.0.0.1".to_owned(), NODE_ADDRESS.to_owned(), network.address()]
}
