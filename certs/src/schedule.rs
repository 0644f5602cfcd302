//! When to renew what: the rotation of an authority and the certificate it signs, as one pure function.
//!
//! A rotation takes its steps in this order, so that a client that trusts the published `caBundle` verifies every
//! certificate that is served at any moment:
//!
//! 1. [`Step::IssueAuthority`]: at two thirds of the authority's life the next one is made and stored beside it.
//! 2. [`Step::Publish`]: `caBundle` carries both.
//! 3. [`Step::Promote`]: when that has settled, the next authority becomes the current one and signs a new leaf. The
//!    old authority's key is destroyed, its certificate stays trusted, for some replicas still serve the old leaf.
//! 4. [`Step::RetireAuthority`]: the old certificate leaves `caBundle` once it has expired.
//!
//! Clocks are not trusted. Every decision compares `now` with the window of a certificate, and the wait for `caBundle`
//! is measured by elapsed time and not by dates. A certificate whose time has not come yet was made by a clock ahead of
//! this one; it is kept, as nobody can tell which of the two is wrong. An authority is therefore only ever made at
//! least two thirds of a life after the one before it, and a clock that jumps to and fro makes none that a clock which
//! went straight to its latest time would not have made.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::certificate::Window;

/// Says what to do next with a bundle.
///
/// Apply the step, store the result, ask again; until the answer is [`Step::Keep`], or a [`Step::Publish`] that has to
/// wait for the configurations to come back through the watch.
#[must_use]
pub fn next(validity: &Validity, now: Timestamp) -> Step {
    if validity.may_promote(now) {
        Step::Promote
    } else if validity.needs_leaf(now) {
        Step::IssueLeaf
    } else if validity.needs_authority(now) {
        Step::IssueAuthority
    } else if validity.publication == Publication::Absent {
        Step::Publish
    } else if validity.may_retire(now) {
        Step::RetireAuthority
    } else {
        Step::Keep { until: validity.next_event(now) }
    }
}

/// What to do with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due before this time, if the clock runs on as it does.
    Keep {
        /// Always later than `now`.
        until: Timestamp,
    },
    /// Sign a new leaf with the current authority.
    IssueLeaf,
    /// Make the next authority, which signs nothing yet.
    IssueAuthority,
    /// Write the trusted authorities to the `caBundle` of every configuration.
    Publish,
    /// Make the next authority the current one and sign a leaf with it.
    Promote,
    /// Drop the authorities that have expired from the trusted ones.
    RetireAuthority,
}

/// All that decides over the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// The authority that signs.
    pub authority: Window,
    /// What is served; `None` if it is for other names than wanted.
    pub leaf: Option<Window>,
    /// The authority that will sign.
    pub next: Option<Window>,
    /// Authorities that signed once and are still trusted.
    pub previous: Vec<Window>,
    /// How far `caBundle` has got.
    pub publication: Publication,
    /// How long certificates are to live.
    pub lifetimes: Lifetimes,
}

/// How long clients have been able to know the trusted authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// The `caBundle` of at least one configuration is not known to be the bundle's.
    Absent,
    /// Every configuration trusts exactly the authorities of the bundle.
    Seen {
        /// Time since *this process* first saw both the bundle as it is now and every configuration in step with it.
        ///
        /// Measured by the monotonic clock, and counted anew after a restart, a change of leader, any change of the
        /// bundle, and any loss of a `caBundle`: then no wall clock can shorten the wait.
        elapsed: Duration,
    },
}

/// How long certificates live, and how long a change takes to be known everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    authority: Duration,
    leaf: Duration,
    settle: Duration,
}

/// The shortest life of a leaf, below which whole seconds are too coarse.
const SHORTEST_LEAF: Duration = Duration::from_secs(6);
/// How many times longer than a change takes to settle a leaf lives at least: its last third must suffice for renewal.
const SETTLES_PER_LEAF: u32 = 12;
/// How many times longer than a leaf an authority lives at least: its last third must suffice for a whole rotation.
const LEAVES_PER_AUTHORITY: u32 = 2;

