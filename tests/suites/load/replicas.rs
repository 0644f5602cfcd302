//! The replicas of the webhook: which leads, which the API server talks to, and how they come and go.

use std::collections::BTreeMap;

use alcove_tests::kubectl::Kubectl;
use alcove_tests::suite::Test;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

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

    /// Takes the replica that leads out of the Service, and returns it; another one comes into its place. Whatever a replica is
    /// answering dies with it, leader or not: with this one, only what depends on the leader does.
    pub(super) async fn retire_leader(&self) -> Result<Pod> {
        let leader = wait::until("a replica to lead", async || {
            let leader = self.leader().await?;
            let pods = self.pods.list(&ListParams::default()).await?;
            let found = pods.into_iter().find(|pod| name(pod) == leader && is_staying(pod));
            Ok(found.map_or_else(|| Seen::NotYet(format!("the Lease says {leader:?}")), Seen::Met))
        })
        .await?;
        let leader = name(&leader);
        self.kubectl(&["label", "pod", leader, "app.kubernetes.io/name-"]).await?;
        self.settle(3).await?;
        self.get(leader).await
    }

    /// Ends those that were taken out of the Service: they would go on to lead, with the settings of their test.
    pub(super) async fn remove_retired(&self) -> Result<()> {
        self.kubectl(&["delete", "pod", "--selector=!app.kubernetes.io/name"]).await.map(drop)
    }

    /// Who holds the Lease.
    pub(super) async fn leader(&self) -> Result<String> {
        self.kubectl(&["get", "lease", "alcove-webhook", "-o", "jsonpath={.spec.holderIdentity}"]).await
    }

    /// The certificate that the replicas share, as the Secret has it.
    pub(super) async fn certificate(&self) -> Result<String> {
        self.kubectl(&["get", "secret", "alcove-webhook-tls", "-o", "jsonpath={.data.tls\\.crt}"]).await
    }

    /// Whom the API server trusts.
    pub(super) async fn authority(&self) -> Result<String> {
        let path = "jsonpath={.webhooks[0].clientConfig.caBundle}";
        self.kubectl(&["get", "mutatingwebhookconfiguration", "alcove-webhook", "-o", path]).await
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

fn is_staying(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
