//! How many reviews are judged at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of reviews that are judged.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is held and given back")] OwnedSemaphorePermit);

/// Too many reviews are being judged, or wait for the API server; this one may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many reviews are waiting: send this one again in a second")]
pub struct Excess;

impl Turns {
    /// As many at once.
    #[must_use]
    pub fn of(count: u32) -> Self {
        let count = usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Takes a turn, if there is one.
    pub(super) fn take(&self) -> Result<Turn, Excess> {
        Arc::clone(&self.0).try_acquire_owned().map(Turn).map_err(|_taken| Excess)
    }

    /// Waits for a turn. Judging takes a while and never stands still, so there is one soon.
    pub(super) async fn wait(&self) -> Result<Turn, Excess> {
        Arc::clone(&self.0).acquire_owned().await.map(Turn).map_err(|_closed| Excess)
    }

    /// How many are left.
    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.0.available_permits()
    }
}
