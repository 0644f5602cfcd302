//! Reading past the watches: when something is not known, it may only not have arrived yet.
//!
//! A namespace, its binding, its policy and a Pod may all come from one `kubectl apply`; the Pod is under review before
//! the watches have seen the rest. What is read here was read after the review began, so "not found" is true then.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Objects, PAGE, document, resource, version};
use crate::metrics::Metrics;
use crate::objects::{Item, Kind, List, Part, Share};

/// Reads of what a namespace's reviews depend on, shared by all reviews that wait for the same.
pub struct Live {
    client: Client,
    objects: Objects,
    flights: SyncMutex<HashMap<String, Arc<Flight>>>,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Live {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client has no form of its own.
        formatter.debug_struct("Live").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The reads of one namespace, one after the other.
#[derive(Debug, Default)]
struct Flight {
    begun: AtomicU64,
    /// How the last read ended.
    outcome: Mutex<Outcome>,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that the watches had not delivered, and nothing gone that they had.
    #[default]
    Unchanged,
    /// Something new: it is worth asking again.
    Changed,
    /// The API server did not answer, or not in time.
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Failed => "failed",
        }
    }
}

impl Live {
    /// Reads take at most `timeout`.
    #[must_use]
    pub fn new(client: Client, objects: Objects, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { client, objects, flights: SyncMutex::default(), timeout, metrics }
    }

    /// Brings the objects that Pods of `namespace` depend on up to date, by a read that begins now or later.
    pub async fn read(&self, namespace: &str) -> Outcome {
        let flight = self.flight(namespace);
        let outcome = timeout(self.timeout, self.join(&flight, namespace)).await.unwrap_or(Outcome::Failed);
        drop(flight);
        self.forget(namespace);
        outcome
    }

    /// Takes part in the next read: one under way may have passed what this review needs already.
    async fn join(&self, flight: &Flight, namespace: &str) -> Outcome {
        let seen = flight.begun.load(Ordering::SeqCst);
        let mut outcome = flight.outcome.lock().await;
        if flight.begun.load(Ordering::SeqCst) == seen {
            flight.begun.fetch_add(1, Ordering::SeqCst);
            // If this review gives up waiting, the next one must not believe an older outcome.
            *outcome = Outcome::Failed;
            *outcome = self.fetch(namespace).await;
            self.metrics.live_read(outcome.as_str());
        }
        *outcome
    }

    async fn fetch(&self, namespace: &str) -> Outcome {
        let lists = Kind::ALL.map(|kind| self.list(kind, namespace));
        match try_join_all(lists).await {
            Ok(lists) => self.keep(lists),
            Err(error) => {
                tracing::warn!(namespace, error = crate::report::chain(&error), "failed to read past the watches");
                Outcome::Failed
            }
        }
    }

    async fn list(&self, kind: Kind, namespace: &str) -> kube::Result<List> {
        let resource = resource(kind);
        let client = self.client.clone();
        let api: Api<DynamicObject> = if kind.is_namespaced() {
            Api::namespaced_with(client, namespace, &resource)
        } else {
            Api::all_with(client, &resource)
        };
        let mut parameters = ListParams::default().limit(PAGE);
        if kind == Kind::Namespace {
            parameters = parameters.fields(&format!("metadata.name={namespace}"));
        }
        let (mut share, mut items) = (Share::default(), Vec::new());
        loop {
            let page = api.list(&parameters).await?;
            let documents = page.items.into_iter().map(|object| document(&resource, object));
            let delivered = documents.filter_map(|(document, version)| {
                let item = Item::delivered(kind, &document).ok()?;
                Some((share.admit(item), version))
            });
            items.extend(delivered);
            parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                let version = version(page.metadata.resource_version.as_deref());
                return Ok(List { part: Part::of(kind, namespace), version, items });
            }
        }
    }

    fn keep(&self, lists: Vec<List>) -> Outcome {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let changes = lists.into_iter().filter_map(|list| objects.read(list).then_some(())).count();
        if changes > 0 { Outcome::Changed } else { Outcome::Unchanged }
    }

    fn flight(&self, namespace: &str) -> Arc<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(flights.entry(namespace.to_owned()).or_default())
    }

    /// Nobody keeps reads of namespaces for which no review waits.
    fn forget(&self, namespace: &str) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(namespace).is_some_and(|flight| Arc::strong_count(flight) == 1) {
            flights.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::mock::ApiServer;
    use super::*;

    fn live(server: &Arc<ApiServer>) -> Arc<Live> {
        Arc::new(Live::new(server.client(), Objects::default(), Duration::from_secs(2), Arc::default()))
    }

    #[tokio::test]
    async fn what_was_not_known_is_a_change_once() {
        let server = ApiServer::prompt();
        let account = json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}});
        server.put("/api/v1/namespaces/shop/serviceaccounts", account);
        let live = live(&server);
        assert_eq!(live.read("shop").await, Outcome::Changed);
        assert!(live.objects.read().unwrap().catalog().service_account("shop", "web").is_some());
        assert_eq!(live.read("other").await, Outcome::Unchanged);
    }

    #[tokio::test]
    async fn a_namespace_of_many_objects_is_read_to_its_end() {
        let server = ApiServer::prompt();
        let count = 3 * PAGE + 1;
        for number in 0..count {
            let account =
                json!({"metadata": {"name": format!("a-{number:03}"), "namespace": "shop", "resourceVersion": "7"}});
            server.put("/api/v1/namespaces/shop/serviceaccounts", account);
        }
        let live = live(&server);
        assert_eq!(live.read("shop").await, Outcome::Changed);
        let objects = live.objects.read().unwrap();
        let is_known = |number: &u32| objects.catalog().service_account("shop", &format!("a-{number:03}")).is_some();
        assert!((0..count).all(|number| is_known(&number)));
        assert_eq!(server.lists(), Kind::ALL.len() + 3, "page by page");
    }

    #[tokio::test]
    async fn what_is_gone_is_a_change_too() {
        let server = ApiServer::prompt();
        let account = json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}});
        server.put("/api/v1/namespaces/shop/serviceaccounts", account);
        let live = live(&server);
        live.read("shop").await;
        server.remove("/api/v1/namespaces/shop/serviceaccounts/web");
        assert_eq!(live.read("shop").await, Outcome::Changed);
        assert!(live.objects.read().unwrap().catalog().service_account("shop", "web").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_does_not_answer_in_time_has_not_said_that_something_is_absent() {
        let server = ApiServer::silent();
        assert_eq!(live(&server).read("shop").await, Outcome::Failed);
    }

    #[tokio::test(start_paused = true)]
    async fn reviews_that_wait_share_a_read_and_none_believes_one_that_began_before_it() {
        let server = ApiServer::silent();
        let live = live(&server);
        let read = |live: &Arc<Live>| {
            let live = Arc::clone(live);
            tokio::spawn(async move { live.read("shop").await })
        };
        let first = read(&live);
        while server.lists() < Kind::ALL.len() {
            tokio::task::yield_now().await;
        }
        // What these wait for was made after the first read had begun.
        server.put("/api/v1/namespaces", json!({"metadata": {"name": "shop", "resourceVersion": "9"}}));
        let late: Vec<_> = (0..5).map(|_| read(&live)).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        server.answer();
        assert_eq!(first.await.unwrap(), Outcome::Unchanged);
        for review in late {
            assert_eq!(review.await.unwrap(), Outcome::Changed);
        }
        assert_eq!(server.lists(), 2 * Kind::ALL.len());
        assert!(live.flights.lock().unwrap().is_empty(), "nothing is kept for nobody");
    }
}
