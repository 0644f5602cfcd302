//! Where reviews are answered: what was asked meets what is known.

use std::sync::{Arc, PoisonError, RwLock};

use alcove_injection::decision::Context;
use alcove_injection::effort::MOST_STEPS;
use alcove_injection::settings::Settings;
use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;

use crate::args::Webhook;
use crate::clock;
use crate::cluster::Objects;
use crate::cluster::live::{Live, Outcome};
use crate::objects::View;
use crate::refusals::Refusals;
use crate::review::{Answer, Review};

mod judgement;
mod question;
mod record;
mod turns;

use judgement::Judgement;
use question::Question;
pub use record::Record;
use turns::Turn;
pub use turns::{Excess, Turns};

/// How many bytes a review may have to be judged on the thread that serves: handing it to another costs more than judging the
/// Pods of most people.
const LARGEST_AT_ONCE: usize = 64 * 1024;
/// How many steps policies may take there, some milliseconds; a review that needs more is begun anew on another thread.
const MOST_STEPS_AT_ONCE: usize = 500_000;

/// Answers reviews from what is known.
#[derive(Debug)]
pub struct Admission {
    objects: Objects,
    settings: Arc<ArcSwap<Settings>>,
    live: Option<Live>,
    refusals: Option<Refusals>,
}

impl Admission {
    /// Answers from files: what is not in them does not exist.
    #[must_use]
    pub fn from_files(view: View, settings: Settings) -> Self {
        Self {
            objects: Arc::new(RwLock::new(view)),
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            live: None,
            refusals: None,
        }
    }

    /// Answers from what watches deliver, and reads live what they have not delivered yet.
    #[must_use]
    pub fn in_cluster(objects: Objects, settings: Arc<ArcSwap<Settings>>, live: Live) -> Self {
        Self { objects, settings, live: Some(live), refusals: None }
    }

    /// Tells what made a Pod that it was refused, beside the answer.
    #[must_use]
    pub fn telling(self, refusals: Refusals) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    /// Answers a review. It takes a turn to judge it, and none while it waits for the API server: what can be answered
    /// without does not wait for what cannot.
    ///
    /// # Errors
    ///
    /// Too many others are being judged, or wait for the API server.
    pub async fn review(&self, webhook: Webhook, review: Review, turns: &Turns) -> Result<(Answer, Record), Excess> {
        let (answer, record) = self.answer(webhook, review, turns).await?;
        if let (Some(refusals), Some(refused)) = (&self.refusals, record.refused()) {
            // Whoever reaches the port may speak of any namespace.
            let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
            if objects.catalog().namespace_labels(refused.namespace()).is_some() {
                refusals.tell(refused, clock::now());
            }
        }
        Ok((answer, record))
    }

    async fn answer(&self, webhook: Webhook, review: Review, turns: &Turns) -> Result<(Answer, Record), Excess> {
        let turn = turns.take()?;
        let question = match Question::of(webhook, review) {
            Ok(question) => Arc::new(question),
            Err(answered) => return Ok(*answered),
        };
        let first = self.judge(&question, turn).await;
        let Some(live) = self.live.as_ref().filter(|_| first.may_be_outdated()) else {
            return Ok(first.into_answer(&question));
        };
        let judgement = match live.read(&question.namespace).await {
            // Even where the read brought nothing new: a watch may have, since the first look.
            Outcome::Unchanged | Outcome::Changed => self.judge(&question, turns.wait().await?).await,
            Outcome::Failed => first.or_unavailable(),
            // A refusal stands: who is turned away instead might be let in, where failures are ignored.
            Outcome::Crowded if first.is_refusal() => first,
            Outcome::Crowded => return Err(Excess),
        };
        Ok(judgement.into_answer(&question))
    }

    /// Judges by what is known now. What may take long is judged beside the threads that serve: those would stand still
    /// meanwhile. Nothing is locked, as [`View`] says. `turn` is held for as long as anything works on it, even where nobody
    /// waits for the answer any more: what was begun is computed to its end.
    async fn judge(&self, question: &Arc<Question>, turn: Turn) -> Judgement {
        let settings = self.settings.load_full();
        let catalog = Arc::clone(self.objects.read().unwrap_or_else(PoisonError::into_inner).catalog());
        if question.size <= LARGEST_AT_ONCE {
            let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS_AT_ONCE };
            let judgement = Judgement::unless_it_panics(|| Judgement::of(question, &context));
            if !judgement.is_exhausted() {
                return judgement;
            }
        }
        let question = Arc::clone(question);
        let judged = spawn_blocking(move || {
            let _turn = turn;
            let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
            Judgement::unless_it_panics(|| Judgement::of(&question, &context))
        });
        judged.await.unwrap_or_else(|error| Judgement::broken(&error))
    }
}

#[cfg(test)]
mod tests;
