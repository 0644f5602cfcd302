//! SecretPolicy and ClusterSecretPolicy: which ServiceAccounts may mount what.

use crate::definitions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which ServiceAccounts of this namespace may mount what. Allows add up; a deny wins over every allow.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "alcove.dev",
    version = "v1alpha1",
    kind = "SecretPolicy",
    namespaced,
    shortname = "secpol",
    status = "PolicyStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Accounts", "type": "string", "jsonPath": ".spec.serviceAccounts"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SecretPolicySpec {
    /// Names of ServiceAccounts; `*` stands for any run of characters.
    #[schemars(schema_with = "definitions::account_patterns")]
    pub service_accounts: Vec<String>,
    /// What they may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<Rule>,
    /// What they may not mount, whatever any policy of the namespace allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deny: Vec<Rule>,
}

/// Which ServiceAccounts may mount what, in every namespace selected. Its deny wins over everything.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "alcove.dev",
    version = "v1alpha1",
    kind = "ClusterSecretPolicy",
    shortname = "csecpol",
    status = "PolicyStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Accounts", "type": "string", "jsonPath": ".spec.serviceAccounts"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecretPolicySpec {
    /// The namespaces in which this policy holds; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "definitions::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Names of ServiceAccounts; `*` stands for any run of characters.
    #[schemars(schema_with = "definitions::account_patterns")]
    pub service_accounts: Vec<String>,
    /// What they may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<Rule>,
    /// What they may not mount, whatever any policy allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deny: Vec<Rule>,
}

/// One rule: keys of one store, under some Secret names. All three must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The store.
    pub store: StoreSelector,
    /// Canonical keys; `*` stands for any run of characters within a segment, `**` for any run across segments. The
    /// whole key must match.
    #[schemars(schema_with = "definitions::key_patterns")]
    pub keys: Vec<String>,
    /// Names of Secrets; `*` stands for any run of characters. Without it, any.
    #[serde(default = "any_name")]
    #[schemars(schema_with = "definitions::secret_patterns")]
    pub secrets: Vec<String>,
}

fn any_name() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A store by kind and name: a tenant's store never passes for an administrator's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreSelector {
    /// The kind of the store.
    pub kind: StoreKind,
    /// The name of the store.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum StoreKind {
    /// A namespace's own.
    ExternalStore,
    /// An administrator's.
    ClusterExternalStore,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ExternalStore => "ExternalStore",
            Self::ClusterExternalStore => "ClusterExternalStore",
        })
    }
}

/// What is known of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}
