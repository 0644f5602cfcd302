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
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
    printcolumn = r#"{"name": "Violations", "type": "integer", "jsonPath": ".status.violatingPods"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = Rule::new("has(self.serviceAccounts) || has(self.serviceAccountSelector)").message("concerns nobody: state serviceAccounts or serviceAccountSelector"))]
#[x_kube(validation = Rule::new(definitions::SAYS_SOMETHING).message("says nothing: state a rule under allow or deny, or a condition under pod"))]
#[serde(rename_all = "camelCase")]
pub struct SecretPolicySpec {
    /// Names of ServiceAccounts; `*` stands for any run of characters. Beside a selector, both must match; one of the two is
    /// required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "definitions::name_patterns")]
    pub service_accounts: Option<Vec<String>>,
    /// ServiceAccounts by their labels; `{}` selects all. Beside names, both must match. Whoever may label a ServiceAccount
    /// decides whether the policy concerns it: a deny that nobody is to evade states names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "definitions::account_selector")]
    pub service_account_selector: Option<LabelSelector>,
    /// What they may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<self::Rule>,
    /// What they may not mount, whatever any policy of the namespace allows. A ClusterExternalStore stands for every ExternalStore
    /// with the same server, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deny: Vec<self::Rule>,
    /// What their Pods may not be as soon as they mount a bound Secret, whatever any policy allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodConditions>,
    /// Whether the policy is enforced; without it, it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
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
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
    printcolumn = r#"{"name": "Violations", "type": "integer", "jsonPath": ".status.violatingPods"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = Rule::new("has(self.serviceAccounts) || has(self.serviceAccountSelector)").message("concerns nobody: state serviceAccounts or serviceAccountSelector"))]
#[x_kube(validation = Rule::new(definitions::SAYS_SOMETHING).message("says nothing: state a rule under allow or deny, or a condition under pod"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecretPolicySpec {
    /// The namespaces in which this policy holds; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "definitions::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Names of ServiceAccounts; `*` stands for any run of characters. Beside a selector, both must match; one of the two is
    /// required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "definitions::name_patterns")]
    pub service_accounts: Option<Vec<String>>,
    /// ServiceAccounts by their labels; `{}` selects all. Beside names, both must match. Whoever may label a ServiceAccount
    /// decides whether the policy concerns it: a deny that nobody is to evade states names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "definitions::account_selector")]
    pub service_account_selector: Option<LabelSelector>,
    /// What they may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<self::Rule>,
    /// What they may not mount, whatever any policy allows. A ClusterExternalStore stands for every ExternalStore with the same
    /// server, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deny: Vec<self::Rule>,
    /// What their Pods may not be as soon as they mount a bound Secret, whatever any policy allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodConditions>,
    /// Whether the policy is enforced; without it, it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
}

/// One rule: keys of one store, under some Secret names. All three must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The store.
    pub store: StoreSelector,
    /// Canonical keys, with the prefix of the store if it has one; `*` stands for any run of characters within a segment, `**` for
    /// any run across segments. The whole key must match.
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

/// Whether the policy is enforced. `Enforce`, which it is unless stated: what it allows is granted, and what it denies is
/// refused. `Warn` and `Audit` put it on trial: it grants nothing and refuses nothing, not even where it cannot be read. What it
/// would refuse is in the audit log and in its status and, with `Warn`, told to whoever makes the Pod. On trial it grants nothing
/// because nobody enforces what it denies: so an enforced policy must not be put on trial while Pods need what it allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    /// Enforced: what it allows is granted, what it denies is refused.
    #[default]
    Enforce,
    /// On trial: whoever makes a Pod that it would refuse is warned, and the audit log says so, too.
    Warn,
    /// On trial: only the audit log says what it would refuse.
    Audit,
}

impl PolicyMode {
    /// Whether a policy is on trial.
    #[must_use]
    pub const fn is_trial(self) -> bool {
        match self {
            Self::Enforce => false,
            Self::Warn | Self::Audit => true,
        }
    }
}

impl fmt::Display for PolicyMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Enforce => "Enforce",
            Self::Warn => "Warn",
            Self::Audit => "Audit",
        })
    }
}

/// What lets others than a Pod's own containers read its secrets. Each holds for every Pod of these ServiceAccounts that mounts
/// a bound Secret, and for no other Pod: what a Pod without secrets may be is for Pod Security to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodConditions {
    /// No container of any kind may be privileged: it could read every secret of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_privileged: Option<bool>,
    /// The Pod may not share the processes of its node (`hostPID`).
    #[serde(default, rename = "denyHostPID", skip_serializing_if = "Option::is_none")]
    pub deny_host_pid: Option<bool>,
    /// Containers may not share their processes, through which one reads the files and variables of the other: neither by
    /// `shareProcessNamespace` or `hostPID` nor as the target of an ephemeral container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_shared_process_namespace: Option<bool>,
    /// No volume may be a `hostPath` that lies in the kubelet's directory, `/var/lib/kubelet`, or holds it: the secrets of all
    /// Pods of the node are there. Paths are compared as they are written, without following links of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_kubelet_host_path: Option<bool>,
    /// With `false`, no ephemeral container may come to the Pod. Otherwise one may come, and gets none of the secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_ephemeral: Option<bool>,
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
    /// The Secret name; `*`, which is none, where a condition forbids the Pod all of its Secrets.
    #[schemars(length(max = 253))]
    pub secret: String,
    /// Which rule denies which key, or which condition forbids what.
    #[schemars(length(max = 1500))]
    pub reason: String,
}
