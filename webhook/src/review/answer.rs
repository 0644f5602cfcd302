//! What an API server is told.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde_json::{Map, Value, json};

use super::{API_VERSION, KIND, warnings};

/// The answer to one review.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The number of the question.
    pub uid: String,
    /// Yes or no.
    pub outcome: Outcome,
    /// What the person at the keyboard is told beside; any length, see [`Answer::into_document`].
    pub warnings: Vec<String>,
    /// What the audit log records; the API server puts the webhook's name before each key.
    pub audit: BTreeMap<&'static str, String>,
}

/// Yes or no.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The object may be stored as it is.
    Allowed,
    /// The object may be stored after this change; an empty one is none.
    Patched(Patch),
    /// The object may not be stored.
    Denied {
        /// In which way it is wrong.
        status: Status,
        /// The whole text for the person who asked.
        message: String,
    },
}

/// In which way something is refused, in the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The review itself is wrong: an API server that speaks another language.
    BadRequest,
    /// Somebody may not do this.
    Forbidden,
    /// Somebody wrote something wrong.
    Invalid,
    /// Nobody is to blame: the same may be allowed a moment later.
    Unavailable,
}

impl Status {
    fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::Invalid => 422,
            Self::Unavailable => 503,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Forbidden => "Forbidden",
            Self::Invalid => "Invalid",
            Self::Unavailable => "ServiceUnavailable",
        }
    }
}

impl Answer {
    /// An answer that says nothing but yes.
    #[must_use]
    pub fn allowed(uid: &str) -> Self {
        Self::new(uid, Outcome::Allowed)
    }

    /// A refusal.
    #[must_use]
    pub fn denied(uid: &str, status: Status, message: String) -> Self {
        Self::new(uid, Outcome::Denied { status, message })
    }

    /// An answer without warnings and records.
    #[must_use]
    pub fn new(uid: &str, outcome: Outcome) -> Self {
        Self { uid: uid.to_owned(), outcome, warnings: Vec::new(), audit: BTreeMap::new() }
    }

    /// Has the audit log record a list, unless it is empty.
    pub fn record(&mut self, key: &'static str, entries: &[String]) {
        if !entries.is_empty() {
            self.audit.insert(key, entries.join("; "));
        }
    }

    /// The AdmissionReview as it is sent: `patch` and `patchType` both or neither, and warnings as long as the API
    /// server passes on uncut.
    #[must_use]
    pub fn into_document(self) -> Value {
        let mut response = Map::new();
        response.insert("uid".to_owned(), self.uid.into());
        response.insert("allowed".to_owned(), (!matches!(self.outcome, Outcome::Denied { .. })).into());
        match self.outcome {
            Outcome::Patched(patch) if !patch.is_empty() => {
                response.insert("patchType".to_owned(), "JSONPatch".into());
                response.insert("patch".to_owned(), STANDARD.encode(json!(patch).to_string()).into());
            }
            Outcome::Allowed | Outcome::Patched(_) => {}
            Outcome::Denied { status, message } => {
                let status = json!({
                    "status": "Failure",
                    "message": message,
                    "reason": status.reason(),
                    "code": status.code(),
                });
                response.insert("status".to_owned(), status);
            }
        }
        let warnings = warnings::fitted(&self.warnings);
        if !warnings.is_empty() {
            response.insert("warnings".to_owned(), warnings.into());
        }
        if !self.audit.is_empty() {
            response.insert("auditAnnotations".to_owned(), json!(self.audit));
        }
        json!({"apiVersion": API_VERSION, "kind": KIND, "response": response})
    }
}
