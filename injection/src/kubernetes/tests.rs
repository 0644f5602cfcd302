//! Every refusal word for word, as files that the API server itself can be asked about, and no panic on any document.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use proptest::prelude::*;
use serde_json::{Map, Number, json};

use super::*;

/// The Secret that the Pods in the files mention in every place that is meant to be replaced.
const BOUND: &str = "db-creds";

fn bound() -> BTreeSet<SecretName> {
    BTreeSet::from([BOUND.parse().expect("a valid name")])
}

fn said(document: &Value) -> Vec<String> {
    refused(document, &bound()).iter().map(ToString::to_string).collect()
}

fn folder(name: &str) -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder("invalid"))
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn expected(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("# expect: ")).map(str::to_owned).collect()
}

#[test]
fn what_kubernetes_refuses_is_refused_in_its_words() {
    let files = files();
    assert!(files.len() > 50, "only {} files found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable file");
        let document: Value = serde_saphyr::from_str(&text).expect("a Pod in YAML");
        let said = said(&document);

        // The decoder of the API server names the field within its words.
        let said: Vec<_> = said.iter().map(|problem| decoder_words(problem)).collect();
        assert!(!said.is_empty(), "{}: nothing said", file.display());
        assert_eq!(said, expected(&text), "{}", file.display());
    }
}

fn decoder_words(problem: &str) -> &str {
    problem.split_once(": ").map(|(_, words)| words).filter(|words| words.starts_with("json: ")).unwrap_or(problem)
}

#[test]
fn what_mentions_no_bound_secret_is_left_to_the_api_server() {
    for file in files() {
        let text = fs::read_to_string(&file).expect("a readable file");
        let document: Value = serde_saphyr::from_str(&text).expect("a Pod in YAML");

        assert!(refused(&document, &BTreeSet::new()).is_empty(), "{}", file.display());
    }
}

#[test]
fn a_pod_that_kubernetes_accepts_is_not_objected_to() {
    let text = fs::read_to_string(folder("valid").join("every-place.yaml")).expect("a readable file");
    let document: Value = serde_saphyr::from_str(&text).expect("a Pod in YAML");

    assert_eq!(said(&document), Vec::<String>::new());
}

#[test]
fn sources_that_are_not_yet_invented_are_left_to_the_api_server() {
    let reference = json!({"name": BOUND, "key": "a"});
    let document = json!({"spec": {
        "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": BOUND}}, {"newest": {"path": 5}}]}}],
        "containers": [{
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": reference}}, {"name": "B", "valueFrom": {"newest": {}}}],
            "envFrom": [{"newest": []}],
        }],
    }});

    assert_eq!(said(&document), Vec::<String>::new());
}

#[test]
fn owners_of_files_are_users() {
    let document = json!({"spec": {"volumes": [
        {"name": "v", "secret": {"secretName": BOUND, "defaultUser": -1, "items": [{"key": "k", "path": "p", "user": 1_i64 << 31}]}},
    ]}});

    assert_eq!(
        said(&document),
        [
            "spec.volumes[0].secret.defaultUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "spec.volumes[0].secret.items[0].user: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive",
        ]
    );
}

#[test]
fn a_value_of_the_wrong_type_is_said_at_its_place() {
    let document = json!({"spec": {"volumes": [
        {"name": "v", "projected": {"sources": [{}, {"secret": {"name": BOUND, "items": [{"mode": "0400"}]}}]}},
    ]}});

    assert_eq!(
        said(&document),
        [
            "spec.volumes[0].projected.sources[1].secret.items[0].mode: json: cannot unmarshal string into Go struct field \
          KeyToPath.spec.volumes.VolumeSource.projected.sources.secret.items.mode of type int32"
        ]
    );
}

