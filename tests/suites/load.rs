//! Admissions that go on while everything beneath them changes: certificates, leaders, replicas, the network.

mod admissions;
mod replicas;

use alcove_tests::alcove::Alcove;
use alcove_tests::claims_alone;
use alcove_tests::suite::{Test, Trial, unproven};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};

use self::admissions::{CLIENTS, Load, Outcome};
use self::replicas::{Replicas, address, is_ready, name, restarts};

pub(crate) fn tests() -> Vec<Trial> {
    let tests = claims_alone![
        no_admission_fails_while_certificates_rotate_and_leaders_are_killed,
        no_admission_fails_while_every_replica_is_replaced,
        no_admission_fails_while_a_replica_is_deleted_be_it_by_force,
        a_network_that_swallows_packets_costs_no_more_than_what_was_in_flight,
    ];
    unproven(tests)
}

/// The port at which a replica answers reviews.
const REVIEWS: u16 = 9443;
/// How many admissions in a row show that nothing more fails.
const ENOUGH: usize = 1000;
/// What the API server calls: the mutating webhook and the validating one, each over connections of its own.
const WEBHOOKS: usize = 2;

async fn no_admission_fails_while_certificates_rotate_and_leaders_are_killed(test: Test) -> Result<()> {
    let load = Load::new(&test).await?;
    let replicas = Replicas::new(&test).await?;
    Alcove::apply(test.node(), "manifests/overlays/test-rotation").await?;
    let outcome = rotate(&test, &load, &replicas).await;
    Alcove::apply(test.node(), "manifests/overlays/test").await?;
    outcome?.ensure_all_admitted(ENOUGH)
}

async fn rotate(test: &Test, load: &Load<'_>, replicas: &Replicas<'_>) -> Result<Outcome> {
    begin_anew(test, load, replicas).await?;
    let certificate = async || replicas.kubectl(&["get", "secret", "alcove-webhook-tls", "-o", CERTIFICATE]).await;
    let bundle =
        async || replicas.kubectl(&["get", "mutatingwebhookconfiguration", "alcove-webhook", "-o", BUNDLE]).await;
    load.during(async {
        let (authority, first) = (bundle().await?, certificate().await?);
        // The process alone: the kubelet starts it again under the same name, and it goes on to lead.
        let leader = replicas.quiet_leader(load).await?;
        test.node().kill_container(&leader, "webhook").await?;
        let second = another("certificate", &[&first], &certificate).await?;
        // The process and its Pod: nobody is left who could hand on the Lease.
        let leader = replicas.quiet_leader(load).await?;
        test.node().kill_container(&leader, "webhook").await?;
        replicas.kubectl(&["delete", "pod", name(&leader), "--force", "--grace-period=0"]).await?;
        let leaders = async || replicas.leader().await;
        another("leader", &[name(&leader), ""], &leaders).await?;
        another("certificate", &[&first, &second], &certificate).await?;
        another("authority", &[&authority], &bundle).await?;
        load.wait_for_row(ENOUGH).await
    })
    .await
}

/// Makes the replicas begin with certificates of the new lifetimes: those of the old ones would be good for weeks.
async fn begin_anew(test: &Test, load: &Load<'_>, replicas: &Replicas<'_>) -> Result<()> {
    // A replica of before that still leads would issue for weeks again.
    replicas.settle(3).await?;
    let certificate = async || replicas.kubectl(&["get", "secret", "alcove-webhook-tls", "-o", CERTIFICATE]).await;
    let old = certificate().await?;
    let alcove = test.alcove().await?.namespace();
    let emptied = ["patch", "secret", "alcove-webhook-tls", "-n", alcove, "--type=merge", "-p", "{\"data\":null}"];
    test.node().kubectl().run(&emptied).await?;
    another("certificate", &[&old, ""], &certificate).await?;
    wait::until("the API server to trust the new authority", async || Ok(Seen::attempt(load.ask().await))).await
}

/// The certificate that the replicas share, as the Secret has it.
const CERTIFICATE: &str = "jsonpath={.data.tls\\.crt}";
/// Whom the API server trusts.
const BUNDLE: &str = "jsonpath={.webhooks[0].clientConfig.caBundle}";

/// Waits until what `look` finds is none of those that are known.
async fn another(what: &str, known: &[&str], look: &impl AsyncFn() -> Result<String>) -> Result<String> {
    wait::until(&format!("another {what}"), async || {
        let now = look().await?;
        Ok(if known.contains(&now.as_str()) { Seen::NotYet("still the old one".to_owned()) } else { Seen::Met(now) })
    })
    .await
}

async fn no_admission_fails_while_every_replica_is_replaced(test: Test) -> Result<()> {
    let load = Load::new(&test).await?;
    let replicas = Replicas::new(&test).await?;
    let outcome = load.during(async {
        replicas.kubectl(&["rollout", "restart", "deployment/alcove-webhook"]).await?;
        replicas.kubectl(&["rollout", "status", "deployment/alcove-webhook", "--timeout=120s"]).await?;
        // The old replicas drain: they have to be gone, too, before nothing more can go wrong.
        replicas.settle(2).await
    });
    outcome.await?.ensure_all_admitted(100)
}

async fn no_admission_fails_while_a_replica_is_deleted_be_it_by_force(test: Test) -> Result<()> {
    let load = Load::new(&test).await?;
    let replicas = Replicas::new(&test).await?;
    let outcome = load.during(async {
        let first = replicas.busiest(&load).await?;
        replicas.kubectl(&["delete", "pod", name(&first), "--wait=true"]).await?;
        replicas.settle(2).await?;
        // By force there is no time to drain: about a second between SIGTERM and SIGKILL.
        let second = replicas.busiest(&load).await?;
        replicas.kubectl(&["delete", "pod", name(&second), "--force", "--grace-period=0"]).await?;
        wait::until("the replica to be dead", async || {
            let runs = test.node().runs(&second, "webhook")?;
            Ok(if runs { Seen::NotYet("it runs".to_owned()) } else { Seen::Met(()) })
        })
        .await?;
        replicas.settle(2).await?;
        load.wait_for_row(100).await
    });
    outcome.await?.ensure_all_admitted(100)
}

async fn a_network_that_swallows_packets_costs_no_more_than_what_was_in_flight(test: Test) -> Result<()> {
    let load = Load::new(&test).await?;
    let replicas = Replicas::new(&test).await?;
    let outcome = load.during(async {
        let victim = replicas.busiest(&load).await?;
        // Its probes still arrive, so it stays ready: only the connection itself can tell that it is dead.
        test.node().cut_off(address(&victim)?, REVIEWS)?;
        let recovered = load.wait_for_row(ENOUGH).await;
        let after = replicas.get(name(&victim)).await;
        test.node().reconnect()?;
        recovered?;
        let after = after?;
        ensure!(is_ready(&after) && restarts(&after) == 0, "the replica was taken away: that is another test");
        Ok(())
    });
    // Of each webhook: what was in flight, then as many on new connections that lead to the same replica.
    outcome.await?.ensure_refused_at_most(WEBHOOKS * 2 * CLIENTS)
}
