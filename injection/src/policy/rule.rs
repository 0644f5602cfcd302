//! A policy's rules, read once when the policy arrives.

use super::Request;
use crate::effort::{Effort, Exhausted};
use crate::pattern::Pattern;
use alcove_contract::{Problem, Problems};
use alcove_resources::policy::{Rule as RuleDocument, StoreSelector};

/// The rules of one policy, of either kind.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    accounts: Vec<Pattern>,
    allow: Vec<Rule>,
    deny: Vec<Rule>,
    /// What could not be read; whom the policy concerns must then be refused.
    pub(super) problems: Problems,
}

#[derive(Clone, Debug)]
struct Rule {
    /// Its place among all rules of its list, the unreadable ones included.
    index: usize,
    store: StoreSelector,
    keys: Vec<Pattern>,
    secrets: Vec<Pattern>,
}

impl Policy {
    /// Reads a policy. Where it does not say whom it concerns, it concerns everybody.
    pub(crate) fn read(accounts: &[String], allow: &[RuleDocument], deny: &[RuleDocument]) -> Self {
        let mut problems = Problems::none();
        let accounts = problems.collect(patterns(accounts, "serviceAccounts", Pattern::of_names));
        let allow = rules(allow, "allow", &mut problems);
        let deny = rules(deny, "deny", &mut problems);
        let accounts = accounts.unwrap_or_else(|| vec![Pattern::anything()]);
        Self { accounts, allow, deny, problems: problems.below("spec") }
    }

    /// Whether the policy speaks of a ServiceAccount.
    pub(super) fn concerns(&self, service_account: &str, effort: &mut Effort) -> Result<bool, Exhausted> {
        matches_any(&self.accounts, service_account, effort)
    }

    /// The first rule that allows `request`.
    pub(super) fn allowing(&self, request: &Request<'_>, effort: &mut Effort) -> Result<Option<usize>, Exhausted> {
        first(&self.allow, request, effort)
    }

    /// The first rule that denies `request`.
    pub(super) fn denying(&self, request: &Request<'_>, effort: &mut Effort) -> Result<Option<usize>, Exhausted> {
        first(&self.deny, request, effort)
    }
}

impl Rule {
    fn read(document: &RuleDocument, index: usize) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let keys = problems.collect(patterns(&document.keys, "keys", Pattern::of_keys));
        let secrets = problems.collect(patterns(&document.secrets, "secrets", Pattern::of_names));
        match (keys, secrets) {
            (Some(keys), Some(secrets)) => Ok(Self { index, store: document.store.clone(), keys, secrets }),
            _ => Err(problems),
        }
    }

    fn matches(&self, request: &Request<'_>, effort: &mut Effort) -> Result<bool, Exhausted> {
        effort.spend(1)?;
        Ok(self.store.kind == request.store_kind
            && self.store.name == request.store
            && matches_any(&self.secrets, request.secret, effort)?
            && matches_any(&self.keys, request.key, effort)?)
    }
}

fn first(rules: &[Rule], request: &Request<'_>, effort: &mut Effort) -> Result<Option<usize>, Exhausted> {
    for rule in rules {
        if rule.matches(request, effort)? {
            return Ok(Some(rule.index));
        }
    }
    Ok(None)
}

fn matches_any(patterns: &[Pattern], text: &str, effort: &mut Effort) -> Result<bool, Exhausted> {
    for pattern in patterns {
        if pattern.matches(text, effort)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn rules(documents: &[RuleDocument], list: &str, problems: &mut Problems) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        let rule = Rule::read(document, index).map_err(|inner| inner.below(&format!("{list}[{index}]")));
        rules.extend(problems.collect(rule));
    }
    rules
}

/// Reads a list of patterns. An empty list would match nothing, and so would silence a deny: it is a problem instead.
fn patterns(
    texts: &[String],
    field: &str,
    read: impl Fn(&str) -> Result<Pattern, Problem>,
) -> Result<Vec<Pattern>, Problems> {
    if texts.is_empty() {
        return Err(Problem::new(field, "is empty").with_remedy("write \"*\" for any").into());
    }
    let mut problems = Problems::none();
    let mut patterns = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let pattern = read(text).map_err(|problem| problem.below(&format!("{field}[{index}]")));
        patterns.extend(problems.collect(pattern));
    }
    problems.or(patterns)
}
