//! From what is decided to what is answered.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use alcove_injection::decision::{Context, Decision, Plan, Refusal, Skip};
use alcove_injection::policy::Trial;
use alcove_injection::store::{caution, mistakes};
use alcove_injection::validate::{Allowance, Verdict};
use alcove_injection::{Denied, Grant};
use alcove_injection::{decide, validate};
use alcove_resources::Object;

use super::question::{About, Question};
use super::record::{Outcome as Became, Record};
use crate::refusals::Refused;
use crate::review::{Answer, Outcome, Status};

/// What audit logs record of what a Pod may mount when it is injected.
const GRANTS: &str = "grants";
/// The same of the Pod as it is stored, which other webhooks may have changed meanwhile. It has a key of its own because
/// the API server drops a second value of a key.
const ADMITTED_GRANTS: &str = "admitted-grants";
/// What audit logs record of what policies on trial would refuse of the Pod as it is stored.
const WOULD_BE_DENIED: &str = "would-be-denied";
/// What audit logs record of what a Pod may not mount or, where it is refused for something else, for which reason.
const DENIED: &str = "denied";

/// How much of what a Pod may not mount is recorded; the rest is counted. Of grants, none is left out.
const MOST_DENIED: usize = 100;

/// What was decided, and whether a fresh look at the cluster may change it.
#[derive(Debug)]
pub(super) struct Judgement {
    decision: Decided,
    absent: bool,
}

#[derive(Debug)]
enum Decided {
    Inject(Plan),
    Allow {
        reason: &'static str,
        warnings: Vec<String>,
        grants: Vec<Grant>,
        trials: Vec<Trial>,
    },
    Deny(Refusal),
    /// A store, with what is wrong with it.
    Refuse(String),
    Unavailable(&'static str),
}

/// What is said where "not found" might only be "not found yet".
const UNAVAILABLE: &str = "what this Pod depends on is not known yet, and the API server did not answer in time when \
                           alcove-webhook asked for it; apply again";
/// What is said where the judgement itself failed.
const BROKEN: &str = "alcove-webhook failed to judge this Pod, which is a fault of its own: its log says more";

impl Judgement {
    /// Asks the question.
    pub(super) fn of(question: &Question, context: &Context<'_>) -> Self {
        match &question.about {
            About::Injection(pod) => Self::from(decide(pod, context)),
            About::Creation(pod) => Self::from(validate(None, pod, context)),
            About::Change { old, new } => Self::from(validate(Some(old), new, context)),
            About::Store(store) => Self::of_store(store, context),
        }
    }

    fn of_store(store: &Object, context: &Context<'_>) -> Self {
        let problems = mistakes(store, context.catalog, context.settings);
        let warnings = || caution(store, context.settings).into_iter().collect();
        let allowed =
            || Decided::Allow { reason: "valid", warnings: warnings(), grants: Vec::new(), trials: Vec::new() };
        let refused = || Decided::Refuse(format!("{} is refused:\n{problems}", store.object_name()));
        let decision = if problems.is_empty() { allowed() } else { refused() };
        Self { decision, absent: false }
    }

    /// What `judge` judges. A panic in there, which no review should cause, is the refusal of this one: its Pod will come
    /// again and again, and would end one replica after the other.
    pub(super) fn unless_it_panics(judge: impl FnOnce() -> Self) -> Self {
        // What is judged is not looked at again, and what it is judged by never changes.
        catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|_panic| Self::broken(&"it panicked"))
    }

    /// There is none, through a fault of ours.
    pub(super) fn broken(error: &impl Display) -> Self {
        tracing::error!(%error, "a review could not be judged");
        Self { decision: Decided::Unavailable(BROKEN), absent: false }
    }

    /// Whether a fresh look at the cluster may change it: something was not found, or a refusal rests on objects that
    /// somebody may have changed a moment ago.
    pub(super) const fn may_be_outdated(&self) -> bool {
        self.absent || self.is_refusal()
    }

