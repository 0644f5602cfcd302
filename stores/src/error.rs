//! Why a store could not answer, in terms of what the caller does about it.

use crate::scrub;
use std::time::Duration;

/// What a failure means for the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The store works and does not have it. The only class that `optional` forgives.
    NotFound,
    /// The login is good and may not read this.
    Denied,
    /// The store does not accept who we say we are.
    Unauthenticated,
    /// The store asks for fewer requests.
    Throttled,
    /// The store cannot be reached or cannot answer now; nothing is known about the secret.
    Unavailable,
    /// Asking again will not help: an address, a mount, a property or a certificate is wrong.
    Misconfigured,
    /// The answer is not what this store sends: too long, not JSON, no object.
    Integrity,
}

impl ErrorClass {
    /// The class as a label of metrics and a word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
            Self::Integrity => "integrity",
        }
    }
}

/// A failure of a store, safe to print: its text has passed the scrubber and carries no token, value or query.
///
/// The text names the server, key or property that it is about, says why, and where it can, what helps. The store's name
/// is the caller's to add.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct StoreError {
    class: ErrorClass,
    text: String,
    retry_after: Option<Duration>,
    during_login: bool,
}

impl StoreError {
    /// The longest time that a server can make us wait; above it a wrong header would end all refreshes.
    pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

    /// A failure of `class`; `text` is scrubbed.
    #[must_use]
    pub fn new(class: ErrorClass, text: impl AsRef<str>) -> Self {
        Self { class, text: scrub::scrub(text.as_ref()), retry_after: None, during_login: false }
    }

    /// A failure that asking again will not heal.
    pub(crate) fn misconfigured(text: impl AsRef<str>) -> Self {
        Self::new(ErrorClass::Misconfigured, text)
    }

    /// The same failure, with the time for which the server asked to be left alone.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after.map(|wait| wait.min(Self::LONGEST_RETRY_AFTER));
        self
    }

    /// The same failure, as one of the login.
    #[must_use]
    pub const fn at_login(mut self) -> Self {
        self.during_login = true;
        self
    }

    /// What it means for the one who asked.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        self.class
    }

    /// The time for which the server asked to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the login failed, so that no secret was asked for. A refusal at login may heal by itself, since identity
    /// providers lag.
    #[must_use]
    pub const fn during_login(&self) -> bool {
        self.during_login
    }
}