#[test]
fn a_hundred_thousand_mistakes_are_answered_in_a_hundred_lines() {
    let items = vec![json!({}); 100_000];
    let document = json!({"spec": {"volumes": [{"name": "v", "secret": {"secretName": BOUND, "items": items}}]}});

    let said = said(&document);

    assert_eq!(said.len(), 100);
    assert_eq!(said.last().map(String::as_str), Some("spec: 199901 more problems like these"));
}

/// Names of fields that the rules look at, so that a document made of them goes deep into the rules.
const WORDS: &[&str] = &[
    "spec",
    "volumes",
    "containers",
    "initContainers",
    "name",
    "secret",
    "secretName",
    "items",
    "key",
    "path",
    "mode",
    "defaultMode",
    "projected",
    "sources",
    "configMap",
    "downwardAPI",
    "fieldRef",
    "fieldPath",
    "resourceFieldRef",
    "resource",
    "serviceAccountToken",
    "clusterTrustBundle",
    "podCertificate",
    "keyPath",
    "env",
    "value",
    "valueFrom",
    "secretKeyRef",
    "fileKeyRef",
    "volumeName",
    "envFrom",
    "prefix",
    "secretRef",
    "volumeMounts",
    "readOnly",
    "recursiveReadOnly",
    "emptyDir",
];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(BOUND.to_owned()), prop::sample::select(WORDS).prop_map(str::to_owned), any::<String>()]
}

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        any_text().prop_map(Value::from),
    ]
}

fn any_document() -> impl Strategy<Value = Value> {
    any_leaf().prop_recursive(6, 64, 6, |inner| {
        let key = prop_oneof![4 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// A Pod that mentions a bound Secret in every place, with one value of it replaced by any document.
fn damaged_pod() -> impl Strategy<Value = Value> {
    let pod = json!({"spec": {
        "volumes": [
            {"name": "v", "secret": {"secretName": BOUND, "defaultMode": 1, "items": [{"key": "k", "path": "p", "mode": 1}]}},
            {"name": "w", "projected": {"sources": [
                {"secret": {"name": BOUND, "items": [{"key": "k", "path": "p"}]}},
                {"downwardAPI": {"items": [{"path": "q", "fieldRef": {"fieldPath": "metadata.labels['x']"}}]}},
                {"serviceAccountToken": {"path": "t", "expirationSeconds": 600}},
                {"clusterTrustBundle": {"name": "b", "path": "b"}},
                {"podCertificate": {"keyPath": "c"}},
            ]}},
        ],
        "containers": [{
            "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": BOUND, "key": "k"}}}],
            "envFrom": [{"prefix": "P", "secretRef": {"name": BOUND}}],
            "volumeMounts": [{"name": "v", "readOnly": false, "recursiveReadOnly": "Disabled"}],
        }],
    }});
    let mut places = Vec::new();
    collect_places(&pod, String::new(), &mut places);
    (prop::sample::select(places), any_document()).prop_map(move |(place, document)| {
        let mut pod = pod.clone();
        *pod.pointer_mut(&place).expect("a place of this Pod") = document;
        pod
    })
}

fn collect_places(value: &Value, place: String, places: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), field)).collect(),
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(index, element)| (index.to_string(), element)).collect()
        }
        _ => Vec::new(),
    };
    for (name, child) in children {
        collect_places(child, format!("{place}/{name}"), places);
    }
    places.push(place);
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(document in any_document()) {
        said(&document);
    }

    #[test]
    fn no_damage_to_a_pod_makes_it_panic(pod in damaged_pod()) {
        said(&pod);
    }

    #[test]
    fn unknown_fields_change_nothing(pod in damaged_pod(), name in "[xyz]{3,9}", value in any_document()) {
        let mut extended = pod.clone();
        extend_objects(&mut extended, &name, &value);

        prop_assert_eq!(said(&extended), said(&pod));
    }
}

fn extend_objects(value: &mut Value, name: &str, added: &Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| extend_objects(field, name, added));
            fields.insert(name.to_owned(), added.clone());
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| extend_objects(element, name, added)),
        _ => {}
    }
}
