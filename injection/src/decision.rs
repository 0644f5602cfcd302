//! The question: what becomes of this Pod?
//!
//! The answer is a pure function of the Pod and of what is known of the cluster, the same to the byte each time. A Pod
//! that an earlier call has changed is put back and judged anew, so that asking twice changes nothing, and a Pod made to
//! look as if it had been changed gains nothing.

mod advice;
mod diversion;
mod eligibility;
pub(crate) mod extent;
mod findings;
mod missing_keys;
mod nested;
mod reserved;
mod unserved;

use crate::audiences;
use crate::bindings::BoundSecrets;
use crate::catalog::Catalog;
use crate::inject::{self, Injection, restore};
use crate::kubernetes;
use crate::places::mentions;
use crate::pod::Pod;
use crate::policy::{Judgement, Trial};
use crate::requests::{Denied, Grant, Requests};
use crate::settings::Settings;
use alcove_contract::Problems;
use alcove_contract::annotations::PodAnnotations;
use json_patch::Patch;
use std::fmt;

pub(crate) use eligibility::left_alone;
pub(crate) use findings::Findings;
pub(crate) use reserved::reserved;

/// What is known when a Pod is judged.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What is known of the cluster.
    pub catalog: &'a Catalog,
    /// What the administrator decided.
    pub settings: &'a Settings,
    /// The most steps that policies may take: [`MOST_STEPS`](crate::effort::MOST_STEPS), or fewer for a first try, after
    /// which a refusal may say that they [did not suffice](Refusal::is_exhausted).
    pub most_steps: usize,
}

/// What becomes of a Pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It gets its secrets.
    Inject(Plan),
    /// It is left as it is.
    Skip(Skip),
    /// It is refused.
    Deny(Refusal),
}

/// How a Pod gets its secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What changes in the Pod; empty where an earlier call has changed it already.
    pub patch: Patch,
    /// What its author should know.
    pub warnings: Vec<String>,
    /// What the Pod may mount, and by which rule.
    pub grants: Vec<Grant>,
    /// What policies on trial would refuse.
    pub trials: Vec<Trial>,
    /// Whether something was looked up and not found, so that a fresh look at the cluster may change the answer.
    pub absent: bool,
}

/// Why a Pod is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The reason.
    pub reason: Reason,
    /// What its author should know.
    pub warnings: Vec<String>,
    /// Whether something was looked up and not found, so that a fresh look at the cluster may change the answer.
    pub absent: bool,
}

/// A reason to leave a Pod as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It asks for nothing.
    NotOptedIn,
    /// It asks to be left alone.
    OptedOut,
    /// The kubelet has started it already: it only shows in the API.
    MirrorPod,
    /// It opts in, and no Secret that it names has a binding.
    NothingBound,
}

impl Reason {
    /// The reason as the label of a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotOptedIn => "not-opted-in",
            Self::OptedOut => "opted-out",
            Self::MirrorPod => "mirror-pod",
            Self::NothingBound => "nothing-bound",
        }
    }
}

/// Why a Pod is refused: everything that is wrong with it, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What people call the Pod.
    pub pod: String,
    /// What is wrong, each with its place, value and remedy.
    pub problems: Problems,
    /// The smallest policy that would allow what policy refused, as YAML.
    pub remedy: Option<String>,
    /// The kind of the first problem.
    pub reason: RefusalReason,
    /// What its author should know beside that.
    pub warnings: Vec<String>,
    /// What policy refused.
    pub denied: Vec<Denied>,
    /// Whether the conditions of policies on the Pod itself took all the steps there were.
    is_exhausted: bool,
    /// Whether something was looked up and not found, so that a fresh look at the cluster may change the answer.
    pub absent: bool,
}

impl Refusal {
    /// Whether policies took all the steps there were, so that more of them may change the answer.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.is_exhausted || self.denied.iter().any(|denied| matches!(denied.judgement, Judgement::Exhausted { .. }))
    }
}

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// An annotation or a binding is malformed.
    Malformed,
    /// Kubernetes would refuse it, too.
    Invalid,
    /// This place, node or version cannot be served.
    Unsupported,
    /// A name or container that belongs to Alcove.
    Reserved,
    /// A store, key or other object that a binding needs is not there or not to be used.
    Unresolved,
    /// No policy allows it, or one denies it.
    Policy,
    /// Something that holds for the life of a Pod was changed.
    Changed,
    /// The Pod is not as Alcove left it.
    Tampered,
}

impl RefusalReason {
    /// The reason as the label of a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::Reserved => "reserved",
            Self::Unresolved => "unresolved",
            Self::Policy => "policy",
            Self::Changed => "changed",
            Self::Tampered => "tampered",
        }
    }

    /// The status of the HTTP response that the API server passes on.
    #[must_use]
    pub const fn status_code(self) -> u16 {
        match self {
            Self::Policy | Self::Reserved | Self::Changed | Self::Tampered => 403,
            Self::Malformed | Self::Invalid | Self::Unsupported | Self::Unresolved => 422,
        }
    }
}

