//! Objects, Pods and reviews of the tests.

use serde_json::{Value, json};

/// A namespace in which the ServiceAccount `web` may mount what lies below `kv/app`.
pub(crate) const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: alcove.dev/v1alpha1
kind: ClusterExternalStore
metadata: {name: vault}
spec:
  audience: vault
  provider:
    vault: {server: "https://vault.example:8200", auth: {kubernetes: {role: web}}}
---
apiVersion: alcove.dev/v1alpha1
kind: SecretPolicy
metadata: {name: web, namespace: shop}
spec:
  serviceAccounts: [web]
  allow:
  - {store: {kind: ClusterExternalStore, name: vault}, keys: ["kv/app/**"], secrets: ["*"]}
"#;

/// A Pod that mounts the Secret `db-creds`, which is bound to a key of the store.
pub(crate) fn pod(key: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "annotations": {"secret.alcove.dev/db-creds": format!("vault:{key}")}},
        "spec": {
            "serviceAccountName": "web",
            "fieldOfTomorrow": {"kept": true},
            "containers": [{
                "name": "app",
                "image": "registry.example/app:1",
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
}

/// The review of a Pod's creation.
pub(crate) fn creation(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": "shop",
            "object": pod,
            "oldObject": null,
            "dryRun": false,
        },
    })
}

/// The review of a Pod's change.
pub(crate) fn change(old: &Value, new: &Value) -> Value {
    let mut review = creation(new);
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["oldObject"] = old.clone();
    review
}
