//! What holds for every Pod, whatever stands in it.

use crate::cluster;
use alcove_injection::effort::MOST_STEPS;
use alcove_injection::{Catalog, Context, Decision, Pod, Settings, Verdict, decide, validate};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::LazyLock;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let mut catalog = Catalog::default();
    cluster::apply(&mut catalog, include_str!("../cases/base.yaml"));
    catalog
});
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| cluster::settings(&Value::Null));

const KEYS: [&str; 3] = ["password", "username", "tls.key"];

fn context() -> Context<'static> {
    Context { catalog: &CATALOG, settings: &SETTINGS, most_steps: MOST_STEPS }
}

fn pod(document: &Value) -> Pod {
    Pod::new(document.clone(), "t").unwrap()
}

/// An object of its fields, without those that are absent, and with one that nobody knows now and then.
fn object(fields: Vec<(&'static str, Option<Value>)>, unknown: bool) -> Value {
    let known = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let unknown = unknown.then(|| ("fromTheFuture".to_owned(), json!({"a": [null, 1]})));
    Value::Object(known.chain(unknown).collect())
}

/// A list that is there, empty, null or absent.
fn list(item: impl Strategy<Value = Value> + 'static, most: usize) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        4 => prop::collection::vec(item, 1..=most).prop_map(|items| Some(Value::from(items))),
        1 => Just(Some(json!([]))),
        1 => Just(Some(Value::Null)),
        1 => Just(None),
    ]
}

/// Secret names, most of them bound.
fn secret() -> impl Strategy<Value = &'static str> {
    select(vec!["db-creds", "db-creds", "tls", "plain"])
}

fn items() -> impl Strategy<Value = Option<Value>> {
    let item = (select(KEYS.to_vec()), prop::option::of(select(vec![0o400, 0o440, 0o644])));
    prop::option::of(prop::collection::vec(item, 1..3)).prop_map(|items| {
        let named = items?.into_iter().enumerate().map(|(index, (key, mode))| {
            let path = Some(json!(format!("d/{index}")));
            object(vec![("key", Some(json!(key))), ("path", path), ("mode", mode.map(Value::from))], false)
        });
        Some(named.collect::<Value>())
    })
}

fn projection() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (secret(), any::<Option<bool>>()).prop_map(|(name, optional)| {
            json!({"secret": object(vec![("name", Some(json!(name))), ("optional", optional.map(Value::from))], false)})
        }),
        1 => Just(json!({"configMap": {"name": "settings"}})),
        1 => Just(json!({"serviceAccountToken": {"path": "token", "audience": "x"}})),
        1 => Just(json!({"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}})),
    ]
}

fn volume_source() -> impl Strategy<Value = (&'static str, Value)> {
    let mode = || prop::option::of(select(vec![0o400, 0o440, 0o644]));
    prop_oneof![
        4 => (secret(), items(), mode(), any::<Option<bool>>()).prop_map(|(name, items, mode, optional)| {
            let fields = vec![
                ("secretName", Some(json!(name))),
                ("items", items),
                ("defaultMode", mode.map(Value::from)),
                ("optional", optional.map(Value::from)),
            ];
            ("secret", object(fields, false))
        }),
        3 => (prop::collection::vec(projection(), 1..5), mode()).prop_map(|(sources, mode)| {
            ("projected", object(vec![("sources", Some(sources.into())), ("defaultMode", mode.map(Value::from))], false))
        }),
        1 => Just(("emptyDir", json!({"medium": "Memory"}))),
        1 => Just(("configMap", json!({"name": "settings"}))),
    ]
}

fn volumes() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec((volume_source(), any::<bool>()), 0..5).prop_map(|sources| {
        let named = sources.into_iter().enumerate().map(|(index, ((field, source), unknown))| {
            object(vec![("name", Some(json!(format!("v{index}")))), (field, Some(source))], unknown)
        });
        named.collect()
    })
}

fn variable() -> impl Strategy<Value = Value> {
    let name = || select(vec!["A", "B", "dotted.name", "with space"]);
    prop_oneof![
        3 => (name(), secret(), select(KEYS.to_vec()), any::<Option<bool>>()).prop_map(|(name, secret, key, optional)| {
            let fields = vec![
                ("name", Some(json!(secret))),
                ("key", Some(json!(key))),
                ("optional", optional.map(Value::from)),
            ];
            json!({"name": name, "valueFrom": {"secretKeyRef": object(fields, false)}})
        }),
        1 => name().prop_map(|name| json!({"name": name, "value": "$(A):$(B)"})),
        1 => name().prop_map(|name| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})),
    ]
}

fn variable_source() -> impl Strategy<Value = Value> {
    (prop::option::of(select(vec!["P_", "Q_"])), secret(), any::<bool>()).prop_map(|(prefix, name, plain)| {
        let source = if plain { "configMapRef" } else { "secretRef" };
        object(vec![("prefix", prefix.map(Value::from)), (source, Some(json!({"name": name})))], false)
    })
}

