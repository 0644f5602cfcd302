//! The sweep: now and then a look at the Pods that are there already.
//!
//! Admission judges a Pod once. What changes afterwards, and what came while nobody called the webhook, is found here: by
//! one replica, the one that holds the Lease, and by reading the Pods page by page. Nothing watches them, so that a Pod
//! costs nothing between two sweeps, and of a Pod nothing is kept but what was found. It is told in three ways: a metric, an
//! Event about the Pod, and the status of the policy that denies what the Pod has. No Pod is changed or evicted.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use alcove_injection::settings::Settings;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;

use crate::clock;
use crate::cluster::Objects;
use crate::cluster::live::{Live, Outcome};
use crate::metrics::Metrics;
use crate::outage::Outage;
use crate::readiness::Readiness;
use crate::report;

mod events;
mod found;
mod pages;
mod policies;
mod served;
mod tally;

use events::Events;
use found::{Found, Knowledge};
use pages::{Page, Pages};
use served::Served;
pub use served::Whereabouts;
use tally::Tally;

/// How long to wait after a failure, unless the next sweep is due before.
const RETRY: Duration = Duration::from_secs(30);
/// How long to wait for what is not known yet.
const UNTIL_KNOWN: Duration = Duration::from_secs(1);
/// Sweeps of several clusters, or of replicas that were started together, do not stay together: each pause is up to a
/// tenth shorter or longer.
const JITTER: f64 = 0.1;

/// What a sweep needs to know.
#[expect(missing_debug_implementations, reason = "the client has none")]
pub struct Sources {
    /// The cluster.
    pub client: Client,
    /// What Pods are judged by.
    pub objects: Objects,
    /// What the administrator decided.
    pub settings: Arc<ArcSwap<Settings>>,
    /// What reads past the watches before anything is told.
    pub live: Live,
    /// Whether everything is known.
    pub readiness: Readiness,
    /// Where Alcove is in the cluster.
    pub whereabouts: Whereabouts,
    /// Who this replica is, for Events.
    pub identity: String,
    /// What can be counted.
    pub metrics: Arc<Metrics>,
}

/// Sweeps while this replica leads.
#[expect(missing_debug_implementations, reason = "the client has none")]
pub struct Sweeper {
    sources: Sources,
    interval: Duration,
    events: Events,
}

/// Why a sweep could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The API server refused or did not answer.
    #[error("the API server did not take it")]
    Api(#[from] Box<kube::Error>),
    /// The API server did not list Pods as one does.
    #[error("the list of Pods cannot be read")]
    Pods(#[from] pages::PageError),
    /// A fault of ours.
    #[error("Pods or policies could not be looked at")]
    Broken(#[from] JoinError),
}

impl From<kube::Error> for SweepError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

impl Sweeper {
    /// Will sweep every `interval`.
    #[must_use]
    pub fn new(sources: Sources, interval: Duration) -> Self {
        let events = Events::new(sources.client.clone(), sources.identity.clone());
        Self { sources, interval, events }
    }

    /// Sweeps for as long as it is polled, while this replica leads.
    pub async fn run(mut self, leads: watch::Receiver<bool>) {
        let (mut gained, mut lost) = (leads.clone(), leads);
        // Whoever told it is gone when the process ends.
        while gained.wait_for(|leads| *leads).await.is_ok() {
            tokio::select! {
                _ = lost.wait_for(|leads| !*leads) => {}
                () = self.lead() => {}
            }
            // Another replica counts now: the same Pod is not to be counted by two.
            self.sources.metrics.sweeps_no_more();
        }
    }

    async fn lead(&mut self) {
        let mut outage = Outage::of("sweep the Pods");
        loop {
            while self.sources.readiness.unmet().is_some() {
                sleep(UNTIL_KNOWN).await;
            }
            let pause = match self.sweep(clock::now()).await {
                Ok(()) => {
                    outage.recovered();
                    jittered(self.interval)
                }
                Err(error) => {
                    self.sources.metrics.sweep_failure();
                    outage.failed(&report::chain(&error));
                    RETRY.min(self.interval)
                }
            };
            sleep(pause).await;
        }
    }

    /// Looks at every Pod once; `now` is when that begins.
    async fn sweep(&mut self, now: Timestamp) -> Result<(), SweepError> {
        let served = Served::of(&self.sources.client, &self.sources.whereabouts).await?;
        let (mut pages, mut tally) = (Pages::of(self.sources.client.clone()), Tally::default());
        let mut read = HashSet::new();
        self.events.begin(now);
        while let Some(page) = pages.next().await? {
            tally.pods(page.total);
            for found in self.look(page, &mut read).await? {
                let is_served = served.includes(&found.namespace, &self.knowledge().catalog);
                tally.add(&found, is_served);
                if is_served && !found.finding.is_exhausted() {
                    self.events.tell(&found).await;
                }
            }
        }
        self.events.end();
        policies::publish(&self.sources.client, &self.knowledge().catalog, &Arc::new(tally.take_violations())).await?;
        self.sources.metrics.swept(tally.counts(), clock::now());
        Ok(())
    }

    /// What is found on one page. What is news is looked at again, with what a read past the watches brings: a policy may
    /// have come together with its Pod, and only the Pod be known here yet. `read` are the namespaces read so far.
    async fn look(&self, page: Page, read: &mut HashSet<String>) -> Result<Vec<Found>, SweepError> {
        let page = Arc::new(page);
        let all = (0..page.pods.len()).collect();
        let mut found = self.inspect(&page, all).await?;
        let (mut is_anew, mut unknown) = (false, HashSet::new());
        for found in found.iter().filter(|found| self.events.is_news(found)) {
            if read.insert(found.namespace.clone()) {
                match self.sources.live.read(&found.namespace).await {
                    Outcome::Unchanged | Outcome::Changed => is_anew = true,
                    Outcome::Failed | Outcome::Crowded => _ = unknown.insert(found.namespace.clone()),
                }
            }
        }
        if is_anew {
            found = self.inspect(&page, found.iter().map(|found| found.index).collect()).await?;
        }
        found.retain(|found| !unknown.contains(&found.namespace));
        Ok(found)
    }

    /// Looks at some Pods of a page, beside the threads that serve.
    async fn inspect(&self, page: &Arc<Page>, which: Vec<usize>) -> Result<Vec<Found>, SweepError> {
        let (page, knowledge) = (Arc::clone(page), self.knowledge());
        Ok(spawn_blocking(move || knowledge.inspect(&page, &which)).await?)
    }

    fn knowledge(&self) -> Knowledge {
        let objects = self.sources.objects.read().unwrap_or_else(PoisonError::into_inner);
        Knowledge { catalog: Arc::clone(objects.catalog()), settings: self.sources.settings.load_full() }
    }
}

/// About as long.
fn jittered(interval: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(()) % 1_000).unwrap_or_default();
    let share = f64::from(random) / 1_000.0;
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * share)
}

#[cfg(test)]
mod tests;
