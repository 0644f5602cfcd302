//! What the log and the metrics say of an answer: names and reasons, and never a value.

use super::question::{About, Question};
use crate::args::Webhook;
use crate::metrics::Metrics;
use crate::refusals::Refused;

/// One answer, for the log and the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    namespace: String,
    pod: String,
    store: String,
    service_account: String,
    outcome: Outcome,
    reason: &'static str,
    grants: Vec<String>,
    denied: Vec<String>,
    refused: Option<Refused>,
}

/// What became of a review.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The object is left as it is.
    #[default]
    Allowed,
    /// The Pod gets its secrets.
    Injected,
    /// The object is refused.
    Denied,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Injected => "injected",
            Self::Denied => "denied",
        }
    }
}

impl Record {
    pub(super) fn of(question: &Question, outcome: Outcome, reason: &'static str) -> Self {
        let record = Self { namespace: question.namespace.clone(), outcome, reason, ..Self::default() };
        match &question.about {
            About::Injection(pod) | About::Creation(pod) | About::Change { new: pod, .. } => {
                Self { pod: pod.display_name(), service_account: pod.service_account().to_owned(), ..record }
            }
            About::Store(store) => Self { store: store.object_name().to_string(), ..record },
        }
    }

    pub(super) fn with_grants(self, grants: Vec<String>) -> Self {
        Self { grants, ..self }
    }

    pub(super) fn with_denied(self, denied: Vec<String>) -> Self {
        Self { denied, ..self }
    }

    pub(super) fn with_refused(self, refused: Option<Refused>) -> Self {
        Self { refused, ..self }
    }

    /// The Pod that was refused, where what made it is to be told.
    pub(super) fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// A review that nothing was to be judged in.
    pub(super) fn unconcerned(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), reason: "unconcerned", ..Self::default() }
    }

    /// A review that could be answered and not judged.
    #[must_use]
    pub fn incomplete() -> Self {
        Self { outcome: Outcome::Denied, reason: "incomplete-review", ..Self::default() }
    }

    /// Tells the log and the metrics.
    pub fn note(&self, webhook: Webhook, metrics: &Metrics) {
        metrics.admission(webhook.as_str(), self.outcome.as_str(), self.reason);
        let Self { namespace, pod, store, service_account, outcome, reason, grants, denied, .. } = self;
        tracing::info!(
            webhook = webhook.as_str(),
            namespace,
            pod,
            store = some(store),
            service_account,
            outcome = outcome.as_str(),
            reason,
            grants = list(grants),
            denied = list(denied),
            "review answered"
        );
    }
}

/// Nothing rather than an empty text.
fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Nothing rather than an empty list.
fn list(entries: &[String]) -> Option<String> {
    (!entries.is_empty()).then(|| entries.join("; "))
}
