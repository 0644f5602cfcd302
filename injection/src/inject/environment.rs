//! Environment variables: `secretKeyRef` and `envFrom` become `fileKeyRef`, so that the kubelet itself sets them.
//!
//! Kubernetes lets a later `envFrom` source win over an earlier one, and `env` over both. A bound source is expanded into
//! entries in front of the container's own: their order keeps who wins, and `$(VAR)` in what follows still expands.

mod key;

use super::document::{at, items, says, set, text, unset};
use crate::bindings::{BoundSecret, BoundSecrets};
use crate::settings::KubernetesVersion;
use alcove_contract::binding::Binding;
use alcove_contract::configuration::{EntryConfiguration, EnvironmentConfiguration};
use alcove_contract::name::{LabelName, SecretName};
use alcove_contract::{Problem, Problems, layout};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The oldest Kubernetes whose `fileKeyRef` is on and has the format that the sidecar writes.
pub(crate) const OLDEST_WITH_FILE_KEY_REF: KubernetesVersion = KubernetesVersion::new(1, 35);

/// The most variables that `envFrom` may become in one Pod; etcd would not take many more.
pub(crate) const MOST_VARIABLES: usize = 8192;
/// The most bytes that the names of those variables may have together: one variable of the sidecar, which the kernel
/// limits, lists those of a container.
pub(crate) const MOST_BYTES: usize = 128 * 1024;

/// The most references or sources that problems list.
const MOST_LISTED: usize = 10;
/// The longest list of references that a problem repeats, in bytes.
const LONGEST_LIST: usize = 1024;

/// What may still come out of `envFrom` in a Pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    variables: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { variables: MOST_VARIABLES, bytes: MOST_BYTES }
    }
}

impl Room {
    /// What is left of it once the keys of `binding` are variables, each with `prefix` before it.
    fn without(self, binding: &Binding, prefix: &str, place: &str) -> Result<Self, Problem> {
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for key in binding.known_keys() {
            count += 1;
            bytes = bytes.saturating_add(prefix.len()).saturating_add(key.as_str().len());
        }
        let refused =
            |reason: String| Problem::new(place, reason).with_remedy("name the keys that are needed under env");
        let variables = self
            .variables
            .checked_sub(count)
            .ok_or_else(|| refused(format!("brings this Pod to more than {MOST_VARIABLES} variables")))?;
        let bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            refused(format!("brings this Pod to more than {MOST_BYTES} bytes of names of variables, prefixes included"))
        })?;
        Ok(Self { variables, bytes })
    }
}

/// Rewrites the variables of one container that come from bound Secrets.
///
/// Gives the env file that the sidecar has to write, or nothing where the container names no bound Secret.
pub(crate) fn rewrite(
    container: &mut Value,
    place: &str,
    bound: &BoundSecrets<'_>,
    room: &mut Room,
) -> Result<Option<EnvironmentConfiguration>, Problems> {
    let mut environment = Environment::new(container, place, *room)?;
    let (sources, mut variables) = environment.sources(items(container, "envFrom"), bound);
    for variable in items(container, "env") {
        variables.push(environment.variable(variable, bound));
    }
    *room = environment.room;
    environment.problems.or(())?;
    if environment.entries.is_empty() {
        return Ok(None);
    }
    set(container, "env", variables.into());
    match (sources.is_empty(), items(container, "envFrom").is_empty()) {
        (true, false) => unset(container, "envFrom"),
        (false, _) => set(container, "envFrom", sources.into()),
        (true, true) => {}
    }
    Ok(Some(EnvironmentConfiguration {
        path: format!("{}/{}", layout::ENVIRONMENT, environment.container),
        container: environment.container,
        entries: environment.entries.into_values().collect(),
    }))
}

/// The env file of one container while it is put together.
struct Environment<'a> {
    container: LabelName,
    place: &'a str,
    /// By key: the order in which others arrange a container's variables does not change the file.
    entries: BTreeMap<String, EntryConfiguration>,
    room: Room,
    problems: Problems,
}

impl<'a> Environment<'a> {
    fn new(container: &Value, place: &'a str, room: Room) -> Result<Self, Problem> {
        let container =
            text(container, "name").parse().map_err(|problem: Problem| problem.below(&format!("{place}.name")))?;
        Ok(Self { container, place, entries: BTreeMap::new(), room, problems: Problems::none() })
    }

