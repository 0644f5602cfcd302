//! Policies on trial: in mode Warn or Audit they grant nothing and refuse nothing, and it is told what they would refuse.

use super::{Objection, Policy, Request, RuleName, Situation, Word, aliases, word};
use crate::catalog::{Catalog, Entry};
use crate::effort::{Effort, Exhausted};
use alcove_resources::policy::PolicyMode;
use serde::Deserialize as _;
use serde_json::Value;
use std::fmt;

/// What a policy on trial would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How far it goes.
    pub mode: PolicyMode,
    /// What it has against the Pod.
    pub objection: Objection,
}

impl fmt::Display for Trial {
    /// For audit logs, in one line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Objection { policy, secret, reason } = &self.objection;
        if let Some(secret) = secret {
            write!(formatter, "{secret}: ")?;
        }
        write!(formatter, "{reason}, by {policy} in mode {}", self.mode)
    }
}

/// The mode that a document states which may not fit its kind: of what cannot be read, a policy is enforced.
#[must_use]
pub fn stated_mode(document: &Value) -> PolicyMode {
    let mode = document.pointer("/spec/mode").and_then(|mode| PolicyMode::deserialize(mode).ok());
    mode.unwrap_or_default()
}

/// The rule of a policy on trial that would deny a request or, if there is none, that would allow it. One that cannot be read,
/// and one of which it is not known whether it concerns the request, says nothing.
pub(crate) fn try_out(
    entry: &Entry<Policy>,
    catalog: &Catalog,
    request: &Request<'_>,
    effort: &mut Effort,
) -> Result<Option<RuleName>, Exhausted> {
    let names = aliases(catalog, request, effort)?;
    let situation = Situation {
        namespace: catalog.namespace(request.namespace),
        account: catalog.account(request.namespace, request.service_account),
        space: None,
        prefix: "",
        aliases: &names,
    };
    Ok(match word(entry, situation, request, effort)? {
        Word::Denies(rule) | Word::Allows(rule) => Some(rule),
        Word::Nothing | Word::Unreadable(_) | Word::PerhapsAllows(_) => None,
    })
}
