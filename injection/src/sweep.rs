//! Pods that are there already: which of them run without their sidecar, and which mount what they no longer may.
//!
//! Admission judges a Pod once. Afterwards a policy may go, and a Pod may have come while nobody called the webhook.
//! Nothing here changes such a Pod: it is told of.

use crate::decision::{Context, Decision, Findings, decide, left_alone};
use crate::inject::document::{at, text};
use crate::inject::restore;
use crate::pod::Pod;
use crate::policy::{Judgement, Objection, RuleName};
use crate::requests::{self, Denied};
use crate::validate::sidecar_of;
use alcove_contract::configuration::SidecarConfiguration;
use alcove_contract::name::SecretName;
use alcove_contract::{Problems, layout};
use alcove_resources::ObjectName;
use std::collections::BTreeMap;
use std::fmt;

/// What is wrong with a Pod that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It has opted in and has no sidecar of ours: nobody called the webhook, or what binds its Secrets came later.
    NotInjected {
        /// What there is instead of the sidecar, as a fragment that fits after the Pod's name.
        reason: String,
    },
    /// Its sidecar delivers what its next Pod would be refused.
    NoLongerGranted(Loss),
    /// Policies on trial would refuse its next Pod.
    WouldBeRefused(Vec<Objection>),
}

/// What a Pod mounts and would not be granted today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why it would be refused, as a refusal would say it.
    pub problems: Problems,
    /// The keys that policy refuses.
    pub denied: Vec<Denied>,
    /// What policies have against the Pod itself, and what those on trial have against it.
    pub objections: Vec<Objection>,
}

impl Finding {
    /// The finding as the label of a metric.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotInjected { .. } => "not-injected",
            Self::NoLongerGranted(_) => "no-longer-granted",
            Self::WouldBeRefused(_) => "would-be-refused",
        }
    }

    /// Whether policies took all the steps there were, so that nothing can be said of the Pod with fewer than it needs.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        let Self::NoLongerGranted(Loss { denied, .. }) = self else { return false };
        !denied.is_empty() && denied.iter().all(|denied| matches!(denied.judgement, Judgement::Exhausted { .. }))
    }

    /// What policies have against the Pod, of each Secret name the first key; what merely nothing allows any longer has no
    /// policy to be held against.
    #[must_use]
    pub fn objections(&self) -> Vec<Objection> {
        let loss = match self {
            Self::NotInjected { .. } => return Vec::new(),
            Self::NoLongerGranted(loss) => loss,
            Self::WouldBeRefused(objections) => return objections.clone(),
        };
        let mut of_secrets: BTreeMap<(&ObjectName, &SecretName), (&RuleName, &Denied)> = BTreeMap::new();
        for denied in &loss.denied {
            if let Judgement::Denied { by } = &denied.judgement {
                of_secrets.entry((&by.policy, &denied.secret)).or_insert((by, denied));
            }
        }
        let of_secrets = of_secrets.into_iter().map(|((policy, secret), (rule, denied))| Objection {
            policy: policy.clone(),
            secret: Some(secret.clone()),
            reason: denied_by(rule, denied),
        });
        loss.objections.iter().cloned().chain(of_secrets).collect()
    }
}

/// Which rule denies which key, as a fragment that fits after the policy's name.
fn denied_by(rule: &RuleName, Denied { store_kind, store, key, .. }: &Denied) -> String {
    let RuleName { list, index, .. } = rule;
    format!("{list}[{index}] denies key \"{}\" of {store_kind} \"{store}\"", key.escape_debug())
}

impl fmt::Display for Finding {
    /// What is told of the Pod, as a fragment that fits after its name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInjected { reason } => formatter.write_str(reason),
            Self::NoLongerGranted(loss) => {
                formatter.write_str("keeps the secrets that it has, and the next Pod like it is refused:")?;
                loss.problems.iter().try_for_each(|problem| write!(formatter, "\n{problem}"))
            }
            Self::WouldBeRefused(objections) => {
                formatter.write_str(
                    "keeps the secrets that it has, and policies on trial would refuse the next Pod like it:",
                )?;
                let lines = objections.iter().map(|Objection { policy, reason, .. }| (policy, reason));
                lines.into_iter().try_for_each(|(policy, reason)| write!(formatter, "\n{policy}: {reason}"))
            }
        }
    }
}

/// Looks at a Pod that is there already, by what is known today.
///
/// What decides is the Pod itself and its ServiceAccount, as at its admission. A Pod that has ended or is about to, one that
/// has opted out and the mirror of a static one are nothing to tell of.
#[must_use]
pub fn inspect(pod: &Pod, context: &Context<'_>) -> Option<Finding> {
    if is_over(pod) || left_alone(pod).is_some() {
        return None;
    }
    let Some(sidecar) = sidecar_of(pod) else { return without_sidecar(pod, context) };
    match restore::configuration(sidecar) {
        Ok(configuration) => of_running(pod, &configuration, context),
        Err(problem) => Some(Finding::NotInjected { reason: problem.to_string() }),
    }
}

/// Whether a Pod has ended, or has been told to.
fn is_over(pod: &Pod) -> bool {
    let is_ending = at(pod.document(), &["metadata"]).get("deletionTimestamp").is_some_and(|time| !time.is_null());
    is_ending || ["Succeeded", "Failed"].contains(&text(at(pod.document(), &["status"]), "phase"))
}

fn without_sidecar(pod: &Pod, context: &Context<'_>) -> Option<Finding> {
    let reason = match decide(pod, context) {
        Decision::Skip(_) => return None,
        Decision::Inject(_) => "it came past the webhook, or before what binds its Secrets; create it anew".to_owned(),
        Decision::Deny(refusal) => {
            format!("it came past the webhook, which would have refused it: {}", refusal.problems)
        }
    };
    Some(Finding::NotInjected {
        reason: format!("asks for secrets and has no container {}: {reason}", layout::CONTAINER),
    })
}

fn of_running(pod: &Pod, configuration: &SidecarConfiguration, context: &Context<'_>) -> Option<Finding> {
    // Where it cannot be put back, the places of its Secrets are not known; what its sidecar reads is.
    let restored = restore::restore(pod.document()).ok().flatten();
    let original = restored.and_then(|restored| Pod::new(restored.document, pod.namespace()).ok());
    let mut findings = Findings::default();
    requests::running::judge(original.as_ref().unwrap_or(pod), configuration, context, &mut findings);
    let Findings { problems, denied, mut objections, trials, .. } = findings;
    objections.extend(trials.into_iter().map(|trial| trial.objection));
    if !problems.is_empty() || !denied.is_empty() {
        return Some(Finding::NoLongerGranted(Loss { problems, denied, objections }));
    }
    (!objections.is_empty()).then_some(Finding::WouldBeRefused(objections))
}
