//! ExternalStore and ClusterExternalStore: where a store is and how one logs in.
//!
//! Field names are those of External Secrets Operator where it has the same notion. No credential stands in a store: it
//! names a key of a Secret in the Pod's namespace, which only the sidecar mounts.

#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]

use crate::definitions;
use alcove_contract::provider::vault::EngineVersion;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A store of one namespace: a tenant's word. Its audience must be stated, and its addresses are trusted with nothing
/// that is good elsewhere.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "alcove.dev",
    version = "v1alpha1",
    kind = "ExternalStore",
    namespaced,
    shortname = "exstore",
    status = "StoreStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Vault", "type": "string", "jsonPath": ".spec.provider.vault.server"}"#,
    printcolumn = r#"{"name": "Audience", "type": "string", "jsonPath": ".spec.audience"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = Rule::new("has(self.provider.kubernetes) || has(self.audience)").message("a namespaced store must state its audience: the token that the sidecar sends to it must be good nowhere else"))]
#[x_kube(validation = Rule::new("!has(self.provider.kubernetes) || !has(self.provider.kubernetes.server)").message("a namespaced store may not say where the API server is: use a ClusterExternalStore"))]
#[x_kube(validation = Rule::new("!has(self.provider.kubernetes) || !has(self.audience)").message("the API server decides the audience of a kubernetes store: leave audience away"))]
#[serde(rename_all = "camelCase")]
pub struct ExternalStoreSpec {
    /// What kind of store it is, and where.
    pub provider: Provider,
    /// The audience of the token that the sidecar logs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub audience: Option<String>,
    /// What stands before every key, and in no reference: two stores with different prefixes share one server, and neither
    /// reads what belongs to the other. The keys of policies include it. In Vault it begins with the mount and ends with a slash,
    /// as `kv/team-a/`. It is no boundary against whoever may write ExternalStores: what the role may read is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^?#%\s\p{Cc}]+$"))]
    pub prefix: Option<String>,
    /// Whether only the sidecar may have a token with this audience: then no Pod of a namespace under enforcement may project
    /// one by hand. Without it, true, unless a cloud shares the audience among all Pods, as `sts.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive_audience: Option<bool>,
}

/// A store for all namespaces, or for some of them: an administrator's word.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "alcove.dev",
    version = "v1alpha1",
    kind = "ClusterExternalStore",
    shortname = "cexstore",
    status = "StoreStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Vault", "type": "string", "jsonPath": ".spec.provider.vault.server"}"#,
    printcolumn = r#"{"name": "Audience", "type": "string", "jsonPath": ".spec.audience"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = Rule::new("has(self.provider.kubernetes) || has(self.audience)").message("a store must state its audience: the token that the sidecar sends to it must be good nowhere else"))]
#[x_kube(validation = Rule::new("!has(self.provider.kubernetes) || !has(self.audience)").message("the API server decides the audience of a kubernetes store: leave audience away"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterExternalStoreSpec {
    /// What kind of store it is, and where.
    pub provider: Provider,
    /// The audience of the token that the sidecar logs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub audience: Option<String>,
    /// What stands before every key, and in no reference: two stores with different prefixes share one server, and neither
    /// reads what belongs to the other. The keys of policies include it. In Vault it begins with the mount and ends with a slash,
    /// as `kv/team-a/`. It is no boundary against whoever may write ExternalStores: what the role may read is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^?#%\s\p{Cc}]+$"))]
    pub prefix: Option<String>,
    /// Whether only the sidecar may have a token with this audience: then no Pod of a namespace under enforcement may project
    /// one by hand. Without it, true, unless a cloud shares the audience among all Pods, as `sts.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive_audience: Option<bool>,
    /// The namespaces that may use the store: those that meet one of the conditions. Absent or empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub conditions: Vec<NamespaceCondition>,
}

/// A condition on a namespace. What it states must all hold; a condition that states nothing holds for no namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCondition {
    /// The labels that the namespace must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "definitions::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// The names, one of which the namespace must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "definitions::namespaces")]
    pub namespaces: Vec<String>,
}

/// Exactly one kind of store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.vault), has(self.kubernetes)].filter(stated, stated).size() == 1").message("state exactly one of: vault, kubernetes"))]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// HashiCorp Vault or OpenBao.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultProvider>,
    /// Secrets of another namespace of this cluster, read by the Pod's own ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesProvider>,
}

