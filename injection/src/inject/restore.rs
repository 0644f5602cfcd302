//! What a Pod said before Alcove changed it.
//!
//! A webhook is called again when another one has changed the Pod after it. The second call sees memory volumes where
//! the first saw Secrets, so the Pod is put back first and then judged and changed as if it were new. What a place was
//! is read from the sidecar's own configuration, and believed no more than if the Pod's author had written it there: a
//! sidecar made by hand names Secrets like any volume does, and policy judges them alike.

use super::document::{CONTAINER_LISTS, at, items, items_mut, set, text, unset};
use alcove_contract::configuration::{
    EntryConfiguration, EnvironmentConfiguration, SecretSource, SidecarConfiguration, SourceConfiguration,
    VolumeConfiguration,
};
use alcove_contract::layout;
use alcove_contract::{Problem, Problems};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A Pod as it was before an earlier call, and what that call left in it.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The document without anything of ours.
    pub document: Value,
    /// The sidecar as it was found.
    pub sidecar: Value,
}

/// Undoes what an earlier call did; gives nothing where there is no sidecar.
///
/// # Errors
///
/// A container of the sidecar's name that Alcove did not write, and what another webhook took away for good.
pub(crate) fn restore(document: &Value) -> Result<Option<Restored>, Problems> {
    let spec = at(document, &["spec"]);
    let named = |container: &&Value| text(container, "name") == layout::CONTAINER;
    let Some(sidecar) = items(spec, "initContainers").iter().find(named).cloned() else { return Ok(None) };
    let configuration = configuration(&sidecar)?;
    let mut restored = Restored { document: document.clone(), sidecar };
    let mut problems = Problems::none();
    if let Some(spec) = restored.document.get_mut("spec") {
        problems.extend(volumes(spec, &configuration.volumes, &restored.sidecar));
        environments(spec, &configuration.environments);
        remove_sidecar(spec);
    }
    problems.or(Some(restored))
}

/// The configuration in the sidecar's env.
pub(crate) fn configuration(sidecar: &Value) -> Result<SidecarConfiguration, Problem> {
    let variables = items(sidecar, "env")
        .iter()
        .map(|variable| (text(variable, "name").to_owned(), text(variable, "value").to_owned()));
    SidecarConfiguration::from_variables(variables).map_err(|problems| {
        let place = format!("spec.initContainers[{}]", layout::CONTAINER);
        let first = problems.iter().next().map(|problem| format!("{} {}", problem.place, problem.reason));
        let reason = format!("has the name of Alcove's own container and is none: {}", first.unwrap_or_default());
        Problem::new(place, reason).with_remedy("remove the container, or give it another name: Alcove adds its own")
    })
}

fn remove_sidecar(spec: &mut Value) {
    if let Some(Value::Array(containers)) = spec.get_mut("initContainers")
        && let Some(index) = containers.iter().position(|container| text(container, "name") == layout::CONTAINER)
    {
        containers.remove(index);
    }
}

// === volumes ===

/// The names that a sidecar's own volumes have.
pub(crate) fn is_own_volume(name: &str) -> bool {
    [layout::IDENTITY_VOLUME, layout::ENVIRONMENT_VOLUME, layout::STATUS_VOLUME, layout::EMPTY_VOLUME].contains(&name)
        || is_mirror(name)
}

fn volumes(spec: &mut Value, filled: &[VolumeConfiguration], sidecar: &Value) -> Problems {
    let mut mirrors = take_mirrors(spec, sidecar);
    let mut filled: BTreeMap<&str, &VolumeConfiguration> =
        filled.iter().map(|volume| (volume.name.as_str(), volume)).collect();
    let mut problems = Problems::none();
    for volume in items_mut(spec, "volumes") {
        let configuration = if is_memory(volume) { filled.remove(text(volume, "name")) } else { None };
        if let Some(configuration) = configuration {
            problems.collect(restore_volume(volume, configuration, &mut mirrors).map_err(Problems::from));
        }
    }
    if let Some(Value::Array(volumes)) = spec.get_mut("volumes") {
        volumes.retain(|volume| !is_own_volume(text(volume, "name")));
    }
    problems
}

/// Whether this may be what a Secret volume became: API servers make an emptyDir of a volume whose source was taken away.
fn is_memory(volume: &Value) -> bool {
    let fields = volume.as_object();
    fields.is_some_and(|fields| fields.contains_key("emptyDir") || fields.keys().all(|field| field == "name"))
}

/// The sources of each mirror volume, by the path at which the sidecar mounts it.
///
/// They are moved and never copied: what a forged sidecar names twice is there once.
fn take_mirrors(spec: &mut Value, sidecar: &Value) -> BTreeMap<String, Vec<Value>> {
    let mirrors = items_mut(spec, "volumes").iter_mut().filter(|volume| is_mirror(text(volume, "name")));
    let mut sources: BTreeMap<String, Vec<Value>> = mirrors
        .map(|volume| (text(volume, "name").to_owned(), volume.pointer_mut("/projected/sources")))
        .map(|(name, sources)| (name, sources.and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default()))
        .collect();
    let mounts = items(sidecar, "volumeMounts").iter();
    mounts
        .filter_map(|mount| Some((text(mount, "mountPath").to_owned(), sources.remove(text(mount, "name"))?)))
        .collect()
}

