//! A policy's rules, read once when the policy arrives.

use super::Request;
use super::accounts::Accounts;
use super::conditions::Condition;
use crate::catalog::{Account, Holds};
use crate::effort::{Effort, Exhausted};
use crate::footprint::{Footprint, sum};
use crate::pattern::{KeySpaces, Pattern, idle};
use alcove_contract::name::StoreName;
use alcove_contract::provider::KeySpace;
use alcove_contract::{Problem, Problems};
use alcove_resources::policy::{
    ClusterSecretPolicySpec, PodConditions, PolicyMode, Rule as RuleDocument, SecretPolicySpec, StoreSelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The rules of one policy, of either kind.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    accounts: Accounts,
    allow: Vec<Rule>,
    deny: Vec<Rule>,
    /// The kinds of stores in which every pattern of a deny matches something.
    deny_spaces: KeySpaces,
    /// What the Pods may not be.
    pub(super) pod: PodConditions,
    mode: PolicyMode,
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
    /// The kinds of stores in which each of `keys` matches something.
    spaces: KeySpaces,
}

/// What both kinds of policies state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stated<'a> {
    names: Option<&'a [String]>,
    selector: Option<&'a LabelSelector>,
    allow: &'a [RuleDocument],
    deny: &'a [RuleDocument],
    pod: PodConditions,
    mode: PolicyMode,
}

impl<'a> From<&'a SecretPolicySpec> for Stated<'a> {
    fn from(spec: &'a SecretPolicySpec) -> Self {
        let SecretPolicySpec { service_accounts, service_account_selector, allow, deny, pod, mode } = spec;
        let (names, selector) = (service_accounts.as_deref(), service_account_selector.as_ref());
        let (pod, mode) = (pod.unwrap_or_default(), mode.unwrap_or_default());
        Self { names, selector, allow, deny, pod, mode }
    }
}

impl<'a> From<&'a ClusterSecretPolicySpec> for Stated<'a> {
    fn from(spec: &'a ClusterSecretPolicySpec) -> Self {
        let ClusterSecretPolicySpec {
            namespace_selector: _,
            service_accounts,
            service_account_selector,
            allow,
            deny,
            pod,
            mode,
        } = spec;
        let (names, selector) = (service_accounts.as_deref(), service_account_selector.as_ref());
        let (pod, mode) = (pod.unwrap_or_default(), mode.unwrap_or_default());
        Self { names, selector, allow, deny, pod, mode }
    }
}

impl Policy {
    /// Reads a policy. Where it does not say whom it concerns, it concerns everybody.
    pub(crate) fn read(stated: Stated<'_>) -> Self {
        let mut problems = Problems::none();
        let accounts = Accounts::read(stated.names, stated.selector, &mut problems);
        if stated.allow.is_empty()
            && stated.deny.is_empty()
            && !Condition::ALL.iter().any(|one| one.is_stated(stated.pod))
        {
            let nothing = Problem::new("", "says nothing");
            problems.push(
                nothing.with_remedy("state a rule under allow or deny or a condition under pod, or delete the policy"),
            );
        }
        let allow = rules(stated.allow, "allow", &mut problems);
        let deny = rules(stated.deny, "deny", &mut problems);
        let deny_spaces = deny.iter().map(|rule| rule.spaces).fold(KeySpaces::EVERYWHERE, KeySpaces::and);
        Self {
            accounts,
            allow,
            deny,
            deny_spaces,
            pod: stated.pod,
            mode: stated.mode,
            problems: problems.below("spec"),
        }
    }

    /// Whether it is enforced.
    pub(crate) const fn mode(&self) -> PolicyMode {
        self.mode
    }

    /// Whether the policy speaks of a ServiceAccount.
    pub(super) fn concerns(&self, account: Account<'_>, effort: &mut Effort) -> Result<Holds, Exhausted> {
        self.accounts.include(account, effort)
    }

    /// The first rule that allows `request`.
    pub(super) fn allowing(&self, request: &Request<'_>, effort: &mut Effort) -> Result<Option<usize>, Exhausted> {
        first(&self.allow, request, effort)
    }

    /// The first rule that denies `request`.
    pub(super) fn denying(&self, request: &Request<'_>, effort: &mut Effort) -> Result<Option<usize>, Exhausted> {
        first(&self.deny, request, effort)
    }

    /// The patterns of keys which deny something in other stores and can deny nothing in the one of `request`: whoever
    /// wrote them takes something for protected that is not.
    pub(super) fn idle_denies(
        &self,
        request: &Request<'_>,
        space: KeySpace,
        effort: &mut Effort,
    ) -> Result<Problems, Exhausted> {
        let mut problems = Problems::none();
        if self.deny_spaces.includes(space) {
            return Ok(problems);
        }
        for rule in &self.deny {
            effort.spend(1)?;
            if !rule.spaces.includes(space) && rule.is_about(request, effort)? {
                problems.append(rule.idle_keys(request, space));
            }
        }
        Ok(problems)
    }
}

