//! Logging on change: the first failure and the recovery, not every attempt between.

use std::fmt::Display;

/// Something that is tried again and again.
#[derive(Debug)]
pub struct Outage {
    what: String,
    last: Option<String>,
}

impl Outage {
    /// `what` is a fragment that fits after "failed to".
    #[must_use]
    pub fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), last: None }
    }

    /// It failed. Says whether that was news, which was logged.
    pub fn failed(&mut self, error: &impl Display) -> bool {
        let text = error.to_string();
        let news = self.last.as_ref() != Some(&text);
        if news {
            tracing::warn!(error = text, "failed to {}; trying again", self.what);
            self.last = Some(text);
        }
        news
    }

    /// It worked.
    pub fn recovered(&mut self) {
        if self.last.take().is_some() {
            tracing::info!("recovered: can {} again", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_is_news_once_and_again_after_a_recovery() {
        let mut outage = Outage::of("watch");
        assert!(outage.failed(&"refused"));
        assert!(!outage.failed(&"refused"));
        assert!(outage.failed(&"timed out"), "another reason is news");
        outage.recovered();
        assert!(outage.failed(&"timed out"));
    }
}
