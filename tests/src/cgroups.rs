//! A cgroup of its own for each node, so that two kubelets never take each other's Pods for leftovers.
//!
//! Works with version 1 (one hierarchy per controller) and version 2 (one hierarchy).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::sweep::present;

const ROOT: &str = "/sys/fs/cgroup";
/// The controllers of version 2 that the kubelet wants in its own cgroup if the kernel has them.
const CONTROLLERS: [&str; 6] = ["cpuset", "cpu", "io", "memory", "pids", "hugetlb"];

/// Creates the cgroup `name` in every hierarchy.
pub fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).with_context(|| format!("creating the cgroup {}", group.display()))?;
        // An empty cpuset of version 1 accepts no process; the root's values are those of the machine.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if !unified() && group.join(file).exists() {
                fs::copy(hierarchy.join(file), group.join(file))
                    .with_context(|| format!("copying {file} to {}", group.display()))?;
            }
        }
        if unified() {
            delegate(&hierarchy)?;
            delegate(&group)?;
        }
    }
    Ok(())
}

/// The processes in the cgroup `name` and below, in all hierarchies.
pub fn processes(name: &str) -> Result<BTreeSet<i32>> {
    members(groups(name)?)
}

/// The processes in the cgroup called `container`, somewhere below the cgroup `name`.
pub fn processes_of(name: &str, container: &str) -> Result<BTreeSet<i32>> {
    let mut groups = groups(name)?;
    groups.retain(|group| group.file_name().is_some_and(|own| own == container));
    members(groups)
}

fn members(groups: Vec<PathBuf>) -> Result<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    for group in groups {
        let listed = present(fs::read_to_string(group.join("cgroup.procs")))?.unwrap_or_default();
        found.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    Ok(found)
}

/// Removes the cgroup `name` and all below it; it must not have processes any more.
pub fn remove(name: &str) -> Result<()> {
    for group in groups(name)?.iter().rev() {
        present(fs::remove_dir(group)).with_context(|| format!("removing the cgroup {}", group.display()))?;
    }
    Ok(())
}

/// The cgroup `name` and all below it, parents first, in all hierarchies.
fn groups(name: &str) -> Result<Vec<PathBuf>> {
    let mut groups: Vec<PathBuf> = hierarchies()?.into_iter().map(|hierarchy| hierarchy.join(name)).collect();
    groups.retain(|group| group.is_dir());
    let mut next = 0;
    while let Some(group) = groups.get(next).cloned() {
        next += 1;
        let Some(entries) = present(fs::read_dir(&group))? else { continue };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                groups.push(entry.path());
            }
        }
    }
    Ok(groups)
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    if unified() {
        return Ok(vec![PathBuf::from(ROOT)]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(ROOT).with_context(|| format!("reading {ROOT}"))? {
        let entry = entry?;
        // Links such as `cpu` → `cpu,cpuacct` name a hierarchy twice.
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Hands the controllers of `group` to its children.
fn delegate(group: &Path) -> Result<()> {
    let available = group.join("cgroup.controllers");
    let available = fs::read_to_string(&available).with_context(|| format!("reading {}", available.display()))?;
    let control = group.join("cgroup.subtree_control");
    for controller in available.split_whitespace().filter(|one| CONTROLLERS.contains(one)) {
        fs::write(&control, format!("+{controller}"))
            .with_context(|| format!("enabling the controller {controller} in {}", control.display()))?;
    }
    Ok(())
}