    /// Whether it refuses.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self.decision, Decided::Deny(_) | Decided::Refuse(_))
    }

    /// Whether it was given up, because policies took more steps than it had.
    pub(super) fn is_exhausted(&self) -> bool {
        matches!(&self.decision, Decided::Deny(refusal) if refusal.is_exhausted())
    }

    /// The same, unless it allows something although not everything was known: what is missing might forbid it.
    pub(super) fn or_unavailable(self) -> Self {
        match self.decision {
            Decided::Deny(_) | Decided::Refuse(_) | Decided::Unavailable(_) => self,
            Decided::Inject(_) | Decided::Allow { .. } => Self { decision: Decided::Unavailable(UNAVAILABLE), ..self },
        }
    }

    /// The answer, and what is recorded of it.
    pub(super) fn into_answer(self, question: &Question) -> (Answer, Record) {
        let record = |outcome, reason| Record::of(question, outcome, reason);
        let answer = |outcome| Answer::new(&question.uid, outcome);
        match self.decision {
            Decided::Inject(Plan { patch, warnings, grants, .. }) => {
                // An empty patch is the second call for a Pod that the first one has changed.
                let reason = if patch.is_empty() { "unchanged" } else { "changed" };
                let grants: Vec<String> = grants.iter().map(granted).collect();
                let mut answer = Answer { warnings, ..answer(Outcome::Patched(patch)) };
                answer.record(GRANTS, &grants);
                (answer, record(Became::Injected, reason).with_grants(grants))
            }
            Decided::Allow { reason, warnings, grants, trials } => {
                let grants: Vec<String> = grants.iter().map(granted).collect();
                let trials: Vec<String> = trials.iter().map(Trial::to_string).collect();
                let mut answer = Answer { warnings, ..answer(Outcome::Allowed) };
                answer.record(ADMITTED_GRANTS, &grants);
                answer.record(WOULD_BE_DENIED, &trials);
                (answer, record(Became::Allowed, reason).with_grants(grants))
            }
            Decided::Deny(refusal) => {
                let denied = refused_of(&refusal.denied);
                let of_owner = question.creation().and_then(|pod| Refused::of(pod, &refusal));
                let outcome = Outcome::Denied { status: status(&refusal), message: refusal.to_string() };
                let mut answer = Answer { warnings: refusal.warnings, ..answer(outcome) };
                let reason = refusal.reason.as_str();
                let other = [reason.to_owned()];
                answer.record(DENIED, if denied.is_empty() { &other } else { &denied });
                (answer, record(Became::Denied, reason).with_denied(denied).with_refused(of_owner))
            }
            Decided::Refuse(message) => {
                let mut answer = answer(Outcome::Denied { status: Status::Invalid, message });
                answer.record(DENIED, &["store".to_owned()]);
                (answer, record(Became::Denied, "store"))
            }
            Decided::Unavailable(message) => {
                let mut answer = answer(Outcome::Denied { status: Status::Unavailable, message: message.to_owned() });
                answer.record(DENIED, &["unavailable".to_owned()]);
                (answer, record(Became::Denied, "unavailable"))
            }
        }
    }
}

impl From<Decision> for Judgement {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Inject(plan) => Self { absent: plan.absent, decision: Decided::Inject(plan) },
            Decision::Skip(Skip { reason, warnings, absent }) => {
                let (reason, grants, trials) = (reason.as_str(), Vec::new(), Vec::new());
                Self { decision: Decided::Allow { reason, warnings, grants, trials }, absent }
            }
            Decision::Deny(refusal) => Self { absent: refusal.absent, decision: Decided::Deny(refusal) },
        }
    }
}

impl From<Verdict> for Judgement {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow(Allowance { warnings, absent, grants, trials }) => {
                Self { decision: Decided::Allow { reason: "valid", warnings, grants, trials }, absent }
            }
            Verdict::Deny(refusal) => Self { absent: refusal.absent, decision: Decided::Deny(refusal) },
        }
    }
}

fn status(refusal: &Refusal) -> Status {
    if refusal.reason.status_code() == 403 { Status::Forbidden } else { Status::Invalid }
}

fn granted(Grant { secret, store_kind, store, key, by }: &Grant) -> String {
    format!("{secret}: {store_kind} {store}, {key}, by {by}")
}

/// What was refused, as far as anybody reads it.
fn refused_of(denied: &[Denied]) -> Vec<String> {
    let untold = denied.len().saturating_sub(MOST_DENIED);
    let more = (untold > 0).then(|| format!("and {untold} more"));
    denied.iter().take(MOST_DENIED).map(refused).chain(more).collect()
}

fn refused(Denied { secret, store_kind, store, key, .. }: &Denied) -> String {
    format!("{secret}: {store_kind} {store}, {key}")
}
