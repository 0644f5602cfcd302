//! Whether this replica may be asked, as a set of owned conditions.
//!
//! Whoever can keep the replica from answering owns a [`Condition`]. A condition that nobody owns any more counts as
//! unmet: a task that ended cannot say that all is well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions under which this replica answers.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Why each condition is not met; met ones have no entry.
    unmet: BTreeMap<&'static str, String>,
    leaving: bool,
}

/// One condition, not met until its owner says so.
#[derive(Debug)]
#[must_use = "a condition that is dropped is never met"]
pub struct Condition {
    name: &'static str,
    state: Arc<Mutex<State>>,
}

impl Readiness {
    /// Adds a condition; `name` says what is waited for.
    pub fn condition(&self, name: &'static str) -> Condition {
        lock(&self.0).unmet.insert(name, "not yet".to_owned());
        Condition { name, state: Arc::clone(&self.0) }
    }

    /// This replica leaves: it is never ready again, though it still answers.
    pub fn leave(&self) {
        lock(&self.0).leaving = true;
    }

    /// Why this replica is not ready, one reason a line; nothing if it is.
    #[must_use]
    pub fn obstacles(&self) -> Option<String> {
        if lock(&self.0).leaving {
            return Some("leaving\n".to_owned());
        }
        self.unmet()
    }

    /// Why this replica cannot answer, one reason a line; nothing if it can. One that leaves still can.
    #[must_use]
    pub fn unmet(&self) -> Option<String> {
        let state = lock(&self.0);
        let mut text = String::new();
        for (name, reason) in &state.unmet {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "{name}: {reason}");
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Condition {
    /// The condition is met.
    pub fn met(&self) {
        let mut state = lock(&self.state);
        if state.unmet.remove(self.name).is_some() && state.unmet.is_empty() {
            tracing::info!("ready");
        }
    }

    /// The condition is not met, or no longer.
    pub fn unmet(&self, reason: &str) {
        let mut state = lock(&self.state);
        let before = state.unmet.insert(self.name, reason.to_owned());
        // Whoever leaves lets go of its conditions one by one, which is no news.
        if !state.leaving && before.as_deref() != Some(reason) {
            tracing::warn!(condition = self.name, reason, "not ready");
        }
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        self.unmet("nobody works on it any more");
    }
}

/// The state is whole at every moment, so a panic elsewhere does not spoil it.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_ready_when_every_condition_is_met() {
        let readiness = Readiness::default();
        assert_eq!(readiness.obstacles(), None);
        let (watch, certificate) = (readiness.condition("watch"), readiness.condition("certificate"));
        watch.met();
        assert_eq!(readiness.obstacles().unwrap(), "certificate: not yet\n");
        certificate.met();
        assert_eq!(readiness.obstacles(), None);
        certificate.unmet("expired");
        assert_eq!(readiness.obstacles().unwrap(), "certificate: expired\n");
    }

    #[test]
    fn a_condition_that_nobody_owns_is_not_met() {
        let readiness = Readiness::default();
        let condition = readiness.condition("watch");
        condition.met();
        drop(condition);
        assert!(readiness.obstacles().unwrap().starts_with("watch: "));
    }

    #[test]
    fn a_replica_that_leaves_is_not_ready_whatever_is_met() {
        let readiness = Readiness::default();
        readiness.leave();
        assert_eq!(readiness.obstacles().unwrap(), "leaving\n");
        assert_eq!(readiness.unmet(), None, "it still answers");
    }
}
