//! The CustomResourceDefinitions, as they are installed.

use crate::{
    ClusterExternalStore, ClusterSecretBinding, ClusterSecretPolicy, ExternalStore, SecretBinding, SecretPolicy,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, JSONSchemaProps,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The group of all kinds.
pub const GROUP: &str = "alcove.dev";

/// The definition of every kind, with each field that the API server would default written out: what is installed then
/// equals what stands in the manifests, and GitOps tools see no drift.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let definitions = [
        ExternalStore::crd(),
        ClusterExternalStore::crd(),
        SecretBinding::crd(),
        ClusterSecretBinding::crd(),
        SecretPolicy::crd(),
        ClusterSecretPolicy::crd(),
    ];
    definitions.into_iter().map(completed).collect()
}

fn completed(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let names = &mut definition.spec.names;
    names.list_kind = Some(format!("{}List", names.kind));
    names.categories = Some(vec!["alcove".to_owned()]);
    definition.spec.conversion =
        Some(CustomResourceConversion { strategy: "None".to_owned(), ..CustomResourceConversion::default() });
    for schema in definition.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()) {
        if let Some(root) = &mut schema.open_api_v3_schema {
            root.description = described(root);
        }
    }
    definition
}

/// The words of `spec`, which say what the kind is for; the derive's own say only how it was made.
fn described(root: &JSONSchemaProps) -> Option<String> {
    root.properties.as_ref()?.get("spec")?.description.clone()
}

/// Kubernetes' own selector with bounds, which CEL's cost estimate and etcd need and upstream's type lacks.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let text = json_schema!({"type": "string", "maxLength": 316});
    json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "matchLabels": {"type": "object", "maxProperties": 32, "additionalProperties": text},
            "matchExpressions": {
                "type": "array",
                "maxItems": 32,
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": text,
                        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                        "values": {"type": "array", "maxItems": 64, "items": text},
                    },
                },
            },
        },
    })
}

pub(crate) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    strings(64, 63, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
}

pub(crate) fn account_patterns(_: &mut SchemaGenerator) -> Schema {
    let mut schema = strings(64, 253, "^[-.*a-z0-9]+$");
    schema.insert("minItems".to_owned(), 1.into());
    schema
}

pub(crate) fn secret_patterns(_: &mut SchemaGenerator) -> Schema {
    let mut schema = strings(64, 253, "^[-.*a-z0-9]+$");
    // An empty list would match no name, and silence a deny.
    schema.insert("minItems".to_owned(), 1.into());
    schema
}

pub(crate) fn key_patterns(_: &mut SchemaGenerator) -> Schema {
    let mut schema = strings(64, 1024, "^.+$");
    schema.insert("minItems".to_owned(), 1.into());
    schema
}

fn strings(most: u32, longest: u32, pattern: &str) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": most,
        "items": {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern},
    })
}
