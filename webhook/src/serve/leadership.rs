//! Which replica leads: the one that rotates certificates and sweeps.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kube::Client;
use tokio::sync::watch;

use super::{Process, presenting};
use crate::args::CertificateArgs;
use crate::certificates::election::Election;
use crate::certificates::lease::Candidate;
use crate::metrics::Metrics;

/// The shortest duration of a Lease.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// Where the host's name stands.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// This replica's part in the election, which begins when everybody who depends on it has asked.
pub(super) struct Leadership {
    identity: String,
    lease: String,
    duration: Duration,
    told: watch::Sender<bool>,
}

impl Leadership {
    /// Takes no part yet.
    pub(super) fn new(arguments: &CertificateArgs) -> anyhow::Result<Self> {
        let (told, _leads) = watch::channel(false);
        let lease = lease(arguments);
        Ok(Self { identity: identity(arguments)?, lease, duration: lease_duration(arguments)?, told })
    }

    /// Who this replica is.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether this replica leads, now and later.
    pub(super) fn leads(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }

    /// Takes part in the election over the Lease, if anybody depends on it: without the right to the Lease one may serve.
    pub(super) fn pursue(self, namespace: &str, process: &Process, client: &Client) {
        if self.told.receiver_count() == 0 {
            return;
        }
        process.spawn(show(self.told.subscribe(), Arc::clone(&process.metrics)));
        let election = Election::new(self.identity, self.duration);
        // The candidate hands the Lease on when it stops, so it is told to stop instead of being dropped.
        let candidate = Candidate::new(client.clone(), namespace, &self.lease, election, self.told);
        process.background.spawn(candidate.run(process.stop.clone()));
    }
}

async fn show(mut leads: watch::Receiver<bool>, metrics: Arc<Metrics>) {
    loop {
        metrics.leading(*leads.borrow_and_update());
        if leads.changed().await.is_err() {
            return;
        }
    }
}

/// The Lease of those that keep certificates, and another one for those that only sweep: while one kind of replicas replaces
/// the other, one that keeps none would hold the Lease, and wait to be replaced by one that waits for its certificate.
fn lease(arguments: &CertificateArgs) -> String {
    if presenting::keeps_certificates(arguments) {
        arguments.lease.clone()
    } else {
        format!("{}-sweep", arguments.lease)
    }
}

/// A Lease counts in whole seconds.
fn lease_duration(arguments: &CertificateArgs) -> anyhow::Result<Duration> {
    let duration = arguments.lease_duration.duration();
    if duration < SHORTEST_LEASE {
        bail!("--lease-duration is too short: give at least {} s", SHORTEST_LEASE.as_secs());
    }
    Ok(duration)
}

fn identity(arguments: &CertificateArgs) -> anyhow::Result<String> {
    if let Some(identity) = &arguments.identity {
        return Ok(identity.clone());
    }
    let name = std::fs::read_to_string(HOST_NAME).context("the host name cannot be read: give --identity")?;
    Ok(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn lease_of(arguments: &[&str]) -> String {
        let arguments = ["alcove-webhook", "serve", "--lease=l"].iter().chain(arguments);
        match Cli::try_parse_from(arguments).unwrap().command {
            Command::Serve(serve) => lease(&serve.certificates),
            Command::Review(_) => panic!("serve was asked for"),
        }
    }

    #[test]
    fn a_replica_that_keeps_no_certificates_never_holds_the_lease_of_those_that_do() {
        let files = ["--tls-cert=c", "--tls-key=k"];
        assert_eq!(lease_of(&[]), "l");
        assert_eq!(lease_of(&files), "l-sweep");
        for mode in ["--certificates=files", "--certificates=cert-manager"] {
            assert_eq!(lease_of(&[&[mode], &files[..]].concat()), "l-sweep");
        }
    }
}