/// The most problems that a refusal's text shows: beyond that nobody reads it, and the API server has to carry it.
const MOST_SHOWN: usize = 100;

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pod \"{}\" is refused:", self.pod)?;
        for problem in self.problems.iter().take(MOST_SHOWN) {
            write!(formatter, "\n{problem}")?;
        }
        match self.problems.iter().len() {
            all if all > MOST_SHOWN => write!(formatter, "\nand {} more", all - MOST_SHOWN)?,
            _ => {}
        }
        match &self.remedy {
            Some(policy) => write!(formatter, "\nThe smallest policy that allows it:\n{policy}"),
            None => Ok(()),
        }
    }
}

/// What becomes of `pod`, whose creation is under review.
#[must_use]
pub fn decide(pod: &Pod, context: &Context<'_>) -> Decision {
    if let Some(skip) = left_alone(pod) {
        return Decision::Skip(skip);
    }
    let mut findings = Findings::default();
    if let Some(excess) = extent::excess_of_annotations(pod) {
        findings.refuse(RefusalReason::Invalid, [excess]);
        return Decision::Deny(findings.into_refusal(pod, context));
    }
    match PodAnnotations::parse(pod.annotations()) {
        Ok(annotations) if !annotations.opted_in() => Decision::Skip(Skip::because(Reason::NotOptedIn)),
        Ok(annotations) => judge(pod, &annotations, context),
        Err(problems) => {
            findings.refuse(RefusalReason::Malformed, problems);
            Decision::Deny(findings.into_refusal(pod, context))
        }
    }
}

fn judge(pod: &Pod, annotations: &PodAnnotations, context: &Context<'_>) -> Decision {
    let mut findings = Findings::default();
    let restored = match moderate(pod).and_then(|()| restored(pod)) {
        Ok(restored) => restored,
        Err((reason, problems)) => {
            findings.refuse(reason, problems);
            return Decision::Deny(findings.into_refusal(pod, context));
        }
    };
    let (original, sidecar) = match &restored {
        Some((original, sidecar)) => (original, Some(sidecar)),
        None => (pod, None),
    };
    let mentions = mentions(original);
    let bound = BoundSecrets::of(&mentions, annotations, pod.namespace(), context.catalog, &mut findings);
    if let Some(excess) = extent::excess_of_references(&bound) {
        findings.refuse(RefusalReason::Unsupported, [excess]);
        return Decision::Deny(findings.into_refusal(pod, context));
    }
    findings.is_exhausted = extent::exhausts(&bound, context.most_steps);
    if findings.is_exhausted {
        return Decision::Deny(findings.into_refusal(pod, context));
    }
    findings.refuse(RefusalReason::Reserved, reserved(original));
    if bound.is_empty() && sidecar.is_none() && findings.is_clean() {
        return Decision::Skip(findings.into_skip(Reason::NothingBound));
    }
    findings.refuse(RefusalReason::Unsupported, eligibility::platform(original, annotations));
    findings.refuse(RefusalReason::Unsupported, unserved::problems(original, &mentions, &bound, annotations, context));
    findings.refuse(RefusalReason::Invalid, kubernetes::violations(original, &bound.names()));
    findings.refuse(RefusalReason::Unsupported, nested::problems(original, &bound));
    audiences::judge(original, context, &mut findings);
    findings.refuse(RefusalReason::Unresolved, missing_keys::problems(original, &mentions, &bound));
    let requests = Requests::of(original, &mentions, &bound, context, &mut findings);
    findings.refuse(RefusalReason::Unsupported, diversion::problems(original, &requests.stores));
    let injection =
        Injection { received: pod, original, sidecar, bound: &bound, requests: &requests, annotations, context };
    let Some(intended) = injection.intended(&mut findings) else {
        return Decision::Deny(findings.into_refusal(pod, context));
    };
    let patch = inject::difference(pod.document(), &intended);
    findings.warnings.extend(advice::warnings(original, &mentions, &bound));
    if sidecar.is_some() {
        findings.warnings.extend(advice::precedence(original, &bound));
    }
    let Findings { warnings, trials, absent, .. } = findings;
    Decision::Inject(Plan { patch, warnings, grants: requests.grants, trials, absent })
}

/// Refuses a Pod that would be expensive to judge.
fn moderate(pod: &Pod) -> Result<(), (RefusalReason, Problems)> {
    extent::excesses(pod).or(()).map_err(|problems| (RefusalReason::Unsupported, problems))
}

/// The Pod as it was before an earlier call, and the sidecar that this call left.
fn restored(pod: &Pod) -> Result<Option<(Pod, serde_json::Value)>, (RefusalReason, Problems)> {
    let tampered = |problems: Problems| (RefusalReason::Tampered, problems);
    let Some(restored) = restore::restore(pod.document()).map_err(tampered)? else { return Ok(None) };
    let original = Pod::new(restored.document, pod.namespace()).map_err(|problem| tampered(Problems::from(problem)))?;
    // A forged sidecar may say of a small Pod that it was a large one.
    moderate(&original)?;
    Ok(Some((original, restored.sidecar)))
}

impl Skip {
    pub(crate) const fn because(reason: Reason) -> Self {
        Self { reason, warnings: Vec::new(), absent: false }
    }
}
