//! What is written down about a test that failed, before its namespace goes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result};

use crate::namespace::Namespace;
use crate::{process, state, sweep};

/// Writes down the state of the namespace, and adds the place of it to the error.
pub(super) async fn write(title: &str, namespace: &Namespace, error: Error) -> Error {
    let directory = directory(title);
    let message = format!("{error:#}\n");
    match collect(&directory, namespace, &message).await {
        Ok(()) => error.context(format!("(Pods, events and logs: {})", directory.display())),
        Err(failure) => error.context(format!("(its Pods could not be examined: {failure:#})")),
    }
}

/// Removes what an earlier run wrote down about a test that holds now.
pub(super) fn forget(title: &str) -> Result<()> {
    let directory = directory(title);
    sweep::present(std::fs::remove_dir_all(&directory)).with_context(|| format!("removing {}", directory.display()))?;
    Ok(())
}

fn directory(title: &str) -> PathBuf {
    state::failures().join(title.replace("::", "."))
}

async fn collect(directory: &Path, namespace: &Namespace, message: &str) -> Result<()> {
    process::write(&directory.join("error.txt"), message)?;
    for (file, arguments) in [
        ("pods.yaml", ["get", "pods", "-o", "yaml"].as_slice()),
        ("pods.txt", &["describe", "pods"]),
        ("events.txt", &["get", "events", "--sort-by=.metadata.creationTimestamp"]),
        ("objects.yaml", &["get", "externalstores,secretbindings,secretpolicies", "-o", "yaml"]),
    ] {
        let printed = namespace.kubectl(arguments).await.unwrap_or_else(|error| format!("{error:#}\n"));
        process::write(&directory.join(file), printed)?;
    }
    let pods = namespace.kubectl(&["get", "pods", "-o", "name"]).await?;
    for pod in pods.lines() {
        let logs = namespace.kubectl(&["logs", pod, "--all-containers", "--prefix", "--ignore-errors"]).await;
        let file = format!("{}.log", pod.replace('/', "-"));
        process::write(&directory.join(file), logs.unwrap_or_else(|error| format!("{error:#}\n")))?;
    }
    Ok(())
}
