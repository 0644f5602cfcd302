//! Admissions that go on while everything beneath them changes: certificates, leaders, replicas, the network.

mod admissions;
mod replicas;

use alcove_tests::alcove::Alcove;
use alcove_tests::claims_alone;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};

use self::admissions::{CLIENTS, Load};
use self::replicas::{Replicas, address, is_ready, name};

pub(crate) fn tests() -> Vec<Trial> {
    claims_alone![
        no_admission_fails_while_certificates_rotate_and_leaders_are_killed,
        no_admission_fails_while_every_replica_is_replaced,
        no_admission_fails_while_a_replica_is_deleted_be_it_by_force,
        a_replica_behind_a_network_that_swallows_packets_costs_what_was_in_flight,
    ]
}

/// How many admissions in a row show that nothing more fails.
const ENOUGH: usize = 1000;
/// How often each client may find a replica that answers no more: a review is given up after five seconds, and the replica
/// is unready after six.
const ROUNDS: usize = 3;

async fn no_admission_fails_while_certificates_rotate_and_leaders_are_killed(test: Test) -> Result<()> {
    let load = Load::new(&test).await?;
    let replicas = Replicas::new(&test).await?;
    Alcove::apply(test.node(), "manifests/overlays/test-rotation").await?;
    let outcome = async {
        begin_anew(&load, &replicas, 3).await?;
        load.during(rotate(&test, &load, &replicas)).await
    }
    .await;
    replicas.remove_retired().await?;
    Alcove::apply(test.node(), "manifests/overlays/test").await?;
    begin_anew(&load, &replicas, 2).await?;
    outcome?.ensure_all_admitted(ENOUGH)
}

async fn rotate(test: &Test, load: &Load<'_>, replicas: &Replicas<'_>) -> Result<()> {
    let (authority, first) = (replicas.authority().await?, replicas.certificate().await?);
    // In peace: it hands on the Lease.
    replicas.kubectl(&["delete", "pod", &replicas.leader().await?, "--wait=false"]).await?;
    // The process alone: the kubelet starts it again under the same name.
    let leader = replicas.retire_leader().await?;
    test.node().kill_container(&leader, "webhook").await?;
    let second = another("certificate", &[&first], async || replicas.certificate().await).await?;
    // The process and its Pod: nobody is left who could hand on the Lease.
    let leader = replicas.retire_leader().await?;
    test.node().kill_container(&leader, "webhook").await?;
    replicas.kubectl(&["delete", "pod", name(&leader), "--force", "--grace-period=0"]).await?;
    another("leader", &[name(&leader), ""], async || replicas.leader().await).await?;
    another("certificate", &[&first, &second], async || replicas.certificate().await).await?;
    another("authority", &[&authority], async || replicas.authority().await).await?;
    load.wait_for_row(ENOUGH).await
}

/// Makes the replicas begin with certificates of their own lifetimes: those of the installation before are good for weeks,
/// or for seconds.
async fn begin_anew(load: &Load<'_>, replicas: &Replicas<'_>, count: usize) -> Result<()> {
    // A replica of before that still leads would issue for the old lifetimes again.
    replicas.settle(count).await?;
    let old = replicas.certificate().await?;
    replicas.kubectl(&["patch", "secret", "alcove-webhook-tls", "--type=merge", "-p", "{\"data\":null}"]).await?;
    another("certificate", &[&old, ""], async || replicas.certificate().await).await?;
    wait::until("the API server to trust the new authority", async || Ok(Seen::attempt(load.ask().await))).await?;
    // One that could not be trusted for a moment was not ready for it.
    replicas.settle(count).await
}

/// Waits until what `look` finds is none of those that are known.
async fn another(what: &str, known: &[&str], look: impl AsyncFn() -> Result<String>) -> Result<String> {
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

async fn a_replica_behind_a_network_that_swallows_packets_costs_what_was_in_flight(test: Test) -> Result<()> {
    let load = Load::new(&test).await?;
    let replicas = Replicas::new(&test).await?;
    let outcome = load.during(async {
        let victim = replicas.busiest(&load).await?;
        test.node().cut_off(address(&victim)?)?;
        let recovered = load.wait_for_row(ENOUGH).await;
        let after = replicas.get(name(&victim)).await;
        test.node().reconnect()?;
        recovered?;
        ensure!(!is_ready(&after?), "the network was whole");
        replicas.settle(2).await
    });
    outcome.await?.ensure_refused_at_most(ROUNDS * CLIENTS)
}
