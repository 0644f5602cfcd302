//! The reads themselves: a few at once, each to its end.

use std::fmt;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use futures::future::{join, try_join_all};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use tokio::time::timeout;

use super::Outcome;
use super::bounds::Turns;
use super::flights::{Flight, Flights, Reading};
use crate::cluster::{Objects, PAGE, document, resource, version};
use crate::metrics::Metrics;
use crate::objects::{Item, Kind, List, Part, Share};

/// How many namespaces are read at once.
pub(super) const READS: usize = 8;
/// How many namespaces that no watch has delivered are looked for at once.
pub(super) const LOOKS: usize = 8;

/// What reads.
pub(super) struct Reader {
    client: Client,
    objects: Objects,
    timeout: Duration,
    metrics: Arc<Metrics>,
    namespaces: Flights,
    /// All namespaces depend on the same objects of the cluster.
    cluster: Flights,
    looks: Turns,
    reads: Turns,
    reads_of_cluster: Turns,
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client has no form of its own.
        formatter.debug_struct("Reader").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(client: Client, objects: Objects, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            objects,
            timeout,
            metrics,
            namespaces: Flights::default(),
            cluster: Flights::default(),
            looks: Turns::of(LOOKS),
            reads: Turns::of(READS),
            reads_of_cluster: Turns::of(1),
        }
    }

    /// Whether a namespace has been seen.
    pub(super) fn knows(&self, namespace: &str) -> bool {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.catalog().namespace_labels(namespace).is_some()
    }

    /// Reads everything that Pods of one namespace depend on, if it exists.
    pub(super) fn read_namespace(self: &Arc<Self>, namespace: &str) -> Reading {
        let (reader, name) = (Arc::clone(self), namespace.to_owned());
        self.namespaces.join(namespace, |mut flight| async move {
            if let Some(outcome) = reader.visit(&name, &mut flight).await {
                reader.metrics.live_read(outcome.as_str());
                flight.end(outcome);
            }
        })
    }

    /// Reads the objects that all namespaces depend on.
    pub(super) fn read_cluster(self: &Arc<Self>) -> Reading {
        let reader = Arc::clone(self);
        self.cluster.join("", |mut flight| async move {
            let Some(_runway) = flight.runway().await else { return };
            let Some(_turn) = flight.while_awaited(reader.reads_of_cluster.turn()).await else { return };
            flight.begin();
            let lists = reader.lists("", is_of_cluster).await;
            flight.end(lists.map_or(Outcome::Failed, |lists| reader.keep(lists)));
        })
    }

    /// Reads a namespace, unless nobody waits for it any more when it may begin.
    async fn visit(self: &Arc<Self>, name: &str, flight: &mut Flight) -> Option<Outcome> {
        let _runway = flight.runway().await?;
        let found = if self.knows(name) { Outcome::Unchanged } else { self.look(name, flight).await? };
        // In a namespace that does not exist is nothing.
        if self.knows(name) { Some(found.and(self.fetch(name, flight).await?)) } else { Some(found) }
    }

    /// Looks for a namespace that no watch has delivered.
    async fn look(&self, name: &str, flight: &mut Flight) -> Option<Outcome> {
        if !may_exist(name) {
            return Some(Outcome::Unchanged);
        }
        let _turn = flight.while_awaited(self.looks.turn()).await?;
        flight.begin();
        Some(match self.lists(name, |kind| kind == Kind::Namespace).await {
            None => Outcome::Failed,
            // It is not noted either: there is no end of names.
            Some(lists) if lists.iter().all(|list| list.items.is_empty()) => Outcome::Unchanged,
            Some(lists) => self.keep(lists),
        })
    }

    /// Reads what Pods of a namespace depend on, that of the cluster included.
    async fn fetch(self: &Arc<Self>, name: &str, flight: &mut Flight) -> Option<Outcome> {
        let turn = flight.while_awaited(self.reads.turn()).await?;
        flight.begin();
        let own = async {
            let lists = self.lists(name, |kind| !is_of_cluster(kind)).await;
            drop(turn);
            lists.map_or(Outcome::Failed, |lists| self.keep(lists))
        };
        let (own, of_cluster) = join(own, self.read_cluster()).await;
        Some(own.and(of_cluster))
    }

    /// Reads what a namespace depends on of those kinds for which `is_read` holds; nothing if that fails.
    async fn lists(&self, namespace: &str, is_read: fn(Kind) -> bool) -> Option<Vec<List>> {
        let kinds = Kind::ALL.into_iter().filter(|kind| is_read(*kind));
        let share = SyncMutex::default();
        let lists = kinds.map(|kind| self.list(Part::of(kind, namespace), &share));
        match timeout(self.timeout, try_join_all(lists)).await {
            Ok(Ok(lists)) => Some(lists),
            Ok(Err(error)) => {
                tracing::warn!(namespace, error = crate::report::chain(&error), "failed to read past the watches");
                None
            }
            Err(_late) => None,
        }
    }

    /// Reads a part. `share` is what is left for the objects of the namespace while they are read.
    async fn list(&self, part: Part, share: &SyncMutex<Share>) -> kube::Result<List> {
        let resource = resource(part.kind);
        let client = self.client.clone();
        let api: Api<DynamicObject> = if part.kind.is_namespaced() {
            Api::namespaced_with(client, &part.namespace, &resource)
        } else {
            Api::all_with(client, &resource)
        };
        let mut parameters = ListParams::default().limit(PAGE);
        if part.kind == Kind::Namespace {
            parameters = parameters.fields(&format!("metadata.name={}", part.namespace));
        }
        let mut items = Vec::new();
        loop {
            let page = api.list(&parameters).await?;
            let documents = page.items.into_iter().map(|object| document(&resource, object));
            let delivered = documents.filter_map(|(document, version)| {
                let item = Item::delivered(part.kind, &document).ok()?;
                Some((share.lock().unwrap_or_else(PoisonError::into_inner).admit(item), version))
            });
            items.extend(delivered);
            parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                let version = version(page.metadata.resource_version.as_deref());
                return Ok(List { part, version, items });
            }
        }
    }

    fn keep(&self, lists: Vec<List>) -> Outcome {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let changes = lists.into_iter().filter_map(|list| objects.read(list).then_some(())).count();
        if changes > 0 { Outcome::Changed } else { Outcome::Unchanged }
    }

    #[cfg(test)]
    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Whether nothing is read, and nothing kept of what was.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.namespaces.is_idle() && self.cluster.is_idle()
    }
}

/// Whether all namespaces depend on the same objects of a kind.
fn is_of_cluster(kind: Kind) -> bool {
    !kind.is_namespaced() && kind != Kind::Namespace
}

/// Whether a namespace can have this name.
fn may_exist(name: &str) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(is_of_names)
}
