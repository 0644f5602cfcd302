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
    requests: Vec<Source>,
    by_reference: BTreeMap<Reference, SourceId>,
}

impl Sources {
    /// What a source asks for.
    #[must_use]
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.requests.get(id.0)
    }

    /// The source that serves `reference`.
    #[must_use]
    pub fn serving(&self, reference: &Reference) -> Option<SourceId> {
        self.by_reference.get(reference).copied()
    }

    fn add(&mut self, reference: &Reference, source: Source) -> SourceId {
        let known = self.requests.iter().position(|known| *known == source);
        let id = SourceId(known.unwrap_or(self.requests.len()));
        if known.is_none() {
            self.requests.push(source);
        }
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
    let key = known.canonical_key(&reference.key).map_err(about)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use alcove_contract::configuration::{SecretSource, StoreConfiguration, VolumeConfiguration};
    use alcove_contract::mode::Mode;
    use alcove_contract::provider::ProviderConfiguration;
    use alcove_contract::provider::kubernetes::KubernetesConfiguration;

    fn configuration(secrets: Vec<SecretConfiguration>) -> SidecarConfiguration {
        let kubernetes = KubernetesConfiguration {
            server: "https://10.96.0.1:443".to_owned(),
            ca_file: "/alcove/identity/ca.crt".to_owned(),
            namespace: "team".to_owned(),
            token_file: "/alcove/identity/token".to_owned(),
        };
        let sources = secrets.iter().map(|secret| {
            let (name, optional) = (secret.name.clone(), secret.name.as_str().starts_with("maybe"));
            SourceConfiguration::Secret(SecretSource { name, items: None, optional })
        });
        let volume = VolumeConfiguration {
            name: "creds".parse().unwrap(),
            path: "/alcove/volumes/creds".to_owned(),
            default_mode: Mode::DEFAULT,
            group_access: alcove_contract::configuration::GroupAccess::AsRequested,
            sources: sources.collect(),
            mount_points: Vec::new(),
        };
        SidecarConfiguration {
            stores: vec![StoreConfiguration {
                prefix: String::new(),
                name: "team".parse().unwrap(),
                provider: ProviderConfiguration::Kubernetes(kubernetes),
            }],
            secrets,
            volumes: vec![volume],
            ..SidecarConfiguration::default()
        }
    }

    fn secret(name: &str, references: &[&str], refresh: &str) -> SecretConfiguration {
        SecretConfiguration {
            name: name.parse().unwrap(),
            secret_type: alcove_contract::binding::SecretType::Opaque,
            data: BTreeMap::new(),
            data_from: references.iter().map(|reference| reference.parse().unwrap()).collect(),
            refresh_interval: refresh.parse().unwrap(),
            optional: false,
            immutable: false,
        }
    }

    #[test]
    fn each_distinct_key_is_one_source_as_fast_as_the_most_impatient_secret() {
        let secrets = vec![
            secret("slow", &["team:db", "team:tls"], "5m"),
            secret("fast", &["team:db"], "10s"),
            SecretConfiguration { immutable: true, ..secret("once", &["team:db"], "1s") },
        ];
        let (plan, sources) = Plan::new(&configuration(secrets)).unwrap();
        let seconds = |seconds| RefreshInterval::Every(Duration::from_secs(seconds));
        assert_eq!(plan.sources.iter().map(|source| source.refresh).collect::<Vec<_>>(), [seconds(10), seconds(300)]);
        assert_eq!(plan.secrets.iter().map(|secret| secret.refreshes).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(plan.secrets[0].sources, [SourceId(0), SourceId(1)].into());
        assert_eq!(sources.serving(&"team:tls".parse().unwrap()), Some(SourceId(1)));
        assert_eq!(sources.get(SourceId(1)).unwrap().key, Key::new("tls"));
    }

    #[test]
    fn a_key_is_required_if_any_of_its_users_cannot_do_without() {
        let secrets = vec![
            secret("maybe-a", &["team:shared", "team:a"], "5m"),
            secret("b", &["team:shared"], "5m"),
            SecretConfiguration { optional: true, ..secret("c", &["team:c"], "5m") },
        ];
        let (plan, _) = Plan::new(&configuration(secrets)).unwrap();
        assert_eq!(plan.sources.iter().map(|source| source.required).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn unknown_stores_and_keys_that_a_store_cannot_have_are_all_named() {
        let secrets = vec![secret("a", &["vault:kv/a", "team:Not/A/Name"], "5m")];
        let problems = Plan::new(&configuration(secrets)).unwrap_err().to_string();
        assert_eq!(problems.lines().count(), 2, "{problems}");
        assert!(problems.contains("vault:kv/a") && problems.contains("team:Not/A/Name"), "{problems}");
    }
}
