//! What policies on trial say to what a Pod asks for.

use super::Grant;
use crate::catalog::Entry;
use crate::decision::{Context, Findings, RefusalReason};
use crate::effort::{Effort, Exhausted};
use crate::places::Mention;
use crate::pod::Pod;
use crate::policy::{self, Judgement, Objection, Policy, Refused, RuleList, Trial};
use alcove_contract::Problem;
use alcove_contract::name::SecretName;
use std::collections::{BTreeMap, BTreeSet};

/// Has policies on trial look at what a Pod was granted and was not.
///
/// The steps that this takes are no others': a policy on trial exhausts none that is enforced. Where there are too many, what
/// the rest would say is not told.
pub(super) fn try_out(
    pod: &Pod,
    places: &BTreeMap<&str, &Mention<'_>>,
    grants: &[Grant],
    context: &Context<'_>,
    findings: &mut Findings,
) {
    let mut effort = Effort::of(context.most_steps);
    for entry in context.catalog.trials(pod.namespace()) {
        let Ok(policy) = &entry.content else { continue };
        let mut attempt = Attempt { pod, places, context, entry, policy, effort: &mut effort };
        if attempt.deny(grants, findings).and_then(|()| attempt.allow(findings)).is_err() {
            findings.warnings.push(format!(
                "what {} and the policies after it would refuse is not told, since they are not enforced and take too many steps",
                entry.object
            ));
            return;
        }
    }
}

/// One policy that is tried out.
struct Attempt<'a> {
    pod: &'a Pod,
    places: &'a BTreeMap<&'a str, &'a Mention<'a>>,
    context: &'a Context<'a>,
    entry: &'a Entry<Policy>,
    policy: &'a Policy,
    effort: &'a mut Effort,
}

impl Attempt<'_> {
    /// Notes of each Secret name the first key that the policy would deny.
    fn deny(&mut self, grants: &[Grant], findings: &mut Findings) -> Result<(), Exhausted> {
        let mut noted: BTreeSet<&SecretName> = BTreeSet::new();
        for grant in grants {
            if noted.contains(&grant.secret) {
                continue;
            }
            let request = grant.request(self.pod);
            let rule = policy::try_out(self.entry, self.context.catalog, &request, self.effort)?;
            let Some(by) = rule.filter(|rule| rule.list == RuleList::Deny) else { continue };
            noted.insert(&grant.secret);
            let objection = Objection {
                policy: by.policy.clone(),
                secret: Some(grant.secret.clone()),
                reason: format!("{}[{}] denies {request}", by.list, by.index),
            };
            let refused = self.places.get(grant.secret.as_str()).map(|mention| Refused {
                pod: self.pod,
                mention,
                request: &request,
            });
            let problems = refused.map(|refused| refused.problems(&Judgement::Denied { by })).unwrap_or_default();
            findings.try_out(Trial { mode: self.policy.mode(), objection }, problems.iter().next());
        }
        Ok(())
    }

    /// Tells that the policy would allow what nothing allows, if it were enforced: whoever reads it believes that it does.
    fn allow(&mut self, findings: &mut Findings) -> Result<(), Exhausted> {
        let unmatched = findings.denied.iter().filter(|denied| denied.judgement == Judgement::Unmatched);
        let mut problem = None;
        for denied in unmatched.take(super::MOST_TOLD) {
            let request = denied.request(self.pod);
            let rule = policy::try_out(self.entry, self.context.catalog, &request, self.effort)?;
            if let Some(rule) = rule.filter(|rule| rule.list == RuleList::Allow) {
                let reason = format!("grants nothing, and {}[{}] would allow {request}", rule.list, rule.index);
                problem = Some(Problem::new(format!("{}: spec.mode", rule.policy), reason));
                break;
            }
        }
        let mode = self.policy.mode().to_string();
        let problem = problem.map(|problem| problem.with_value(mode).with_remedy("write Enforce once it is right"));
        findings.refuse(RefusalReason::Policy, problem);
        Ok(())
    }
}
