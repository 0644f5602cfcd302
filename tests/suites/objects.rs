//! Objects of ours before the real API server: what Alcove refuses of an object by itself is refused when it is created, and
//! not first when a Pod comes. Every request is a dry run, which goes through all of admission.

mod families;

use std::collections::BTreeMap;

use alcove_contract::Problems;
use alcove_injection::policy::Reach;
use alcove_injection::settings::KubernetesVersion;
use alcove_injection::store::{Identity, configure};
use alcove_injection::{Catalog, Settings};
use alcove_resources::{Kind, Object, definitions};
use alcove_tests::suite::{Test, Trial};
use alcove_tests::{claims, facts};
use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use http::Request;
use serde_json::{Value, json};

use self::families::{Agreement, Family, NAME};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = facts![every_kind_has_rules_and_every_list_and_string_of_it_a_bound];
    tests.extend(claims![what_alcove_refuses_of_an_object_by_itself_is_refused_at_its_creation]);
    tests
}

/// How many requests are under way at a time.
const CONCURRENCY: usize = 8;

async fn what_alcove_refuses_of_an_object_by_itself_is_refused_at_its_creation(test: Test) -> Result<()> {
    test.alcove().await?;
    let namespace = test.namespace().name().to_owned();
    let mut differing = Vec::new();
    for Family { name, agreement, objects } in families::all() {
        let ours: Vec<Problems> = objects.iter().map(|object| refused_by_us(object, &namespace)).collect();
        let questions = objects.iter().map(|object| refused_by_the_api_server(&test, object));
        let theirs: Vec<Option<String>> = stream::iter(questions).buffered(CONCURRENCY).collect().await;
        let mut differences = Vec::new();
        for ((object, ours), theirs) in objects.iter().zip(&ours).zip(&theirs) {
            match theirs {
                None if !ours.is_empty() => differences.push(format!("{}\nwe alone: {ours}", object["spec"])),
                Some(refusal) if ours.is_empty() && agreement == Agreement::Exact => {
                    differences.push(format!("{}\nthe API server alone: {refusal}", object["spec"]));
                }
                _ => {}
            }
        }
        let refused = theirs.iter().flatten().count();
        ensure!(refused > 0 && refused < objects.len(), "{name}: {refused} of {} refused says little", objects.len());
        if !differences.is_empty() {
            let shown = differences.iter().take(8).map(String::as_str).collect::<Vec<_>>().join("\n\n");
            differing.push(format!("{name}: {} of {} differ:\n{shown}", differences.len(), objects.len()));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n\n"));
    Ok(())
}

/// What Alcove says of an object that it knows nothing else of.
fn refused_by_us(object: &Value, namespace: &str) -> Problems {
    let mut object = object.clone();
    object["metadata"]["namespace"] = namespace.into();
    let read = match Object::from_value(&object) {
        Ok(read) => read.unwrap(),
        Err(problem) => return problem.into(),
    };
    match read.object_name().kind {
        Kind::SecretPolicy | Kind::ClusterSecretPolicy => Reach::of(&read, &Catalog::default()).unwrap().problems,
        kind => problems(kind, read, namespace),
    }
}

fn problems(kind: Kind, read: Object, namespace: &str) -> Problems {
    let mut catalog = Catalog::default();
    catalog.apply_namespace(namespace, BTreeMap::new());
    catalog.apply(read);
    if matches!(kind, Kind::SecretBinding | Kind::ClusterSecretBinding) {
        return catalog.binding(NAME, namespace).err().unwrap_or_default();
    }
    let name = NAME.parse().unwrap();
    let settings = Settings::new("sidecar", KubernetesVersion::new(1, 37));
    let configured = match catalog.store(&name, namespace) {
        Ok(store) => configure(&store, &catalog, &settings, &mut Identity::default()).map(drop),
        Err(wrong) => Err(wrong.problems(&name, namespace)),
    };
    configured.err().unwrap_or_default()
}

/// What the API server says to whoever creates it.
async fn refused_by_the_api_server(test: &Test, object: &Value) -> Option<String> {
    let kind = object["kind"].as_str().unwrap();
    let plural = format!("{}s", kind.to_lowercase()).replace("policys", "policies");
    let parts =
        if kind.starts_with("Cluster") { String::new() } else { format!("namespaces/{}/", test.namespace().name()) };
    let path = format!("/apis/alcove.dev/v1alpha1/{parts}{plural}?dryRun=All&fieldValidation=Strict");
    let request = Request::post(path).header("Content-Type", "application/json").body(object.to_string().into_bytes());
    let answer = test.node().client().request::<Value>(request.unwrap()).await;
    answer.err().map(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    })
}

fn every_kind_has_rules_and_every_list_and_string_of_it_a_bound() -> Result<()> {
    for definition in definitions::all() {
        let kind = definition.spec.names.kind.clone();
        let schema = definition.spec.versions.first().and_then(|version| version.schema.clone());
        let schema = json!(schema.context("no schema")?)["openAPIV3Schema"].clone();
        ensure!(schema.to_string().contains("x-kubernetes-validations"), "{kind} has no rule");
        let mut unbounded = Vec::new();
        gather_unbounded(&schema, &kind, &mut unbounded);
        ensure!(unbounded.is_empty(), "without a bound: {}", unbounded.join(", "));
    }
    Ok(())
}

/// Gathers the places below `path` whose size nothing limits.
fn gather_unbounded(schema: &Value, path: &str, unbounded: &mut Vec<String>) {
    let has = |fields: &[&str]| fields.iter().any(|field| schema.get(*field).is_some());
    let is_bounded = match schema["type"].as_str() {
        Some("string") => has(&["maxLength", "enum"]) || schema["format"] == "date-time",
        Some("array") => has(&["maxItems"]),
        Some("object") => has(&["properties", "maxProperties"]),
        Some(_) => true,
        // A string or an object, or a string or a number.
        None => has(&["maxLength"]),
    };
    if !is_bounded {
        unbounded.push(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        gather_unbounded(property, &format!("{path}.{name}"), unbounded);
    }
    for field in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(field) {
            gather_unbounded(inner, &format!("{path}[]"), unbounded);
        }
    }
}
