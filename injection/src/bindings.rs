//! Which of the Secret names in a Pod are bound, and to what.

use crate::catalog::Catalog;
use crate::decision::{Findings, RefusalReason};
use crate::places::Mention;
use alcove_contract::annotations::{self, Inject, PodAnnotations};
use alcove_contract::binding::Binding;
use alcove_contract::name::SecretName;
use alcove_contract::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// The most bindings that are said to be unused, each with the nearest name that is used.
const MOST_UNUSED: usize = 10;

/// The Secret names of one Pod that have a binding; every other name is a plain Secret and stays what it is.
#[derive(Debug, Default)]
pub(crate) struct BoundSecrets<'a>(BTreeMap<SecretName, BoundSecret<'a>>);

/// One bound Secret name.
#[derive(Debug)]
pub(crate) struct BoundSecret<'a> {
    pub binding: &'a Binding,
    /// Where the binding stands: an annotation of the Pod, or an object.
    pub place: String,
}

impl<'a> BoundSecrets<'a> {
    /// Finds the binding of every name that is mentioned: the Pod's own, else, if the Pod asks for it, the namespace's, else
    /// the cluster's.
    pub(crate) fn of(
        mentions: &[Mention<'_>],
        annotations: &'a PodAnnotations,
        namespace: &str,
        catalog: &'a Catalog,
        findings: &mut Findings,
    ) -> Self {
        let names: BTreeSet<&str> = mentions.iter().map(|mention| mention.secret).collect();
        findings.warnings.extend(unused(annotations, &names));
        let mut bound = BTreeMap::new();
        for name in names.iter().filter_map(|name| name.parse::<SecretName>().ok()) {
            let secret = match annotations.bindings.get(&name) {
                Some(binding) => {
                    let place = annotations::place(&format!("{}{name}", annotations::SECRET_PREFIX));
                    Some(BoundSecret { binding, place })
                }
                None if annotations.inject == Inject::Yes => of_catalog(&name, namespace, catalog, findings),
                None => None,
            };
            bound.extend(secret.map(|secret| (name, secret)));
        }
        Self(bound)
    }

    pub(crate) fn get(&self, name: &str) -> Option<(&SecretName, &BoundSecret<'a>)> {
        self.0.get_key_value(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many references all of them have.
    pub(crate) fn count(&self) -> usize {
        self.0.values().map(|secret| secret.binding.data.len().saturating_add(secret.binding.data_from.len())).sum()
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> BTreeSet<SecretName> {
        self.0.keys().cloned().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SecretName, &BoundSecret<'a>)> {
        self.0.iter()
    }
}

fn of_catalog<'a>(
    name: &SecretName,
    namespace: &str,
    catalog: &'a Catalog,
    findings: &mut Findings,
) -> Option<BoundSecret<'a>> {
    match catalog.binding(name.as_str(), namespace) {
        Ok(Some(found)) => Some(BoundSecret { binding: found.binding, place: found.object.to_string() }),
        // A plain Secret, or a binding that the watch has not seen yet.
        Ok(None) => {
            findings.absent = true;
            None
        }
        Err(problems) => {
            findings.absent = true;
            findings.refuse(RefusalReason::Unresolved, problems);
            None
        }
    }
}

/// A warning for each of the Pod's own bindings that no place in it names, as far as anybody reads them.
fn unused(annotations: &PodAnnotations, names: &BTreeSet<&str>) -> Vec<String> {
    let unused: Vec<&SecretName> = annotations.bindings.keys().filter(|name| !names.contains(name.as_str())).collect();
    let more = unused.len().saturating_sub(MOST_UNUSED);
    let more = (more > 0).then(|| format!("nothing in this Pod names {more} more Secrets that its annotations bind"));
    let told = unused.into_iter().take(MOST_UNUSED);
    told.map(|name| {
        let key = format!("{}{name}", annotations::SECRET_PREFIX);
        let hint = nearest(name.as_str(), names.iter().copied())
            .map(|used| format!("; did you mean \"{used}\"?"))
            .unwrap_or_default();
        format!("{key}: nothing in this Pod names the Secret \"{name}\"{hint}")
    })
    .chain(more)
    .collect()
}
