//! Conditions on whole Pods, which a policy states under `spec.pod`: what lets others than a Pod's own containers read its
//! secrets.
//!
//! Each is a deny of every Secret that a Pod gets: it wins over every allow, and concerns no Pod that gets none. Most Pods have
//! nothing that a condition could be about, and then no policy is looked at.

use super::refusal::simpler;
use super::{Objection, Policy, Standing, Trial};
use crate::catalog::{Entry, located};
use crate::decision::{Context, Findings, RefusalReason};
use crate::effort::{Effort, Exhausted, MOST_STEPS};
use crate::inject::path::{clean, is_within};
use crate::pod::{Container, ContainerKind, Pod, items, text};
use alcove_contract::{Problem, Problems};
use alcove_resources::ObjectName;
use alcove_resources::policy::PodConditions;
use serde_json::Value;
use std::fmt;

/// Where the kubelet keeps what it mounts into Pods.
const KUBELET: &str = "/var/lib/kubelet";

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    DenyPrivileged,
    DenyHostPid,
    DenySharedProcessNamespace,
    DenyKubeletHostPath,
    AllowEphemeral,
}

impl Condition {
    pub(super) const ALL: [Self; 5] = [
        Self::DenyPrivileged,
        Self::DenyHostPid,
        Self::DenySharedProcessNamespace,
        Self::DenyKubeletHostPath,
        Self::AllowEphemeral,
    ];

    /// Whether a policy states it.
    pub(super) const fn is_stated(self, conditions: PodConditions) -> bool {
        match self {
            Self::DenyPrivileged => matches!(conditions.deny_privileged, Some(true)),
            Self::DenyHostPid => matches!(conditions.deny_host_pid, Some(true)),
            Self::DenySharedProcessNamespace => matches!(conditions.deny_shared_process_namespace, Some(true)),
            Self::DenyKubeletHostPath => matches!(conditions.deny_kubelet_host_path, Some(true)),
            Self::AllowEphemeral => matches!(conditions.allow_ephemeral, Some(false)),
        }
    }

    /// What whoever wrote the Pod can do, and why it is worth it.
    const fn remedy(self) -> &'static str {
        match self {
            Self::DenyPrivileged => "leave it away: a privileged container can read every secret of its node",
            Self::DenyHostPid => {
                "leave it away: whoever sees all processes of the node sees the secrets of this Pod, too"
            }
            Self::DenySharedProcessNamespace => {
                "leave it away: through /proc one container reads the files and variables of the other"
            }
            Self::DenyKubeletHostPath => "mount a directory that neither lies in /var/lib/kubelet nor holds it",
            Self::AllowEphemeral => "debug a Pod that gets no bound Secret",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DenyPrivileged => "spec.pod.denyPrivileged",
            Self::DenyHostPid => "spec.pod.denyHostPID",
            Self::DenySharedProcessNamespace => "spec.pod.denySharedProcessNamespace",
            Self::DenyKubeletHostPath => "spec.pod.denyKubeletHostPath",
            Self::AllowEphemeral => "spec.pod.allowEphemeral",
        })
    }
}

/// Judges a Pod that is created and gets bound Secrets.
pub(crate) fn judge(pod: &Pod, context: &Context<'_>, effort: &mut Effort, findings: &mut Findings) {
    let containers = pod.containers().flat_map(|container| of_container(container, pod));
    against(of_pod(pod).into_iter().chain(containers).collect(), pod, context, effort, findings);
}

/// Judges a Pod that has its secrets already, as the next one like it would be: without the ephemeral containers, which do not
/// come with it.
pub(crate) fn judge_running(pod: &Pod, context: &Context<'_>, effort: &mut Effort, findings: &mut Findings) {
    let containers = pod.containers().filter(|container| container.kind != ContainerKind::Ephemeral);
    let of_containers = containers.flat_map(|container| of_container(container, pod));
    against(of_pod(pod).into_iter().chain(of_containers).collect(), pod, context, effort, findings);
}

/// Judges ephemeral containers that come to a Pod which has its secrets. What the Pod itself is was judged before.
pub(crate) fn judge_added(pod: &Pod, added: &[Container<'_>], context: &Context<'_>, findings: &mut Findings) {
    let offences = added.iter().flat_map(|container| of_container(*container, pod));
    against(offences.collect(), pod, context, &mut Effort::of(context.most_steps), findings);
}

/// Something in a Pod that a condition is about.
struct Offence<'a> {
    condition: Condition,
    place: String,
    value: Option<&'a str>,
    /// What it must not be, as a fragment that fits before the Pod.
    what: String,
}

