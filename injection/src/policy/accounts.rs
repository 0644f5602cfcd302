//! Which ServiceAccounts a policy concerns: by name, by label, or by both together.

use super::rule::{matches_any, patterns};
use crate::catalog::{Account, Holds, checked};
use crate::effort::{Effort, Exhausted};
use crate::footprint::{Footprint, sum};
use crate::pattern::Pattern;
use alcove_contract::{Problem, Problems};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use std::collections::BTreeSet;

/// The ServiceAccounts that a policy concerns.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    /// Patterns of which one must match; without it, all names do.
    names: Option<Vec<Pattern>>,
    /// What the labels must meet; without it, all do.
    labels: Option<Labels>,
}

#[derive(Clone, Debug)]
struct Labels {
    selector: Selector,
    /// How many steps it takes to compare it.
    steps: usize,
    heap: usize,
}

/// What a comparison of a label with one requirement takes: it is looked up, and its value is, too.
const STEPS_OF_REQUIREMENT: usize = 4;
/// What a requirement takes besides its texts.
const HEAP_OF_REQUIREMENT: usize = 160;

impl Accounts {
    /// Reads who is concerned. What cannot be read of it, and that nothing is stated, makes it concern more.
    pub(super) fn read(names: Option<&[String]>, selector: Option<&LabelSelector>, problems: &mut Problems) -> Self {
        if names.is_none() && selector.is_none() {
            let nobody =
                Problem::new("", "concerns nobody").with_remedy("state serviceAccounts or serviceAccountSelector");
            problems.push(nobody);
        }
        let names =
            names.and_then(|names| problems.collect(patterns(names, "serviceAccounts", "*", Pattern::of_names)));
        let labels = selector.and_then(|selector| problems.collect(Labels::read(selector)));
        Self { names, labels }
    }

    pub(super) fn include(&self, account: Account<'_>, effort: &mut Effort) -> Result<Holds, Exhausted> {
        if let Some(names) = &self.names
            && !matches_any(names, account.name, effort)?
        {
            return Ok(Holds::No);
        }
        match &self.labels {
            Some(labels) => labels.include(account, effort),
            None => Ok(Holds::Yes),
        }
    }
}

impl Labels {
    fn read(stated: &LabelSelector) -> Result<Self, Problems> {
        let selector = checked(stated, "serviceAccountSelector")?;
        let expressions = stated.match_expressions.as_deref().unwrap_or_default();
        let of_expressions = expressions.iter().map(|expression| {
            let values: BTreeSet<String> = expression.values.iter().flatten().cloned().collect();
            sum([expression.key.heap(), values.heap(), HEAP_OF_REQUIREMENT])
        });
        let of_labels = stated.match_labels.iter().flatten();
        let of_labels = of_labels.map(|(key, value)| sum([key.heap(), value.heap(), HEAP_OF_REQUIREMENT]));
        let heaps: Vec<usize> = of_expressions.chain(of_labels).collect();
        let steps = heaps.len().saturating_mul(STEPS_OF_REQUIREMENT);
        Ok(Self { selector, steps, heap: sum(heaps) })
    }

    fn include(&self, account: Account<'_>, effort: &mut Effort) -> Result<Holds, Exhausted> {
        effort.spend(self.steps)?;
        if self.selector.selects_all() {
            return Ok(Holds::Yes);
        }
        let Some(labels) = account.known.and_then(|known| known.labels.as_ref()) else { return Ok(Holds::Unknown) };
        Ok(if self.selector.matches(labels) { Holds::Yes } else { Holds::No })
    }
}

impl Footprint for Accounts {
    fn heap(&self) -> usize {
        let Self { names, labels } = self;
        names.heap().saturating_add(labels.as_ref().map_or(0, |labels| labels.heap))
    }
}
