//! What is found while a Pod is judged: all of it, so that its author mends it in one go.

use super::{Context, Reason, Refusal, RefusalReason, Skip};
use crate::pod::Pod;
use crate::policy::{Objection, Trial};
use crate::requests::{self, Denied};
use alcove_contract::{Problem, Problems};
use alcove_resources::policy::PolicyMode;
use std::collections::{HashMap, HashSet};

/// Of how much that policies on trial would refuse is told.
const MOST_TRIALS: usize = 100;

/// What is found while a Pod is judged.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub problems: Problems,
    /// The values of the problems at each place.
    known: HashMap<String, HashSet<Option<String>>>,
    reason: Option<RefusalReason>,
    pub warnings: Vec<String>,
    pub denied: Vec<Denied>,
    /// What policies have against the Pod itself.
    pub objections: Vec<Objection>,
    /// Whether looking for that took all the steps there were.
    pub is_exhausted: bool,
    /// What policies on trial would refuse.
    pub trials: Vec<Trial>,
    /// Whether something was looked up and not found.
    pub absent: bool,
}

impl Findings {
    /// Notes what is wrong. A place of which the same is known already is not named twice: Kubernetes' own words come
    /// first, and whoever replaces the place cannot read it either. Policy names one place for several keys.
    pub(crate) fn refuse(&mut self, reason: RefusalReason, problems: impl IntoIterator<Item = Problem>) {
        // Only what was known before counts: Kubernetes itself has several words for one value.
        let is_new = |problem: &Problem| reason == RefusalReason::Policy || !self.knows(problem);
        let new: Vec<Problem> = problems.into_iter().filter(is_new).collect();
        for problem in new {
            self.reason.get_or_insert(reason);
            self.known.entry(problem.place.clone()).or_default().insert(problem.value.clone());
            self.problems.push(problem);
        }
    }

    fn knows(&self, problem: &Problem) -> bool {
        let values = self.known.get(&problem.place);
        values.is_some_and(|values| values.contains(&None) || values.contains(&problem.value))
    }

    /// Notes what a policy on trial would refuse and, if its mode says so, warns of it in the words of that refusal.
    pub(crate) fn try_out(&mut self, trial: Trial, refusal: Option<&Problem>) {
        if self.trials.len() >= MOST_TRIALS {
            return;
        }
        if let (PolicyMode::Warn, Some(refusal)) = (trial.mode, refusal) {
            self.warnings.push(format!("admitted only since a policy is in mode Warn: {refusal}"));
        }
        self.trials.push(trial);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn into_refusal(self, pod: &Pod, context: &Context<'_>) -> Refusal {
        Refusal {
            pod: pod.display_name(),
            remedy: requests::remedy(&self.denied, pod, context),
            problems: self.problems,
            reason: self.reason.unwrap_or(RefusalReason::Invalid),
            warnings: self.warnings,
            denied: self.denied,
            is_exhausted: self.is_exhausted,
            absent: self.absent,
        }
    }

    pub(crate) fn into_skip(self, reason: Reason) -> Skip {
        Skip { reason, warnings: self.warnings, absent: self.absent }
    }
}
