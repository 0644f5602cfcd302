//! Pods as people write them, and some as nobody would; Kubernetes accepts every one of them.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// A Secret that the Pods name, with its keys.
type Secret = (&'static str, [&'static str; 2]);

/// The Secrets that have a binding; the last one has a SecretBinding, the others an annotation.
pub(super) const BOUND: [Secret; 3] =
    [("db-creds", ["password", "username"]), ("tls-pair", ["tls.crt", "tls.key"]), ("shared", ["password", "a.b"])];
const PLAIN: Secret = ("plain", ["password", "other"]);

const MODES: [i32; 9] = [0, 0o400, 0o440, 0o444, 0o600, 0o640, 0o644, 0o755, 0o777];
/// In a projected volume the sidecar has to read what the kubelet wrote beside the bound Secret.
const READABLE: [i32; 4] = [0o444, 0o555, 0o644, 0o755];

/// The same Pods in every run.
pub(super) fn generate(count: usize) -> Vec<Value> {
    let mut runner = TestRunner::deterministic();
    let strategy = pods();
    let pod = |index: usize| {
        let mut pod = strategy.new_tree(&mut runner).unwrap().current();
        pod["metadata"]["name"] = json!(format!("pod-{index}"));
        pod
    };
    (0..count).map(pod).collect()
}

/// Whether a Secret of this name comes from a store.
pub(super) fn is_bound(name: &Value) -> bool {
    BOUND.iter().any(|(known, _)| name == known)
}

/// Adds the fields of `addition` to an object.
fn with(mut object: Value, addition: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut object, addition) {
        fields.extend(more);
    }
    object
}

/// An object of one field, or of none.
fn optional(field: &'static str, value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::option::of(value).prop_map(move |value| value.map_or_else(|| json!({}), |value| json!({field: value})))
}

fn secret() -> impl Strategy<Value = Secret> {
    prop_oneof![4 => select(BOUND.to_vec()), 1 => Just(PLAIN)]
}

fn mode(field: &'static str, modes: &'static [i32]) -> impl Strategy<Value = Value> {
    optional(field, select(modes).prop_map(Value::from))
}

fn maybe() -> impl Strategy<Value = Value> {
    optional("optional", any::<bool>().prop_map(Value::from))
}

/// A Secret with some of its keys at paths of the Pod's choice: `name`, `items`, `optional`.
fn selection(modes: &'static [i32]) -> impl Strategy<Value = Value> {
    let items = prop::option::of(prop::collection::vec((0..2_usize, mode("mode", modes)), 1..4));
    (secret(), items, maybe()).prop_map(|((name, keys), items, optional)| {
        let selected = with(json!({"name": name}), optional);
        let Some(items) = items else { return selected };
        let item = |(index, (key, mode)): (usize, (usize, Value))| {
            with(json!({"key": keys[key], "path": format!("d{index}/{}", keys[key])}), mode)
        };
        with(selected, json!({"items": items.into_iter().enumerate().map(item).collect::<Vec<_>>()}))
    })
}

fn secret_volume() -> impl Strategy<Value = Value> {
    (selection(&MODES), mode("defaultMode", &MODES)).prop_map(|(mut selected, mode)| {
        let name = selected.as_object_mut().unwrap().remove("name");
        json!({"secret": with(with(selected, json!({"secretName": name})), mode)})
    })
}