impl Offence<'_> {
    fn problem(&self, pod: &Pod, why: &str) -> Problem {
        let Self { condition, what, .. } = self;
        let (name, account) = (pod.display_name(), pod.service_account());
        let reason =
            format!("{what} Pod \"{name}\" with ServiceAccount \"{account}\", which gets bound Secrets: {why}");
        let problem = Problem::new(self.place.as_str(), reason).with_remedy(condition.remedy());
        match self.value {
            Some(value) => problem.with_value(value),
            None => problem,
        }
    }

    fn forbidden(&self, pod: &Pod, policy: &ObjectName) -> Problem {
        self.problem(pod, &format!("{} of {policy} forbids it", self.condition))
    }

    fn objection(&self, policy: &ObjectName) -> Objection {
        let reason = format!("{} forbids {}", self.condition, self.place);
        Objection { policy: policy.clone(), secret: None, reason }
    }
}

fn of_pod(pod: &Pod) -> Vec<Offence<'_>> {
    let processes = of_processes(pod).map(|(condition, field)| Offence {
        condition,
        place: format!("spec.{field}"),
        value: None,
        what: "must not be true for".to_owned(),
    });
    let volumes = pod.volumes().enumerate().filter_map(|(index, volume)| {
        let path = text(volume.get("hostPath"), "path").filter(|path| reaches_kubelet(path))?;
        let place = format!("spec.volumes[{index}].hostPath.path");
        let what = "must not be a volume of".to_owned();
        Some(Offence { condition: Condition::DenyKubeletHostPath, place, value: Some(path), what })
    });
    processes.chain(volumes).collect()
}

/// The fields by which a Pod shares processes, with the conditions that are about them.
fn of_processes(pod: &Pod) -> impl Iterator<Item = (Condition, &'static str)> {
    let processes = [
        (Condition::DenyHostPid, "hostPID"),
        (Condition::DenySharedProcessNamespace, "hostPID"),
        (Condition::DenySharedProcessNamespace, "shareProcessNamespace"),
    ];
    let says = |field: &str| pod.spec().and_then(|spec| spec.get(field)).and_then(Value::as_bool) == Some(true);
    processes.into_iter().filter(move |(_, field)| says(field))
}

/// Whether a path of the node lies in the kubelet's directory, or holds it.
fn reaches_kubelet(path: &str) -> bool {
    let path = clean(path);
    is_within(&path, KUBELET) || is_within(KUBELET, &path)
}

fn of_container<'a>(container: Container<'a>, pod: &'a Pod) -> Vec<Offence<'a>> {
    let (kind, name, path) = (container.kind, container.name, container.path());
    let context = container.document.get("securityContext");
    let is_privileged = context.and_then(|context| context.get("privileged")).and_then(Value::as_bool) == Some(true);
    let privileged = is_privileged.then(|| Offence {
        condition: Condition::DenyPrivileged,
        place: format!("{path}.securityContext.privileged"),
        value: None,
        what: format!("must not be true for {kind} \"{name}\" of"),
    });
    let more = if kind == ContainerKind::Ephemeral { of_ephemeral(container, pod) } else { Vec::new() };
    privileged.into_iter().chain(more).collect()
}

fn of_ephemeral<'a>(container: Container<'a>, pod: &'a Pod) -> Vec<Offence<'a>> {
    let (name, path) = (container.name, container.path());
    let itself = Offence {
        condition: Condition::AllowEphemeral,
        place: format!("{path}.name"),
        value: Some(name),
        what: "must not be an ephemeral container of".to_owned(),
    };
    let target = text(Some(container.document), "targetContainerName").map(|target| Offence {
        condition: Condition::DenySharedProcessNamespace,
        place: format!("{path}.targetContainerName"),
        value: Some(target),
        what: format!("must not be the target of ephemeral container \"{name}\" of"),
    });
    // The Pod may have come before the condition.
    let holds_kubelet = |volume: &str| {
        let mut volumes = pod.volumes().filter(|known| text(Some(known), "name") == Some(volume));
        volumes.any(|volume| text(volume.get("hostPath"), "path").is_some_and(reaches_kubelet))
    };
    let mounts = items(Some(container.document), "volumeMounts").enumerate().filter_map(|(index, mount)| {
        let volume = text(Some(mount), "name").filter(|volume| holds_kubelet(volume))?;
        Some(Offence {
            condition: Condition::DenyKubeletHostPath,
            place: format!("{path}.volumeMounts[{index}].name"),
            value: Some(volume),
            what: format!("must not be mounted by ephemeral container \"{name}\" of"),
        })
    });
    let shared = of_processes(pod).map(|(condition, field)| Offence {
        condition,
        place: format!("{path}.name"),
        value: Some(name),
        what: format!("must not be an ephemeral container, which would see all processes (spec.{field}), of"),
    });
    [itself].into_iter().chain(target).chain(shared).chain(mounts).collect()
}