fn container(volumes: usize) -> impl Strategy<Value = Value> {
    let place = (0..volumes.max(1), prop::option::of(0..volumes.max(1)));
    let mount = (place, any::<Option<bool>>(), any::<bool>()).prop_map(move |((index, outer), read_only, sub_path)| {
        let outer = outer.map(|outer| format!("/m{outer}")).unwrap_or_default();
        let fields = vec![
            ("name", Some(json!(format!("v{index}")))),
            ("mountPath", Some(json!(format!("{outer}/m{index}")))),
            ("readOnly", read_only.map(Value::from)),
            ("subPath", sub_path.then(|| json!("d"))),
        ];
        object(fields, false)
    });
    let user = prop::option::of(select(vec![0, 1000, 2000]));
    let mounts = list(mount, 3).prop_map(move |mounts| if volumes == 0 { None } else { mounts });
    (list(variable(), 4), list(variable_source(), 2), mounts, user, any::<bool>()).prop_map(
        |(env, env_from, mounts, user, unknown)| {
            let fields = vec![
                ("image", Some(json!("busybox"))),
                ("env", env),
                ("envFrom", env_from),
                ("volumeMounts", mounts),
                ("securityContext", user.map(|user| json!({"runAsUser": user}))),
            ];
            object(fields, unknown)
        },
    )
}

/// Names the containers of a list.
fn named(containers: Vec<Value>, prefix: &str) -> Value {
    let named = containers.into_iter().enumerate().map(|(index, mut container)| {
        container["name"] = json!(format!("{prefix}{index}"));
        container
    });
    named.collect()
}

pub(crate) fn pods() -> impl Strategy<Value = Value> {
    let spec = volumes().prop_flat_map(|volumes| {
        let containers = |most| prop::collection::vec(container(volumes.len()), 1..=most);
        let init = prop::option::of(containers(2));
        (Just(volumes.clone()), init, containers(3), prop::option::of(1_i64..3000), any::<bool>())
    });
    spec.prop_map(|(volumes, init, containers, group, unknown)| {
        let volumes = (!volumes.is_empty()).then(|| Value::from(volumes));
        let fields = vec![
            ("serviceAccountName", Some(json!("web"))),
            ("initContainers", init.map(|init| named(init, "init"))),
            ("containers", Some(named(containers, "app"))),
            ("volumes", volumes),
            ("securityContext", group.map(|group| json!({"fsGroup": group}))),
        ];
        json!({
            "metadata": {
                "generateName": "web-",
                "labels": {"example.com/a~b": "x"},
                "annotations": {
                    "secret.alcove.dev/db-creds": "{dataFrom: [\"vault:kv/app/db\"], keys: [password, username, tls.key]}",
                    "secret.alcove.dev/tls": "{type: kubernetes.io/ssh-auth, dataFrom: [\"vault:kv/app/tls\"], keys: [password, username, tls.key]}",
                },
            },
            "spec": object(fields, unknown),
        })
    })
}

/// What is left of a Pod when everything is taken away that Alcove may have to change.
fn untouched(document: &Value) -> Value {
    let mut rest = document.clone();
    let replaced = replaced(document);
    if let Some(annotations) = rest.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.contains("alcove.dev/injected") && !key.contains("autoscaler"));
    }
    let spec = rest["spec"].as_object_mut().unwrap();
    retain(spec, "initContainers", |container| container["name"] != "alcove-sidecar");
    retain(spec, "volumes", |volume| !volume["name"].as_str().unwrap().starts_with("alcove-"));
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if replaced.contains(volume["name"].as_str().unwrap()) {
            volume.as_object_mut().unwrap().retain(|field, _| field == "name" || field == "fromTheFuture");
        }
    }
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            retain(container.as_object_mut().unwrap(), "env", |variable| !is_secret(variable));
            retain(container.as_object_mut().unwrap(), "envFrom", |source| !is_secret(source));
            for mount in container.get_mut("volumeMounts").and_then(Value::as_array_mut).into_iter().flatten() {
                if replaced.contains(mount["name"].as_str().unwrap()) {
                    mount.as_object_mut().unwrap().remove("readOnly");
                }
            }
        }
    }
    rest
}

/// Keeps some items of a list; an empty list, null and none are the same to Kubernetes.
fn retain(parent: &mut Map<String, Value>, field: &str, is_kept: impl Fn(&Value) -> bool) {
    if let Some(Value::Array(items)) = parent.get_mut(field) {
        items.retain(is_kept);
    }
    if parent.get(field).is_some_and(|value| value.is_null() || value == &json!([])) {
        parent.remove(field);
    }
}

fn is_secret(item: &Value) -> bool {
    let text = item.to_string();
    ["secretKeyRef", "fileKeyRef", "secretRef"].iter().any(|kind| text.contains(kind))
}

