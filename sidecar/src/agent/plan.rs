//! What there is to fetch, for whom and how often: the configuration as the agent sees it.

use super::troubles::Scope;
use super::{Report, SourceId};
use alcove_contract::configuration::{SecretConfiguration, SidecarConfiguration, SourceConfiguration};
use alcove_contract::interval::RefreshInterval;
use alcove_contract::name::SecretName;
use alcove_contract::reference::{Key, Reference};
use alcove_contract::{Problem, Problems};
use alcove_stores::StoreError;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What there is to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The names of the stores.
    pub stores: Vec<String>,
    /// Every distinct key, once.
    pub sources: Vec<SourcePlan>,
    /// The Secrets, in the configuration's order.
    pub secrets: Vec<SecretPlan>,
}

/// One key of one store.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The store, by its place in [`Plan::stores`].
    pub store: usize,
    /// What messages call it: `vault:kv/app/db`.
    pub label: String,
    /// How often it is asked: as often as the most impatient of its Secrets wants it.
    pub refresh: RefreshInterval,
    /// Whether the Pod cannot start without it.
    pub required: bool,
}

/// One Secret.
#[derive(Clone, Debug)]
pub struct SecretPlan {
    /// Where its values come from.
    pub sources: BTreeSet<SourceId>,
    /// Whether its values are followed once they are published.
    pub refreshes: bool,
}

/// What a source asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The store, by its place in the configuration.
    pub store: usize,
    /// What it is asked for.
    pub key: Key,
}

/// Which source serves which reference.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    ids: BTreeMap<Source, SourceId>,
    by_reference: BTreeMap<Reference, SourceId>,
}

impl Sources {
    /// What a source asks for.
    #[must_use]
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.ids.iter().find(|(_, known)| **known == id).map(|(source, _)| source)
    }

    /// The source that serves `reference`.
    #[must_use]
    pub fn serving(&self, reference: &Reference) -> Option<SourceId> {
        self.by_reference.get(reference).copied()
    }

    /// Every source.
    pub fn ids(&self) -> impl Iterator<Item = SourceId> {
        (0..self.ids.len()).map(SourceId)
    }

    fn add(&mut self, reference: &Reference, source: Source) -> SourceId {
        let next = SourceId(self.ids.len());
        let id = *self.ids.entry(source).or_insert(next);
        self.by_reference.insert(reference.clone(), id);
        id
    }
}

impl Plan {
    /// The plan for `configuration`, and what each of its sources asks for.
    ///
    /// # Errors
    ///
    /// Every reference to a store that the configuration does not describe, and every key that its store cannot have.
    pub fn new(configuration: &SidecarConfiguration) -> Result<(Self, Sources), Problems> {
        let mut plan = Self::default();
        let mut known = Sources::default();
        let mut problems = Problems::none();
        plan.stores.extend(configuration.stores.iter().map(|store| store.name.to_string()));
        for secret in &configuration.secrets {
            let required = !secret.optional && is_required(configuration, &secret.name);
            let mut sources = BTreeSet::new();
            for reference in references(secret) {
                let resolved = resolve(configuration, reference).map_err(|problem| problem.below(secret.name.as_str()));
                let Some(source) = problems.collect(resolved) else { continue };
                let label = format!("{}:{}", reference.store, reference.key);
                let wanted = SourcePlan { store: source.store, label, refresh: refresh(secret), required };
                let id = known.add(reference, source);
                plan.add(id, wanted);
                sources.insert(id);
            }
            plan.secrets.push(SecretPlan { sources, refreshes: refresh(secret) != RefreshInterval::Once });
        }
        problems.or((plan, known))
    }

    /// Adds a source, or lets the one that is there already serve one more Secret.
    fn add(&mut self, id: SourceId, wanted: SourcePlan) {
        if let Some(known) = self.sources.get_mut(id.0) {
            known.refresh = more_often(known.refresh, wanted.refresh);
            known.required |= wanted.required;
        } else {
            self.sources.push(wanted);
        }
    }

    pub(super) fn trouble(&self, scope: Scope, error: &StoreError, retry: Duration) -> Report {
        Report::Trouble(format!("waiting for {}: {error}; retrying in {}", self.name(scope), seconds(retry)))
    }

    pub(super) fn recovery(&self, scope: Scope) -> Report {
        Report::Recovery(format!("{} answers again", self.name(scope)))
    }

    fn name(&self, scope: Scope) -> String {
        let name = match scope {
            Scope::Store(store) => self.stores.get(store).map(|name| format!("store {name}")),
            Scope::Source(source) => self.sources.get(source.0).map(|source| source.label.clone()),
        };
        name.unwrap_or_default()
    }
}

/// What `reference` asks for, in the one spelling that its store has for it.
fn resolve(configuration: &SidecarConfiguration, reference: &Reference) -> Result<Source, Problem> {
    let about = |problem: Problem| problem.with_value(reference.to_string());
    let store = configuration.stores.iter().position(|store| store.name == reference.store);
    let found = store.and_then(|index| Some((index, configuration.stores.get(index)?)));
    let (store, known) = found.ok_or_else(|| about(Problem::new("", "names a store that is not configured")))?;
    let key = known.provider.canonical_key(&reference.key).map_err(about)?;
    Ok(Source { store, key })
}

/// Every reference of a Secret.
fn references(secret: &SecretConfiguration) -> impl Iterator<Item = &Reference> {
    secret.data.values().map(|entry| &entry.reference).chain(&secret.data_from)
}

fn refresh(secret: &SecretConfiguration) -> RefreshInterval {
    if secret.immutable { RefreshInterval::Once } else { secret.refresh_interval }
}

fn more_often(one: RefreshInterval, other: RefreshInterval) -> RefreshInterval {
    match (one, other) {
        (RefreshInterval::Every(one), RefreshInterval::Every(other)) => RefreshInterval::Every(one.min(other)),
        (RefreshInterval::Once, other) => other,
        (one, RefreshInterval::Once) => one,
    }
}

/// Whether any volume or variable cannot do without the Secret.
fn is_required(configuration: &SidecarConfiguration, name: &SecretName) -> bool {
    let sources = configuration.volumes.iter().flat_map(|volume| &volume.sources);
    let by_volume = sources.filter_map(|source| match source {
        SourceConfiguration::Secret(source) => Some((&source.name, source.optional)),
        SourceConfiguration::Mirror(_) => None,
    });
    let entries = configuration.environments.iter().flat_map(|environment| &environment.entries);
    let by_variable = entries.map(|entry| (&entry.secret, entry.optional));
    by_volume.chain(by_variable).any(|(wanted, optional)| wanted == name && !optional)
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_millis().div_ceil(1000))
}
