//! What an API server is told.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::Serialize;

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
    pub fn into_document(self) -> Document {
        let (allowed, patch, status) = match self.outcome {
            Outcome::Allowed => (true, None, None),
            Outcome::Patched(patch) if patch.is_empty() => (true, None, None),
            // Not through `Display`, which takes several times as long.
            Outcome::Patched(patch) => match serde_json::to_vec(&patch) {
                Ok(text) => (true, Some(STANDARD.encode(text)), None),
                Err(error) => {
                    let message = format!("the patch of this Pod cannot be written: {error}");
                    (false, None, Some(Failure::of(Status::Unavailable, message)))
                }
            },
            Outcome::Denied { status, message } => (false, None, Some(Failure::of(status, message))),
        };
        Document {
            api_version: API_VERSION,
            kind: KIND,
            response: Response {
                uid: self.uid,
                allowed,
                patch_type: patch.is_some().then_some("JSONPatch"),
                patch,
                status,
                warnings: warnings::fitted(&self.warnings),
                audit_annotations: self.audit,
            },
        }
    }
}

/// An AdmissionReview that answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Failure>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, String>,
}

/// The `Status` of a refusal.
#[derive(Debug, Serialize)]
struct Failure {
    status: &'static str,
    message: String,
    reason: &'static str,
    code: u16,
}

impl Failure {
    fn of(status: Status, message: String) -> Self {
        Self { status: "Failure", message, reason: status.reason(), code: status.code() }
    }
}
