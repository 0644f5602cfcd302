//! Keys that a Pod names and a bound Secret is known not to have.

use crate::bindings::BoundSecrets;
use crate::inject::document::{at, items, says, text};
use crate::places::{Mention, Place};
use crate::pod::Pod;
use alcove_contract::binding::Binding;
use alcove_contract::name::{FileName, SecretName};
use alcove_contract::{Problem, Problems, listed, nearest};
use serde_json::Value;

/// The most keys for which the nearest right spelling is sought: nobody reads on, and each search takes its time.
const MOST_HINTS: usize = 20;

/// One key that a place names.
struct Named<'a> {
    place: String,
    key: &'a str,
}

/// Every key that its Secret does not have, in the order of the mentions.
pub(super) fn problems(pod: &Pod, mentions: &[Mention<'_>], bound: &BoundSecrets<'_>) -> Problems {
    let mut missing = Vec::new();
    for mention in mentions {
        let Some((name, secret)) = bound.get(mention.secret) else { continue };
        // What the store has under other names is known there alone.
        if secret.binding.data_from.is_empty() {
            let named = named(pod, mention).into_iter();
            missing.extend(
                named.filter(|named| !secret.binding.data.contains_key(named.key)).map(|named| (named, name, secret)),
            );
        }
    }
    let problems = missing.into_iter().enumerate();
    problems.map(|(index, (named, name, secret))| problem(named, name, secret.binding, index < MOST_HINTS)).collect()
}

/// The keys that have to be there for this place to be filled.
fn named<'a>(pod: &'a Pod, mention: &Mention<'_>) -> Vec<Named<'a>> {
    let spec = at(pod.document(), &["spec"]);
    let source = |volume: usize| items(spec, "volumes").get(volume).unwrap_or(&Value::Null);
    match mention.place {
        Place::Volume { volume } => {
            of_items(at(source(volume), &["secret"]), &format!("spec.volumes[{volume}].secret"))
        }
        Place::ProjectedSource { volume, source: index } => {
            let sources = items(at(source(volume), &["projected"]), "sources");
            let secret = at(sources.get(index).unwrap_or(&Value::Null), &["secret"]);
            of_items(secret, &format!("spec.volumes[{volume}].projected.sources[{index}].secret"))
        }
        Place::Env { kind, container, entry } => {
            let container = items(spec, kind.field()).get(container).unwrap_or(&Value::Null);
            let variable = items(container, "env").get(entry).unwrap_or(&Value::Null);
            let reference = at(variable, &["valueFrom", "secretKeyRef"]);
            let path = mention.path();
            required(reference, reference, path.strip_suffix(".name").unwrap_or(&path)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn of_items<'a>(source: &'a Value, place: &str) -> Vec<Named<'a>> {
    let items = items(source, "items").iter().enumerate();
    items.filter_map(|(index, item)| required(source, item, &format!("{place}.items[{index}]"))).collect()
}

/// The key of `parent`, unless its source can do without it.
fn required<'a>(source: &Value, parent: &'a Value, place: &str) -> Option<Named<'a>> {
    (!says(source, "optional")).then(|| Named { place: format!("{place}.key"), key: text(parent, "key") })
}

fn problem(named: Named<'_>, name: &SecretName, binding: &Binding, is_sought: bool) -> Problem {
    let known: Vec<&str> = binding.known_keys().map(FileName::as_str).collect();
    let near = if is_sought { nearest(named.key, known.iter().copied()) } else { None };
    let remedy = match near {
        Some(candidate) => format!("did you mean \"{candidate}\"?"),
        None => format!("its keys are: {}", listed(&known)),
    };
    Problem::new(named.place, format!("is not a key of the Secret \"{name}\""))
        .with_value(named.key)
        .with_remedy(remedy)
}
