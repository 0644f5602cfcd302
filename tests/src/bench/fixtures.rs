//! The Pod, the policies and the bindings of the load.

use serde_json::{Value, json};

/// An AdmissionReview about a Pod of `containers` containers, each with a file and a variable of a bound Secret, as the
/// API server would send it; annotated for both sides of the comparison.
pub(super) fn review(containers: usize) -> String {
    let container = |index: usize| {
        json!({
            "name": format!("app-{index}"),
            "image": "registry.example.com/app:1",
            "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}],
            "volumeMounts": [
                {"name": "creds", "mountPath": "/etc/creds"},
                {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true},
            ],
        })
    };
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "app",
            "namespace": "bench",
            "annotations": {
                "secret.alcove.dev/db-creds": "vault:kv/app/db",
                "vault.hashicorp.com/agent-inject": "true",
                "vault.hashicorp.com/role": "web",
                "vault.hashicorp.com/agent-inject-secret-db-creds": "kv/data/app/db",
            },
        },
        "spec": {
            "serviceAccountName": "web",
            "containers": (0..containers).map(container).collect::<Vec<Value>>(),
            "volumes": [
                {"name": "creds", "secret": {"secretName": "db-creds"}},
                {"name": "kube-api-access-x", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                ]}},
            ],
        },
    });
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "bench",
            "operation": "CREATE",
            "userInfo": {"username": "bench"},
            "object": pod,
            "oldObject": null,
            "dryRun": false,
        },
    })
    .to_string()
}

/// A file of more than 1,024 documents is refused.
const PAIRS_PER_FILE: usize = 500;

/// Whose the policies and bindings are that a Pod does not need.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// Those of other namespaces.
    Namespace,
    /// The cluster's, each selecting other namespaces.
    Cluster,
}

impl Scope {
    pub(super) fn adjective(self) -> &'static str {
        match self {
            Self::Namespace => "namespaced",
            Self::Cluster => "cluster-scoped",
        }
    }

    /// What one policy and one binding have in common, inside `metadata` and inside `spec`.
    fn place(self, index: usize) -> (String, String) {
        let namespace = index % 100;
        match self {
            Self::Namespace => (format!(", namespace: ns{namespace}"), String::new()),
            Self::Cluster => (String::new(), format!("namespaceSelector: {{matchLabels: {{team: t{namespace}}}}}, ")),
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Namespace => "",
            Self::Cluster => "Cluster",
        }
    }
}

/// The files of a cluster with `count` policies and as many bindings for other namespaces, and with the store and the
/// policy that the Pod needs.
pub(super) fn resources(scope: Scope, count: usize) -> Vec<String> {
    files(count, |index| others(scope, index))
}

/// The files of a cluster in which, beside what the Pod needs, `count` ServiceAccounts of its namespace have a policy each.
pub(super) fn accounts(count: usize) -> Vec<String> {
    files(count, account)
}

/// What the Pod needs, and `count` pairs of objects.
fn files(count: usize, pair: impl Fn(usize) -> String) -> Vec<String> {
    let indexes: Vec<usize> = (0..count).collect();
    let pairs = indexes.chunks(PAIRS_PER_FILE).map(|chunk| chunk.iter().map(|index| pair(*index)).collect());
    std::iter::once(NEEDED.to_owned()).chain(pairs).collect()
}

/// One ServiceAccount beside the Pod's, and its policy.
fn account(index: usize) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: web-{index}, namespace: bench}}}}\n\
         ---\n{{apiVersion: alcove.dev/v1alpha1, kind: SecretPolicy, metadata: {{name: web-{index}, namespace: bench}}, spec: {{\
         serviceAccounts: [web-{index}], allow: [{{store: {{kind: ClusterExternalStore, name: vault}}, keys: ['kv/{index}/**']}}]}}}}\n"
    )
}

/// One policy and one binding that the Pod does not need.
fn others(scope: Scope, index: usize) -> String {
    let (prefix, (metadata, spec)) = (scope.prefix(), scope.place(index));
    format!(
        "---\n{{apiVersion: alcove.dev/v1alpha1, kind: {prefix}SecretPolicy, metadata: {{name: p{index}{metadata}}}, spec: {{{spec}\
         serviceAccounts: [web], allow: [{{store: {{kind: ClusterExternalStore, name: vault}}, keys: ['kv/{index}/**']}}]}}}}\n\
         ---\n{{apiVersion: alcove.dev/v1alpha1, kind: {prefix}SecretBinding, metadata: {{name: b{index}{metadata}}}, spec: {{{spec}\
         dataFrom: ['vault:kv/{index}/db']}}}}\n"
    )
}

const NEEDED: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: bench, labels: {team: bench}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: bench}}
---
apiVersion: alcove.dev/v1alpha1
kind: ClusterExternalStore
metadata: {name: vault}
spec: {audience: vault, provider: {vault: {server: 'https://vault.example.com:8200', auth: {kubernetes: {role: web}}}}}
---
apiVersion: alcove.dev/v1alpha1
kind: SecretPolicy
metadata: {name: web, namespace: bench}
spec:
  serviceAccounts: [web]
  allow: [{store: {kind: ClusterExternalStore, name: vault}, keys: ['kv/app/**']}]
";
