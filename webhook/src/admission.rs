//! Where reviews are answered: what was asked meets what is known.

use std::sync::{Arc, PoisonError, RwLock};

use alcove_injection::decision::Context;
use alcove_injection::settings::Settings;
use arc_swap::ArcSwap;

use crate::args::Webhook;
use crate::cluster::Objects;
use crate::cluster::live::{Live, Outcome};
use crate::objects::View;
use crate::review::{Answer, Review};

mod judgement;
mod question;
mod record;

use judgement::Judgement;
use question::Question;
pub use record::Record;

/// Answers reviews from what is known.
#[derive(Debug)]
pub struct Admission {
    objects: Objects,
    settings: Arc<ArcSwap<Settings>>,
    live: Option<Live>,
}

impl Admission {
    /// Answers from files: what is not in them does not exist.
    #[must_use]
    pub fn from_files(view: View, settings: Settings) -> Self {
        Self { objects: Arc::new(RwLock::new(view)), settings: Arc::new(ArcSwap::from_pointee(settings)), live: None }
    }

    /// Answers from what watches deliver, and reads live what they have not delivered yet.
    #[must_use]
    pub fn in_cluster(objects: Objects, settings: Arc<ArcSwap<Settings>>, live: Live) -> Self {
        Self { objects, settings, live: Some(live) }
    }

    /// Answers a review.
    pub async fn review(&self, webhook: Webhook, review: Review) -> (Answer, Record) {
        let question = match Question::of(webhook, review) {
            Ok(question) => question,
            Err(answered) => return *answered,
        };
        let first = self.judge(&question);
        let Some(live) = self.live.as_ref().filter(|_| first.may_be_outdated()) else {
            return first.into_answer(&question);
        };
        match live.read(question.namespace()).await {
            // Even where the read brought nothing new: a watch may have, since the first look.
            Outcome::Unchanged | Outcome::Changed => self.judge(&question).into_answer(&question),
            Outcome::Failed => first.or_unavailable().into_answer(&question),
        }
    }

    fn judge(&self, question: &Question) -> Judgement {
        let settings = self.settings.load();
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        Judgement::of(question, &Context { catalog: objects.catalog(), settings: &settings })
    }
}

#[cfg(test)]
mod tests;
