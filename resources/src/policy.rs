//! SecretPolicy and ClusterSecretPolicy: which ServiceAccounts may mount what.

#![expect(
    unreachable_pub,
    unused_qualifications,
    reason = "the derive of KubeSchema copies each struct into a function, where `Rule` is another one"
)]

use crate::definitions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which ServiceAccounts of this namespace may mount what. Allows add up; a deny wins over every allow.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "alcove.dev",
    version = "v1alpha1",
    kind = "SecretPolicy",
    namespaced,
    shortname = "secpol",
    status = "PolicyStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Accounts", "type": "string", "jsonPath": ".spec.serviceAccounts"}"#,
    printcolumn = r#"{"name": "Selected", "type": "integer", "jsonPath": ".status.serviceAccounts"}"#,
    printcolumn = r#"{"name": "Violations", "type": "integer", "jsonPath": ".status.violatingPods"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = Rule::new("(has(self.allow) && self.allow.size() > 0) || (has(self.deny) && self.deny.size() > 0)").message("allows and denies nothing: state a rule under allow or deny"))]
#[serde(rename_all = "camelCase")]
pub struct SecretPolicySpec {
    /// Names of ServiceAccounts; `*` stands for any run of characters.
    #[schemars(schema_with = "definitions::name_patterns")]
    pub service_accounts: Vec<String>,
    /// What they may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<self::Rule>,
    /// What they may not mount, whatever any policy of the namespace allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deny: Vec<self::Rule>,
}

/// Which ServiceAccounts may mount what, in every namespace selected. Its deny wins over everything.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "alcove.dev",
    version = "v1alpha1",
    kind = "ClusterSecretPolicy",
    shortname = "csecpol",
    status = "PolicyStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Accounts", "type": "string", "jsonPath": ".spec.serviceAccounts"}"#,
    printcolumn = r#"{"name": "Selected", "type": "integer", "jsonPath": ".status.serviceAccounts"}"#,
    printcolumn = r#"{"name": "Violations", "type": "integer", "jsonPath": ".status.violatingPods"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = Rule::new("(has(self.allow) && self.allow.size() > 0) || (has(self.deny) && self.deny.size() > 0)").message("allows and denies nothing: state a rule under allow or deny"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecretPolicySpec {
    /// The namespaces in which this policy holds; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "definitions::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Names of ServiceAccounts; `*` stands for any run of characters.
    #[schemars(schema_with = "definitions::name_patterns")]
    pub service_accounts: Vec<String>,
    /// What they may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<self::Rule>,
    /// What they may not mount, whatever any policy allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deny: Vec<self::Rule>,
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
    #[schemars(schema_with = "definitions::name_patterns")]
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
    #[schemars(schema_with = "definitions::subdomain")]
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
    #[schemars(schema_with = "definitions::conditions")]
    pub conditions: Vec<Condition>,
    /// How many ServiceAccounts the policy selects now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub service_accounts: Option<i32>,
    /// How many running Pods have secrets that the policy denies now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub violating_pods: Option<i32>,
    /// The first of what these Pods have, by namespace and Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub violations: Vec<Violation>,
}

impl PolicyStatus {
    /// The most violations that are listed; the rest is only counted.
    pub const MOST_VIOLATIONS: usize = 20;
}

/// A Secret of a running Pod that the policy denies now: the Pod keeps it, and the next one like it is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// The Pod's namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// The Pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// The Secret name.
    #[schemars(length(max = 253))]
    pub secret: String,
    /// Which rule denies which key.
    #[schemars(length(max = 1500))]
    pub reason: String,
}
