//! What is known of the cluster in these tests: read from manifests, as an administrator would write them.

use alcove_injection::catalog::{LimitRange, ServiceAccount};
use alcove_injection::settings::KubernetesVersion;
use alcove_injection::{Catalog, Settings};
use alcove_resources::{Kind, Object, ObjectName};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The image that every case injects.
const IMAGE: &str =
    "registry.example/alcove-sidecar@sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// The documents of a YAML file.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(yaml, options).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// Takes every object of these manifests.
pub(crate) fn apply(catalog: &mut Catalog, manifests: &str) {
    for document in documents(manifests) {
        let (namespace, name) = (metadata(&document, "namespace"), metadata(&document, "name"));
        match document["kind"].as_str().unwrap() {
            "Namespace" => catalog.apply_namespace(&name, strings(&document["metadata"]["labels"])),
            "ServiceAccount" => catalog.apply_service_account(&namespace, &name, service_account(&document)),
            "LimitRange" => catalog.apply_limit_range(&namespace, &name, LimitRange::from_document(&document)),
            kind => match Object::from_value(&document) {
                Ok(object) => catalog.apply(object.unwrap()),
                Err(problem) => {
                    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
                    catalog.apply_unreadable(ObjectName { kind: kind.unwrap(), namespace, name }, &document, problem);
                }
            },
        }
    }
}

fn metadata(document: &Value, field: &str) -> String {
    document["metadata"][field].as_str().unwrap_or_default().to_owned()
}

fn service_account(document: &Value) -> ServiceAccount {
    ServiceAccount {
        annotations: strings(&document["metadata"]["annotations"]),
        secrets: names(&document["secrets"]),
        image_pull_secrets: names(&document["imagePullSecrets"]),
        labels: Some(strings(&document["metadata"]["labels"])),
    }
}

fn strings(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// The settings of an administrator who has said `stated`.
pub(crate) fn settings(stated: &Value) -> Settings {
    let text = |field: &str| stated[field].as_str();
    let version: KubernetesVersion = text("kubernetesVersion").unwrap_or("1.37").parse().unwrap();
    let mut settings = Settings::new(text("sidecarImage").unwrap_or(IMAGE), version);
    "0.1.0".clone_into(&mut settings.version);
    if let Some(root) = text("rootUser") {
        settings.root_user = root.parse().unwrap();
    }
    if let Some(resources) = text("resources") {
        settings.resources.defaults = resources.parse().unwrap();
    }
    if let Some(bounds) = text("resourceBounds") {
        let bounds: alcove_contract::annotations::SidecarResources = bounds.parse().unwrap();
        (settings.resources.least, settings.resources.most) = (bounds.requests, bounds.limits);
    }
    let audiences = stated["apiAudiences"].as_array().into_iter().flatten();
    settings.api_audiences.extend(audiences.map(|audience| audience.as_str().unwrap().to_owned()));
    if let Some(policy) = text("defaultPolicy") {
        settings.default_policy = policy.parse().unwrap();
    }
    settings
}
