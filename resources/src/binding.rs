//! SecretBinding and ClusterSecretBinding: where the content of a Secret name comes from.

use alcove_contract::binding::BindingDocument;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the content of the Secret name that is this object's own name comes from, in this namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "alcove.dev",
    version = "v1alpha1",
    kind = "SecretBinding",
    namespaced,
    shortname = "secbind",
    status = "BindingStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".spec.type"}"#,
    printcolumn = r#"{"name": "Refresh", "type": "string", "jsonPath": ".spec.refreshInterval"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SecretBindingSpec {
    // The schema is one for annotations and objects: the fields stand side by side, as they do in an annotation.
    #[serde(flatten)]
    /// The binding itself.
    pub binding: BindingDocument,
}

/// Where the content of the Secret name that is this object's own name comes from, in every namespace selected.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "alcove.dev",
    version = "v1alpha1",
    kind = "ClusterSecretBinding",
    shortname = "csecbind",
    status = "BindingStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".spec.type"}"#,
    printcolumn = r#"{"name": "Refresh", "type": "string", "jsonPath": ".spec.refreshInterval"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecretBindingSpec {
    /// The namespaces in which this binding holds; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::definitions::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    #[serde(flatten)]
    /// The binding itself.
    pub binding: BindingDocument,
}

/// What is known of a binding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingStatus {
    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::definitions::conditions")]
    pub conditions: Vec<Condition>,
}
