//! How long a login lasts, and what is due at a given time: a pure function of the two.

use std::time::Duration;
use tokio::time::Instant;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the login is good.
    Use,
    /// Two thirds have passed: renew it.
    Renew,
    /// It has ended, or renewals no longer give it its full length: log in again.
    LogIn,
}

/// The life of one login token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    since: Instant,
    /// Zero for a token that does not end.
    granted: Duration,
    /// What the login granted, before renewals near the token's maximum cut it short.
    at_login: Duration,
    renewable: bool,
}

impl Lease {
    /// The life that a login at `since` granted.
    pub(super) const fn new(since: Instant, granted: Duration, renewable: bool) -> Self {
        Self { since, granted, at_login: granted, renewable }
    }

    /// The same login, renewed at `since`.
    pub(super) const fn renewed(self, since: Instant, granted: Duration, renewable: bool) -> Self {
        Self { since, granted, renewable, ..self }
    }

    /// What is due at `now`.
    pub(super) fn step(&self, now: Instant) -> Step {
        let age = self.age(now);
        if self.granted.is_zero() || age < self.granted.mul_f64(2.0 / 3.0) {
            return Step::Use;
        }
        // A renewal that gave less than half means that the token's maximum is near.
        if self.renewable && age < self.granted && self.granted >= self.at_login / 2 {
            return Step::Renew;
        }
        Step::LogIn
    }

    /// How long ago it was granted.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether it has ended at `now`.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.granted.is_zero() && self.age(now) >= self.granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn step_after(lease: Lease, seconds: u64) -> Step {
        lease.step(lease.since + Duration::from_secs(seconds))
    }

    #[test]
    fn a_renewable_login_is_renewed_at_two_thirds_and_any_other_replaced() {
        let now = Instant::now();
        for (renewable, due) in [(true, Step::Renew), (false, Step::LogIn)] {
            let lease = Lease::new(now, HOUR, renewable);
            assert_eq!(step_after(lease, 2399), Step::Use);
            assert_eq!(step_after(lease, 2401), due);
            assert_eq!(step_after(lease, 3600), Step::LogIn);
        }
    }

    #[test]
    fn a_login_without_end_is_used_for_ever() {
        assert_eq!(step_after(Lease::new(Instant::now(), Duration::ZERO, false), 1 << 30), Step::Use);
    }

    #[test]
    fn renewals_end_where_the_maximum_cuts_them_short() {
        let lease = Lease::new(Instant::now(), HOUR, true);
        let full = lease.renewed(lease.since, HOUR, true);
        let cut = lease.renewed(lease.since, HOUR / 3, true);
        assert_eq!(step_after(full, 2401), Step::Renew);
        assert_eq!(step_after(cut, 801), Step::LogIn);
    }

    proptest! {
        #[test]
        fn a_login_that_is_over_is_never_used(granted in 1u64..100_000, age in 0u64..200_000, renewable: bool) {
            let lease = Lease::new(Instant::now(), Duration::from_secs(granted), renewable);
            let now = lease.since + Duration::from_secs(age);
            prop_assert_eq!(lease.is_over(now), age >= granted);
            prop_assert!(!lease.is_over(now) || lease.step(now) == Step::LogIn);
        }
    }
}
