//! Admissions that go on while everything beneath them changes: certificates, leaders, replicas.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use alcove_tests::alcove::Alcove;
use alcove_tests::claims_alone;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};
use http::Request;
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims_alone![
        no_admission_fails_while_certificates_rotate_and_the_leader_dies,
        no_admission_fails_while_every_replica_is_replaced,
    ]
}

/// How many clients ask at the same time.
const CLIENTS: usize = 8;

/// Admissions by dry run, and what became of them.
struct Load<'test> {
    test: &'test Test,
    pod: String,
    done: AtomicBool,
    asked: AtomicUsize,
}

impl<'test> Load<'test> {
    async fn new(test: &'test Test) -> Result<Self> {
        let setting = Setting::shared(test).await?;
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "load-", "annotations": {"secret.alcove.dev/db-creds": setting.reference("db")}},
            "spec": {
                "containers": [{
                    "name": "app",
                    "image": "localhost/busybox:test",
                    "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
                }],
                "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
            },
        });
        Ok(Self { test, pod: pod.to_string(), done: AtomicBool::new(false), asked: AtomicUsize::new(0) })
    }

    /// Asks without a pause until the load is told to end; the first admission that fails ends it with its text.
    async fn client(&self) -> Result<()> {
        while !self.done.load(Ordering::Relaxed) {
            self.ask().await?;
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn ask(&self) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.test.namespace().name());
        let request = Request::post(&path).header("Content-Type", "application/json");
        let admitted: Value = self.test.node().client().request(request.body(self.pod.clone().into_bytes())?).await?;
        ensure!(admitted.pointer("/spec/initContainers/0/name") == Some(&"alcove-sidecar".into()), "not injected");
        Ok(())
    }

    /// Runs `change` under load.
    async fn during(&self, change: impl Future<Output = Result<()>>) -> Result<usize> {
        let clients = futures::future::try_join_all((0..CLIENTS).map(|_| self.client()));
        let change = async {
            let changed = change.await;
            self.done.store(true, Ordering::Relaxed);
            changed
        };
        tokio::try_join!(clients, change)?;
        Ok(self.asked.load(Ordering::Relaxed))
    }
}

async fn no_admission_fails_while_certificates_rotate_and_the_leader_dies(test: Test) -> Result<()> {
    let load = Load::new(&test).await?;
    Alcove::apply(test.node(), "manifests/overlays/test-rotation").await?;
    begin_anew(&test, &load).await?;
    let asked = load
        .during(async {
            let first = served_certificate(&test).await?;
            kill_the_leader(&test).await?;
            let second = wait_for_another_certificate(&test, &[&first]).await?;
            wait_for_another_certificate(&test, &[&first, &second]).await?;
            wait::until("1,000 admissions", async || {
                let asked = load.asked.load(Ordering::Relaxed);
                Ok(if asked >= 1000 { Seen::Met(()) } else { Seen::NotYet(format!("{asked} so far")) })
            })
            .await
        })
        .await;
    Alcove::apply(test.node(), "manifests/overlays/test").await?;
    let asked = asked?;
    ensure!(asked >= 1000, "only {asked} admissions were asked for");
    Ok(())
}

async fn no_admission_fails_while_every_replica_is_replaced(test: Test) -> Result<()> {
    let load = Load::new(&test).await?;
    let alcove = test.alcove().await?.namespace();
    let kubectl = test.node().kubectl();
    let asked = load
        .during(async {
            kubectl.run(&["rollout", "restart", "deployment/alcove-webhook", "-n", alcove]).await?;
            kubectl.run(&["rollout", "status", "deployment/alcove-webhook", "-n", alcove, "--timeout=120s"]).await?;
            // The old replicas drain: they have to be gone, too, before nothing more can go wrong.
            wait_for_replicas(&test, 2).await
        })
        .await?;
    ensure!(asked >= 100, "only {asked} admissions were asked for");
    Ok(())
}

/// Makes the replicas begin with certificates of the new lifetimes: those of the old ones would be good for weeks.
async fn begin_anew(test: &Test, load: &Load<'_>) -> Result<()> {
    let alcove = test.alcove().await?.namespace();
    let rolled_out = ["rollout", "status", "deployment/alcove-webhook", "-n", alcove, "--timeout=120s"];
    test.node().kubectl().run(&rolled_out).await?;
    // A replica of before that still leads would issue for weeks again.
    wait_for_replicas(test, 3).await?;
    let old = served_certificate(test).await?;
    let emptied = ["patch", "secret", "alcove-webhook-tls", "-n", alcove, "--type=merge", "-p", "{\"data\":null}"];
    test.node().kubectl().run(&emptied).await?;
    wait_for_another_certificate(test, &[&old, ""]).await?;
    wait::until("the API server to trust the new authority", async || Ok(Seen::attempt(load.ask().await))).await
}

/// The certificate that the replicas share, as the Secret has it.
async fn served_certificate(test: &Test) -> Result<String> {
    let alcove = test.alcove().await?.namespace();
    let path = "jsonpath={.data.tls\\.crt}";
    test.node().kubectl().run(&["get", "secret", "alcove-webhook-tls", "-n", alcove, "-o", path]).await
}

async fn wait_for_another_certificate(test: &Test, known: &[&str]) -> Result<String> {
    wait::until("the certificate to be replaced", async || {
        let now = served_certificate(test).await?;
        Ok(if known.contains(&now.as_str()) { Seen::NotYet("still the old one".to_owned()) } else { Seen::Met(now) })
    })
    .await
}

/// Waits until there are exactly so many Pods of the webhook: those that were replaced are gone.
async fn wait_for_replicas(test: &Test, wanted: usize) -> Result<()> {
    let alcove = test.alcove().await?.namespace();
    wait::until("the replaced replicas to be gone", async || {
        let pods = test.node().kubectl().json(&["get", "pods", "-n", alcove]).await?;
        let count = pods.pointer("/items").and_then(Value::as_array).map_or(0, Vec::len);
        Ok(if count == wanted { Seen::Met(()) } else { Seen::NotYet(format!("{count} Pods")) })
    })
    .await
}

async fn kill_the_leader(test: &Test) -> Result<()> {
    let alcove = test.alcove().await?.namespace();
    let kubectl = test.node().kubectl();
    let leader =
        kubectl.run(&["get", "lease", "alcove-webhook", "-n", alcove, "-o", "jsonpath={.spec.holderIdentity}"]).await?;
    ensure!(leader.starts_with("alcove-webhook-"), "the Lease names no Pod: {leader}");
    kubectl.run(&["delete", "pod", &leader, "-n", alcove, "--wait=false"]).await.map(drop)
}