/// Holds offences against a Pod, each by the first policy that forbids it: those of the cluster come first. One that cannot be
/// read may forbid anything.
fn against(
    mut offences: Vec<Offence<'_>>,
    pod: &Pod,
    context: &Context<'_>,
    effort: &mut Effort,
    findings: &mut Findings,
) {
    try_out(&offences, pod, context, findings);
    let catalog = context.catalog;
    for entry in catalog.cluster_policies().chain(catalog.policies(pod.namespace())) {
        if offences.is_empty() {
            return;
        }
        let forbids = |offence: &Offence<'_>| match &entry.content {
            Ok(policy) => offence.condition.is_stated(policy.pod),
            Err(_unreadable) => true,
        };
        let word = effort.spend(offences.len()).and_then(|()| {
            let is_meant = offences.iter().any(forbids);
            if is_meant { Word::of(entry, pod, context, effort) } else { Ok(Word::Nothing) }
        });
        match word {
            Ok(Word::Nothing) => {}
            Ok(word) => {
                let (forbidden, others): (Vec<_>, Vec<_>) = offences.into_iter().partition(forbids);
                offences = others;
                word.hold(&forbidden.iter().collect::<Vec<_>>(), entry, pod, findings);
            }
            Err(Exhausted) => {
                findings.is_exhausted = true;
                return findings.refuse(RefusalReason::Policy, [exhausted(&entry.object)]);
            }
        }
    }
}

/// What a policy that states a condition says to a Pod that does not meet it.
enum Word {
    /// The Pod is none of those it speaks of.
    Nothing,
    Forbids,
    /// It may be one of those, or the policy cannot be read.
    Undecided(Problems),
}

impl Word {
    fn of(entry: &Entry<Policy>, pod: &Pod, context: &Context<'_>, effort: &mut Effort) -> Result<Self, Exhausted> {
        let here = context.catalog.namespace(pod.namespace());
        let account = context.catalog.account(pod.namespace(), pod.service_account());
        Ok(match Standing::of(entry, here, account, effort)? {
            Standing::Unconcerned => Self::Nothing,
            Standing::Perhaps(_, problem) => Self::Undecided(problem.into()),
            Standing::Concerned(_) => Self::Forbids,
            Standing::Unreadable(problems) => Self::Undecided(located(problems, &entry.object)),
        })
    }

    fn hold(self, forbidden: &[&Offence<'_>], entry: &Entry<Policy>, pod: &Pod, findings: &mut Findings) {
        let policy = &entry.object;
        let Self::Undecided(problems) = self else {
            findings.refuse(RefusalReason::Policy, forbidden.iter().map(|one| one.forbidden(pod, policy)));
            findings.objections.extend(firsts(forbidden).map(|one| one.objection(policy)));
            return;
        };
        findings.absent = true;
        let undecided = forbidden.iter().map(|one| one.problem(pod, "the policies about it cannot all be read"));
        findings.refuse(RefusalReason::Policy, undecided);
        findings.refuse(RefusalReason::Policy, problems);
    }
}

/// Has policies on trial look at offences, with steps of their own. Where they do not suffice, what the rest would say is not
/// told: no Pod is refused for that.
fn try_out(offences: &[Offence<'_>], pod: &Pod, context: &Context<'_>, findings: &mut Findings) {
    if offences.is_empty() {
        return;
    }
    let mut effort = Effort::of(context.most_steps);
    for entry in context.catalog.trials(pod.namespace()) {
        let Ok(policy) = &entry.content else { continue };
        let forbidden: Vec<&Offence<'_>> = offences.iter().filter(|one| one.condition.is_stated(policy.pod)).collect();
        let word = effort.spend(offences.len()).and_then(|()| {
            if forbidden.is_empty() { Ok(Word::Nothing) } else { Word::of(entry, pod, context, &mut effort) }
        });
        match word {
            Ok(Word::Forbids) => {}
            Ok(Word::Nothing | Word::Undecided(_)) => continue,
            Err(Exhausted) => return,
        }
        for offence in firsts(&forbidden) {
            let trial = Trial { mode: policy.mode(), objection: offence.objection(&entry.object) };
            findings.try_out(trial, Some(&offence.forbidden(pod, &entry.object)));
        }
    }
}

/// Of each condition the first offence.
fn firsts<'a>(forbidden: &'a [&'a Offence<'a>]) -> impl Iterator<Item = &'a Offence<'a>> {
    Condition::ALL.into_iter().filter_map(|condition| forbidden.iter().find(|one| one.condition == condition).copied())
}

fn exhausted(at: &ObjectName) -> Problem {
    let reason = format!(
        "comparing its ServiceAccount with the policies takes more than {MOST_STEPS} steps, which ended at {at}"
    );
    Problem::new("spec.serviceAccountName", reason).with_remedy(simpler(at))
}
