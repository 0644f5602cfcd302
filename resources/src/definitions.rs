//! The CustomResourceDefinitions, as they are installed.

use crate::{
    ClusterExternalStore, ClusterSecretBinding, ClusterSecretPolicy, ExternalStore, SecretBinding, SecretPolicy,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The group of all kinds.
pub const GROUP: &str = "alcove.dev";

/// The definition of every kind, by name.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        ExternalStore::crd(),
        ClusterExternalStore::crd(),
        SecretBinding::crd(),
        ClusterSecretBinding::crd(),
        SecretPolicy::crd(),
        ClusterSecretPolicy::crd(),
    ]
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
    strings(64, 253, "^[-.*a-z0-9]+$")
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
