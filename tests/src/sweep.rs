//! Removing a node: every process, mount, network namespace and cgroup of a slot, found by what they are in.
//!
//! One procedure serves the normal end, the end of a run that was killed (through [`janitor`](crate::janitor)) and the start
//! of the next run in the same slot. A process belongs to a node if it is in the node's network namespace or cgroup; no
//! name and no file of process ids has to be trusted.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};

use crate::cgroups;
use crate::network::{ip, slot_name};
use crate::wait::{self, Seen};

/// How long killed processes may take to disappear.
const DEATH: Duration = Duration::from_secs(20);
/// Where the kubelet links the logs of containers, whatever directory it is told to use.
const CONTAINER_LOG_LINKS: &str = "/var/log/containers";

/// Removes everything of the node in `slot`; its files in `directory` stay.
pub fn sweep(slot: u8, directory: &Path) -> Result<()> {
    wait::until_blocking(DEATH, "the processes of the node to end", || kill_all(slot))?;
    if directory.is_absolute() {
        unmount_below(directory)?;
        remove_log_links(directory)?;
    }
    remove_network(slot)?;
    cgroups::remove(&slot_name(slot))
}

fn kill_all(slot: u8) -> Result<Seen<()>> {
    let name = slot_name(slot);
    let mut processes = cgroups::processes(&name)?;
    processes.extend(processes_in_network(&name)?);
    for process in processes.iter().filter_map(|id| Pid::from_raw(*id)) {
        match rustix::process::kill_process(process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).context("killing a process of the node"),
        }
    }
    Ok(match processes.len() {
        0 => Seen::Met(()),
        count => Seen::NotYet(format!("{count} processes left")),
    })
}

/// The processes whose network namespace is the one mounted at `/run/netns/<name>`.
fn processes_in_network(name: &str) -> Result<BTreeSet<i32>> {
    let Some(network) = present(fs::metadata(Path::new("/run/netns").join(name)))? else { return Ok(BTreeSet::new()) };
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends meanwhile, or a zombie, has no namespace to compare.
        let Ok(own) = fs::metadata(entry.path().join("ns/net")) else { continue };
        if (own.dev(), own.ino()) == (network.dev(), network.ino()) {
            found.insert(id);
        }
    }
    Ok(found)
}

fn unmount_below(directory: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(directory)).collect();
    points.sort();
    for point in points.iter().rev() {
        match rustix::mount::unmount(point, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).with_context(|| format!("unmounting {}", point.display())),
        }
    }
    Ok(())
}

fn remove_log_links(directory: &Path) -> Result<()> {
    let Some(entries) = present(fs::read_dir(CONTAINER_LOG_LINKS))? else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|target| target.starts_with(directory)) {
            present(fs::remove_file(&path)).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

fn remove_network(slot: u8) -> Result<()> {
    let name = slot_name(slot);
    // The veth pair goes with either end; a run that crashed between two commands leaves the host's end alone.
    if Path::new("/sys/class/net").join(&name).exists() {
        ip(&format!("link delete {name}"))?;
    }
    if Path::new("/run/netns").join(&name).exists() {
        ip(&format!("netns delete {name}"))?;
    }
    Ok(())
}

/// `None` for something that is not there (any more).
pub(crate) fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
