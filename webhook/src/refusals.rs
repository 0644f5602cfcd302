//! Telling what makes Pods that one of them was refused: an Event about the ReplicaSet, Job or other controller.
//!
//! Whoever applies a Deployment is not the one whom the API server tells of a refused Pod. The controller tries again and
//! again, so each controller is told once an hour for each kind of refusal. The review does not wait: what cannot be told at
//! once waits in a short queue, and what finds no room there is counted and told at the next try.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alcove_injection::decision::Refusal;
use alcove_injection::pod::Pod;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use crate::events::{self, News, Regarding, Reporter, Told};
use crate::metrics::Metrics;

/// How many Events may wait.
const QUEUE: usize = 100;
/// How many Events one namespace gets in an hour: whoever creates Pods may name any owner, and must not fill etcd with them.
const MOST_OF_NAMESPACE: usize = 100;
/// How many Events all namespaces get in an hour.
const MOST: usize = 10_000;
/// How long the API server may take for one.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many bytes a part of a reference to an owner may have; Kubernetes admits no longer name.
const LONGEST: usize = 253;

/// A Pod that was refused, and the object that makes the next one like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(News);

impl Refused {
    /// Where it was refused.
    pub(crate) fn namespace(&self) -> &str {
        &self.0.regarding.namespace
    }

    /// Nothing of a Pod without a controller: the person who created it reads the refusal.
    pub(crate) fn of(pod: &Pod, refusal: &Refusal) -> Option<Self> {
        let regarding = controller(pod)?;
        let cause = refusal.reason.as_str();
        Some(Self(News { regarding, cause, action: "Admit", reason: "AlcoveRefused", note: refusal.to_string() }))
    }
}

/// The controller that a Pod names; what could be none is left out, since no API server has looked at it yet.
fn controller(pod: &Pod) -> Option<Regarding> {
    let references = pod.document().get("metadata")?.get("ownerReferences")?.as_array()?;
    let is_controller = |reference: &&Value| reference.get("controller") == Some(&Value::Bool(true));
    let reference = references.iter().find(is_controller)?;
    let field = |name: &str| {
        let text = reference.get(name)?.as_str()?;
        (!text.is_empty() && text.len() <= LONGEST).then(|| text.to_owned())
    };
    let uid = field("uid").filter(|uid| is_uid(uid))?;
    let namespace = pod.namespace().to_owned();
    Some(Regarding { api_version: field("apiVersion")?, kind: field("kind")?, namespace, name: field("name")?, uid })
}

/// Whether it looks like the UUID that it is: it becomes a part of a name.
fn is_uid(uid: &str) -> bool {
    uid.len() == 36 && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

/// Tells without making anybody wait.
#[derive(Debug)]
pub struct Refusals {
    memory: Arc<Mutex<Memory>>,
    queue: Sender<Waiting>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Waiting {
    news: News,
    key: Key,
    now: Timestamp,
}

impl Refusals {
    /// What takes the refusals, and the work behind it, which ends with it.
    pub(crate) fn new(
        reporter: Reporter,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static + use<>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let memory = Arc::new(Mutex::new(Memory::default()));
        let work = work(reporter, Arc::clone(&memory), waiting, Arc::clone(&metrics));
        (Self { memory, queue, metrics }, work)
    }

    /// Has a refusal told, unless that was done in this hour.
    pub(crate) fn tell(&self, Refused(news): &Refused, now: Timestamp) {
        let mut memory = locked(&self.memory);
        memory.advance(events::hour(now));
        let key = memory.key(news);
        if memory.told.contains(&key) {
            return;
        }
        match self.queue.try_reserve() {
            Ok(place) if memory.remember(key) => place.send(Waiting { news: news.clone(), key, now }),
            _ => self.metrics.refusal_event("dropped"),
        }
    }
}

/// Makes one Event after the other.
async fn work(reporter: Reporter, memory: Arc<Mutex<Memory>>, mut queue: Receiver<Waiting>, metrics: Arc<Metrics>) {
    while let Some(Waiting { news, key, now }) = queue.recv().await {
        let told = timeout(PATIENCE, reporter.tell(&news, now)).await.unwrap_or(Told::Failed);
        metrics.refusal_event(match told {
            Told::Created => "created",
            Told::Known => "known",
            Told::Refused => "refused",
            Told::Failed => "failed",
        });
        if told == Told::Failed {
            locked(&memory).told.remove(&key);
        }
    }
}

fn locked(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was told in this hour: numbers in the place of names, whose length strangers choose.
#[derive(Debug, Default)]
struct Memory {
    hasher: RandomState,
    hour: i64,
    told: HashSet<Key>,
    /// How many Events each namespace was given, those that failed included.
    given: HashMap<u64, usize>,
    all: usize,
}

/// Stands for a namespace, and for a controller of it with a kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    namespace: u64,
    told: u64,
}

impl Memory {
    /// Forgets what was told in another hour.
    fn advance(&mut self, hour: i64) {
        if self.hour != hour {
            *self = Self { hasher: std::mem::take(&mut self.hasher), hour, ..Self::default() };
        }
    }

    fn key(&self, News { regarding, cause, .. }: &News) -> Key {
        let Regarding { namespace, uid, .. } = regarding;
        Key { namespace: self.hasher.hash_one(namespace), told: self.hasher.hash_one((namespace, uid, cause)) }
    }

    /// Whether there is room for one more.
    fn remember(&mut self, key: Key) -> bool {
        if self.all >= MOST {
            return false;
        }
        let given = self.given.entry(key.namespace).or_default();
        if *given >= MOST_OF_NAMESPACE {
            return false;
        }
        *given = given.saturating_add(1);
        self.all = self.all.saturating_add(1);
        self.told.insert(key)
    }
}

#[cfg(test)]
mod tests;