/// A Vault server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.auth.cert) || has(self.tls)").message("cert auth needs tls: the certificate to log in with"))]
#[serde(rename_all = "camelCase")]
pub struct VaultProvider {
    /// The server's address: `https://vault.example.com:8200`.
    #[schemars(length(min = 8, max = 1024), regex(pattern = r"^https?://[^/?#@\\\s\p{Z}\p{Cc}]+/?$"))]
    pub server: String,
    /// The Vault namespace, as in `team-a/prod`; left away for the root namespace. The community edition of Vault has none, and
    /// ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^/\s\p{Z}\p{Cc}]+(/[^/\s\p{Z}\p{Cc}]+)*/?$"))]
    pub namespace: Option<String>,
    /// The version of the KV engines; without it Vault is asked for each mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<EngineVersion>,
    /// The certificate authorities to trust: PEM, base64-encoded as everywhere in Kubernetes. Without it, the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub ca_bundle: Option<String>,
    /// The name that the server's certificate must carry, where it is not the host of `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// The certificate that the sidecar shows to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// How the sidecar logs in.
    pub auth: VaultAuth,
}

/// A client certificate, in Secrets of the Pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientTls {
    /// The certificate chain, PEM.
    pub cert_secret_ref: SecretKeySelector,
    /// The private key, PEM.
    pub key_secret_ref: SecretKeySelector,
}

/// Exactly one way to log in to Vault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.kubernetes), has(self.jwt), has(self.appRole), has(self.userPass), has(self.cert), has(self.tokenSecretRef)].filter(stated, stated).size() == 1").message("state exactly one of: kubernetes, jwt, appRole, userPass, cert, tokenSecretRef"))]
#[serde(rename_all = "camelCase")]
pub struct VaultAuth {
    /// Kubernetes auth with the Pod's own token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<VaultKubernetesAuth>,
    /// JWT auth with the Pod's own token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<VaultJwtAuth>,
    /// AppRole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<VaultAppRoleAuth>,
    /// A user's name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_pass: Option<VaultUserPassAuth>,
    /// TLS certificate auth with the certificate under `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<VaultCertAuth>,
    /// A token that somebody else issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeySelector>,
}

/// Kubernetes auth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultKubernetesAuth {
    /// Mount path of the auth method.
    #[serde(default = "kubernetes_mount")]
    #[schemars(length(min = 1, max = 253))]
    pub mount_path: String,
    /// Role to log in with.
    #[schemars(length(min = 1, max = 253))]
    pub role: String,
}

/// JWT auth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultJwtAuth {
    /// Mount path of the auth method.
    #[serde(default = "jwt_mount")]
    #[schemars(length(min = 1, max = 253))]
    pub path: String,
    /// Role to log in with; without it the mount's default role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub role: Option<String>,
}

/// AppRole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultAppRoleAuth {
    /// Mount path of the auth method.
    #[serde(default = "approle_mount")]
    #[schemars(length(min = 1, max = 253))]
    pub path: String,
    /// The role's id, which is not a secret.
    #[schemars(length(min = 1, max = 253))]
    pub role_id: String,
    /// The secret id.
    pub secret_ref: SecretKeySelector,
}

/// A user's name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultUserPassAuth {
    /// Mount path of the auth method.
    #[serde(default = "userpass_mount")]
    #[schemars(length(min = 1, max = 253))]
    pub path: String,
    /// The user.
    #[schemars(length(min = 1, max = 253))]
    pub username: String,
    /// The password.
    pub secret_ref: SecretKeySelector,
}

/// TLS certificate auth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultCertAuth {
    /// Mount path of the auth method.
    #[serde(default = "cert_mount")]
    #[schemars(length(min = 1, max = 253))]
    pub path: String,
    /// Name of the certificate role; without it Vault tries all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// Secrets of another namespace of this cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesProvider {
    /// The namespace that holds the Secrets.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub remote_namespace: String,
    /// Where the API server is, if it is not the one of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<KubernetesServer>,
}

/// An API server's address, reached with a token that it must accept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesServer {
    /// The address: `https://kubernetes.default.svc`.
    #[schemars(length(min = 9, max = 1024), regex(pattern = r"^https://[^/?#@\\\s\p{Z}\p{Cc}]+/?$"))]
    pub url: String,
}

/// One key of a Secret in the Pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeySelector {
    /// The Secret's name.
    #[schemars(schema_with = "definitions::subdomain")]
    pub name: String,
    /// The key in it.
    #[schemars(schema_with = "definitions::file_name")]
    pub key: String,
}

/// What is known of a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "definitions::conditions")]
    pub conditions: Vec<Condition>,
}

fn kubernetes_mount() -> String {
    "kubernetes".to_owned()
}

fn jwt_mount() -> String {
    "jwt".to_owned()
}

fn approle_mount() -> String {
    "approle".to_owned()
}

fn userpass_mount() -> String {
    "userpass".to_owned()
}

fn cert_mount() -> String {
    "cert".to_owned()
}
