//! The last word: the final Pod, after every webhook, and every later change of it.

mod creation;
mod ephemeral;
mod update;

use crate::decision::{Context, Findings, Refusal};
use crate::inject::document::{at, items, text};
use crate::pod::Pod;
use crate::policy::Trial;
use crate::requests::Grant;
use alcove_contract::layout;
use serde_json::Value;
use std::collections::BTreeSet;

/// What the validating side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The Pod, or its change, is allowed.
    Allow(Allowance),
    /// It is refused.
    Deny(Refusal),
}

/// What goes with an allowed Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// What its author should know.
    pub warnings: Vec<String>,
    /// Whether something was looked up and not found, so that a fresh look at the cluster may change the answer.
    pub absent: bool,
    /// What a created Pod may mount, and by which rule.
    pub grants: Vec<Grant>,
    /// What policies on trial would refuse.
    pub trials: Vec<Trial>,
}

/// Judges the creation of `new`, or the change from `old` to `new`.
///
/// A created Pod must be what [`decide`](crate::decide) would make of it. Of a change only what changed is judged: today's
/// policy never holds up a Pod that was admitted yesterday.
#[must_use]
pub fn validate(old: Option<&Pod>, new: &Pod, context: &Context<'_>) -> Verdict {
    match old {
        None => creation::validate(new, context),
        Some(old) => {
            let mut findings = Findings::default();
            update::check(old, new, context, &mut findings);
            ephemeral::check(old, new, context, &mut findings);
            verdict(new, context, findings)
        }
    }
}

fn verdict(pod: &Pod, context: &Context<'_>, findings: Findings) -> Verdict {
    if findings.is_clean() {
        let Findings { warnings, absent, trials, .. } = findings;
        return Verdict::Allow(Allowance { warnings, absent, grants: Vec::new(), trials });
    }
    Verdict::Deny(findings.into_refusal(pod, context))
}

/// The sidecar of a Pod, if it has one.
pub(crate) fn sidecar_of(pod: &Pod) -> Option<&Value> {
    let spec = at(pod.document(), &["spec"]);
    items(spec, "initContainers").iter().find(|container| text(container, "name") == layout::CONTAINER)
}

/// The volumes that a sidecar works with: what it fills and what it reads. They are known by where they are mounted and not
/// by the configuration, which a sidecar of another release may have in a form that this one cannot read.
fn volumes_of(sidecar: &Value) -> BTreeSet<String> {
    let is_own = |path: &str| path.strip_prefix(layout::ROOT).is_some_and(|rest| rest.starts_with('/'));
    let mounts = items(sidecar, "volumeMounts").iter().filter(|mount| is_own(text(mount, "mountPath")));
    mounts.map(|mount| text(mount, "name").to_owned()).collect()
}

/// Where a container uses one of these volumes, or one of Alcove's own: the field, and the volume's name.
fn uses<'a>(container: &'a Value, volumes: &'a BTreeSet<String>) -> impl Iterator<Item = (String, &'a str)> {
    let is_ours = |name: &str| name.starts_with(layout::VOLUME_PREFIX) || volumes.contains(name);
    let mounts = items(container, "volumeMounts").iter().enumerate();
    let mounts = mounts.map(|(index, mount)| (format!("volumeMounts[{index}].name"), text(mount, "name")));
    let variables = items(container, "env").iter().enumerate().map(|(index, variable)| {
        let name = text(at(variable, &["valueFrom", "fileKeyRef"]), "volumeName");
        (format!("env[{index}].valueFrom.fileKeyRef.volumeName"), name)
    });
    mounts.chain(variables).filter(move |(_, name)| is_ours(name))
}
