//! Ephemeral containers: whoever debugs a Pod was not granted its secrets.

use super::sidecar_of;
use crate::audiences;
use crate::decision::{Context, Findings, RefusalReason, extent};
use crate::inject::document::{items, text};
use crate::mountable;
use crate::places::{self, Mention};
use crate::pod::{Container, ContainerKind, Pod};
use crate::policy::conditions;
use alcove_contract::annotations::{self, Inject, PodAnnotations};
use alcove_contract::{Problem, layout};
use std::collections::BTreeSet;

const REMEDY: &str = "leave it away: what the Pod's own containers were granted is not for whoever debugs them";

/// Judges the ephemeral containers that are new in this change; those of before were judged before, or never.
pub(super) fn check(old: &Pod, new: &Pod, context: &Context<'_>, findings: &mut Findings) {
    let existing: BTreeSet<&str> = ephemeral(old).map(|container| container.name).collect();
    let added: Vec<Container<'_>> = ephemeral(new).filter(|container| !existing.contains(container.name)).collect();
    if added.is_empty() {
        return;
    }
    let served = sidecar_of(old).map(super::volumes_of).unwrap_or_default();
    for container in &added {
        let used = super::uses(container.document, &served);
        let problems = used.map(|(place, volume)| {
            let reason = format!("gives a volume of Alcove's to the ephemeral container \"{}\"", container.name);
            Problem::new(format!("{}.{place}", container.path()), reason).with_value(volume).with_remedy(REMEDY)
        });
        findings.refuse(RefusalReason::Policy, problems);
    }
    if sidecar_of(old).is_some() {
        let targets =
            added.iter().filter(|container| text(container.document, "targetContainerName") == layout::CONTAINER);
        findings.refuse(
            RefusalReason::Policy,
            targets.map(|container| {
                let reason = format!(
                    "lets the ephemeral container \"{}\" into the processes of the sidecar, and so to its tokens",
                    container.name
                );
                let place = format!("{}.targetContainerName", container.path());
                Problem::new(place, reason).with_value(layout::CONTAINER).with_remedy("name another container")
            }),
        );
        findings.warnings.extend(added.iter().filter_map(neighbour));
        conditions::judge_added(new, &added, context, findings);
    }
    let names: BTreeSet<&str> = added.iter().map(|container| container.name).collect();
    refuse_mentions(new, &names, context, findings);
    refuse_tokens(new, &added, context, findings);
    let mounted = volumes_mounted_by(new, &added);
    mountable::judge(new, context, findings, |mention| {
        newcomer(mention, &names).is_some() || mention.place.volume().is_some_and(|volume| mounted.contains(&volume))
    });
}

/// Refuses mounts of tokens that the Pod itself would not get today: it came before enforcement.
fn refuse_tokens(pod: &Pod, added: &[Container<'_>], context: &Context<'_>, findings: &mut Findings) {
    let reserved = audiences::reserved(pod, context, findings);
    for container in added {
        let mounts = items(container.document, "volumeMounts").iter().enumerate();
        let problems: Vec<Problem> = mounts
            .filter_map(|(index, mount)| {
                let token = reserved.iter().find(|token| token.volume == text(mount, "name"))?;
                Some(token.mounted(format!("{}.volumeMounts[{index}].name", container.path())))
            })
            .collect();
        findings.refuse(RefusalReason::Policy, problems);
    }
}

/// The volumes that these containers mount. Those of a Pod that came before enforcement may name any Secret.
fn volumes_mounted_by(pod: &Pod, added: &[Container<'_>]) -> BTreeSet<usize> {
    let mounts = added.iter().flat_map(|container| items(container.document, "volumeMounts"));
    let names: BTreeSet<&str> = mounts.map(|mount| text(mount, "name")).collect();
    let volumes = pod.volumes().enumerate();
    volumes.filter(|(_, volume)| names.contains(text(volume, "name"))).map(|(index, _)| index).collect()
}

/// The ephemeral container among `names` that a mention belongs to.
fn newcomer<'a>(mention: &Mention<'a>, names: &BTreeSet<&str>) -> Option<&'a str> {
    let (kind, name) = mention.container?;
    (kind == ContainerKind::Ephemeral && names.contains(name)).then_some(name)
}

/// A warning where a container shares the processes of another, and through them its files.
fn neighbour(container: &Container<'_>) -> Option<String> {
    let target = text(container.document, "targetContainerName");
    let (name, reason) = (container.name, "whoever is in the one can read the secrets of the other through /proc");
    (!target.is_empty())
        .then(|| format!("ephemeral container \"{name}\" shares the processes of \"{target}\": {reason}"))
}

fn ephemeral(pod: &Pod) -> impl Iterator<Item = Container<'_>> {
    pod.containers().filter(|container| container.kind == ContainerKind::Ephemeral)
}

fn refuse_mentions(pod: &Pod, added: &BTreeSet<&str>, context: &Context<'_>, findings: &mut Findings) {
    let annotations = match PodAnnotations::parse(pod.annotations()) {
        Ok(annotations) if !annotations.opted_in() => return,
        Ok(annotations) => Some(annotations),
        // Whoever has opted out does not lose that by a mistake in another annotation; neither does `decide` look at it.
        Err(_) if pod.annotations().any(|annotation| annotation == (annotations::INJECT, "false")) => return,
        Err(_) => None,
    };
    let excesses = extent::excesses(pod);
    if !excesses.is_empty() {
        return findings.refuse(RefusalReason::Unsupported, excesses);
    }
    for mention in places::mentions(pod) {
        let Some(name) = newcomer(&mention, added) else { continue };
        let reason = reason(&mention, name, annotations.as_ref(), pod, context);
        let problem =
            |reason: String| Problem::new(mention.path(), reason).with_value(mention.secret).with_remedy(REMEDY);
        findings.refuse(RefusalReason::Policy, reason.map(problem));
    }
}

/// Why a Secret may not be given to an ephemeral container, if it is bound or may be.
fn reason(
    mention: &Mention<'_>,
    container: &str,
    annotations: Option<&PodAnnotations>,
    pod: &Pod,
    context: &Context<'_>,
) -> Option<String> {
    let Some(annotations) = annotations else {
        return Some(format!(
            "is given to the ephemeral container \"{container}\" and may be a bound Secret: the annotations of this Pod \
             cannot be read"
        ));
    };
    let of_catalog = || !matches!(context.catalog.binding(mention.secret, pod.namespace()), Ok(None));
    let is_bound =
        annotations.bindings.contains_key(mention.secret) || (annotations.inject == Inject::Yes && of_catalog());
    is_bound.then(|| format!("gives a bound Secret to the ephemeral container \"{container}\""))
}