/// The volumes that name a bound Secret, or did.
fn replaced(document: &Value) -> BTreeSet<String> {
    let volumes = document["spec"]["volumes"].as_array().into_iter().flatten();
    let names = volumes.filter(|volume| {
        let text = volume.to_string();
        text.contains("db-creds") || text.contains("\"tls\"") || volume["emptyDir"]["sizeLimit"].is_string()
    });
    names.map(|volume| volume["name"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn patched(document: &Value, patch: &json_patch::Patch) -> Value {
    let mut patched = document.clone();
    json_patch::patch(&mut patched, patch).unwrap_or_else(|error| panic!("{error}"));
    patched
}

const WORDS: [&str; 10] = [
    "db-creds",
    "alcove-sidecar",
    "alcove-env",
    "v0",
    "",
    "Memory",
    "ALCOVE_SIDECAR",
    "ALCOVE_VOLUME_0",
    r#"{"version":1,"logLevel":"info"}"#,
    r#"{"version":1,"name":"v0","path":"/x","defaultMode":420,"sources":[{"mirror":{"path":"/x"}}]}"#,
];

const FIELDS: &str = "name spec volumes secret secretName projected sources items key path mode defaultMode optional \
    initContainers containers ephemeralContainers env envFrom value valueFrom secretKeyRef fileKeyRef volumeName secretRef \
    prefix volumeMounts mountPath subPath securityContext runAsUser fsGroup resources limits requests memory emptyDir \
    affinity nodeSelector os imagePullSecrets serviceAccountName annotations";

/// Anything at all, with the words of a Pod in it.
pub(crate) fn hostile() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        select(WORDS.to_vec()).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let field = || select(FIELDS.split_whitespace().collect::<Vec<_>>());
    leaf.prop_recursive(8, 128, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((field(), inner), 0..6).prop_map(|pairs| {
                Value::Object(pairs.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
            }),
        ]
    })
}

#[test]
fn most_generated_pods_get_their_secrets() {
    let mut runner = TestRunner::deterministic();
    let mut documents = (0..200).map(|_| pods().new_tree(&mut runner).unwrap().current());
    let injected = documents.by_ref().filter(
        |document| matches!(decide(&pod(document), &context()), Decision::Inject(plan) if !plan.patch.is_empty()),
    );
    let count = injected.count();
    assert!(count > 100, "only {count} of 200: the properties would say little");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn asking_twice_changes_nothing_and_the_validating_side_agrees(document in pods()) {
        let first = decide(&pod(&document), &context());
        prop_assert_eq!(&first, &decide(&pod(&document), &context()));
        if let Decision::Inject(plan) = first {
            let patched = patched(&document, &plan.patch);
            match decide(&pod(&patched), &context()) {
                Decision::Inject(again) => prop_assert!(again.patch.is_empty(), "{}", again.patch),
                other => prop_assert!(false, "{other:?}"),
            }
            match validate(None, &pod(&patched), &context()) {
                Verdict::Allow(_) => {}
                Verdict::Deny(refusal) => prop_assert!(false, "{refusal}"),
            }
        }
    }

    /// A Pod that has ended has to go, whether we have changed it or it was there before us.
    #[test]
    fn what_controllers_change_is_not_judged_by_what_is_known_today(document in pods()) {
        let (catalog, settings) = (Catalog::default(), cluster::settings(&json!({"sidecarImage": "newer"})));
        let today = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
        let injected = match decide(&pod(&document), &context()) {
            Decision::Inject(plan) => Some(patched(&document, &plan.patch)),
            Decision::Skip(_) | Decision::Deny(_) => None,
        };
        for before in injected.into_iter().chain([document]) {
            let mut after = before.clone();
            after["metadata"]["labels"] = json!({"done": "true"});
            after["spec"]["activeDeadlineSeconds"] = 60.into();
            after["status"] = json!({"phase": "Succeeded"});
            let held = |mut pod: Value| {
                pod["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
                pod
            };
            match validate(Some(&pod(&held(before))), &pod(&after), &today) {
                Verdict::Allow(allowance) => prop_assert!(!allowance.absent, "the cluster is asked for it"),
                Verdict::Deny(refusal) => prop_assert!(false, "{refusal}"),
            }
        }
    }

    #[test]
    fn what_does_not_concern_us_stays_as_it_is_and_in_its_order(document in pods()) {
        if let Decision::Inject(plan) = decide(&pod(&document), &context()) {
            let patched = patched(&document, &plan.patch);
            prop_assert_eq!(untouched(&document), untouched(&patched));
            let text = patched.to_string();
            prop_assert!(!text.contains("\"secretName\":\"db-creds\""), "{}", text);
        }
    }

    #[test]
    fn no_document_makes_it_panic_and_every_patch_applies(spec in hostile(), metadata in hostile(), old in hostile()) {
        let annotated = |spec: &Value| json!({
            "metadata": {"annotations": {"secret.alcove.dev/db-creds": "vault:kv/app/db"}, "more": metadata},
            "spec": spec,
        });
        for document in [annotated(&spec), json!({"metadata": metadata, "spec": spec})] {
            if let Decision::Inject(plan) = decide(&pod(&document), &context()) {
                patched(&document, &plan.patch);
            }
            drop(validate(None, &pod(&document), &context()));
            drop(validate(Some(&pod(&annotated(&old))), &pod(&document), &context()));
        }
    }
}
