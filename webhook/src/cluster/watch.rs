//! Watches: they keep the objects as the API server has them, and never end.
//!
//! A watch can break without a sign: a connection whose other end is gone looks like a cluster in which nothing happens.
//! So what has been silent for long is read anew, which shows that the API server is there and makes up for everything
//! that was missed. Where that does not work either, what is known is too old to decide from, and the replica says so.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_events};
use tokio::time::{Instant, timeout_at};

use super::{Objects, PAGE, document, resource};
use crate::metrics::Metrics;
use crate::objects::{Item, Key, Kind};
use crate::outage::Outage;
use crate::readiness::Condition;

/// After how much silence everything is read anew. Where much happens that is never; a cluster in which nothing happens
/// can bear it.
const LONGEST_SILENCE: Duration = Duration::from_secs(90);
/// How long such a read may go without a sign of life before it is begun again.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long without any sign of life the objects that are known are good enough to decide from.
const TRUSTED: Duration = Duration::from_mins(2);

/// The watch of one kind.
#[derive(Debug)]
pub struct Watch {
    kind: Kind,
    resource: ApiResource,
    objects: Objects,
    /// What the list that is being read holds so far.
    listed: HashSet<Key>,
    condition: Condition,
    metrics: Arc<Metrics>,
    /// When the API server delivered something last.
    heard: Instant,
    outage: Outage,
}

impl Watch {
    /// Will watch all objects of `kind`; `condition` is met once they are known.
    #[must_use]
    pub fn new(kind: Kind, objects: Objects, condition: Condition, metrics: Arc<Metrics>) -> Self {
        metrics.watch_synced(kind.as_str(), false);
        let (heard, outage) = (Instant::now(), Outage::of(format!("watch {kind} objects")));
        Self { kind, resource: resource(kind), objects, listed: HashSet::new(), condition, metrics, heard, outage }
    }

    /// Watches for as long as it is polled.
    ///
    /// After a failure the objects stay as they were: for a while, reviews are better answered from them than not at all.
    pub async fn run(mut self, client: Client) {
        let api = Api::<DynamicObject>::all_with(client, &self.resource);
        loop {
            self.follow(api.clone()).await;
        }
    }

    /// Reads everything, and watches it until nothing is heard any more.
    async fn follow(&mut self, api: Api<DynamicObject>) {
        let begin = Instant::now();
        let mut events = pin!(watch_events(api, watcher::Config::default().page_size(PAGE)).default_backoff());
        loop {
            let deadline = (self.heard + LONGEST_SILENCE).max(begin + PATIENCE);
            match timeout_at(deadline, events.next()).await {
                Ok(Some(Ok(event))) => self.on(event),
                Ok(Some(Err(error))) => self.failed(&crate::report::chain(&error)),
                Ok(None) => return,
                Err(_silence) => return self.doubt(),
            }
        }
    }

    fn failed(&mut self, error: &str) {
        self.metrics.watch_failure(self.kind.as_str());
        self.outage.failed(&error);
        self.doubt();
    }

    /// Nothing good has been heard for a while. After a longer one, what is known is not trusted any more.
    fn doubt(&mut self) {
        if self.heard.elapsed() < TRUSTED {
            return;
        }
        self.outage.failed(&"the API server has delivered nothing for minutes, so what is known may be outdated");
        self.metrics.watch_synced(self.kind.as_str(), false);
        self.condition.unmet("the API server has delivered nothing for minutes");
    }

    fn on(&mut self, event: Event<DynamicObject>) {
        // The first event only says that the watch begins; every other one comes from the API server.
        if !matches!(event, Event::Init) {
            self.heard = Instant::now();
            self.outage.recovered();
        }
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                if let Some(key) = self.apply(object) {
                    self.listed.insert(key);
                }
            }
            Event::InitDone => self.synced(),
            Event::Apply(object) => {
                self.apply(object);
            }
            Event::Delete(object) => self.delete(object),
        }
    }

    fn apply(&self, object: DynamicObject) -> Option<Key> {
        let (document, version) = document(&self.resource, object);
        let item = Item::delivered(self.kind, &document).inspect_err(|problem| self.nameless(problem)).ok()?;
        let key = item.key.clone();
        self.objects.write().unwrap_or_else(PoisonError::into_inner).watched(item, version);
        Some(key)
    }

    fn delete(&self, object: DynamicObject) {
        let (document, version) = document(&self.resource, object);
        if let Ok(key) = Key::of(self.kind, &document).inspect_err(|problem| self.nameless(problem)) {
            self.objects.write().unwrap_or_else(PoisonError::into_inner).deleted(&key, version);
        }
    }

    fn synced(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        self.objects.write().unwrap_or_else(PoisonError::into_inner).retain(self.kind, &listed);
        self.metrics.watch_synced(self.kind.as_str(), true);
        self.condition.met();
        tracing::debug!(kind = self.kind.as_str(), count = listed.len(), "all objects are known");
    }

    fn nameless(&self, problem: &alcove_contract::Problem) {
        tracing::warn!(kind = self.kind.as_str(), %problem, "the API server delivered what is no object");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::sleep;

    use super::super::mock::ApiServer;
    use super::*;
    use crate::readiness::Readiness;

    const ACCOUNTS: &str = "/api/v1/serviceaccounts";

    /// A watch of the ServiceAccounts, of which there is one, that never delivers an event.
    fn begin(server: &Arc<ApiServer>) -> (Objects, Readiness) {
        let (objects, readiness) = (Objects::default(), Readiness::default());
        let account = json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}});
        server.put(ACCOUNTS, account);
        let condition = readiness.condition("ServiceAccount");
        let watch = Watch::new(Kind::ServiceAccount, Arc::clone(&objects), condition, Arc::default());
        tokio::spawn(watch.run(server.client()));
        (objects, readiness)
    }

    fn knows(objects: &Objects) -> bool {
        objects.read().unwrap().catalog().service_account("shop", "web").is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_silent_watch_missed_is_made_up_for_and_the_replica_stays_ready() {
        let server = ApiServer::prompt();
        let (objects, readiness) = begin(&server);
        sleep(Duration::from_secs(1)).await;
        assert!(knows(&objects));
        server.remove(&format!("{ACCOUNTS}/web"));
        for _ in 0..200 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(readiness.unmet(), None);
        }
        assert!(!knows(&objects));
        assert!(server.lists() <= 4, "a silent watch costs {} lists", server.lists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_hears_nothing_for_minutes_says_so_until_everything_is_known_again() {
        let server = ApiServer::prompt();
        let (objects, readiness) = begin(&server);
        sleep(Duration::from_secs(1)).await;
        server.fall_silent();
        sleep(LONGEST_SILENCE).await;
        assert_eq!(readiness.unmet(), None, "what is known is good for a while");
        sleep(PATIENCE * 2).await;
        assert!(readiness.unmet().unwrap().contains("has delivered nothing"));
        assert!(knows(&objects));
        server.answer();
        sleep(PATIENCE * 2).await;
        assert_eq!(readiness.unmet(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_refuses_for_minutes_is_as_good_as_none() {
        let server = ApiServer::prompt();
        let (_objects, readiness) = begin(&server);
        sleep(Duration::from_secs(1)).await;
        server.forbid("watch");
        server.forbid("list");
        sleep(TRUSTED * 2).await;
        assert!(readiness.unmet().is_some());
        server.permit("list");
        sleep(PATIENCE * 2).await;
        assert_eq!(readiness.unmet(), None, "a list is as good as a watch, for a while");
    }
}
