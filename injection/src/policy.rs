//! Policy: which ServiceAccounts may mount what.
//!
//! A request is granted if a policy allows it and none denies it; a deny of the cluster speaks first. A policy that cannot be
//! read neither grants nor is passed over: whomever it may concern is refused until it is mended. What a policy says of the
//! whole Pod, and not of what it asks for, is in `conditions`; a policy on trial does neither, as `trial` says.

mod accounts;
mod alias;
pub(crate) mod conditions;
mod objection;
mod reach;
mod refusal;
mod remedy;
mod rule;
mod trial;

use crate::catalog::{Account, Catalog, Entry, Holds, Namespace, located, unlabelled, unseen};
use crate::effort::{Effort, Exhausted};
use crate::settings::{DefaultPolicy, Settings};
use alcove_contract::provider::KeySpace;
use alcove_contract::{Problem, Problems};
use alcove_resources::ObjectName;
use alcove_resources::policy::StoreKind;
use std::fmt;

use alias::{Alias, aliases};
pub use objection::Objection;
pub use reach::Reach;
pub use refusal::Refused;
pub use remedy::smallest_policy;
pub(crate) use rule::Policy;
pub(crate) use trial::try_out;
pub use trial::{Trial, stated_mode};

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
    /// A policy that may concern it cannot be read, or its namespace or ServiceAccount has not been seen.
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
    let names = aliases(catalog, request, effort);
    let situation = Situation {
        namespace: catalog.namespace(request.namespace),
        account: catalog.account(request.namespace, request.service_account),
        space: catalog.key_space(request.store_kind, request.namespace, request.store),
        prefix: catalog.prefix(request.store_kind, request.namespace, request.store),
        aliases: names.as_deref().unwrap_or_default(),
    };
    let (mut allowed, mut unreadable, mut perhaps) = (None, Problems::none(), Problems::none());
    // Those of the cluster come first, so that their deny is the one that is named.
    for entry in catalog.cluster_policies().chain(catalog.policies(request.namespace)) {
        match names.as_ref().map_err(|exhausted| *exhausted).and_then(|_| word(entry, situation, request, effort)) {
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
    account: Account<'a>,
    /// What the keys of the store look like, if there is such a store.
    space: Option<KeySpace>,
    /// What every key of the store begins with.
    prefix: &'a str,
    /// What the key is called in other stores: a deny of any of them counts.
    aliases: &'a [Alias<'a>],
}

/// What one policy says to a request.
enum Word {
    Nothing,
    Allows(RuleName),
    Denies(RuleName),
    /// It may deny: it cannot be read, what it denies can be no key, or it denies in namespaces, or to accounts, of which this may
    /// be one.
    Unreadable(Problems),
    /// It allows in namespaces, or to accounts, of which this may be one.
    PerhapsAllows(Problem),
}

fn word(
    entry: &Entry<Policy>,
    Situation { namespace, account, space, prefix, aliases }: Situation<'_>,
    request: &Request<'_>,
    effort: &mut Effort,
) -> Result<Word, Exhausted> {
    effort.spend(1)?;
    let (policy, unseen) = match Standing::of(entry, namespace, account, effort)? {
        Standing::Unconcerned => return Ok(Word::Nothing),
        Standing::Concerned(policy) => (policy, None),
        Standing::Perhaps(policy, problem) => (policy, Some(problem)),
        Standing::Unreadable(problems) => return unreadable(problems, entry, effort),
    };
    let rule = |list, index| RuleName { policy: entry.object.clone(), list, index };
    let denying = denying(policy, request, aliases, effort)?;
    if let (None, Some(space)) = (denying, space) {
        let idle = idle_denies(policy, request, (space, prefix, aliases), effort)?;
        if !idle.is_empty() {
            return unreadable(&idle, entry, effort);
        }
    }
    Ok(match (denying, policy.allowing(request, effort)?, unseen) {
        (Some(_), _, Some(problem)) => Word::Unreadable(problem.into()),
        (Some(index), _, None) => Word::Denies(rule(RuleList::Deny, index)),
        _ if !policy.problems.is_empty() => return unreadable(&policy.problems, entry, effort),
        (None, Some(_), Some(problem)) => Word::PerhapsAllows(problem),
        (None, Some(index), None) => Word::Allows(rule(RuleList::Allow, index)),
        (None, None, _) => Word::Nothing,
    })
}

/// What denies of the store, under any of its names, can deny nothing there.
fn idle_denies(
    policy: &Policy,
    request: &Request<'_>,
    (space, prefix, aliases): (KeySpace, &str, &[Alias<'_>]),
    effort: &mut Effort,
) -> Result<Problems, Exhausted> {
    let mut idle = policy.denies_beside(request, prefix, effort)?;
    idle.append(policy.idle_denies(request, space, effort)?);
    // Several names in one store are of one kind.
    for alias in aliases.chunk_by(Alias::is_of_same_store).filter_map(<[_]>::first) {
        if let Some(space) = alias.space {
            idle.append(policy.idle_denies(&alias.of(request), space, effort)?);
        }
    }
    Ok(idle)
}

/// The first rule that denies a request under any of its names.
fn denying(
    policy: &Policy,
    request: &Request<'_>,
    aliases: &[Alias<'_>],
    effort: &mut Effort,
) -> Result<Option<usize>, Exhausted> {
    let mut denying = policy.denying(request, effort)?;
    for alias in aliases {
        if denying.is_some() {
            break;
        }
        denying = policy.denying(&alias.of(request), effort)?;
    }
    Ok(denying)
}

/// Whether a policy speaks of a ServiceAccount in a namespace.
enum Standing<'a> {
    Unconcerned,
    Concerned(&'a Policy),
    /// What decides is not known yet.
    Perhaps(&'a Policy, Problem),
    /// It cannot be told, since the policy cannot be read.
    Unreadable(&'a Problems),
}

impl<'a> Standing<'a> {
    fn of(
        entry: &'a Entry<Policy>,
        namespace: Namespace<'_>,
        account: Account<'_>,
        effort: &mut Effort,
    ) -> Result<Self, Exhausted> {
        let holds = entry.selection.holds_in(namespace);
        let policy = match &entry.content {
            _ if holds == Holds::No => return Ok(Self::Unconcerned),
            Err(problems) => return Ok(Self::Unreadable(problems)),
            Ok(policy) => policy,
        };
        Ok(match (policy.concerns(account, effort)?, holds) {
            (Holds::No, _) | (_, Holds::No) => Self::Unconcerned,
            (_, Holds::Unknown) => Self::Perhaps(policy, unseen(namespace, &entry.object)),
            (Holds::Unknown, Holds::Yes) => Self::Perhaps(policy, unlabelled(account, namespace, &entry.object)),
            (Holds::Yes, Holds::Yes) => Self::Concerned(policy),
        })
    }
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