impl Lifetimes {
    /// Lifetimes of an authority and a leaf, and the time after which a written `caBundle` or Secret has reached every
    /// API server and every replica.
    ///
    /// # Errors
    ///
    /// Fails if they leave no time for a rotation: a leaf lives at least 6 s and twelve times the settling, and an
    /// authority twice as long as a leaf.
    pub fn new(authority: Duration, leaf: Duration, settle: Duration) -> Result<Self, LifetimesError> {
        if leaf < SHORTEST_LEAF {
            return Err(LifetimesError::LeafTooShort { leaf });
        }
        let needed = leaf.saturating_mul(LEAVES_PER_AUTHORITY);
        if authority < needed {
            return Err(LifetimesError::AuthorityTooShort { authority, needed });
        }
        let needed = settle.saturating_mul(SETTLES_PER_LEAF);
        if leaf < needed {
            return Err(LifetimesError::SettleTooLong { leaf, needed });
        }
        Ok(Self { authority, leaf, settle })
    }

    /// How long an authority lives.
    #[must_use]
    pub fn authority(self) -> Duration {
        self.authority
    }

    /// How long a leaf lives.
    #[must_use]
    pub fn leaf(self) -> Duration {
        self.leaf
    }
}

impl Default for Lifetimes {
    /// A year for the authority, 30 days for the leaf, a minute to settle.
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self { authority: DAY * 365, leaf: DAY * 30, settle: Duration::from_mins(1) }
    }
}

/// Why lifetimes cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifetimesError {
    /// The leaf would expire while it is being renewed.
    #[error("the certificate lifetime of {} s is too short: give at least 6 s", leaf.as_secs_f64())]
    LeafTooShort {
        /// The refused lifetime.
        leaf: Duration,
    },
    /// The authority would expire while it is being replaced.
    #[error("the authority lifetime of {} s is too short: give at least {} s, twice that of a certificate",
        authority.as_secs_f64(), needed.as_secs_f64())]
    AuthorityTooShort {
        /// The refused lifetime.
        authority: Duration,
        /// The shortest that the lifetime of the leaf allows.
        needed: Duration,
    },
    /// Renewal could not finish before the leaf expires.
    #[error("the certificate lifetime of {} s leaves no time to settle: give at least {} s, twelve times the settling",
        leaf.as_secs_f64(), needed.as_secs_f64())]
    SettleTooLong {
        /// The refused lifetime of the leaf.
        leaf: Duration,
        /// The shortest lifetime that the settling time allows.
        needed: Duration,
    },
}

// === impl Validity ===

impl Validity {
    fn may_promote(&self, now: Timestamp) -> bool {
        self.has_settled() && self.next.is_some_and(|next| next.contains(now))
    }

    /// A leaf is renewed only for one that ends later: at the end of an authority's life a renewal gains nothing, and
    /// neither does one by a clock that jumped back.
    fn needs_leaf(&self, now: Timestamp) -> bool {
        self.authority.contains(now) && self.leaf.is_none_or(|leaf| leaf.renewal() <= now && self.gains(leaf, now))
    }

    fn gains(&self, leaf: Window, now: Timestamp) -> bool {
        Window::issued(now, self.lifetimes.leaf)
            .is_ok_and(|renewed| renewed.ending_with(self.authority).not_after > leaf.not_after)
    }

    fn needs_authority(&self, now: Timestamp) -> bool {
        match self.next {
            Some(next) => next.has_ended(now),
            None => self.authority.renewal() <= now,
        }
    }

    /// Not before the replicas have had the time to load the leaf that replaced its last one, even if a clock that
    /// jumped ahead says that it has expired.
    fn may_retire(&self, now: Timestamp) -> bool {
        self.has_settled() && self.previous.iter().any(|previous| previous.has_ended(now))
    }

    fn has_settled(&self) -> bool {
        matches!(self.publication, Publication::Seen { elapsed } if elapsed >= self.lifetimes.settle)
    }

    fn next_event(&self, now: Timestamp) -> Timestamp {
        let windows = [Some(self.authority), self.next].into_iter().flatten();
        let begins = windows.map(|window| window.not_before);
        let renewals = [Some(self.authority), self.leaf].into_iter().flatten().map(Window::renewal);
        let ends = self.previous.iter().copied().chain(self.next).map(after_end);
        let settled = self.settles_at(now);
        begins.chain(renewals).chain(ends).chain([settled]).filter(|event| *event > now).min().unwrap_or(Timestamp::MAX)
    }

    fn settles_at(&self, now: Timestamp) -> Timestamp {
        let elapsed = match self.publication {
            Publication::Absent => Duration::ZERO,
            Publication::Seen { elapsed } => elapsed,
        };
        now.saturating_add(self.lifetimes.settle.saturating_sub(elapsed)).unwrap_or(Timestamp::MAX)
    }
}

fn after_end(window: Window) -> Timestamp {
    window.not_after.checked_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
