//! Watches: they keep the objects as the API server has them, and never end.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, PoisonError};

use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_events};

use super::{Objects, document, resource};
use crate::metrics::Metrics;
use crate::objects::{Item, Key, Kind};
use crate::outage::Outage;
use crate::readiness::Condition;

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
}

impl Watch {
    /// Will watch all objects of `kind`; `condition` is met once they are known.
    #[must_use]
    pub fn new(kind: Kind, objects: Objects, condition: Condition, metrics: Arc<Metrics>) -> Self {
        metrics.watch_synced(kind.as_str(), false);
        Self { kind, resource: resource(kind), objects, listed: HashSet::new(), condition, metrics }
    }

    /// Watches for as long as it is polled.
    ///
    /// After a failure the objects stay as they were: reviews are better answered from them than not at all.
    pub async fn run(mut self, client: Client) {
        let api = Api::<DynamicObject>::all_with(client, &self.resource);
        let mut events = pin!(watch_events(api, watcher::Config::default()).default_backoff());
        let mut outage = Outage::of(format!("watch {} objects", self.kind));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    outage.recovered();
                    self.on(event);
                }
                Err(error) => {
                    self.metrics.watch_failure(self.kind.as_str());
                    outage.failed(&crate::report::chain(&error));
                }
            }
        }
    }

    fn on(&mut self, event: Event<DynamicObject>) {
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