fn projection() -> impl Strategy<Value = Value> {
    let others = select(vec![
        json!({"configMap": {"name": "settings", "optional": true}}),
        json!({"configMap": {"name": "settings", "items": [{"key": "color", "path": "color"}]}}),
        json!({"serviceAccountToken": {"path": "token", "audience": "a-database", "expirationSeconds": 1200}}),
        json!({"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
    ]);
    prop_oneof![3 => selection(&READABLE).prop_map(|secret| json!({"secret": secret})), 2 => others]
}

fn projected_volume() -> impl Strategy<Value = Value> {
    (prop::collection::vec(projection(), 1..6), mode("defaultMode", &READABLE)).prop_map(|(mut sources, mode)| {
        for (index, source) in sources.iter_mut().enumerate() {
            put_below(source, &format!("s{index}"));
        }
        json!({"projected": with(json!({"sources": sources}), mode)})
    })
}

/// Gives a source a directory of its own, since Kubernetes refuses two explicit paths that are equal.
fn put_below(source: &mut Value, directory: &str) {
    let below = |path: &Value| json!(format!("{directory}/{}", path.as_str().unwrap_or_default()));
    for content in source.as_object_mut().into_iter().flat_map(|kinds| kinds.values_mut()) {
        if content.get("path").is_some() {
            content["path"] = below(&content["path"]);
        }
        for item in content.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            item["path"] = below(&item["path"]);
        }
    }
}

fn volumes() -> impl Strategy<Value = Vec<Value>> {
    let others = select(vec![
        json!({"emptyDir": {"sizeLimit": "7Mi"}}),
        json!({"configMap": {"name": "settings", "defaultMode": 0o440}}),
        json!({"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}),
        json!({"csi": {"driver": "disk.example.com", "nodePublishSecretRef": {"name": PLAIN.0}}}),
        json!({"hostPath": {"path": "/etc"}, "fromTheFuture": {"a": [null, 1]}}),
    ]);
    let volume = prop_oneof![4 => secret_volume(), 3 => projected_volume(), 2 => others];
    prop::collection::vec(volume, 0..6).prop_map(|volumes| {
        volumes
            .into_iter()
            .enumerate()
            .map(|(index, volume)| with(volume, json!({"name": format!("v{index}")})))
            .collect()
    })
}

fn variable() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        4 => (secret(), 0..2_usize, maybe()).prop_map(|((name, keys), key, optional)| {
            json!({"valueFrom": {"secretKeyRef": with(json!({"name": name, "key": keys[key]}), optional)}})
        }),
        3 => select(vec![
            json!({"value": "$(A):$(B)$$(C)"}),
            json!({"value": ""}),
            json!({"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
            json!({"valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}),
            json!({"valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color", "optional": true}}}),
        ]),
    ];
    (select(vec!["A", "B", "dotted.name", "with space"]), value)
        .prop_map(|(name, value)| with(json!({"name": name}), value))
}

/// Plain sources come first: behind a bound one they would win over it, and Alcove refuses what it cannot rebuild.
fn bulk() -> impl Strategy<Value = Value> {
    let prefix = || optional("prefix", select(vec!["P_", "Q-", "1."]).prop_map(Value::from));
    let plain = select(vec![json!({"configMapRef": {"name": "settings"}}), json!({"secretRef": {"name": PLAIN.0}})]);
    let plain = (plain, prefix()).prop_map(|(source, prefix)| with(source, prefix));
    let bound = (select(BOUND.to_vec()), maybe(), prefix()).prop_map(|((name, _), optional, prefix)| {
        with(json!({"secretRef": with(json!({"name": name}), optional)}), prefix)
    });
    let lists = (prop::collection::vec(plain, 0..3), prop::collection::vec(bound, 0..3));
    lists.prop_map(|(plain, bound)| Value::from([plain, bound].concat()))
}

fn mounts(volumes: usize) -> impl Strategy<Value = Value> {
    let details = optional("readOnly", any::<bool>().prop_map(Value::from));
    let sub_path = optional("subPath", select(vec!["password", "d0/tls.key", "s1"]).prop_map(Value::from));
    let mount = (0..volumes.max(1), details, sub_path);
    prop::collection::vec(mount, 0..4).prop_map(move |mounts| {
        let mount = |(index, (volume, details, sub_path)): (usize, (usize, Value, Value))| {
            let target = json!({"name": format!("v{volume}"), "mountPath": format!("/mounts/{index}")});
            with(with(target, details), sub_path)
        };
        let mounts: Vec<Value> = mounts.into_iter().enumerate().map(mount).collect();
        json!({"volumeMounts": if volumes == 0 { Vec::new() } else { mounts }})
    })
}

fn container(volumes: usize) -> impl Strategy<Value = Value> {
    let extras = select(vec![
        json!({}),
        json!({"resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}),
        json!({"ports": [{"containerPort": 8080, "name": "http"}]}),
        json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}, "workingDir": "/tmp", "args": ["$(A)"]}),
        json!({"terminationMessagePolicy": "FallbackToLogsOnError", "stdin": true, "tty": true}),
        json!({"fromTheFuture": {"a": [null, 1]}}),
        json!({"securityContext": {"runAsUser": 1000}}),
        json!({"securityContext": {"runAsUser": 2000, "runAsNonRoot": true, "readOnlyRootFilesystem": true}}),
        json!({"securityContext": {"runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}}}),
    ]);
    let env = prop::collection::vec(variable(), 0..5).prop_map(|env| json!({"env": env}));
    let env_from = bulk().prop_map(|sources| json!({"envFrom": sources}));
    (env, env_from, mounts(volumes), extras).prop_map(|(env, env_from, mounts, extras)| {
        let container = with(json!({"image": "localhost/busybox:test"}), env);
        with(with(with(container, env_from), mounts), extras)
    })
}

/// Names the containers of a list after their place.
fn named(containers: Vec<Value>, prefix: &str) -> Vec<Value> {
    let name = |(index, container)| with(container, json!({"name": format!("{prefix}{index}")}));
    containers.into_iter().enumerate().map(name).collect()
}

fn init_containers(volumes: usize) -> impl Strategy<Value = Vec<Value>> {
    let container = (container(volumes), any::<bool>()).prop_map(|(mut container, is_sidecar)| {
        // Only sidecars may have the handlers of a life that goes on.
        if is_sidecar {
            container["restartPolicy"] = json!("Always");
        } else {
            container.as_object_mut().unwrap().remove("lifecycle");
        }
        container
    });
    prop::collection::vec(container, 0..3)
}

fn details() -> impl Strategy<Value = Value> {
    let all = vec![
        json!({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["db.example.com"]}]}),
        json!({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}),
        json!({"automountServiceAccountToken": false}),
        json!({"shareProcessNamespace": true}),
        json!({"restartPolicy": "OnFailure", "activeDeadlineSeconds": 600}),
        json!({"imagePullSecrets": [{"name": "registry"}]}),
        json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.53"], "options": [{"name": "ndots", "value": "1"}]}}),
        json!({"enableServiceLinks": false, "hostname": "host", "subdomain": "sub"}),
        json!({"nodeSelector": {"kubernetes.io/os": "linux"}, "terminationGracePeriodSeconds": 5}),
        json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]}),
        json!({"fromTheFuture": [{"a": {}}]}),
    ];
    subsequence(all, 0..=3).prop_map(|chosen| chosen.into_iter().fold(json!({}), with))
}

fn security() -> impl Strategy<Value = Value> {
    let contexts = vec![
        json!({"fsGroup": 3000}),
        json!({"runAsUser": 1000, "runAsNonRoot": true, "fsGroup": 3000, "supplementalGroups": [4000]}),
        json!({"runAsUser": 1000, "runAsGroup": 1000}),
        json!({"seccompProfile": {"type": "RuntimeDefault"}}),
    ];
    optional("securityContext", select(contexts))
}

fn pods() -> impl Strategy<Value = Value> {
    let parts = volumes().prop_flat_map(|volumes| {
        let containers = prop::collection::vec(container(volumes.len()), 1..4);
        (Just(volumes.clone()), init_containers(volumes.len()), containers, security(), details())
    });
    parts.prop_map(|(volumes, init_containers, containers, security, details)| {
        let spec = json!({
            "volumes": volumes,
            "initContainers": named(init_containers, "init"),
            "containers": named(containers, "app"),
        });
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"labels": {"example.com/a": "x"}, "annotations": {"example.com/note": "kept"}},
            "spec": with(with(spec, security), details),
        })
    })
}
