//! Mountable Secrets: what a ServiceAccount with `kubernetes.io/enforce-mountable-secrets` lets its Pods name.
//!
//! Kubernetes' own check misses projected volumes and the volumes of plugins, and it is silently off where the annotation's
//! value does not parse. Here every place counts, bound or not, and a value that does not parse enforces. Kubernetes has
//! deprecated its annotation, so Alcove has one of the same meaning.

use crate::catalog::{Catalog, ServiceAccount};
use crate::decision::{Context, Findings, RefusalReason};
use crate::places::{Mention, Place, mentions};
use crate::pod::Pod;
use crate::store::Identity;
use alcove_contract::{Problem, Problems, layout};
use std::collections::BTreeSet;

/// The annotation of a ServiceAccount that limits its Pods to the Secrets that it lists; Kubernetes reads it, too.
const OF_KUBERNETES: &str = "kubernetes.io/enforce-mountable-secrets";
/// The same, which only Alcove reads.
const OF_ALCOVE: &str = "alcove.dev/enforce-mountable-secrets";

/// Whether an annotation of a ServiceAccount decides what its Pods may name: no other one is of use here.
#[must_use]
pub fn is_enforcement(annotation: &str) -> bool {
    [OF_KUBERNETES, OF_ALCOVE].contains(&annotation)
}

/// A ServiceAccount whose Pods may name no Secret at all: what stands for one that cannot be kept.
#[must_use]
pub fn closed() -> ServiceAccount {
    ServiceAccount { annotations: [(OF_ALCOVE.to_owned(), "true".to_owned())].into(), ..ServiceAccount::default() }
}

/// What a ServiceAccount's list says to a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mountable {
    /// The mentions that the list does not cover.
    pub problems: Problems,
    /// What its owner should know.
    pub warnings: Vec<String>,
    /// Whether the ServiceAccount has not been seen: a fresh look at the cluster may find it. Until then nothing is
    /// enforced, since Kubernetes itself refuses a Pod whose ServiceAccount does not exist.
    pub is_account_unseen: bool,
}

/// Notes those mentions of a Pod for which `is_checked` holds and that its ServiceAccount's list does not cover.
pub(crate) fn judge(
    pod: &Pod,
    context: &Context<'_>,
    findings: &mut Findings,
    is_checked: impl Fn(&Mention<'_>) -> bool,
) {
    let checked = check(context.catalog, pod, is_checked);
    findings.absent |= checked.is_account_unseen;
    findings.warnings.extend(checked.warnings);
    findings.refuse(RefusalReason::Policy, checked.problems);
}

/// Notes those Secrets that the sidecar logs in with and that the list does not cover: whoever may write a store chooses which
/// they are, and to which server they go.
pub(crate) fn judge_credentials(pod: &Pod, identity: &Identity, context: &Context<'_>, findings: &mut Findings) {
    let account = context.catalog.service_account(pod.namespace(), pod.service_account());
    let enforces = |account: &ServiceAccount| {
        [OF_KUBERNETES, OF_ALCOVE].iter().any(|annotation| enforcement(account, annotation) != Enforcement::Off)
    };
    let Some(account) = account.filter(|account| enforces(account)) else { return };
    let names: BTreeSet<&str> = identity.secrets().map(|(secret, _, _)| secret.as_str()).collect();
    let outside = names.into_iter().filter(|name| !account.secrets.contains(*name));
    let problems: Problems = outside.map(|name| problem_of_credential(pod, name)).collect();
    findings.refuse(RefusalReason::Policy, problems);
}

/// Checks the mentions of a Pod for which `is_checked` holds against its ServiceAccount's list.
#[must_use]
pub fn check(catalog: &Catalog, pod: &Pod, is_checked: impl Fn(&Mention<'_>) -> bool) -> Mountable {
    let Some(account) = catalog.service_account(pod.namespace(), pod.service_account()) else {
        return Mountable { is_account_unseen: true, ..Mountable::default() };
    };
    let enforcements = [OF_KUBERNETES, OF_ALCOVE].map(|annotation| (annotation, enforcement(account, annotation)));
    if enforcements.iter().all(|(_, enforcement)| *enforcement == Enforcement::Off) {
        return Mountable::default();
    }
    let warnings = enforcements.iter().filter_map(|(annotation, enforcement)| match enforcement {
        Enforcement::OnSinceUnparsable(value) => Some(unparsable(pod, annotation, value)),
        Enforcement::Off | Enforcement::On => None,
    });
    let warnings = warnings.collect();
    let outside = mentions(pod).into_iter().filter(|mention| is_checked(mention) && !lists(account, mention));
    let problems = outside.map(|mention| problem(pod, &mention)).collect();
    Mountable { problems, warnings, is_account_unseen: false }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Enforcement<'a> {
    Off,
    On,
    OnSinceUnparsable(&'a str),
}

/// Reads an annotation as Go's `strconv.ParseBool` does.
fn enforcement<'a>(account: &'a ServiceAccount, annotation: &str) -> Enforcement<'a> {
    match account.annotations.get(annotation).map(String::as_str) {
        None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Enforcement::Off,
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Enforcement::On,
        Some(other) => Enforcement::OnSinceUnparsable(other),
    }
}

fn lists(account: &ServiceAccount, mention: &Mention<'_>) -> bool {
    match mention.place {
        Place::ImagePullSecret { .. } => account.image_pull_secrets.contains(mention.secret),
        _ => account.secrets.contains(mention.secret),
    }
}

fn unparsable(pod: &Pod, annotation: &str, value: &str) -> String {
    let kubernetes = if annotation == OF_KUBERNETES { "Kubernetes takes it for false, " } else { "" };
    format!(
        "{annotation}: \"{}\" of ServiceAccount \"{}\" is not a boolean; {kubernetes}Alcove enforces; write \"true\" or \
         \"false\"",
        value.escape_debug(),
        pod.service_account(),
    )
}

fn problem(pod: &Pod, mention: &Mention<'_>) -> Problem {
    let account = pod.service_account();
    let list = match mention.place {
        Place::ImagePullSecret { .. } => "imagePullSecrets",
        _ => "secrets",
    };
    let container = mention.container.map(|(kind, name)| format!("{kind} \"{name}\" of ")).unwrap_or_default();
    let reason = format!(
        "must not be mounted by {container}Pod \"{}\": ServiceAccount \"{account}\" enforces its list, and the name is not \
         in its {list}",
        pod.display_name(),
    );
    Problem::new(mention.path(), reason)
        .with_value(mention.secret)
        .with_remedy(format!("add {{name: {}}} to {list} of ServiceAccount \"{account}\"", mention.secret))
}

fn problem_of_credential(pod: &Pod, secret: &str) -> Problem {
    let (account, name) = (pod.service_account(), pod.display_name());
    let reason = format!(
        "must not be mounted by the sidecar of Pod \"{name}\", which would log in to a store with it: ServiceAccount \"{account}\" \
         enforces its list, and the name is not in its secrets"
    );
    Problem::new(format!("spec.volumes[{}].projected", layout::IDENTITY_VOLUME), reason)
        .with_value(secret)
        .with_remedy(format!("add {{name: {secret}}} to secrets of ServiceAccount \"{account}\""))
}

#[cfg(test)]
mod tests;
