//! Policy: which ServiceAccounts may mount what.
//!
//! A request is granted if a policy allows it and none denies it; a deny of the cluster speaks first. A policy that cannot be
//! read neither grants nor is passed over: whomever it may concern is refused until it is mended.

mod reach;
mod refusal;
mod remedy;
mod rule;

use crate::catalog::{Catalog, Entry, Holds, Namespace, located, unseen};
use crate::effort::{Effort, Exhausted};
use crate::settings::{DefaultPolicy, Settings};
use alcove_contract::provider::KeySpace;
use alcove_contract::{Problem, Problems};
use alcove_resources::ObjectName;
use alcove_resources::policy::StoreKind;
use std::fmt;

pub use reach::Reach;
pub use refusal::Refused;
pub use remedy::smallest_policy;
pub(crate) use rule::Policy;

/// What a Pod asks for: one key of one store, to be delivered under one Secret name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request<'a> {
    /// The Pod's namespace.
    pub namespace: &'a str,
    /// The Pod's ServiceAccount.
    pub service_account: &'a str,
    /// The Secret name.
    pub secret: &'a str,
    /// The kind of the store.
    pub store_kind: StoreKind,
    /// The name of the store.
    pub store: &'a str,
    /// The canonical key, without options.
    pub key: &'a str,
}

/// What the policies say to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is allowed.
    Granted {
        /// By what.
        by: Grantor,
    },
    /// It is denied, whatever allows it.
    Denied {
        /// By which rule.
        by: RuleName,
    },
    /// No policy speaks of it.
    Unmatched,
    /// A policy that may concern it cannot be read, or its namespace has not been seen.
    Undecided(Problems),
    /// Judging it takes more than one review may cost.
    Exhausted {
        /// The policy that was looked at when it became too much.
        at: ObjectName,
    },
}

/// The steps that it takes to tell one problem of a policy that cannot be read: it is copied, and names the policy.
const STEPS_TO_TELL: usize = 200;

/// What grants a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantor {
    /// A rule of a policy.
    Rule(RuleName),
    /// The administrator's default, for what no policy speaks of.
    DefaultPolicy,
}

/// One rule of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    /// The policy.
    pub policy: ObjectName,
    /// The list in it.
    pub list: RuleList,
    /// The place in the list.
    pub index: usize,
}

/// The lists of rules of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleList {
    /// `spec.allow`.
    Allow,
    /// `spec.deny`.
    Deny,
}

/// Judges one request, with what is left of the effort of its review.
#[must_use]
pub fn judge(catalog: &Catalog, settings: &Settings, request: &Request<'_>, effort: &mut Effort) -> Judgement {
    let situation = Situation {
        namespace: catalog.namespace(request.namespace),
        space: catalog.key_space(request.store_kind, request.namespace, request.store),
    };
    let (mut allowed, mut unreadable, mut perhaps) = (None, Problems::none(), Problems::none());
    // Those of the cluster come first, so that their deny is the one that is named.
    for entry in catalog.cluster_policies().chain(catalog.policies(request.namespace)) {
        match word(entry, situation, request, effort) {
            Ok(Word::Nothing) => {}
            Ok(Word::Denies(by)) => return Judgement::Denied { by },
            Ok(Word::Allows(by)) => allowed = allowed.or(Some(by)),
            Ok(Word::Unreadable(problems)) => unreadable.append(problems),
            Ok(Word::PerhapsAllows(problem)) => perhaps.push(problem),
            Err(Exhausted) => return Judgement::Exhausted { at: entry.object.clone() },
        }
    }
    match (allowed, settings.default_policy) {
        _ if !unreadable.is_empty() => Judgement::Undecided(unreadable),
        (Some(by), _) => Judgement::Granted { by: Grantor::Rule(by) },
        (None, DefaultPolicy::Allow) => Judgement::Granted { by: Grantor::DefaultPolicy },
        (None, DefaultPolicy::Deny) if !perhaps.is_empty() => Judgement::Undecided(perhaps),
        (None, DefaultPolicy::Deny) => Judgement::Unmatched,
    }
}

impl Judgement {
    /// Whether a fresh look at the cluster may change it.
    #[must_use]
    pub const fn may_be_late(&self) -> bool {
        match self {
            Self::Unmatched | Self::Undecided(_) | Self::Exhausted { .. } => true,
            Self::Granted { .. } | Self::Denied { .. } => false,
        }
    }
}

/// What is known of where a request comes from and of what it asks.
#[derive(Clone, Copy)]
struct Situation<'a> {
    namespace: Namespace<'a>,
    /// What the keys of the store look like, if there is such a store.
    space: Option<KeySpace>,
}

/// What one policy says to a request.
enum Word {
    Nothing,
    Allows(RuleName),
    Denies(RuleName),
    /// It may deny: it cannot be read, what it denies can be no key, or it denies in namespaces of which this may be one.
    Unreadable(Problems),
    /// It allows in namespaces of which this may be one.
    PerhapsAllows(Problem),
}

fn word(
    entry: &Entry<Policy>,
    Situation { namespace, space }: Situation<'_>,
    request: &Request<'_>,
    effort: &mut Effort,
) -> Result<Word, Exhausted> {
    effort.spend(1)?;
    let holds = entry.selection.holds_in(namespace);
    if holds == Holds::No {
        return Ok(Word::Nothing);
    }
    let policy = match &entry.content {
        Ok(policy) if policy.concerns(request.service_account, effort)? => policy,
        Ok(_) => return Ok(Word::Nothing),
        Err(problems) => return unreadable(problems, entry, effort),
    };
    let rule = |list, index| RuleName { policy: entry.object.clone(), list, index };
    let denying = policy.denying(request, effort)?;
    if let (None, Some(space)) = (denying, space) {
        let idle = policy.idle_denies(request, space, effort)?;
        if !idle.is_empty() {
            return unreadable(&idle, entry, effort);
        }
    }
    Ok(match (denying, policy.allowing(request, effort)?, holds) {
        (Some(_), _, Holds::Unknown) => Word::Unreadable(unseen(namespace, &entry.object).into()),
        (Some(index), _, _) => Word::Denies(rule(RuleList::Deny, index)),
        _ if !policy.problems.is_empty() => return unreadable(&policy.problems, entry, effort),
        (None, Some(_), Holds::Unknown) => Word::PerhapsAllows(unseen(namespace, &entry.object)),
        (None, Some(index), _) => Word::Allows(rule(RuleList::Allow, index)),
        (None, None, _) => Word::Nothing,
    })
}

fn unreadable(problems: &Problems, entry: &Entry<Policy>, effort: &mut Effort) -> Result<Word, Exhausted> {
    effort.spend(STEPS_TO_TELL.saturating_mul(problems.iter().len()))?;
    Ok(Word::Unreadable(located(problems, &entry.object)))
}

impl fmt::Display for RuleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}[{}] of {}", self.list, self.index, self.policy)
    }
}

impl fmt::Display for RuleList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Allow => "spec.allow",
            Self::Deny => "spec.deny",
        })
    }
}

impl fmt::Display for Grantor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(formatter),
            Self::DefaultPolicy => formatter.write_str("the default policy"),
        }
    }
}

impl fmt::Display for Request<'_> {
    /// What is asked for, without who asks.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "key \"{}\" of {} \"{}\"", self.key.escape_debug(), self.store_kind, self.store)
    }
}

#[cfg(test)]
mod tests;