    /// The `envFrom` sources that stay, and the variables that the bound ones stand for.
    fn sources(&mut self, sources: &[Value], bound: &BoundSecrets<'_>) -> (Vec<Value>, Vec<Value>) {
        let mut staying = Vec::new();
        let mut variables: Vec<Value> = Vec::new();
        let mut names = BTreeSet::new();
        let mut told = 0_usize;
        for (index, source) in sources.iter().enumerate() {
            let place = format!("{}.envFrom[{index}]", self.place);
            let reference = at(source, &["secretRef"]);
            if let Some(secret) = bound.get(text(reference, "name")) {
                let optional = says(reference, "optional") || secret.1.binding.optional;
                let expanded = self.expand(source, secret, optional, &place);
                names.extend(expanded.iter().map(|variable| text(variable, "name").to_owned()));
                variables.extend(expanded);
            } else {
                let overruled = overruled(source, &names, &place);
                told += usize::from(overruled.is_some());
                self.problems.extend(overruled.filter(|_| told <= MOST_LISTED));
                staying.push(source.clone());
            }
        }
        (staying, variables)
    }

    fn expand(
        &mut self,
        source: &Value,
        (name, secret): (&SecretName, &BoundSecret<'_>),
        optional: bool,
        place: &str,
    ) -> Vec<Value> {
        if !secret.binding.knows_all_keys() {
            self.problems.push(unknown_keys(name, secret.binding, place));
            return Vec::new();
        }
        let prefix = text(source, "prefix");
        let Some(room) = self.problems.collect(self.room.without(secret.binding, prefix, place)) else {
            return Vec::new();
        };
        self.room = room;
        let keys = secret.binding.known_keys();
        keys.map(|key| {
            let variable = format!("{prefix}{key}");
            let reference = self.enter(&variable, name, key.as_str(), optional);
            json!({"name": variable, "valueFrom": {"fileKeyRef": reference}})
        })
        .collect()
    }

    fn variable(&mut self, variable: &Value, bound: &BoundSecrets<'_>) -> Value {
        let reference = at(variable, &["valueFrom", "secretKeyRef"]);
        let Some((name, _)) = bound.get(text(reference, "name")) else { return variable.clone() };
        let (key, optional) = (text(reference, "key"), says(reference, "optional"));
        let reference = self.enter(text(variable, "name"), name, key, optional);
        let mut rewritten = variable.clone();
        if let Some(source) = rewritten.get_mut("valueFrom") {
            unset(source, "secretKeyRef");
            set(source, "fileKeyRef", reference);
        }
        rewritten
    }

    /// Notes an entry of the env file and gives the reference to it.
    fn enter(&mut self, variable: &str, secret: &SecretName, secret_key: &str, optional: bool) -> Value {
        let key = key::entry_key(variable, secret, secret_key);
        let entry = self.entries.entry(key.clone()).or_insert_with(|| EntryConfiguration {
            key: key.clone(),
            variable: variable.to_owned(),
            secret: secret.clone(),
            secret_key: secret_key.to_owned(),
            optional,
        });
        // The same value under the same name twice: missing it is fine only where both can do without it.
        entry.optional &= optional;
        let (volume, path) = (layout::ENVIRONMENT_VOLUME, &self.container);
        // `optional` is written out, as the API server would: the next call finds what this one wrote.
        json!({"volumeName": volume, "path": path, "key": key, "optional": optional})
    }
}

fn unknown_keys(name: &SecretName, binding: &Binding, place: &str) -> Problem {
    let sources: Vec<String> =
        binding.data_from.iter().take(MOST_LISTED).map(|reference| format!("\"{reference}\"")).collect();
    let sources =
        Some(sources.join(", ")).filter(|text| binding.data_from.len() <= MOST_LISTED && text.len() <= LONGEST_LIST);
    let sources = sources.as_deref().unwrap_or("…");
    let reason =
        "needs the names of the Secret's keys when the Pod is created, and its binding leaves them to the store";
    Problem::new(format!("{place}.secretRef.name"), reason).with_value(name.as_str()).with_remedy(format!(
        "list them in the binding: {{dataFrom: [{sources}], keys: [<key>, …]}}, or name each under data"
    ))
}

/// A source that Kubernetes lets win over an earlier one, and which no longer could once that one became entries of `env`.
fn overruled(source: &Value, names: &BTreeSet<String>, place: &str) -> Option<Problem> {
    let prefix = text(source, "prefix");
    let from = (Bound::Included(prefix), Bound::Unbounded);
    let variable = names.range::<str, _>(from).next().filter(|name| name.starts_with(prefix))?;
    let reason = format!(
        "comes after a bound Secret and may hold \"{variable}\", too: Kubernetes would let it win, and Alcove cannot, since \
         it does not know its keys"
    );
    Some(
        Problem::new(place, reason)
            .with_remedy("move it before the bound Secret, or give one of them a prefix of its own"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Findings;
    use alcove_contract::annotations::PodAnnotations;

    fn rewritten(container: &Value, room: Room) -> (Value, Result<Option<EnvironmentConfiguration>, Problems>) {
        let binding = "{dataFrom: [\"vault:kv/db\"], keys: [a, b]}";
        let annotations = PodAnnotations::parse([("secret.alcove.dev/db", binding)]).unwrap();
        let pod = crate::Pod::new(json!({"spec": {"containers": [container]}}), "t").unwrap();
        let catalog = crate::Catalog::default();
        let mentions = crate::places::mentions(&pod);
        let bound = BoundSecrets::of(&mentions, &annotations, "t", &catalog, &mut Findings::default());
        let (mut container, mut room) = (container.clone(), room);
        let environment = rewrite(&mut container, "spec.containers[0]", &bound, &mut room);
        (container, environment)
    }

    fn from(secret: &str, prefix: &str) -> Value {
        json!({"secretRef": {"name": secret}, "prefix": prefix})
    }

    fn names(container: &Value) -> Vec<&str> {
        items(container, "env").iter().map(|variable| text(variable, "name")).collect()
    }

    #[test]
    fn a_container_without_a_bound_secret_is_not_touched() {
        let container = json!({"name": "app", "env": [], "envFrom": [from("plain", "")]});
        let (after, environment) = rewritten(&container, Room::default());
        assert_eq!((after, environment), (container, Ok(None)));
    }

    #[test]
    fn bound_sources_come_in_their_order_before_the_containers_own_variables() {
        let env = json!([{"name": "a", "value": "own"}]);
        let container = json!({"name": "app", "env": env, "envFrom": [from("db", "X_"), from("db", "Y_")]});
        let (after, environment) = rewritten(&container, Room::default());
        assert_eq!(names(&after), ["X_a", "X_b", "Y_a", "Y_b", "a"]);
        assert!(after.get("envFrom").is_none());
        assert_eq!(environment.unwrap().unwrap().entries.len(), 4);
    }

    #[test]
    fn a_plain_source_may_come_before_a_bound_one_and_behind_it_only_if_no_name_can_be_the_same() {
        let with = |sources: Value| rewritten(&json!({"name": "app", "envFrom": sources}), Room::default()).1;
        assert!(with(json!([from("plain", ""), from("db", "")])).is_ok());
        assert!(with(json!([from("db", "X_"), from("plain", "Y_")])).is_ok());
        for prefix in ["", "X", "X_", "X_a"] {
            let problems = with(json!([from("db", "X_"), from("plain", prefix)])).unwrap_err();
            assert!(problems.to_string().starts_with("spec.containers[0].envFrom[1]: comes after"), "{problems}");
        }
    }

    #[test]
    fn the_variables_of_one_pod_are_limited() {
        let container = json!({"name": "app", "envFrom": [from("db", "X_"), from("db", "Y_")]});
        let room = |variables, bytes| Room { variables, bytes };
        assert!(rewritten(&container, room(4, "X_aX_bY_aY_b".len())).1.is_ok());
        let problems = rewritten(&container, room(3, MOST_BYTES)).1.unwrap_err().to_string();
        assert!(
            problems.starts_with("spec.containers[0].envFrom[1]: brings this Pod to more than 8192 va"),
            "{problems}"
        );
        let problems = rewritten(&container, room(MOST_VARIABLES, 11)).1.unwrap_err().to_string();
        assert!(
            problems.starts_with("spec.containers[0].envFrom[1]: brings this Pod to more than 131072"),
            "{problems}"
        );
    }

    #[test]
    fn an_entry_that_stands_twice_is_optional_only_where_both_are() {
        let variable = |optional: bool| json!({"name": "X", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a", "optional": optional}}});
        for (first, second, both) in [(true, true, true), (true, false, false), (false, true, false)] {
            let container = json!({"name": "app", "env": [variable(first), variable(second)]});
            let (after, environment) = rewritten(&container, Room::default());
            assert_eq!(environment.unwrap().unwrap().entries[0].optional, both);
            assert_eq!(after["env"][0]["valueFrom"]["fileKeyRef"]["optional"], first, "the variable's own word stays");
        }
    }
}
