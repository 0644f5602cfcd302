//! Ephemeral containers beside sidecars of other releases, whose configuration this one cannot read.

use crate::cluster;
use alcove_injection::effort::MOST_STEPS;
use alcove_injection::{Catalog, Context, Decision, Pod, Verdict, decide, validate};
use serde_json::{Value, json};

/// A Pod with a Secret volume, a projected volume and a variable, as it comes from Alcove.
fn injected(context: &Context<'_>) -> Value {
    let mut document = json!({
        "metadata": {"name": "web", "annotations": {"secret.alcove.dev/db": "vault:kv/app/db"}},
        "spec": {
            "serviceAccountName": "web",
            "containers": [{
                "name": "app",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a"}}}],
                "volumeMounts": [{"name": "plain", "mountPath": "/p"}, {"name": "mixed", "mountPath": "/m"}],
            }],
            "volumes": [
                {"name": "plain", "secret": {"secretName": "db"}},
                {"name": "mixed", "projected": {"sources": [
                    {"configMap": {"name": "c", "items": [{"key": "k", "path": "k"}]}},
                    {"secret": {"name": "db", "items": [{"key": "a", "path": "a"}]}},
                ]}},
                {"name": "scratch", "emptyDir": {}},
            ],
        },
    });
    let Decision::Inject(plan) = decide(&Pod::new(document.clone(), "t").unwrap(), context) else {
        panic!("it is not injected")
    };
    json_patch::patch(&mut document, &plan.patch).unwrap();
    document
}

/// Every way in which the variables of a sidecar cannot be read, or not all of them.
fn unreadable(env: &Value) -> Vec<(&'static str, Value)> {
    let each = |change: &dyn Fn(&str) -> Value| -> Value {
        let variables = env.as_array().unwrap().iter();
        variables
            .map(|variable| json!({"name": variable["name"], "value": change(variable["value"].as_str().unwrap())}))
            .collect()
    };
    let without = |name: &str| -> Value {
        env.as_array().unwrap().iter().filter(|variable| variable["name"] != name).cloned().collect()
    };
    let with = |more: Value| -> Value { env.as_array().unwrap().iter().cloned().chain([more]).collect() };
    vec![
        ("as it was", env.clone()),
        ("a newer version", each(&|text| text.replace("\"version\":1", "\"version\":2").into())),
        ("no version", each(&|text| text.replace("\"version\":1,", "").into())),
        ("an unknown variable", with(json!({"name": "ALCOVE_NEW", "value": "1"}))),
        ("an unknown field", each(&|text| text.replacen('{', "{\"new\":1,", 1).into())),
        ("no JSON", each(&|text| text.replacen('{', "", 1).into())),
        ("no value", each(&|_| Value::Null)),
        ("too long", with(json!({"name": "ALCOVE_SECRET_1", "value": "x".repeat(200_000)}))),
        ("no general part", without("ALCOVE_SIDECAR")),
        ("no volumes", without("ALCOVE_VOLUME_0")),
        ("no list", json!("ALCOVE_SIDECAR")),
        ("nothing", Value::Null),
    ]
}

/// Every way in which a container gets at a volume.
fn uses(volume: &str) -> [Value; 3] {
    [
        json!({"volumeMounts": [{"name": volume, "mountPath": "/x"}]}),
        json!({"volumeMounts": [{"name": "scratch", "mountPath": "/s"}, {"name": volume, "mountPath": "/x", "subPath": "a"}]}),
        json!({"env": [{"name": "X", "valueFrom": {"fileKeyRef": {"volumeName": volume, "path": "a", "key": "X"}}}]}),
    ]
}

#[test]
fn an_ephemeral_container_gets_no_volume_of_a_sidecar_whose_configuration_cannot_be_read() {
    let mut catalog = Catalog::default();
    cluster::apply(&mut catalog, include_str!("../cases/base.yaml"));
    let settings = cluster::settings(&Value::Null);
    let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
    let injected = injected(&context);
    let sidecar = &injected["spec"]["initContainers"][0];
    assert_eq!(sidecar["name"], "alcove-sidecar");
    let is_allowed = |env: &Value, container: &Value| {
        let mut before = injected.clone();
        before["spec"]["initContainers"][0]["env"] = env.clone();
        let mut after = before.clone();
        after["spec"]["ephemeralContainers"] = json!([container]);
        after["spec"]["ephemeralContainers"][0]["name"] = "debug".into();
        let pod = |document: Value| Pod::new(document, "t").unwrap();
        matches!(validate(Some(&pod(before)), &pod(after), &context), Verdict::Allow(_))
    };
    for (how, env) in unreadable(&sidecar["env"]) {
        for volume in ["plain", "mixed", "alcove-env", "alcove-identity", "alcove-mirror-0"] {
            for container in uses(volume) {
                assert!(!is_allowed(&env, &container), "{how}: {container}");
            }
        }
        for container in uses("scratch") {
            assert!(is_allowed(&env, &container), "{how}: {container}");
        }
    }
}

#[test]
fn a_debug_container_mounts_no_volume_whose_secret_its_account_does_not_list() {
    let settings = cluster::settings(&json!({}));
    let mut catalog = Catalog::default();
    let annotations = [("alcove.dev/enforce-mountable-secrets".to_owned(), "true".to_owned())].into();
    let secrets = ["listed".to_owned()].into();
    let account = alcove_injection::catalog::ServiceAccount { annotations, secrets, ..Default::default() };
    catalog.apply_service_account("t", "web", account);
    let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
    // The Pod came before its account enforced anything.
    let old = json!({"metadata": {"name": "web"}, "spec": {
        "serviceAccountName": "web",
        "containers": [{"name": "app"}],
        "volumes": [
            {"name": "listed", "secret": {"secretName": "listed"}},
            {"name": "plain", "secret": {"secretName": "plain"}},
            {"name": "mixed", "projected": {"sources": [{"secret": {"name": "listed"}}, {"secret": {"name": "plain"}}]}},
        ],
    }});
    let mounting = |volume: &str| {
        let mut new = old.clone();
        let mounts = json!([{"name": volume, "mountPath": "/m"}]);
        new["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "volumeMounts": mounts}]);
        let pod = |document: &Value| Pod::new(document.clone(), "t").unwrap();
        validate(Some(&pod(&old)), &pod(&new), &context)
    };
    assert!(matches!(mounting("listed"), Verdict::Allow(_)));
    for (volume, place) in [
        ("plain", "spec.volumes[1].secret.secretName: \"plain\""),
        ("mixed", "spec.volumes[2].projected.sources[1].secret.name: \"plain\""),
    ] {
        let Verdict::Deny(refusal) = mounting(volume) else { panic!("{volume} is let in") };
        assert!(refusal.to_string().contains(place), "{refusal}");
    }
}
