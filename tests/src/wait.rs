//! Waiting for a condition. The only place of the tests that lets time pass.
//!
//! A condition that is not met in time fails with what was waited for and the last state seen, which is what the reader
//! of a failed run needs first.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a condition on the node may take: generous, because only a failing test waits for so long.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The pause between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(50);

/// What one look at a condition found.
#[derive(Debug)]
pub enum Seen<T> {
    /// The condition holds, with what came of it.
    Met(T),
    /// The condition does not hold yet; the text describes the present state.
    NotYet(String),
}

impl<T> Seen<T> {
    /// Turns an attempt that may fail for now into a look: its error is the present state.
    pub fn attempt(result: Result<T>) -> Self {
        match result {
            Ok(value) => Self::Met(value),
            Err(error) => Self::NotYet(format!("{error:#}")),
        }
    }
}

/// Looks at a condition until it is met, for [`PATIENCE`] at most.
///
/// An error from `look` ends the waiting at once: use it for states from which there is no way to the condition.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<Seen<T>>) -> Result<T> {
    until_within(PATIENCE, what, look).await
}

/// Looks at a condition until it is met, for `limit` at most.
pub async fn until_within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<Seen<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let state = match look().await.with_context(|| format!("waiting for {what}"))? {
            Seen::Met(value) => return Ok(value),
            Seen::NotYet(state) => state,
        };
        if Instant::now() >= deadline {
            bail!("waited {} s for {what}; last state: {state}", limit.as_secs());
        }
        pause().await;
    }
}

/// Looks at a condition until it is met, outside of any runtime.
pub fn until_blocking<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<Seen<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let state = match look().with_context(|| format!("waiting for {what}"))? {
            Seen::Met(value) => return Ok(value),
            Seen::NotYet(state) => state,
        };
        if Instant::now() >= deadline {
            bail!("waited {} s for {what}; last state: {state}", limit.as_secs());
        }
        pause_blocking();
    }
}

#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
async fn pause() {
    tokio::time::sleep(INTERVAL).await;
}

#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
fn pause_blocking() {
    std::thread::sleep(INTERVAL);
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_condition_that_is_never_met_fails_with_what_was_waited_for_and_the_last_state() {
        let mut looks = 0;
        let outcome = until_blocking(Duration::ZERO, "the kettle to boil", || {
            looks += 1;
            Ok(Seen::<()>::NotYet(format!("lukewarm, look {looks}")))
        });
        let text = outcome.unwrap_err().to_string();
        assert_eq!(text, "waited 0 s for the kettle to boil; last state: lukewarm, look 1");
    }

    #[tokio::test]
    async fn an_error_ends_the_waiting_at_once() {
        let outcome = until("the kettle to boil", async || Err::<Seen<()>, _>(anyhow!("it is broken"))).await;
        assert_eq!(format!("{:#}", outcome.unwrap_err()), "waiting for the kettle to boil: it is broken");
    }

    #[tokio::test]
    async fn a_condition_is_looked_at_until_it_is_met() {
        let mut looks = 0;
        let outcome = until("the third look", async || {
            looks += 1;
            Ok(if looks == 3 { Seen::Met(looks) } else { Seen::NotYet(String::new()) })
        });
        assert_eq!(outcome.await.unwrap(), 3);
    }
}
