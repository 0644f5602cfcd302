//! Pods that were made to be expensive: what is said of them, and kept of them, is never much larger than they are.
//!
//! Work is counted by what comes out of it. A Pod of a mebibyte that is copied for each of its thousand parts shows in the
//! answer, or in a test that does not end.

use crate::cluster;
use alcove_injection::effort::MOST_STEPS;
use alcove_injection::validate::Verdict;
use alcove_injection::{Catalog, Context, Decision, Pod, decide, validate};
use serde_json::{Value, json};

const BOUND: &str = "vault:kv/app/db";

fn decided(document: &Value) -> Decision {
    decided_beside(document, "")
}

/// What becomes of a Pod where these objects are there, too.
fn decided_beside(document: &Value, objects: &str) -> Decision {
    let mut catalog = Catalog::default();
    cluster::apply(&mut catalog, include_str!("../cases/base.yaml"));
    cluster::apply(&mut catalog, objects);
    let settings = cluster::settings(&Value::Null);
    let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
    let pod = Pod::new(document.clone(), "t").unwrap();
    drop(validate(None, &pod, &context));
    drop(validate(Some(&pod), &pod, &context));
    decide(&pod, &context)
}

/// A Pod with one annotation, and the rest as the fields of its `spec`.
fn bound(binding: &str, spec: &Value) -> Value {
    let mut document = json!({
        "metadata": {"name": "web", "annotations": {"secret.alcove.dev/db": binding}},
        "spec": {"serviceAccountName": "web"},
    });
    document["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    document
}

fn many(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

/// As many keys as a binding may have.
const KEYS: usize = 256;

/// A binding with all the keys that it may have, each of which the store has under a key of its own.
fn keys(path: &str) -> String {
    let data = many(KEYS, |index| json!([format!("k{index}"), format!("vault:kv/{path}/{index}#v")]));
    let pairs = data.as_array().unwrap().iter().map(|pair| format!("{}: {}", pair[0], pair[1]));
    format!("{{data: {{{}}}}}", pairs.collect::<Vec<_>>().join(", "))
}

/// A sidecar made by hand that says it has filled `v` from these sources.
fn sidecar(sources: &Value, mounts: &Value) -> Value {
    let volume =
        json!({"version": 1, "name": "v", "path": "/alcove/volumes/v", "defaultMode": 420, "sources": sources});
    json!([{
        "name": "alcove-sidecar",
        "restartPolicy": "Always",
        "env": [
            {"name": "ALCOVE_SIDECAR", "value": r#"{"version":1,"logLevel":"info"}"#},
            {"name": "ALCOVE_VOLUME_0", "value": volume.to_string()},
        ],
        "volumeMounts": mounts,
    }])
}

/// Each source of a forged sidecar names the one mirror volume, which has thousands of sources itself.
fn one_mirror_named_often() -> Value {
    let path = "/alcove/mirrors/v/0";
    let sources = many(3000, |_| json!({"mirror": {"path": path}}));
    let mounts = json!([{"name": "alcove-mirror-0", "mountPath": path}]);
    let mirrored = many(10_000, |index| json!({"configMap": {"name": format!("settings-with-a-long-name-{index}")}}));
    let volumes = json!([
        {"name": "v", "emptyDir": {}},
        {"name": "alcove-mirror-0", "projected": {"sources": mirrored}},
    ]);
    bound(BOUND, &json!({"initContainers": sidecar(&sources, &mounts), "volumes": volumes, "containers": []}))
}

/// All volumes have the name of the one that a forged sidecar has filled from thousands of Secrets.
fn one_configuration_for_many_volumes() -> Value {
    let sources = many(1900, |index| json!({"secret": {"name": format!("secret-{index}")}}));
    let volumes = many(1000, |_| json!({"name": "v", "emptyDir": {}}));
    bound(BOUND, &json!({"initContainers": sidecar(&sources, &json!([])), "volumes": volumes, "containers": []}))
}

/// Each key of the Secret becomes a variable with the whole prefix before it.
fn a_long_prefix() -> Value {
    let source = json!({"prefix": "P".repeat(900_000), "secretRef": {"name": "db"}});
    bound(&keys("app"), &json!({"containers": [{"name": "app", "image": "x", "envFrom": [source]}]}))
}

/// Each of the keys of each binding is denied to each of the containers that mount the one volume.
fn many_keys_for_many_containers() -> Value {
    let mounts = json!([{"name": "v", "mountPath": "/v"}]);
    let containers = many(1000, |index| json!({"name": format!("c{index}"), "image": "x", "volumeMounts": mounts}));
    let sources = many(15, |index| json!({"secret": {"name": format!("db-{index}")}}));
    let volumes = json!([{"name": "v", "projected": {"sources": sources}}]);
    let mut document = bound(BOUND, &json!({"containers": containers, "volumes": volumes}));
    let annotations = document["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.extend((0..15).map(|index| (format!("secret.alcove.dev/db-{index}"), json!(keys("denied")))));
    document
}

/// Each place names a key that the Secret does not have and that might be one of its hundreds.
fn many_typos() -> Value {
    let items = many(2000, |index| json!({"key": format!("kk{index}"), "path": format!("p{index}")}));
    let volumes = json!([{"name": "v", "secret": {"secretName": "db", "items": items}}]);
    bound(&keys("app"), &json!({"containers": [], "volumes": volumes}))
}

/// Each plain source might hold each of the variables before it.
fn many_plain_sources_behind_a_bound_one() -> Value {
    let source = |index: usize| match index {
        0 => json!({"prefix": "P".repeat(100), "secretRef": {"name": "db"}}),
        _ => json!({"configMapRef": {"name": "c"}, "prefix": if index.is_multiple_of(2) { "" } else { "Q" }}),
    };
    let containers = json!([{"name": "app", "image": "x", "envFrom": many(15_000, source)}]);
    bound(&keys("app"), &json!({"containers": containers}))
}

/// No place names any of the bindings, though a name like theirs is there.
fn many_unused_bindings() -> Value {
    let mut document = bound(BOUND, &json!({"containers": [], "imagePullSecrets": [{"name": "unused-"}]}));
    let annotations = document["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.extend((0..5_000).map(|index| (format!("secret.alcove.dev/unused-{index}"), json!(BOUND))));
    document
}

/// Each mount lies inside all the others.
fn mounts_inside_mounts() -> Value {
    let mounts = many(
        500,
        |depth| json!({"name": if depth.is_multiple_of(2) { "v" } else { "w" }, "mountPath": "/dir".repeat(depth + 1)}),
    );
    let volume = |name: &str| json!({"name": name, "secret": {"secretName": "db"}});
    let containers = json!([{"name": "app", "image": "x", "volumeMounts": mounts}]);
    bound(BOUND, &json!({"containers": containers, "volumes": [volume("v"), volume("w")]}))
}

/// Everything that an answer says, and what is kept for it.
fn said(decision: &Decision) -> String {
    match decision {
        Decision::Inject(plan) => {
            let grants: Vec<String> =
                plan.grants.iter().map(|grant| format!("{}{}", grant.secret, grant.key)).collect();
            format!("{}{}{}", serde_json::to_string(&plan.patch).unwrap(), plan.warnings.concat(), grants.concat())
        }
        Decision::Skip(skip) => skip.warnings.concat(),
        Decision::Deny(refusal) => {
            let remedy = refusal.remedy.as_deref().unwrap_or_default();
            let denied: Vec<String> =
                refusal.denied.iter().map(|denied| format!("{}{}", denied.secret, denied.key)).collect();
            format!("{}{}{remedy}{}", refusal.problems, refusal.warnings.concat(), denied.concat())
        }
    }
}

#[test]
fn the_answer_to_a_pod_is_never_much_larger_than_the_pod() {
    let shapes = [
        (one_mirror_named_often(), "the volume with its other sources (/alcove/mirrors/v/0) is gone"),
        (one_configuration_for_many_volumes(), "secret-1899"),
        (a_long_prefix(), "to more than 131072 bytes of names of variables"),
        (many_keys_for_many_containers(), "and 990 more of Pod"),
        (many_typos(), "\"kk0\" is not a key of the Secret \"db\"; did you mean \"k0\"?"),
        (many_plain_sources_behind_a_bound_one(), "comes after a bound Secret"),
        (many_unused_bindings(), "4991 more Secrets that its annotations bind"),
        (mounts_inside_mounts(), "mountPoints"),
    ];
    for (document, expected) in shapes {
        let (size, answer) = (document.to_string().len(), said(&decided(&document)));
        let beginning: String = answer.chars().take(300).collect();
        assert!(answer.contains(expected), "{expected}: {beginning}");
        assert!(answer.len() <= 2 * size, "{expected}: a Pod of {size} bytes is answered with {}", answer.len());
    }
}

/// A Pod of some kilobytes that names many large bindings of its namespace.
fn naming(bindings: usize) -> Value {
    let sources = many(bindings, |index| json!({"secret": {"name": format!("b-{index}")}}));
    json!({
        "metadata": {"name": "web", "annotations": {"alcove.dev/inject": "true"}},
        "spec": {
            "serviceAccountName": "web",
            "containers": [{"name": "app", "image": "x"}],
            "volumes": [{"name": "v", "projected": {"sources": sources}}],
        },
    })
}

/// Bindings with as many keys as they may have, under this path.
fn large_bindings(count: usize, path: &str) -> String {
    let binding = |index: usize| {
        let data: Vec<String> = (0..KEYS).map(|key| format!("  b{index}-k{key}: vault:kv/{path}/{key}#v\n")).collect();
        let head = "apiVersion: alcove.dev/v1alpha1\nkind: SecretBinding\n";
        format!("---\n{head}metadata: {{name: b-{index}, namespace: t}}\nspec:\n data:\n{}", data.concat())
    };
    (0..count).map(binding).collect()
}

#[test]
fn a_small_pod_gets_no_more_references_than_a_large_one_has() {
    for path in ["app", "denied"] {
        let most = 4096 / KEYS;
        let objects = large_bindings(most + 1, path);
        let Decision::Deny(refusal) = decided_beside(&naming(most + 1), &objects) else { panic!("it is admitted") };
        let expected = "Pod \"web\" is refused:\nspec: names Secrets with 4352 references together, and Alcove serves no Pod with \
                        more than 4096; split the Pod, or bind fewer keys; dataFrom takes all of a key at once";
        assert_eq!(refusal.to_string(), expected);
        assert!(refusal.denied.is_empty(), "nobody asks policy about them");
        let answer = said(&decided_beside(&naming(most), &objects));
        assert!(!answer.contains("and Alcove serves no Pod"), "{}", answer.chars().take(300).collect::<String>());
        assert!(answer.len() < 1024 * 1024, "{} bytes are said of {path}", answer.len());
    }
}

#[test]
fn few_references_of_many_bytes_are_too_many_too() {
    let objects = large_bindings(3, &"p".repeat(1500));
    let Decision::Deny(refusal) = decided_beside(&naming(3), &objects) else { panic!("it is admitted") };
    let length: usize = 3 * (0..KEYS).map(|key| format!("vaultkv/{}/{key}v", "p".repeat(1500)).len()).sum::<usize>();
    let expected = format!(
        "Pod \"web\" is refused:\nspec: names Secrets whose references have {length} bytes together, and Alcove serves no Pod with more \
         than 1048576; split the Pod, or bind fewer keys; dataFrom takes all of a key at once"
    );
    assert_eq!(refusal.to_string(), expected);
}

#[test]
fn references_count_as_steps_so_that_many_are_judged_beside_the_threads_that_serve() {
    let mut catalog = Catalog::default();
    cluster::apply(&mut catalog, include_str!("../cases/base.yaml"));
    cluster::apply(&mut catalog, &large_bindings(8, "app"));
    let settings = cluster::settings(&Value::Null);
    let of = |bindings, most_steps| {
        decide(
            &Pod::new(naming(bindings), "t").unwrap(),
            &Context { catalog: &catalog, settings: &settings, most_steps },
        )
    };
    let is_exhausted = |decision: Decision| matches!(decision, Decision::Deny(refusal) if refusal.is_exhausted());
    assert!(is_exhausted(of(8, 500_000)));
    assert!(!is_exhausted(of(1, 500_000)));
    assert!(matches!(of(8, MOST_STEPS), Decision::Inject(_)));
}

#[test]
fn annotations_that_kubernetes_will_refuse_are_not_read() {
    let document = bound(&format!("vault:kv/app/{}", "x".repeat(256 * 1024)), &json!({"containers": []}));
    let expected = "Pod \"web\" is refused:\nmetadata.annotations: have 262177 bytes, and Kubernetes allows 262144; move bindings \
                    into SecretBindings, and set alcove.dev/inject: \"true\"";
    let Decision::Deny(refusal) = decided(&document) else { panic!("it is admitted") };
    assert_eq!(refusal.to_string(), expected);
    let mut catalog = Catalog::default();
    cluster::apply(&mut catalog, include_str!("../cases/base.yaml"));
    let settings = cluster::settings(&Value::Null);
    let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
    let Verdict::Deny(refusal) = validate(None, &Pod::new(document, "t").unwrap(), &context) else {
        panic!("it is allowed")
    };
    assert_eq!(refusal.to_string(), expected);
}

#[test]
fn a_pod_with_more_parts_than_any_other_is_refused_before_it_is_looked_at() {
    let mount = json!({"name": "v", "mountPath": "/v"});
    let item = json!({"key": "k", "path": "p"});
    let mention = json!({"name": "X", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}});
    let repeated = |item: &Value, count| many(count, |_| item.clone());
    let spec = |what: &str, count: usize| match what {
        "volume mounts" => json!({"containers": [{"name": "a", "volumeMounts": repeated(&mount, count)}]}),
        "items of volumes" => json!({"volumes": [{"configMap": {"items": repeated(&item, count)}}]}),
        "Secret mentions" => json!({"containers": [{"name": "a", "env": repeated(&mention, count)}]}),
        list => json!({list: repeated(&json!({"name": "a"}), count)}),
    };
    let limits = [
        ("volume mounts", 2000),
        ("items of volumes", 2000),
        ("Secret mentions", 2000),
        ("volumes", 1000),
        ("containers", 1000),
    ];
    for (what, most) in limits {
        let said = |count| match decided(&bound(BOUND, &spec(what, count))) {
            Decision::Deny(refusal) => refusal.to_string(),
            _ => String::new(),
        };
        let expected = format!(
            "Pod \"web\" is refused:\nspec: has {} {what}, and Alcove serves no Pod with more than {most}; split the Pod, or \
             leave Alcove's annotations away",
            most + 1,
        );
        assert_eq!(said(most + 1), expected);
        assert!(!said(most).contains("and Alcove serves no Pod"), "{}", said(most));
    }
}

#[test]
fn a_small_pod_of_which_a_forged_sidecar_says_that_it_was_a_large_one_is_refused_too() {
    let source = json!({"secret": {"name": "db", "items": many(700, |_| json!({"key": "k", "path": "p"}))}});
    let sources = many(3, |_| source.clone());
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let document = bound(BOUND, &json!({"initContainers": sidecar(&sources, &json!([])), "volumes": volumes}));
    let Decision::Deny(refusal) = decided(&document) else { panic!("it is admitted") };
    assert!(refusal.to_string().contains("spec: has 2100 items of volumes"), "{refusal}");
}

#[test]
fn names_longer_than_any_in_kubernetes_are_refused_before_a_problem_repeats_them() {
    let long = "a".repeat(254);
    let document = bound(
        BOUND,
        &json!({
            "serviceAccountName": long,
            "containers": [{"name": long, "volumeMounts": [{"name": "v", "mountPath": "/a".repeat(2049)}]}],
            "volumes": [{"name": long, "secret": {"secretName": "db"}}],
        }),
    );
    let Decision::Deny(refusal) = decided(&document) else { panic!("it is admitted") };
    let expected = [
        "Pod \"web\" is refused:",
        "spec.serviceAccountName: has 254 bytes, and none may have more than 253",
        "spec.volumes[0].name: has 254 bytes, and none may have more than 253",
        "spec.containers[0].name: has 254 bytes, and none may have more than 253",
        "spec.containers[0].volumeMounts[0].mountPath: has 4098 bytes, and none may have more than 4096",
    ];
    assert_eq!(refusal.to_string(), expected.join("\n"));
}
