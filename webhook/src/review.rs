//! The admission protocol, version `admission.k8s.io/v1`: one AdmissionReview in, one out.
//!
//! Pure: bytes in, a document out. A review is taken apart as a JSON document, so that fields of a Pod that nobody here
//! knows survive.

use std::fmt;

use serde_json::{Map, Value};

mod answer;
mod warnings;

pub use answer::{Answer, Document, Outcome, Status};

/// The version that is spoken.
const API_VERSION: &str = "admission.k8s.io/v1";
/// The kind of both directions.
const KIND: &str = "AdmissionReview";

/// What an API server asks about.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// The number of the question, which the answer repeats.
    pub uid: String,
    /// What is done.
    pub operation: Operation,
    /// To what it is done.
    pub target: Target,
    /// The namespace in which it is done; what the object says of its namespace does not count.
    pub namespace: String,
    /// The object as it would be stored; absent on DELETE.
    pub object: Option<Value>,
    /// The object as it is; absent on CREATE.
    pub old_object: Option<Value>,
    /// Whether nothing is to be stored, whatever the answer is.
    pub dry_run: bool,
    /// How many bytes the question takes.
    pub size: usize,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// Something that never concerns us: DELETE and CONNECT.
    Other,
}

/// To what something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Pod.
    Pod,
    /// A part of a Pod that has a door of its own, through which more than that part may be changed: the status brings
    /// annotations along, and a change of the resources the containers.
    Subresource,
    /// An ExternalStore or a ClusterExternalStore.
    Store,
    /// Anything else, such as the log of a Pod.
    Other,
}

/// Why bytes are no review.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There are no bytes.
    #[error("the body is empty: send an AdmissionReview of admission.k8s.io/v1")]
    Empty,
    /// They are not JSON, or not all of it.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The document is of another kind or version.
    #[error("the body is not an AdmissionReview of admission.k8s.io/v1, but kind {kind} of {api_version}")]
    Foreign {
        /// The kind of the document.
        kind: String,
        /// The version of the document.
        api_version: String,
    },
    /// The review asks nothing, or nothing that could be answered.
    #[error("the AdmissionReview has no request.uid: without it there is nothing to answer")]
    NoRequest,
    /// The question itself is not complete; it can be answered, and is refused.
    #[error("the AdmissionReview is incomplete: {what}")]
    Incomplete {
        /// The number of the question.
        uid: String,
        /// What is missing or wrong.
        what: Missing,
    },
}

/// What a question lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// `request.operation` is no operation.
    Operation,
    /// `request.resource` does not say what this is about.
    Resource,
    /// `request.namespace` is missing, although Pods have one.
    Namespace,
    /// `request.object` is no object, although something is made or changed.
    Object,
    /// `request.oldObject` is no object, although something is changed.
    OldObject,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Operation => "request.operation is not one of CREATE, UPDATE, DELETE and CONNECT",
            Self::Resource => "request.resource does not name a resource",
            Self::Namespace => "request.namespace is missing",
            Self::Object => "request.object is not an object",
            Self::OldObject => "request.oldObject is not an object",
        })
    }
}

impl Review {
    /// Reads a review.
    ///
    /// # Errors
    ///
    /// Says why the bytes are no review; see [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Malformed::Empty);
        }
        let document: Value = serde_json::from_slice(bytes).map_err(|error| Malformed::NotJson(error.to_string()))?;
        let mut document = recognized(document)?;
        let Some(Value::Object(mut request)) = document.remove("request") else { return Err(Malformed::NoRequest) };
        let uid = match text(&request, "uid") {
            "" => return Err(Malformed::NoRequest),
            uid => uid.to_owned(),
        };
        Self::from_request(&uid, &mut request, bytes.len()).map_err(|what| Malformed::Incomplete { uid, what })
    }

    fn from_request(uid: &str, request: &mut Map<String, Value>, size: usize) -> Result<Self, Missing> {
        let operation = operation(request)?;
        let target = target(request)?;
        let review = Self {
            uid: uid.to_owned(),
            operation,
            target,
            namespace: text(request, "namespace").to_owned(),
            object: object(request, "object"),
            old_object: object(request, "oldObject"),
            dry_run: request.get("dryRun").and_then(Value::as_bool).unwrap_or_default(),
            size,
        };
        review.complete()
    }

    /// Checks only what the answer depends on: a review that does not concern us may lack anything.
    fn complete(self) -> Result<Self, Missing> {
        if self.target == Target::Other || self.operation == Operation::Other {
            return Ok(self);
        }
        // Of the kinds that are judged, only a ClusterExternalStore has none.
        if self.namespace.is_empty() && self.target != Target::Store {
            return Err(Missing::Namespace);
        }
        if self.object.is_none() {
            return Err(Missing::Object);
        }
        if self.operation == Operation::Update && self.old_object.is_none() {
            return Err(Missing::OldObject);
        }
        Ok(self)
    }
}

fn recognized(document: Value) -> Result<Map<String, Value>, Malformed> {
    let foreign = |kind: &str, api_version: &str| Malformed::Foreign {
        kind: shown(kind).to_owned(),
        api_version: shown(api_version).to_owned(),
    };
    let Value::Object(fields) = document else { return Err(foreign("", "")) };
    let (kind, api_version) = (text(&fields, "kind"), text(&fields, "apiVersion"));
    if kind != KIND || api_version != API_VERSION {
        return Err(foreign(kind, api_version));
    }
    Ok(fields)
}

/// Keeps what a stranger wrote from filling the message.
fn shown(name: &str) -> &str {
    let known = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./-".contains(&byte));
    if known { name } else { "unknown" }
}

fn operation(request: &Map<String, Value>) -> Result<Operation, Missing> {
    match text(request, "operation") {
        "CREATE" => Ok(Operation::Create),
        "UPDATE" => Ok(Operation::Update),
        "DELETE" | "CONNECT" => Ok(Operation::Other),
        _ => Err(Missing::Operation),
    }
}

fn target(request: &Map<String, Value>) -> Result<Target, Missing> {
    let Some(Value::Object(resource)) = request.get("resource") else { return Err(Missing::Resource) };
    let name = (text(resource, "group"), text(resource, "resource"), text(request, "subResource"));
    match name {
        (_, "", _) => Err(Missing::Resource),
        ("", "pods", "") => Ok(Target::Pod),
        ("", "pods", "ephemeralcontainers" | "resize" | "status") => Ok(Target::Subresource),
        ("alcove.dev", "externalstores" | "clusterexternalstores", "") => Ok(Target::Store),
        _ => Ok(Target::Other),
    }
}

fn object(request: &mut Map<String, Value>, field: &str) -> Option<Value> {
    request.remove(field).filter(Value::is_object)
}

fn text<'a>(fields: &'a Map<String, Value>, field: &str) -> &'a str {
    fields.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
