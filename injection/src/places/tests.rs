use super::*;
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Map, json};
use std::collections::BTreeSet;

/// Fields of a Pod whose path speaks of a Secret and which hold no Secret's name.
const OTHERS: &[&str] = &[
    "cephfs.secretFile",
    "projected.sources[].secret.items[].key",
    "projected.sources[].secret.items[].path",
    "secret.items[].key",
    "secret.items[].path",
    "valueFrom.secretKeyRef.key",
];

/// The field paths of all strings in the schema of a Pod's spec, lists as `[]`.
fn strings_of_the_schema() -> BTreeSet<String> {
    fn walk(schema: &Value, definitions: &Value, path: &str, found: &mut BTreeSet<String>) {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap();
            return walk(&definitions[name], definitions, path, found);
        }
        for part in ["allOf", "anyOf", "oneOf"].iter().filter_map(|kind| schema.get(kind)?.as_array()).flatten() {
            walk(part, definitions, path, found);
        }
        if let Some(items) = schema.get("items") {
            walk(items, definitions, &format!("{path}[]"), found);
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(property, definitions, &format!("{path}.{name}"), found);
        }
        if schema["type"] == "string" || schema["type"].as_array().is_some_and(|types| types.contains(&json!("string")))
        {
            found.insert(path.to_owned());
        }
    }
    let schema = schemars::schema_for!(PodSpec).to_value();
    let mut found = BTreeSet::new();
    walk(&schema, &schema["$defs"], "spec", &mut found);
    found
}

/// The smallest document that holds `leaf` at `path`.
fn document_with(path: &str, leaf: &str) -> Value {
    path.rsplit('.').fold(json!(leaf), |inner, part| {
        let (name, inner) = match part.strip_suffix("[]") {
            Some(name) => (name, json!([inner])),
            None => (part, inner),
        };
        Value::Object(Map::from_iter([(name.to_owned(), inner)]))
    })
}

#[test]
fn every_place_of_the_schema_that_names_a_secret_is_walked() {
    let is_other = |path: &&String| OTHERS.iter().any(|other| path.ends_with(other));
    let strings = strings_of_the_schema();
    let names: Vec<_> =
        strings.iter().filter(|path| path.to_lowercase().contains("secret")).filter(|path| !is_other(path)).collect();
    for path in &names {
        let pod = Pod::new(document_with(path, "creds"), "app").unwrap();
        let found: Vec<_> = mentions(&pod).into_iter().map(|mention| (mention.secret, mention.path())).collect();
        assert_eq!(found, [("creds", path.replace("[]", "[0]"))], "a place that the walk does not know");
    }
    assert_eq!(names.len(), 18, "{names:#?}");
}

#[test]
fn an_empty_name_is_no_mention() {
    let pod = Pod::new(document_with("spec.volumes[].secret.secretName", ""), "app").unwrap();
    assert_eq!(mentions(&pod), []);
}

#[test]
fn mentions_come_volumes_first_then_containers_as_they_start_then_pull_secrets() {
    let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "e", "key": "k"}}}]);
    let document = json!({"spec": {
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [{"name": "app", "envFrom": [{"configMapRef": {"name": "x"}}, {"secretRef": {"name": "f"}}], "env": env}],
        "initContainers": [{"name": "setup", "env": env}],
        "volumes": [
            {"name": "empty", "emptyDir": {}},
            {"name": "v", "projected": {"sources": [{"configMap": {"name": "x"}}, {"secret": {"name": "p"}}]}},
        ],
    }});
    let pod = Pod::new(document, "app").unwrap();
    let found: Vec<_> =
        mentions(&pod).into_iter().map(|mention| (mention.place, mention.secret, mention.container)).collect();
    let (init, regular) = (ContainerKind::Init, ContainerKind::Regular);
    assert_eq!(
        found,
        [
            (Place::ProjectedSource { volume: 1, source: 1 }, "p", None),
            (Place::Env { kind: init, container: 0, entry: 0 }, "e", Some((init, "setup"))),
            (Place::Env { kind: regular, container: 0, entry: 0 }, "e", Some((regular, "app"))),
            (Place::EnvFrom { kind: regular, container: 0, entry: 1 }, "f", Some((regular, "app"))),
            (Place::ImagePullSecret { index: 0 }, "pull", None),
        ]
    );
}

#[test]
fn only_volumes_projections_and_environments_can_be_served_by_a_sidecar() {
    let served = [
        "spec.volumes[].secret.secretName",
        "spec.volumes[].projected.sources[].secret.name",
        "spec.containers[].env[].valueFrom.secretKeyRef.name",
        "spec.containers[].envFrom[].secretRef.name",
    ];
    for path in strings_of_the_schema() {
        let pod = Pod::new(document_with(&path, "creds"), "app").unwrap();
        for mention in mentions(&pod) {
            let is_served = served.contains(&path.as_str()) || path.contains(".env");
            assert_eq!(mention.place.is_read_by_kubelet_alone(), !is_served, "{path}");
        }
    }
}
