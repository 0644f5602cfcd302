//! Waiting for Pods, with an account of their state when they do not come.

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::Namespace;
use crate::wait::{self, Seen};

impl Namespace {
    /// Waits until all containers of the Pod are ready.
    pub async fn wait_until_ready(&self, pod: &str) -> Result<Pod> {
        self.wait_for_condition(pod, "Ready").await
    }

    /// Waits until a condition of the Pod is True. A Pod that has come to its end can have no new conditions.
    pub async fn wait_for_condition(&self, pod: &str, condition: &str) -> Result<Pod> {
        self.wait_for(pod, &format!("condition {condition}"), |found| {
            let conditions = found.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let met = conditions.into_iter().any(|one| one.type_ == condition && one.status == "True");
            if !met && matches!(phase(found), "Failed" | "Succeeded") {
                bail!("the Pod has ended: {}", summary(found));
            }
            Ok(met)
        })
        .await
    }

    /// Waits until the Pod is in a phase, such as `Running` or `Succeeded`.
    pub async fn wait_for_phase(&self, pod: &str, wanted: &str) -> Result<Pod> {
        self.wait_for(pod, &format!("phase {wanted}"), |found| {
            let met = phase(found) == wanted;
            if !met && matches!(phase(found), "Failed" | "Succeeded") {
                bail!("the Pod has ended: {}", summary(found));
            }
            Ok(met)
        })
        .await
    }

    /// Waits until the Pod is in a state that `met` recognises.
    pub async fn wait_for(&self, pod: &str, what: &str, met: impl Fn(&Pod) -> Result<bool>) -> Result<Pod> {
        let pods = self.api::<Pod>();
        let what = format!("Pod {}/{pod}: {what}", self.name());
        let waited = wait::until(&what, async || {
            let Some(found) = pods.get_opt(pod).await? else { return Ok(Seen::NotYet("no such Pod".to_owned())) };
            Ok(if met(&found)? { Seen::Met(found) } else { Seen::NotYet(summary(&found)) })
        });
        match waited.await {
            Ok(found) => Ok(found),
            Err(error) => {
                let events = self.events(pod).await.unwrap_or_default();
                Err(error.context(format!("events of the Pod:\n  {}", events.join("\n  "))))
            }
        }
    }

    /// Waits until a container has printed `text`, and returns all that it has printed.
    pub async fn wait_for_log(&self, pod: &str, container: &str, text: &str) -> Result<String> {
        wait::until(&format!("the log of {}/{pod}/{container} to contain {text}", self.name()), async || {
            let log = self.logs(pod, container).await;
            Ok(match log {
                Ok(log) if log.contains(text) => Seen::Met(log),
                other => Seen::NotYet(other.unwrap_or_else(|error| format!("{error:#}"))),
            })
        })
        .await
    }

    /// Waits until a command in a container prints exactly `expected`.
    pub async fn wait_for_output(&self, pod: &str, container: &str, command: &[&str], expected: &str) -> Result<()> {
        let what = format!("`{}` in {}/{pod}/{container} to print {expected}", command.join(" "), self.name());
        wait::until(&what, async || {
            let printed = self.exec(pod, container, command).await;
            Ok(match printed {
                Ok(printed) if printed == expected => Seen::Met(()),
                other => Seen::NotYet(other.unwrap_or_else(|error| format!("{error:#}"))),
            })
        })
        .await
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown")
}

/// The state of a Pod in one line: its phase, and each container that is not simply running.
fn summary(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return "no status".to_owned() };
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let details: Vec<String> = containers.filter_map(container_summary).collect();
    let message = status.message.as_deref().unwrap_or_default();
    format!("{} {message} [{}]", phase(pod), details.join("; "))
}

fn container_summary(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.as_deref().unwrap_or_default();
        return Some(format!("{name} waits: {} {message}", waiting.reason.as_deref().unwrap_or_default()));
    }
    if let Some(ended) = &state.terminated {
        let message = ended.message.as_deref().unwrap_or_default();
        return Some(format!("{name} ended with {}: {message}", ended.exit_code));
    }
    (!container.ready).then(|| format!("{name} is not ready"))
}
