//! Pods that name Secrets where Alcove serves them, and what the API server would say of them.

use alcove_tests::namespace::Namespace;
use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::{Value, json};

/// A place that names a Secret, as a person would call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Volume,
    Projected,
    Env,
    EnvFrom,
}

/// Which containers of a Pod get what is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    Init,
    NativeSidecar,
    Regular,
}

impl Place {
    pub(crate) const ALL: [Self; 4] = [Self::Volume, Self::Projected, Self::Env, Self::EnvFrom];

    /// Where the name stands in a Pod of [`naming`].
    pub(crate) fn path(self, receiver: Receiver) -> String {
        let container = match receiver {
            Receiver::Init | Receiver::NativeSidecar => "spec.initContainers[0]",
            Receiver::Regular => "spec.containers[0]",
        };
        match self {
            Self::Volume => "spec.volumes[0].secret.secretName".to_owned(),
            Self::Projected => "spec.volumes[0].projected.sources[0].secret.name".to_owned(),
            Self::Env => format!("{container}.env[0].valueFrom.secretKeyRef.name"),
            Self::EnvFrom => format!("{container}.envFrom[0].secretRef.name"),
        }
    }

    /// The command that prints the value in a container of a Pod of [`naming`].
    pub(crate) const fn reading(self) -> &'static str {
        match self {
            Self::Volume | Self::Projected => "cat /secret/password",
            Self::Env => "printf %s \"$PASSWORD\"",
            Self::EnvFrom => "printf %s \"$password\"",
        }
    }

    fn name_in(self, pod: &mut Value, container: &str, secret: &str) {
        let mounts = json!([{"name": "secret", "mountPath": "/secret"}]);
        let receiver = &mut pod["spec"][container][0];
        match self {
            Self::Volume => {
                receiver["volumeMounts"] = mounts;
                pod["spec"]["volumes"] = json!([{"name": "secret", "secret": {"secretName": secret}}]);
            }
            Self::Projected => {
                receiver["volumeMounts"] = mounts;
                let sources = json!([{"secret": {"name": secret}}]);
                pod["spec"]["volumes"] = json!([{"name": "secret", "projected": {"sources": sources}}]);
            }
            Self::Env => {
                let source = json!({"secretKeyRef": {"name": secret, "key": "password"}});
                receiver["env"] = json!([{"name": "PASSWORD", "valueFrom": source}]);
            }
            Self::EnvFrom => receiver["envFrom"] = json!([{"secretRef": {"name": secret}}]),
        }
    }
}

impl Receiver {
    pub(crate) const ALL: [Self; 3] = [Self::Init, Self::NativeSidecar, Self::Regular];

    /// As a refusal names the container.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Init | Self::NativeSidecar => "init container \"first\"",
            Self::Regular => "container \"app\"",
        }
    }
}

/// A Pod of a ServiceAccount that names a Secret in one place for one container.
pub(crate) fn naming(account: &str, place: Place, receiver: Receiver, secret: &str) -> Value {
    let container =
        |name: &str| json!({"name": name, "image": "localhost/busybox:test", "command": ["sleep", "1000000"]});
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": {"alcove.dev/inject": "true"}},
        "spec": {
            "serviceAccountName": account,
            "terminationGracePeriodSeconds": 0,
            "containers": [container("app")],
        },
    });
    let list = match receiver {
        Receiver::Regular => "containers",
        Receiver::Init | Receiver::NativeSidecar => {
            pod["spec"]["initContainers"] = json!([container("first")]);
            "initContainers"
        }
    };
    if receiver == Receiver::NativeSidecar {
        pod["spec"]["initContainers"][0]["restartPolicy"] = "Always".into();
    }
    place.name_in(&mut pod, list, secret);
    pod
}

/// The text with which the API server would refuse a Pod, if it would.
pub(crate) async fn refusal(namespace: &Namespace, pod: &Value) -> Result<Option<String>> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match namespace.api::<Pod>().create(&dry_run, &serde_json::from_value(pod.clone())?).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message)),
        Err(error) => Err(error.into()),
    }
}

/// ServiceAccounts of these names.
pub(crate) fn accounts(names: &[impl AsRef<str>]) -> Vec<Value> {
    let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    names.iter().map(|name| account(name.as_ref())).collect()
}

/// One document for `kubectl apply`.
pub(crate) fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
