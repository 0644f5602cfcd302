//! Accidents on the node: what dies without the kubelet's doing.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{Node, runtime};
use crate::cgroups;
use crate::namespace::Namespace;
use crate::network::slot_name;

impl Node {
    /// Kills the first process of a container of `pod`, as the kernel does when memory runs out.
    pub async fn kill_container(&self, pod: &Pod, container: &str) -> Result<()> {
        runtime::kill(&self.parts, container_id(pod, container)?).await
    }

    /// Kills the first process of a container, and waits until the kubelet has started it again.
    pub async fn restart_container(&self, namespace: &Namespace, pod: &str, container: &str) -> Result<()> {
        let before = namespace.api::<Pod>().get(pod).await?;
        let old = container_id(&before, container)?;
        self.kill_container(&before, container).await?;
        let is_new = |pod: &Pod| {
            let running = status(pod, container)
                .is_some_and(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
            running && container_id(pod, container).is_ok_and(|id| id != old)
        };
        namespace.wait_for(pod, &format!("{container} has been started again"), |pod| Ok(is_new(pod))).await.map(drop)
    }

    /// Whether the container that `pod` had when it was read still has a process.
    pub fn runs(&self, pod: &Pod, container: &str) -> Result<bool> {
        let processes = cgroups::processes_of(&slot_name(self.parts.slot), container_id(pod, container)?)?;
        Ok(!processes.is_empty())
    }

    /// Kills the sandbox of `pod`: the kubelet makes a new one, and begins with the Pod's init containers.
    pub async fn kill_sandbox(&self, pod: &Pod) -> Result<()> {
        let uid = pod.metadata.uid.as_deref().context("the Pod has no uid")?;
        runtime::kill(&self.parts, &runtime::sandbox(&self.parts, uid).await?).await
    }
}

/// The id by which the runtime knows a container, and its cgroup is called.
fn container_id<'pod>(pod: &'pod Pod, container: &str) -> Result<&'pod str> {
    let id = status(pod, container).and_then(|status| status.container_id.as_deref());
    let id = id.with_context(|| format!("the container {container} does not run"))?;
    Ok(id.trim_start_matches("containerd://"))
}

fn status<'pod>(pod: &'pod Pod, container: &str) -> Option<&'pod ContainerStatus> {
    let status = pod.status.as_ref()?;
    let of_init = status.init_container_statuses.iter().flatten();
    of_init.chain(status.container_statuses.iter().flatten()).find(|status| status.name == container)
}
