//! What the author of an injected Pod should know, though nothing is wrong.

use super::nested;
use crate::bindings::BoundSecrets;
use crate::inject::document::{at, items, says, text};
use crate::inject::{sub_path, user};
use crate::places::{Mention, Place};
use crate::pod::{Container, Pod};
use alcove_contract::name::SecretName;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Included, Unbounded};

/// What the author of an injected Pod should know.
pub(super) fn warnings(pod: &Pod, mentions: &[Mention<'_>], bound: &BoundSecrets<'_>) -> Vec<String> {
    let spec = at(pod.document(), &["spec"]);
    let of_mounts = sub_path::warnings(pod, bound);
    of_mounts
        .into_iter()
        .chain(nested::warnings(pod, bound))
        .chain(stale_variables(mentions, bound))
        .chain(porous(pod, user::shares_processes(spec)))
        .collect()
}

/// A Secret that is both a file and a variable changes in one place and not in the other.
fn stale_variables(mentions: &[Mention<'_>], bound: &BoundSecrets<'_>) -> Vec<String> {
    let names = |wanted: fn(Place) -> bool| -> BTreeSet<&str> {
        let chosen = mentions.iter().filter(|mention| wanted(mention.place) && bound.get(mention.secret).is_some());
        chosen.map(|mention| mention.secret).collect()
    };
    let files = names(|place| matches!(place, Place::Volume { .. } | Place::ProjectedSource { .. }));
    let variables = names(|place| matches!(place, Place::Env { .. } | Place::EnvFrom { .. }));
    let both = files.intersection(&variables);
    both.map(|name| {
        format!("Secret \"{name}\": its files follow the store, its variables change when the container restarts")
    })
    .collect()
}

/// A warning for each container in which another webhook may have put a plain source of variables behind a bound one.
///
/// In Kubernetes the later source would win. The bound one has become entries of `env` in an earlier call, which win over
/// every source; whether the plain one was there before is known no more.
pub(super) fn precedence(pod: &Pod, bound: &BoundSecrets<'_>) -> Vec<String> {
    pod.containers().filter_map(|container| undecided(container, bound)).collect()
}

fn undecided(container: Container<'_>, bound: &BoundSecrets<'_>) -> Option<String> {
    let expanded: BTreeMap<&str, &SecretName> = items(container.document, "env")
        .iter()
        .filter_map(|variable| {
            let reference = at(variable, &["valueFrom", "secretKeyRef"]);
            let (secret, _) = bound.get(text(reference, "name"))?;
            let name = text(variable, "name");
            name.ends_with(text(reference, "key")).then_some((name, secret))
        })
        .collect();
    let mut prefixes = items(container.document, "envFrom").iter().map(|source| text(source, "prefix"));
    let (variable, secret) = prefixes.find_map(|prefix| {
        let first = expanded.range::<str, _>((Included(prefix), Unbounded)).next();
        first.filter(|(name, _)| name.starts_with(prefix))
    })?;
    Some(format!(
        "container \"{}\": if a source under envFrom holds \"{variable}\", too, the bound Secret \"{secret}\" wins, \
         even over one that another webhook has put behind it",
        container.name
    ))
}

/// What lets one container see the files of another.
fn porous(pod: &Pod, shares_processes: bool) -> Vec<String> {
    let is_privileged = |container: &Container<'_>| says(at(container.document, &["securityContext"]), "privileged");
    let privileged = pod.containers().filter(is_privileged).map(|container| {
        format!("container \"{}\" is privileged: it can read every secret of its node", container.name)
    });
    let shared = shares_processes.then(|| {
        "processes are shared in this Pod: its containers can read each other's secrets through /proc".to_owned()
    });
    privileged.chain(shared).collect()
}
