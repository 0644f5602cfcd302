//! Reading past the watches: when something is not known, it may only not have arrived yet.
//!
//! A namespace, its binding, its policy and a Pod may all come from one `kubectl apply`; the Pod is under review before
//! the watches have seen the rest. What is read here was read after the review began, so "not found" is true then.
//!
//! Reviews come from whoever reaches the port, and may speak of any namespace. So they share reads, of which there are a few
//! at once, and a namespace that does not exist costs one look for its name.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::time::timeout;

use super::Objects;
use crate::metrics::Metrics;

mod bounds;
mod flights;
mod reader;

use bounds::Seats;
use reader::Reader;

/// How many reviews wait at once.
const SEATS: usize = 256;
/// What reviews of all namespaces are counted as which no watch has delivered; no namespace has this name.
const UNKNOWN: &str = "?";

/// Reads of what a namespace's reviews depend on, shared by all reviews that wait for the same.
#[derive(Debug)]
pub struct Live {
    reader: Arc<Reader>,
    seats: Seats,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that the watches had not delivered, and nothing gone that they had.
    Unchanged,
    /// Something new: it is worth asking again.
    Changed,
    /// The API server did not answer, or not in time.
    Failed,
    /// Nothing was read, since too many reviews wait for reads: this one may come again.
    Crowded,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Crowded => "crowded",
        }
    }

    /// How two reads ended together.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Failed | Self::Crowded, _) | (_, Self::Failed | Self::Crowded) => Self::Failed,
            (Self::Changed, _) | (_, Self::Changed) => Self::Changed,
            (Self::Unchanged, Self::Unchanged) => Self::Unchanged,
        }
    }
}

impl Live {
    /// Reads take at most `timeout`.
    #[must_use]
    pub fn new(client: Client, objects: Objects, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        let reader = Reader::new(client, objects, timeout, Arc::clone(&metrics));
        Self { reader: Arc::new(reader), seats: Seats::of(SEATS), timeout, metrics }
    }

    /// Brings the objects that Pods of `namespace` depend on up to date, by a read that begins now or later. Where it is
    /// empty, those are the objects of the cluster.
    pub async fn read(&self, namespace: &str) -> Outcome {
        let is_counted_alone = namespace.is_empty() || self.reader.knows(namespace);
        let Some(_seat) = self.seats.take(if is_counted_alone { namespace } else { UNKNOWN }) else {
            self.metrics.live_read(Outcome::Crowded.as_str());
            return Outcome::Crowded;
        };
        let reading =
            if namespace.is_empty() { self.reader.read_cluster() } else { self.reader.read_namespace(namespace) };
        timeout(self.timeout, reading).await.unwrap_or(Outcome::Failed)
    }
}

#[cfg(test)]
mod tests;