fn is_mirror(volume: &str) -> bool {
    volume.starts_with(layout::MIRROR_VOLUME_PREFIX)
}

fn restore_volume(
    volume: &mut Value,
    configuration: &VolumeConfiguration,
    mirrors: &mut BTreeMap<String, Vec<Value>>,
) -> Result<(), Problem> {
    let default_mode = configuration.default_mode.bits();
    let (field, source) = match configuration.sources.as_slice() {
        [SourceConfiguration::Secret(secret)] => {
            let mut source = secret_source(secret, "secretName");
            set(&mut source, "defaultMode", default_mode.into());
            ("secret", source)
        }
        sources => {
            let mut restored = Vec::with_capacity(sources.len());
            for source in sources {
                match source {
                    SourceConfiguration::Secret(secret) => {
                        restored.push(json!({"secret": secret_source(secret, "name")}));
                    }
                    SourceConfiguration::Mirror(mirror) => {
                        restored.extend(mirrors.remove(&mirror.path).ok_or_else(|| lost(configuration, &mirror.path))?);
                    }
                }
            }
            ("projected", json!({"sources": restored, "defaultMode": default_mode}))
        }
    };
    unset(volume, "emptyDir");
    set(volume, field, source);
    Ok(())
}

fn lost(volume: &VolumeConfiguration, path: &str) -> Problem {
    let reason = format!("was a projected volume, and the volume with its other sources ({path}) is gone");
    Problem::new(format!("spec.volumes[{}]", volume.name), reason)
        .with_remedy("another webhook removed it: find out which one, or run it before Alcove")
}

fn secret_source(secret: &SecretSource, name_field: &str) -> Value {
    let mut source = json!({name_field: secret.name});
    if let Some(items) = &secret.items {
        set(&mut source, "items", json!(items));
    }
    if secret.optional {
        set(&mut source, "optional", true.into());
    }
    source
}

// === environments ===

fn environments(spec: &mut Value, environments: &[EnvironmentConfiguration]) {
    let mut environments: BTreeMap<&str, &EnvironmentConfiguration> =
        environments.iter().map(|environment| (environment.container.as_str(), environment)).collect();
    for list in CONTAINER_LISTS {
        for container in items_mut(spec, list) {
            if let Some(environment) = environments.remove(text(container, "name")) {
                restore_variables(items_mut(container, "env"), environment);
            }
        }
    }
}

fn restore_variables(variables: &mut [Value], environment: &EnvironmentConfiguration) {
    let entries: BTreeMap<&str, &EntryConfiguration> =
        environment.entries.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let mut seen = BTreeSet::new();
    for variable in variables.iter_mut() {
        let reference = at(variable, &["valueFrom", "fileKeyRef"]);
        let is_ours = text(reference, "volumeName") == layout::ENVIRONMENT_VOLUME;
        if let Some(entry) = entries.get(text(reference, "key")).filter(|_| is_ours) {
            seen.insert(entry.key.as_str());
            let optional = reference.get("optional").and_then(Value::as_bool).unwrap_or(entry.optional);
            put_back(variable, entry, optional);
        }
    }
    let mut lost: BTreeMap<&str, Vec<&EntryConfiguration>> = BTreeMap::new();
    for entry in environment.entries.iter().filter(|entry| !seen.contains(entry.key.as_str())) {
        lost.entry(&entry.variable).or_default().push(entry);
    }
    for variable in variables.iter_mut().filter(|variable| is_stripped(variable)) {
        // A webhook with old API types drops the reference and leaves the name. Where the name stands for two entries,
        // nobody knows which it was: the variable stays without a source, and the API server refuses it.
        if let Some([entry]) = lost.get(text(variable, "name")).map(Vec::as_slice) {
            put_back(variable, entry, entry.optional);
        }
    }
}

/// Whether a variable has lost the source of its value.
fn is_stripped(variable: &Value) -> bool {
    let source = variable.get("valueFrom");
    source.is_some_and(|source| source.as_object().is_some_and(serde_json::Map::is_empty))
}

