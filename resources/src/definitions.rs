//! The CustomResourceDefinitions, as they are installed.

use crate::{
    ClusterExternalStore, ClusterSecretBinding, ClusterSecretPolicy, ExternalStore, SecretBinding, SecretPolicy,
};
use alcove_contract::name::FileName;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, JSONSchemaProps,
};
use kube::CustomResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

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
                        "key": {"type": "string", "minLength": 1, "maxLength": 316},
                        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                        "values": {"type": "array", "maxItems": 64, "items": text},
                    },
                    "x-kubernetes-validations": rules(&[(
                        "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                        "values must be stated for the operators In and NotIn, and for no other",
                    )]),
                },
            },
        },
    })
}

/// The same for ServiceAccounts. It is not nullable, since a policy must state it or names: the API server drops a null.
pub(crate) fn account_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = label_selector(generator);
    schema.remove("nullable");
    schema
}

pub(crate) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    strings(64, 63, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
}

/// Whether a policy has a rule or a condition: one without is a mistake that would go unnoticed.
pub(crate) const SAYS_SOMETHING: &str = "(has(self.allow) && self.allow.size() > 0) || (has(self.deny) && self.deny.size() > 0) || \
     (has(self.pod) && ((has(self.pod.denyPrivileged) && self.pod.denyPrivileged) || \
     (has(self.pod.denyHostPID) && self.pod.denyHostPID) || \
     (has(self.pod.denySharedProcessNamespace) && self.pod.denySharedProcessNamespace) || \
     (has(self.pod.denyKubeletHostPath) && self.pod.denyKubeletHostPath) || \
     (has(self.pod.allowEphemeral) && !self.pod.allowEphemeral)))";

/// What is known of an object: Kubernetes' own conditions with the bounds that upstream states in words.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {"type": "string", "maxLength": 316},
            },
        },
    })
}

const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The name of a Secret or of a store.
pub(crate) fn subdomain(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN})
}

/// The key of a Secret.
pub(crate) fn file_name(generator: &mut SchemaGenerator) -> Schema {
    FileName::json_schema(generator)
}

/// The most wildcards of a pattern, as regular expressions count them: a run of stars is one.
const FEW_WILDCARDS: (&str, &str) =
    ("!self.matches('([*]+[^*]+){10}[*]')", "has more than 10 wildcards: write several patterns");

/// What a name cannot have, whatever its stars stand for. Spelt out: CEL takes a list for one of any length.
const IS_NAME: &str = "!(self.startsWith('-') || self.startsWith('.') || self.endsWith('-') || self.endsWith('.') || \
                       self.contains('..') || self.contains('.-') || self.contains('-.'))";

/// Patterns of names of ServiceAccounts or Secrets.
pub(crate) fn name_patterns(_: &mut SchemaGenerator) -> Schema {
    patterns(
        253,
        "^[-.*a-z0-9]+$",
        &[
            FEW_WILDCARDS,
            (IS_NAME, "matches no name: each of its parts between dots begins and ends with a letter or digit"),
        ],
    )
}

/// Patterns of canonical keys, of which each must match a key of some store: a deny that matches none would deny nothing.
pub(crate) fn key_patterns(_: &mut SchemaGenerator) -> Schema {
    let is_path = "self.contains('/') || self.contains('**')";
    let has_letters_of_names = format!("{is_path} || !self.matches('[^-.*a-z0-9]')");
    let is_path_or_name = format!("{is_path} || (self.size() <= 253 && {IS_NAME})");
    let neither = "matches no key: one of Vault has two segments or more, as in kv/app/**, and one of Kubernetes is the \
                   name of a Secret";
    let rules = [
        FEW_WILDCARDS,
        (
            "!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",
            "matches no key: none begins or ends with '/', or has an empty segment",
        ),
        (
            "!(self.contains('/./') || self.startsWith('./') || self.endsWith('/.') || self.contains('/../') || \
             self.startsWith('../') || self.endsWith('/..'))",
            "matches no key: none has a segment '.' or '..'",
        ),
        ("self.trim() == self", "begins or ends with white space: leave it away, or write * for it"),
        (
            "!(self.startsWith('auth/') || self.startsWith('sys/') || self.startsWith('identity/') || \
             self.startsWith('cubbyhole/'))",
            "matches no key: auth, sys, identity and cubbyhole are Vault's own API and no KV engine",
        ),
        (&has_letters_of_names, neither),
        (&is_path_or_name, neither),
    ];
    patterns(1024, "^[^\\x00-\\x1f\\x7f-\\x9f]+$", &rules)
}

/// A list of patterns. An empty one would match nothing, and silence a deny.
fn patterns(longest: u32, pattern: &str, stated: &[(&str, &str)]) -> Schema {
    let mut schema = strings(64, longest, pattern);
    schema.insert("minItems".to_owned(), 1.into());
    if let Some(Value::Object(items)) = schema.get_mut("items") {
        items.insert("x-kubernetes-validations".to_owned(), rules(stated));
    }
    schema
}

/// CEL rules, each with what is told where it does not hold.
fn rules(stated: &[(&str, &str)]) -> Value {
    stated.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}

fn strings(most: u32, longest: u32, pattern: &str) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": most,
        "items": {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern},
    })
}