impl Policy {
    /// The patterns of keys which deny something elsewhere and can deny nothing in a store whose keys begin with `prefix`.
    pub(super) fn denies_beside(
        &self,
        request: &Request<'_>,
        prefix: &str,
        effort: &mut Effort,
    ) -> Result<Problems, Exhausted> {
        let mut problems = Problems::none();
        for rule in self.deny.iter().filter(|_| !prefix.is_empty()) {
            if rule.is_about(request, effort)? {
                problems.append(rule.keys_beside(prefix, request, effort)?);
            }
        }
        Ok(problems)
    }
}

impl Rule {
    fn keys_beside(&self, prefix: &str, request: &Request<'_>, effort: &mut Effort) -> Result<Problems, Exhausted> {
        let mut problems = Problems::none();
        for (index, key) in self.keys.iter().enumerate() {
            if !key.may_begin_with(prefix, effort)? {
                let place = format!("spec.deny[{}].keys[{index}]", self.index);
                let store = format!("{} \"{}\"", request.store_kind, request.store);
                let reason = format!("denies no key of {store}: the store puts \"{prefix}\" before each of them");
                let problem = Problem::new(place, reason).with_value(key.to_string());
                problems.push(problem.with_remedy(format!("write \"{prefix}{key}\"")));
            }
        }
        Ok(problems)
    }

    fn read(document: &RuleDocument, index: usize) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let store = document.store.name.parse::<StoreName>();
        problems.collect(store.map_err(|problem| problem.below("store.name")));
        let keys = problems.collect(patterns(&document.keys, "keys", "**", Pattern::of_keys));
        let secrets = problems.collect(patterns(&document.secrets, "secrets", "*", Pattern::of_names));
        let spaces = document.keys.iter().map(|key| KeySpaces::of(key)).fold(KeySpaces::EVERYWHERE, KeySpaces::and);
        match (keys, secrets) {
            (Some(keys), Some(secrets)) => {
                problems.or(Self { index, store: document.store.clone(), keys, secrets, spaces })
            }
            _ => Err(problems),
        }
    }

    fn matches(&self, request: &Request<'_>, effort: &mut Effort) -> Result<bool, Exhausted> {
        effort.spend(1)?;
        Ok(self.is_about(request, effort)? && matches_any(&self.keys, request.key, effort)?)
    }

    /// Whether all but the key match.
    fn is_about(&self, request: &Request<'_>, effort: &mut Effort) -> Result<bool, Exhausted> {
        Ok(self.store.kind == request.store_kind
            && self.store.name == request.store
            && matches_any(&self.secrets, request.secret, effort)?)
    }

    fn idle_keys(&self, request: &Request<'_>, space: KeySpace) -> Problems {
        let idle = self.keys.iter().enumerate().filter_map(|(index, key)| {
            let text = key.to_string();
            let (reason, remedy) = idle(&text, space)?;
            let place = format!("spec.deny[{}].keys[{index}]", self.index);
            let reason = format!("denies no key of {} \"{}\": it {reason}", request.store_kind, request.store);
            Some(Problem::new(place, reason).with_value(text).with_remedy(remedy))
        });
        idle.collect()
    }
}

impl Footprint for Policy {
    fn heap(&self) -> usize {
        let Self { accounts, allow, deny, deny_spaces: _, pod: _, mode: _, problems } = self;
        sum([accounts.heap(), allow.heap(), deny.heap(), problems.heap()])
    }
}

impl Footprint for Rule {
    fn heap(&self) -> usize {
        let Self { index: _, store, keys, secrets, spaces: _ } = self;
        sum([store.heap(), keys.heap(), secrets.heap()])
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

pub(super) fn matches_any(patterns: &[Pattern], text: &str, effort: &mut Effort) -> Result<bool, Exhausted> {
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

/// Reads a list of patterns, of which `any` matches everything. An empty list would match nothing, and so would silence a
/// deny: it is a problem instead.
pub(super) fn patterns(
    texts: &[String],
    field: &str,
    any: &str,
    read: impl Fn(&str) -> Result<Pattern, Problem>,
) -> Result<Vec<Pattern>, Problems> {
    if texts.is_empty() {
        return Err(Problem::new(field, "is empty").with_remedy(format!("write \"{any}\" for any")).into());
    }
    let mut problems = Problems::none();
    let mut patterns = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let pattern = read(text).map_err(|problem| problem.below(&format!("{field}[{index}]")));
        patterns.extend(problems.collect(pattern));
    }
    problems.or(patterns)
}
