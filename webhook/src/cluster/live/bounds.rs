//! How many reads there are at once, and how many reviews wait for them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// In this time no more reads begin than may be under way at once: an API server that answers quickly is not to be asked
/// the more often for it.
pub(super) const PACE: Duration = Duration::from_millis(100);

/// Reads of which some are under way at once. The others wait in the order in which they came.
#[derive(Debug)]
pub(super) struct Turns {
    free: Semaphore,
    /// When the last of them began, as many as there are turns; nothing for each that there has not been yet.
    begun: SyncMutex<VecDeque<Option<Instant>>>,
}

impl Turns {
    pub(super) fn of(count: usize) -> Self {
        Self { free: Semaphore::new(count), begun: SyncMutex::new(vec![None; count].into()) }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        let permit = self.free.acquire().await.ok()?;
        sleep_until(self.next()).await;
        Some(permit)
    }

    /// When the next one may begin; it is taken to begin then.
    fn next(&self) -> Instant {
        let (mut begun, now) = (lock(&self.begun), Instant::now());
        let earliest = begun.pop_front().flatten().map_or(now, |before| before + PACE);
        let next = earliest.max(now);
        begun.push_back(Some(next));
        next
    }
}

/// Seats for reviews that wait. No group of them may take more than it leaves free: one group alone has half of them, and each
/// that comes later finds half of what the others have left, until there is none.
#[derive(Debug)]
pub(super) struct Seats {
    count: usize,
    taken: SyncMutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_group: HashMap<String, usize>,
}

/// A seat, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    seats: &'a Seats,
    group: String,
}

impl Seats {
    pub(super) fn of(count: usize) -> Self {
        Self { count, taken: SyncMutex::default() }
    }

    /// Takes a seat, if the group may have one more.
    pub(super) fn take(&self, group: &str) -> Option<Seat<'_>> {
        let mut taken = lock(&self.taken);
        let of_group = taken.by_group.get(group).copied().unwrap_or_default();
        if of_group >= self.count.saturating_sub(taken.all) {
            return None;
        }
        taken.all = taken.all.saturating_add(1);
        taken.by_group.insert(group.to_owned(), of_group.saturating_add(1));
        Some(Seat { seats: self, group: group.to_owned() })
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut taken = lock(&self.seats.taken);
        taken.all = taken.all.saturating_sub(1);
        let left = taken.by_group.get(&self.group).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            taken.by_group.remove(&self.group);
        } else {
            taken.by_group.insert(self.group.clone(), left);
        }
    }
}

/// Each is whole at every moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &SyncMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_leaves_half_of_the_seats_and_every_other_group_finds_one() {
        let seats = Seats::of(8);
        let mut held: Vec<Seat<'_>> = std::iter::from_fn(|| seats.take("flood")).collect();
        assert_eq!(held.len(), 4);
        for group in ["a", "b", "c"] {
            held.push(seats.take(group).unwrap());
        }
        assert!(seats.take("flood").is_none());
        assert!(seats.take("d").is_some());
        drop(held);
        assert!(seats.taken.lock().unwrap().by_group.is_empty(), "nothing is kept for nobody");
        assert!(seats.take("flood").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_reads_are_under_way_at_once_than_there_are_turns_and_no_more_begin_in_a_while() {
        let turns = Turns::of(2);
        let begin = Instant::now();
        let (first, second) = (turns.turn().await.unwrap(), turns.turn().await.unwrap());
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert!(tokio::time::timeout(PACE * 2, turns.turn()).await.is_err());
        drop((first, second));
        for round in 2..5 {
            drop(turns.turn().await.unwrap());
            drop(turns.turn().await.unwrap());
            assert!(begin.elapsed() >= PACE * round, "{:?} {round}", begin.elapsed());
        }
    }
}
