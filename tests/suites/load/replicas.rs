//! The replicas of the webhook: which leads, which the API server talks to, and how they come and go.

use std::collections::BTreeMap;

use alcove_tests::kubectl::Kubectl;
use alcove_tests::suite::Test;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use super::admissions::Load;

/// How many admissions tell who answers them.
const SAMPLE: usize = 50;

/// The replicas.
pub(super) struct Replicas<'test> {
    pods: Api<Pod>,
    kubectl: &'test Kubectl,
    namespace: &'test str,
}

impl<'test> Replicas<'test> {
    /// The replicas of the shared installation, once those of the test before are gone.
    pub(super) async fn new(test: &'test Test) -> Result<Self> {
        let namespace = test.alcove().await?.namespace();
        let pods = Api::namespaced(test.node().client().clone(), namespace);
        let replicas = Self { pods, kubectl: test.node().kubectl(), namespace };
        replicas.settle(2).await?;
        Ok(replicas)
    }

    /// Runs kubectl in the namespace of the webhook.
    pub(super) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["-n", self.namespace], arguments].concat()).await
    }

    /// Waits until there are exactly so many Pods of the webhook, all ready: those that were replaced are gone.
    pub(super) async fn settle(&self, wanted: usize) -> Result<()> {
        wait::until("the replicas to be ready, and those of before gone", async || {
            let pods = self.list().await?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let settled = pods.len() == wanted && ready == wanted;
            Ok(if settled { Seen::Met(()) } else { Seen::NotYet(format!("{ready} of {} are ready", pods.len())) })
        })
        .await
    }

    /// The replica that answers most of the load.
    pub(super) async fn busiest(&self, load: &Load<'_>) -> Result<Pod> {
        let answered = self.answered(load).await?;
        let (name, _) = answered.into_iter().max_by_key(|(_, count)| *count).context("no replica")?;
        self.get(&name).await
    }

    /// Makes a replica lead that answers nothing of the load, and returns it. Whatever a replica is answering dies with it,
    /// leader or not; what is shown with this one is what depends on the leader.
    pub(super) async fn quiet_leader(&self, load: &Load<'_>) -> Result<Pod> {
        let answered = self.answered(load).await?;
        let quiet = answered.iter().find(|(_, count)| **count == 0);
        let (name, _) = quiet.with_context(|| format!("every replica answers: {answered:?}"))?;
        let patch = json!({"spec": {"holderIdentity": name}}).to_string();
        let version = ["-o", "jsonpath={.metadata.resourceVersion}"];
        let patched = self
            .kubectl(&[&["patch", "lease", "alcove-webhook", "--type=merge", "-p", &patch][..], &version].concat())
            .await?;
        wait::until("the replica to renew the Lease that it was given", async || {
            let now = self.kubectl(&[&["get", "lease", "alcove-webhook"][..], &version].concat()).await?;
            let renewed = now != patched && self.leader().await? == *name;
            Ok(if renewed { Seen::Met(()) } else { Seen::NotYet("not yet".to_owned()) })
        })
        .await?;
        self.get(name).await
    }

    /// Who holds the Lease.
    pub(super) async fn leader(&self) -> Result<String> {
        self.kubectl(&["get", "lease", "alcove-webhook", "-o", "jsonpath={.spec.holderIdentity}"]).await
    }

    pub(super) async fn get(&self, name: &str) -> Result<Pod> {
        self.pods.get(name).await.with_context(|| format!("reading the replica {name}"))
    }

    /// How much of a sample of the load each replica answers.
    async fn answered(&self, load: &Load<'_>) -> Result<BTreeMap<String, u64>> {
        let before = self.counters().await?;
        load.wait_for_row(SAMPLE).await?;
        let after = self.counters().await?;
        let grown = |(name, count): (String, u64)| {
            let grown = count - before.get(&name).copied().unwrap_or(0);
            (name, grown)
        };
        Ok(after.into_iter().map(grown).collect())
    }

    async fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let mut counters = BTreeMap::new();
        for pod in self.list().await?.iter().filter(|pod| is_ready(pod)) {
            let name = name(pod);
            let path = format!("/api/v1/namespaces/{}/pods/{name}:9090/proxy/metrics", self.namespace);
            let metrics = self.kubectl.run(&["get", "--raw", &path]).await?;
            let lines = metrics.lines().filter(|line| line.starts_with("alcove_webhook_admissions_total{"));
            let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
            counters.insert(name.to_owned(), counts.sum());
        }
        Ok(counters)
    }

    async fn list(&self) -> Result<Vec<Pod>> {
        let selector = ListParams::default().labels("app.kubernetes.io/name=alcove-webhook");
        Ok(self.pods.list(&selector).await?.items)
    }
}

pub(super) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The address of a Pod.
pub(super) fn address(pod: &Pod) -> Result<&str> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    address.with_context(|| format!("{} has no address", name(pod)))
}

/// How often a container of the Pod has started again.
pub(super) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).sum()
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
