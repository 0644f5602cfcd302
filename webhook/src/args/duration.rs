//! Lengths of time as they are typed.

use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Span as JiffSpan};

/// A length of time: `30s`, `5m`, `1h30m`, `365d`; a day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// The length.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// A text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a duration: write a number and a unit, such as 30s, 5m, 1h30m or 365d")]
pub struct NotASpan;

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let span = text.parse::<JiffSpan>().ok().ok_or(NotASpan)?;
        let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok().ok_or(NotASpan)?;
        if length < SignedDuration::ZERO {
            return Err(NotASpan);
        }
        Ok(Self(length.unsigned_abs()))
    }
}