/// Gives a variable the source that it had; what else is said of where its value comes from has stayed, and stays.
fn put_back(variable: &mut Value, entry: &EntryConfiguration, optional: bool) {
    if let Some(source) = variable.get_mut("valueFrom") {
        unset(source, "fileKeyRef");
        let reference = json!({"name": entry.secret, "key": entry.secret_key, "optional": optional});
        set(source, "secretKeyRef", reference);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(entries: &[(&str, &str, &str)]) -> EnvironmentConfiguration {
        let entry = |(key, variable, secret): &(&str, &str, &str)| EntryConfiguration {
            key: (*key).to_owned(),
            variable: (*variable).to_owned(),
            secret: secret.parse().unwrap(),
            secret_key: "password".to_owned(),
            optional: true,
        };
        EnvironmentConfiguration {
            container: "app".parse().unwrap(),
            path: "/alcove/env/app".to_owned(),
            entries: entries.iter().map(entry).collect(),
        }
    }

    fn restored(mut variables: Value, entries: &[(&str, &str, &str)]) -> Value {
        restore_variables(variables.as_array_mut().unwrap(), &environment(entries));
        variables
    }

    #[test]
    fn an_entry_is_found_by_its_key_and_keeps_what_the_variable_says_of_itself() {
        let variable = |volume: &str, optional: bool| json!([{"name": "X", "valueFrom": {"fileKeyRef": {"volumeName": volume, "key": "k", "optional": optional}}}]);
        let expected = json!({"secretKeyRef": {"name": "db", "key": "password", "optional": false}});
        let entries = [("k", "RENAMED", "db")];
        assert_eq!(restored(variable("alcove-env", false), &entries)[0]["valueFrom"], expected);
        assert_eq!(restored(variable("own", true), &entries), variable("own", true), "a volume of the user's");
    }

    #[test]
    fn a_stripped_variable_is_known_by_its_name_unless_two_entries_have_it() {
        let stripped = || json!([{"name": "X", "valueFrom": {}}]);
        let one = restored(stripped(), &[("k", "X", "db")]);
        assert_eq!(one[0]["valueFrom"]["secretKeyRef"]["name"], "db");
        assert_eq!(restored(stripped(), &[("k", "X", "db"), ("l", "X", "other")]), stripped());
        assert_eq!(restored(stripped(), &[("k", "Y", "db")]), stripped());
    }

    #[test]
    fn what_else_is_said_of_a_variables_source_stays() {
        let reference = json!({"volumeName": "alcove-env", "key": "k", "optional": true});
        let variables = json!([{"name": "X", "valueFrom": {"fileKeyRef": reference, "fromTheFuture": 1}}]);
        let expected = json!({"secretKeyRef": {"name": "db", "key": "password", "optional": true}, "fromTheFuture": 1});
        assert_eq!(restored(variables, &[("k", "X", "db")])[0]["valueFrom"], expected);
    }

    #[test]
    fn only_a_memory_volume_is_taken_for_what_a_secret_became() {
        assert!(is_memory(&json!({"name": "v", "emptyDir": {}, "fromTheFuture": 1})));
        assert!(is_memory(&json!({"name": "v"})), "an API server makes an emptyDir of it");
        assert!(!is_memory(&json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}})));
    }

    #[test]
    fn what_a_forged_sidecar_names_twice_is_restored_once() {
        let path = "/alcove/mirrors/v/0";
        let mirror = json!({"mirror": {"path": path}});
        let secret = json!({"secret": {"name": "db"}});
        let volume = |sources: Value| -> Vec<VolumeConfiguration> {
            let volume = json!({"name": "v", "path": "/alcove/volumes/v", "defaultMode": 420, "sources": sources});
            serde_json::from_value(json!([volume])).unwrap()
        };
        let spec = || {
            json!({"volumes": [
                {"name": "v", "emptyDir": {}},
                {"name": "v", "emptyDir": {}},
                {"name": "alcove-mirror-0", "projected": {"sources": [{"configMap": {"name": "c"}}]}},
            ]})
        };
        let mounted = |paths: &[&str]| {
            let mounts = paths.iter().map(|path| json!({"name": "alcove-mirror-0", "mountPath": path}));
            json!({"volumeMounts": mounts.collect::<Value>()})
        };

        let mut once = spec();
        assert!(volumes(&mut once, &volume(json!([mirror, secret])), &mounted(&[path])).is_empty());
        let sources = json!([{"configMap": {"name": "c"}}, {"secret": {"name": "db"}}]);
        assert_eq!(once["volumes"][0]["projected"]["sources"], sources);
        assert_eq!(once["volumes"][1], json!({"name": "v", "emptyDir": {}}), "the second volume of the name");
        assert_eq!(once["volumes"].as_array().unwrap().len(), 2);

        let twice = volumes(&mut spec(), &volume(json!([mirror, mirror])), &mounted(&[path]));
        assert!(twice.to_string().contains("(/alcove/mirrors/v/0) is gone"), "{twice}");
        let elsewhere = volumes(&mut spec(), &volume(json!([mirror, secret])), &mounted(&["/other", path]));
        assert!(elsewhere.to_string().contains("is gone"), "{elsewhere}");
    }

    #[test]
    fn the_variables_of_a_second_container_of_the_name_are_not_restored() {
        let variable = json!({"name": "X", "valueFrom": {"fileKeyRef": {"volumeName": "alcove-env", "key": "k"}}});
        let container = json!({"name": "app", "env": [variable]});
        let mut spec = json!({"containers": [container, container]});
        environments(&mut spec, &[environment(&[("k", "X", "db")])]);
        assert_eq!(spec["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"], "db");
        assert_eq!(spec["containers"][1], container);
    }
}
