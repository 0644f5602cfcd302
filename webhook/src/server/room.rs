//! Room for connections: a bounded number of places, which nobody keeps from others by holding on to theirs.
//!
//! Everybody who reaches the port may connect, and nothing proves that an API server is at the other end. So everybody is
//! let in, and where there is no room, one that waits for its client makes way; never one that is owed the answer to a
//! review. Which one that is keeps harm with whoever causes it, however many connections they hold, silent or busy:
//!
//! * An address that has more than an eighth of all places makes way first. An API server keeps two dozen connections at
//!   most. Behind an address translation all clients may have one address; then this says nothing, and the rest decides.
//! * Connections that have brought no review, and those that have, make way for each other only where the others have
//!   less than half of the room. So a flood of new ones does not end those that API servers keep, and no number of old
//!   ones ends a new one before it could bring its review.
//! * Then it is the one that has waited for longest.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, Port};

/// The part of the room that one address may have before it makes way first: one in so many places.
const SHARE: usize = 8;

/// The places at one port.
#[derive(Debug)]
pub(super) struct Room {
    port: Port,
    size: usize,
    guests: Mutex<Guests>,
    /// A place became free, or its connection may be ended again.
    changed: Notify,
    metrics: Arc<Metrics>,
}

/// Who is in the room, in the order of arrival.
#[derive(Debug, Default)]
struct Guests {
    arrivals: u64,
    present: BTreeMap<u64, Arc<Presence>>,
    /// How many places each address has.
    addresses: HashMap<IpAddr, usize>,
}

/// One place that is taken.
#[derive(Debug)]
struct Presence {
    address: IpAddr,
    standing: Mutex<Standing>,
    dismissed: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Whether it has brought a review. It need not be an API server for that, but it takes more than to connect.
    is_known: bool,
    /// How many reviews it is owed the answers of.
    owed: usize,
    /// Since when its client is to say something.
    waits_since: Instant,
}

/// A connection in the room; its place is free once nobody has this any more.
#[derive(Debug)]
pub(super) struct Guest {
    room: Arc<Room>,
    number: u64,
    presence: Arc<Presence>,
}

/// A review that is not answered yet. As long as there is one, its connection makes way for nobody.
#[derive(Debug)]
pub(super) struct Owed(Arc<Guest>);

impl Room {
    /// A room with `size` places.
    pub(super) fn new(port: Port, size: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { port, size, guests: Mutex::default(), changed: Notify::new(), metrics })
    }

    /// Takes a place for a connection from `address`. Whoever is to make way for it is told so.
    ///
    /// It waits only where all that are here are owed an answer, and one caller at a time may wait.
    pub(super) async fn enter(self: &Arc<Self>, address: IpAddr) -> Arc<Guest> {
        loop {
            if let Some(guest) = self.place(address.to_canonical()) {
                return Arc::new(guest);
            }
            self.changed.notified().await;
        }
    }

    fn place(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let mut guests = self.guests();
        if guests.present.len() >= self.size {
            let leaving = guests.dispensable(self.size).and_then(|number| guests.remove(number))?;
            leaving.dismissed.cancel();
            self.metrics.eviction(self.port, leaving.standing().is_known);
        }
        let (number, presence) = guests.add(address);
        self.metrics.connections(self.port, guests.present.len());
        Some(Guest { room: Arc::clone(self), number, presence })
    }

    fn leave(&self, number: u64) {
        let mut guests = self.guests();
        guests.remove(number);
        self.metrics.connections(self.port, guests.present.len());
        self.changed.notify_one();
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn add(&mut self, address: IpAddr) -> (u64, Arc<Presence>) {
        let (number, presence) = (self.arrivals, Arc::new(Presence::from(address)));
        self.arrivals += 1;
        self.present.insert(number, Arc::clone(&presence));
        *self.addresses.entry(address).or_default() += 1;
        (number, presence)
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Presence>> {
        let presence = self.present.remove(&number)?;
        if let Some(count) = self.addresses.get_mut(&presence.address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&presence.address);
            }
        }
        Some(presence)
    }

    /// The one that makes way in a full room, if any may.
    fn dispensable(&self, size: usize) -> Option<u64> {
        let all = self.present.iter().map(|(number, presence)| (*number, presence.address, presence.standing()));
        let waiting: Vec<_> = all.filter(|(_, _, standing)| standing.owed == 0).collect();
        let strangers = waiting.iter().filter(|(_, _, standing)| !standing.is_known).count();
        let strangers_have_half = strangers >= size.div_ceil(2);
        let greedy = self.greedy(size);
        let first = waiting.iter().min_by_key(|(_, address, standing)| {
            (Some(*address) != greedy, standing.is_known == strangers_have_half, standing.waits_since)
        });
        first.map(|(number, ..)| *number)
    }

    /// The address with the most places, if these are more than its share.
    fn greedy(&self, size: usize) -> Option<IpAddr> {
        let (address, count) = self.addresses.iter().max_by_key(|(_, count)| **count)?;
        (*count > size / SHARE).then_some(*address)
    }
}

impl From<IpAddr> for Presence {
    fn from(address: IpAddr) -> Self {
        let standing = Standing { is_known: false, owed: 0, waits_since: Instant::now() };
        Self { address, standing: Mutex::new(standing), dismissed: CancellationToken::new() }
    }
}

impl Presence {
    fn standing(&self) -> Standing {
        *self.now()
    }

    fn now(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Notes that a request begins. Whoever has brought no review yet gains nothing by it.
    pub(super) fn begins_a_request(&self) {
        let mut standing = self.presence.now();
        if standing.is_known {
            standing.waits_since = Instant::now();
        }
    }

    /// Notes that a review has arrived.
    pub(super) fn brings_a_review(self: &Arc<Self>) -> Owed {
        let mut standing = self.presence.now();
        standing.is_known = true;
        standing.owed += 1;
        drop(standing);
        Owed(Arc::clone(self))
    }

    /// Whether it has ever brought a review.
    pub(super) fn is_known(&self) -> bool {
        self.presence.standing().is_known
    }

    /// Waits until the place is needed for somebody else.
    pub(super) async fn is_dismissed(&self) {
        self.presence.dismissed.cancelled().await;
    }

    /// Gives what becomes of `task`, or nothing if the place is needed for somebody else before.
    pub(super) async fn unless_dismissed<T>(&self, task: impl Future<Output = T>) -> Option<T> {
        self.presence.dismissed.run_until_cancelled(task).await
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.room.leave(self.number);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let mut standing = self.0.presence.now();
        standing.owed = standing.owed.saturating_sub(1);
        standing.waits_since = Instant::now();
        drop(standing);
        self.0.room.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
