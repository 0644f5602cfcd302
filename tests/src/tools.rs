//! The programs that the node consists of: built from their Go modules, or from Debian.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::state;

/// Where the CNI plugins are on Debian, and where most people unpack them.
const CNI_DIRECTORIES: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// The directories of the node's programs.
#[derive(Debug, Clone)]
pub struct Tools {
    /// kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, kubectl.
    pub kubernetes: PathBuf,
    /// containerd, its shim and ctr.
    pub containerd: PathBuf,
    /// runc.
    pub runc: PathBuf,
    /// etcd, the program itself.
    pub etcd: PathBuf,
    /// The CNI plugins `ptp`, `host-local` and `loopback`.
    pub cni: PathBuf,
}

impl Tools {
    /// Finds everything, building what this machine has not built before.
    pub fn find() -> Result<Self> {
        let (etcd, cni) = installed()?;
        let mut built = build(&["kubernetes", "containerd", "runc"])?.into_iter();
        let mut next = || built.next().context("tests/tools/build.sh printed too few directories");
        Ok(Self { kubernetes: next()?, containerd: next()?, runc: next()?, etcd, cni })
    }
}

/// The directory of `vault` and its plugins, built if this machine has not built it before.
pub fn vault() -> Result<PathBuf> {
    build(&["vault"])?.pop().context("tests/tools/build.sh printed no directory")
}

/// The Vault Agent injector, built if this machine has not built it before. Only the benchmarks need it.
pub fn vault_k8s() -> Result<PathBuf> {
    Ok(build(&["vault-k8s"])?.pop().context("tests/tools/build.sh printed no directory")?.join("vault-k8s"))
}

/// Finds a program on the PATH, or where Debian keeps those that only root uses.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories.map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

fn installed() -> Result<(PathBuf, PathBuf)> {
    let etcd = program("etcd");
    let cni = CNI_DIRECTORIES.iter().map(Path::new).find(|directory| directory.join("ptp").is_file());
    let mut missing = Vec::new();
    missing.extend(etcd.is_none().then_some("etcd (etcd-server)"));
    missing.extend(cni.is_none().then_some("CNI plugins (containernetworking-plugins)"));
    for (name, shown) in [("ip", "ip (iproute2)"), ("nft", "nft (nftables)"), ("nsenter", "nsenter (util-linux)")] {
        missing.extend(program(name).is_none().then_some(shown));
    }
    match (etcd, cni) {
        (Some(etcd), Some(cni)) if missing.is_empty() => Ok((etcd, cni.to_owned())),
        _ => bail!("missing: {}; `tests/tools/install.sh` installs them as root", missing.join(", ")),
    }
}

fn build(modules: &[&str]) -> Result<Vec<PathBuf>> {
    let script = state::checkout().join("tests/tools/build.sh");
    let mut command = Command::new(&script);
    command.args(modules).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("starting {}", script.display()))?;
    ensure!(output.status.success(), "{} failed ({}); its output is above", script.display(), output.status);
    let printed = String::from_utf8(output.stdout).context("reading the output of build.sh")?;
    Ok(printed.lines().map(PathBuf::from).collect())
}
