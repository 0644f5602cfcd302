//! Reads that reviews share.
//!
//! A review waits for a read that begins after it has come: one under way may have passed what it needs already. Of each
//! name one read is under way and one is waited for at most, however many reviews there are. A read that has begun goes on
//! when nobody waits for it any more, so that impatient reviews do not have it begun again and again; one that has not
//! begun by then never does.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::Outcome;

/// A read that some reviews wait for.
pub(super) type Reading = Shared<BoxFuture<'static, Outcome>>;

/// The reads of some names.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<SyncMutex<HashMap<String, Lane>>>);

/// The reads of one name, one after the other.
#[derive(Default)]
struct Lane {
    /// The one that has not begun, and its number.
    next: Option<(u64, WeakShared<BoxFuture<'static, Outcome>>)>,
    /// Held by the one under way.
    runway: Arc<Mutex<()>>,
    /// How many there are.
    count: usize,
    /// How many there have been.
    numbers: u64,
}

impl fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lane").field("count", &self.count).finish_non_exhaustive()
    }
}

/// What a read says to those that wait for it, and they to it.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Flights,
    name: String,
    number: u64,
    runway: Arc<Mutex<()>>,
    tell: Option<oneshot::Sender<Outcome>>,
}

impl Flights {
    /// Takes part in the next read of `name`. If none is waited for, `read` makes one.
    pub(super) fn join<Read>(&self, name: &str, read: impl FnOnce(Flight) -> Read) -> Reading
    where
        Read: Future<Output = ()> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let reading: Reading = told.map(|outcome| outcome.unwrap_or(Outcome::Failed)).boxed().shared();
        let (number, runway) = {
            let mut lanes = self.lanes();
            let lane = lanes.entry(name.to_owned()).or_default();
            if let Some(next) = lane.next.as_ref().and_then(|(_, next)| next.upgrade()) {
                return next;
            }
            lane.numbers = lane.numbers.wrapping_add(1);
            lane.next = reading.downgrade().map(|next| (lane.numbers, next));
            lane.count = lane.count.saturating_add(1);
            (lane.numbers, Arc::clone(&lane.runway))
        };
        let flight = Flight { flights: self.clone(), name: name.to_owned(), number, runway, tell: Some(tell) };
        tokio::spawn(read(flight));
        reading
    }

    /// Whether nobody reads anything.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.lanes().is_empty()
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Waits until no other read of the name is under way; gives nothing when nobody waits for this one any more.
    pub(super) async fn runway(&mut self) -> Option<OwnedMutexGuard<()>> {
        let runway = Arc::clone(&self.runway).lock_owned().map(Some);
        self.while_awaited(runway).await
    }

    /// Waits for what is needed to begin; gives nothing when nobody waits for this read any more.
    pub(super) async fn while_awaited<T>(&mut self, needed: impl Future<Output = Option<T>>) -> Option<T> {
        let tell = self.tell.as_mut()?;
        tokio::select! {
            biased;
            needed = needed => needed,
            () = tell.closed() => None,
        }
    }

    /// Begins: who comes from now on waits for the next one.
    pub(super) fn begin(&self) {
        if let Some(lane) = self.flights.lanes().get_mut(&self.name)
            && lane.next.as_ref().is_some_and(|(number, _)| *number == self.number)
        {
            lane.next = None;
        }
    }

    /// Ends, and tells how.
    pub(super) fn end(mut self, outcome: Outcome) {
        let tell = self.tell.take();
        drop(self);
        // Nobody may be waiting any more.
        let _unheard = tell.map(|tell| tell.send(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.begin();
        let mut lanes = self.flights.lanes();
        if let Some(lane) = lanes.get_mut(&self.name) {
            lane.count = lane.count.saturating_sub(1);
            if lane.count == 0 {
                lanes.remove(&self.name);
            }
        }
    }
}
