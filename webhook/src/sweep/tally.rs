//! What one sweep has found, in numbers and, for the policies, in names.

use std::collections::BTreeMap;

use alcove_injection::policy::Objection;
use alcove_resources::ObjectName;
use alcove_resources::policy::{PolicyStatus, Violation};

use super::found::Found;
use crate::metrics::Swept;
use crate::report::shortened;

/// The longest reason: a key has at most a kilobyte.
const LONGEST_REASON: usize = 1_500;
/// What stands for the Secret where the Pod itself is forbidden.
const EVERY_SECRET: &str = "*";

/// What one sweep has found so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Swept,
    violations: ByPolicy,
}

/// The Pods that each policy denies what they have.
pub(super) type ByPolicy = BTreeMap<ObjectName, Violations>;

/// The Pods that one policy denies what they have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Violations {
    /// How many there are.
    pub(super) pods: usize,
    /// The first of what they have.
    pub(super) listed: Vec<Violation>,
}

impl Tally {
    /// So many Pods were read.
    pub(super) fn pods(&mut self, count: usize) {
        self.counts.pods = self.counts.pods.saturating_add(count);
    }

    /// Something was found. What a policy denies is held against it wherever the Pod is; everything else counts where this
    /// installation serves, since another one counts its own.
    pub(super) fn add(&mut self, found: &Found, is_served: bool) {
        if is_served {
            let kind = if found.finding.is_exhausted() { "undecided" } else { found.finding.as_str() };
            let count = self.counts.findings.entry(kind).or_default();
            *count = count.saturating_add(1);
        }
        let mut of_policies: BTreeMap<ObjectName, Vec<Violation>> = BTreeMap::new();
        for Objection { policy, secret, reason } in found.finding.objections() {
            of_policies.entry(policy).or_default().push(Violation {
                namespace: found.namespace.clone(),
                pod: found.pod.clone(),
                secret: secret.map_or_else(|| EVERY_SECRET.to_owned(), |secret| secret.to_string()),
                reason: shortened(reason, LONGEST_REASON),
            });
        }
        for (policy, violations) in of_policies {
            self.violations.entry(policy).or_default().add(violations);
        }
    }

    /// The numbers.
    pub(super) fn counts(&self) -> &Swept {
        &self.counts
    }

    /// What is held against each policy, which is then forgotten here.
    pub(super) fn take_violations(&mut self) -> ByPolicy {
        std::mem::take(&mut self.violations)
    }
}

impl Violations {
    /// Those of one Pod.
    fn add(&mut self, violations: Vec<Violation>) {
        self.pods = self.pods.saturating_add(1);
        let room = PolicyStatus::MOST_VIOLATIONS.saturating_sub(self.listed.len());
        self.listed.extend(violations.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use alcove_contract::Problems;
    use alcove_injection::policy::Judgement;
    use alcove_injection::sweep::{Finding, Loss};
    use alcove_injection::{Denied, policy::RuleList, policy::RuleName};
    use alcove_resources::Kind;
    use alcove_resources::policy::StoreKind;

    use super::*;

    fn policy() -> ObjectName {
        ObjectName { kind: Kind::SecretPolicy, namespace: "shop".to_owned(), name: "p".to_owned() }
    }

    /// A Pod of which policy says this about each of its keys, of two Secrets by turns.
    fn found(judgements: Vec<Judgement>) -> Found {
        let denied = judgements.into_iter().enumerate().map(|(index, judgement)| Denied {
            secret: format!("secret-{}", index % 2).parse().unwrap(),
            store_kind: StoreKind::ExternalStore,
            store: "vault".parse().unwrap(),
            key: format!("kv/{index}"),
            judgement,
        });
        let finding = Finding::NoLongerGranted(Loss {
            problems: Problems::none(),
            denied: denied.collect(),
            objections: Vec::new(),
        });
        let text = |text: &str| text.to_owned();
        Found { index: 0, namespace: text("shop"), pod: text("web"), uid: text("uid"), finding }
    }

    #[test]
    fn a_pod_counts_once_for_a_policy_and_each_of_its_secrets_is_listed_once() {
        let mut tally = Tally::default();
        let by = |index| RuleName { policy: policy(), list: RuleList::Deny, index };
        tally.add(&found((0..5).map(|index| Judgement::Denied { by: by(index) }).collect()), true);
        let violations = tally.take_violations().remove(&policy()).unwrap();
        assert_eq!(violations.pods, 1);
        let listed: Vec<_> =
            violations.listed.iter().map(|listed| (listed.secret.as_str(), listed.reason.as_str())).collect();
        let reason = |index: usize| format!("spec.deny[{index}] denies key \"kv/{index}\" of ExternalStore \"vault\"");
        assert_eq!(listed, [("secret-0", reason(0).as_str()), ("secret-1", reason(1).as_str())]);
        assert_eq!(tally.counts().findings["no-longer-granted"], 1);
    }

    #[test]
    fn what_is_held_against_the_pod_itself_stands_for_every_secret_of_it() {
        let mut found = found(vec![Judgement::Unmatched]);
        let Finding::NoLongerGranted(loss) = &mut found.finding else { panic!("another finding") };
        let reason = "spec.pod.denyHostPID forbids spec.hostPID".to_owned();
        loss.objections = vec![Objection { policy: policy(), secret: None, reason: reason.clone() }];
        let mut tally = Tally::default();
        tally.add(&found, true);
        let violations = tally.take_violations().remove(&policy()).unwrap();
        let [listed] = violations.listed.try_into().unwrap();
        assert_eq!((violations.pods, listed.secret, listed.reason), (1, "*".to_owned(), reason));
    }

    #[test]
    fn a_pod_that_is_too_much_to_judge_is_undecided_and_held_against_nobody() {
        let mut tally = Tally::default();
        tally.add(&found(vec![Judgement::Exhausted { at: policy() }]), true);
        assert_eq!((tally.counts().findings["undecided"], tally.counts().findings["no-longer-granted"]), (1, 0));
        tally.add(&found(vec![Judgement::Unmatched, Judgement::Exhausted { at: policy() }]), true);
        assert_eq!(tally.counts().findings["no-longer-granted"], 1, "one of its keys is decided");
        assert!(tally.take_violations().is_empty());
    }
}
