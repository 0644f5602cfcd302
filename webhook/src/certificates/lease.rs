//! The election held over a Lease of the API server.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::election::{Election, Record, Turn};
use crate::clock;
use crate::outage::Outage;
use crate::report;

/// A Lease, and this replica's part in the election over it.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    election: Election,
    leads: watch::Sender<bool>,
}

impl Candidate {
    /// Takes part in the election over the Lease `name`; whether this replica leads is told to `leads`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, election: Election, leads: watch::Sender<bool>) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), election, leads }
    }

    /// Takes part until `stop`, then hands the Lease on.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut outage = Outage::of(format!("hold or read the Lease {}", self.name));
        loop {
            match timeout(self.election.patience(Instant::now()), self.pass()).await {
                Ok(Ok(())) => outage.recovered(),
                Ok(Err(error)) => _ = outage.failed(&report::chain(&error)),
                Err(elapsed) => _ = outage.failed(&elapsed),
            }
            self.tell();
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(self.election.patience(Instant::now())) => self.tell(),
            }
        }
        self.hand_on().await;
    }

    async fn pass(&mut self) -> kube::Result<()> {
        let begun = Instant::now();
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            self.write_new().await?;
            self.election.written(begun);
            return Ok(());
        };
        let holder = holder(&lease);
        let version = lease.metadata.resource_version.as_deref().unwrap_or_default();
        if self.election.turn(Record { holder, version }, begun) == Turn::Write {
            let renewed = self.renewed(lease);
            self.api.replace(&self.name, &PostParams::default(), &renewed).await?;
            self.election.written(begun);
        }
        Ok(())
    }

    async fn write_new(&self) -> kube::Result<()> {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let lease = self.renewed(Lease { metadata, spec: None });
        self.api.create(&PostParams::default(), &lease).await.map(|_created| ())
    }

    /// The Lease with this replica as its holder; the version that was read keeps two from taking it at once.
    fn renewed(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(clock::now());
        let took_over = holder(&lease) != self.election.identity();
        let mut spec = lease.spec.take().unwrap_or_default();
        if took_over {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        let identity = Some(self.election.identity().to_owned());
        let seconds = Some(whole_seconds(self.election.duration()));
        let spec =
            LeaseSpec { holder_identity: identity, lease_duration_seconds: seconds, renew_time: Some(now), ..spec };
        Lease { spec: Some(spec), ..lease }
    }

    fn tell(&self) {
        let leads = self.election.leads(Instant::now());
        let changed = self.leads.send_if_modified(|told| std::mem::replace(told, leads) != leads);
        if changed {
            tracing::info!(leads, identity = self.election.identity(), "the election over the Lease");
        }
    }

    /// Leaves the Lease to the next one, who need not wait then. A failure only makes that one wait.
    async fn hand_on(self) {
        if !*self.leads.borrow() {
            return;
        }
        self.leads.send_replace(false);
        let released = timeout(self.election.patience(Instant::now()), self.release()).await;
        if let Ok(Err(error)) = released {
            tracing::info!(error = report::chain(&error), "could not hand on the Lease");
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
        if holder(&lease) != self.election.identity() {
            return Ok(());
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        self.api.replace(&self.name, &PostParams::default(), &lease).await.map(|_released| ())
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// A Lease counts in whole seconds, at least one.
fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::mock::ApiServer;

    const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases/alcove";
    const DURATION: Duration = Duration::from_secs(12);

    fn candidate(server: &Arc<ApiServer>, identity: &str) -> (Candidate, watch::Receiver<bool>) {
        let (told, leads) = watch::channel(false);
        let election = Election::new(identity.to_owned(), DURATION);
        (Candidate::new(server.client(), "system", "alcove", election, told), leads)
    }

    async fn becomes(leads: &mut watch::Receiver<bool>, expected: bool) {
        let change = leads.wait_for(|leads| *leads == expected);
        timeout(DURATION * 100, change).await.expect("a change within reason").unwrap();
    }

    fn holder_in(server: &ApiServer) -> String {
        server.get(PATH).unwrap()["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_leads_and_the_other_follows_when_it_leaves() {
        let server = ApiServer::prompt();
        let ((first, mut first_leads), (second, mut second_leads)) = (candidate(&server, "a"), candidate(&server, "b"));
        let (leave, stop) = (CancellationToken::new(), CancellationToken::new());
        let leaving = tokio::spawn(first.run(leave.clone()));
        becomes(&mut first_leads, true).await;
        let staying = tokio::spawn(second.run(stop.clone()));
        sleep(DURATION * 5).await;
        assert!(*first_leads.borrow() && !*second_leads.borrow());

        let begin = Instant::now();
        leave.cancel();
        leaving.await.unwrap();
        becomes(&mut second_leads, true).await;
        assert!(begin.elapsed() < DURATION, "a Lease that was handed on is not waited for");
        assert_eq!(holder_in(&server), "b");
        stop.cancel();
        staying.await.unwrap();
        assert_eq!(holder_in(&server), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_reach_the_api_server_stops_before_another_one_may_begin() {
        let server = ApiServer::prompt();
        let (candidate, mut leads) = candidate(&server, "a");
        let running = tokio::spawn(candidate.run(CancellationToken::new()));
        becomes(&mut leads, true).await;
        let begin = Instant::now();
        server.fall_silent();
        becomes(&mut leads, false).await;
        assert!(begin.elapsed() <= DURATION * 2 / 3, "{:?}", begin.elapsed());
        running.abort();
    }
}
