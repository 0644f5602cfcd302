//! Shapes of objects: many short parts, a few long ones, and what cannot be read.

use serde_json::{Map, Value, json};

fn fields(count: usize, value: impl Fn(usize) -> (String, Value)) -> Value {
    Value::Object((0..count).map(value).collect::<Map<_, _>>())
}

pub(crate) fn data(count: usize, value: &Value) -> Value {
    json!({"spec": {"data": fields(count, |number| (format!("k{number}"), value.clone()))}})
}

pub(crate) fn rules(rules: usize, keys: usize, key: &str) -> Value {
    let keys: Value = (0..keys).map(|number| format!("{key}{number}")).collect();
    let rule = json!({"store": {"kind": "ExternalStore", "name": "v"}, "keys": keys, "secrets": ["a-*"]});
    json!({"spec": {"serviceAccounts": ["*"], "allow": vec![rule; rules]}})
}

fn by_label(selector: &Value) -> Value {
    json!({"spec": {"serviceAccountSelector": selector, "pod": {"denyPrivileged": true}}})
}

fn requirement(values: usize) -> Value {
    let values: Value = (0..values).map(|number| format!("v{number}")).collect();
    json!({"key": "team", "operator": "In", "values": values})
}

fn vault(login: &Value) -> Value {
    let secret = json!({"name": "s", "key": "k"});
    let tls = json!({"certSecretRef": secret, "keySecretRef": secret});
    json!({"spec": {"audience": "v", "provider": {"vault": {
        "server": "https://vault.example", "namespace": "n", "tls": tls, "auth": login,
    }}}})
}

pub(crate) fn bindings() -> Vec<(&'static str, Value)> {
    let reference = |count: usize| -> Value { (0..count).map(|number| format!("v:k/{number}")).collect() };
    vec![
        ("one short entry", data(1, &json!("v:k#p"))),
        ("twelve short entries", data(12, &json!("v:k#p"))),
        ("many short entries", data(256, &json!("v:k#p"))),
        ("many entries with options", data(60, &json!("v:k?version=1#p"))),
        ("many entries with modes", data(100, &json!({"ref": "v:k#p", "mode": 256, "encoding": "base64"}))),
        ("a few long entries", data(3, &json!(format!("v:{}#{}", "k".repeat(1000), "p".repeat(500))))),
        ("whole Secrets", json!({"spec": {"dataFrom": reference(32)}})),
        (
            "names of keys",
            json!({"spec": {"dataFrom": ["v:k"], "keys": (0..256).map(|k| format!("k{k}")).collect::<Vec<_>>()}}),
        ),
        ("a type of its own", json!({"spec": {"type": "example.com/".repeat(20), "dataFrom": ["v:k"]}})),
        ("many wrong references", data(40, &json!("nothing"))),
        ("many wrong options", data(10, &json!("v:k?a=1&b=2&c=3&d=4&e=5&f=6"))),
        ("no binding at all", json!({"spec": {"data": 7}})),
    ]
}

pub(crate) fn policies() -> Vec<(&'static str, Value)> {
    let accounts: Vec<String> = (0..256).map(|number| format!("a{number}-*")).collect();
    let mut of_many = rules(1, 1, "kv/");
    of_many["spec"]["serviceAccounts"] = json!(accounts);
    vec![
        ("one rule", rules(1, 1, "kv/")),
        ("many rules", rules(64, 1, "kv/")),
        ("many short patterns", rules(2, 64, "a")),
        ("many patterns with wildcards", rules(2, 64, "a*b*c*d")),
        ("long patterns without a wildcard", rules(1, 16, &"k".repeat(1000))),
        ("long patterns between wildcards", rules(1, 16, &format!("*{}*", "k".repeat(1000)))),
        ("many accounts", of_many),
        ("many wrong patterns", rules(1, 64, "/kv/")),
        ("accounts by label", by_label(&json!({"matchLabels": {"a": "b"}}))),
        (
            "accounts by many labels",
            by_label(&json!({"matchLabels": fields(64, |number| (format!("l{number}"), json!("v")))})),
        ),
        ("accounts by many requirements", by_label(&json!({"matchExpressions": vec![requirement(1); 32]}))),
        ("accounts by many values", by_label(&json!({"matchExpressions": [requirement(64)]}))),
        ("a condition alone", json!({"spec": {"serviceAccounts": ["*"], "pod": {"denyPrivileged": true}}})),
        ("nothing", json!({"spec": {"serviceAccounts": ["*"]}})),
    ]
}

pub(crate) fn stores() -> Vec<(&'static str, Value)> {
    let secret = json!({"name": "s", "key": "k"});
    let mut with_authority = vault(&json!({"kubernetes": {"role": "r"}}));
    with_authority["spec"]["provider"]["vault"]["caBundle"] = json!("a".repeat(60_000));
    vec![
        ("Vault by Kubernetes", vault(&json!({"kubernetes": {"role": "r"}}))),
        ("Vault by JWT", vault(&json!({"jwt": {"role": "r"}}))),
        ("Vault by AppRole", vault(&json!({"appRole": {"roleId": "r", "secretRef": secret}}))),
        ("Vault by password", vault(&json!({"userPass": {"username": "u", "secretRef": secret}}))),
        ("Vault by certificate", vault(&json!({"cert": {"name": "n"}}))),
        ("Vault by token", vault(&json!({"tokenSecretRef": secret}))),
        ("an authority", with_authority),
        ("Kubernetes", json!({"spec": {"provider": {"kubernetes": {"remoteNamespace": "other"}}}})),
        ("no store at all", json!({"spec": {"provider": 7}})),
    ]
}

pub(crate) fn accounts() -> Vec<(&'static str, Value)> {
    let enforcing = |secrets: usize, length: usize, field: &str| {
        let names: Value = (0..secrets).map(|number| json!({"name": format!("{number:0length$}")})).collect();
        json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}, field: names})
    };
    vec![
        ("plain", json!({"metadata": {"annotations": {"notes": "x".repeat(1000)}}, "secrets": [{"name": "a"}]})),
        ("many labels", json!({"metadata": {"labels": fields(500, |number| (format!("l{number}"), json!("")))}})),
        ("one Secret", enforcing(1, 1, "secrets")),
        ("many short names", enforcing(1000, 1, "secrets")),
        ("a few long names", enforcing(5, 253, "secrets")),
        ("names of registries", enforcing(100, 8, "imagePullSecrets")),
    ]
}

pub(crate) fn limit_ranges() -> Vec<(&'static str, Value)> {
    let limit = |scope: &str, count: usize| {
        let amounts = fields(count, |number| (format!("example.com/r{number}"), json!("1500m")));
        json!({"type": scope, "min": amounts, "max": amounts, "default": amounts, "maxLimitRequestRatio": amounts})
    };
    vec![
        ("one limit", json!({"spec": {"limits": [limit("Container", 1)]}})),
        ("many limits", json!({"spec": {"limits": vec![limit("Pod", 1); 16]}})),
        ("many resources", json!({"spec": {"limits": [limit("Container", 40)]}})),
        ("of no concern", json!({"spec": {"limits": vec![limit("PersistentVolumeClaim", 3); 5]}})),
    ]
}

pub(crate) fn namespaces() -> Vec<(&'static str, Value)> {
    let labels = |count: usize, value: &str| json!({"metadata": {"labels": fields(count, |number| (format!("l{number}"), json!(value)))}});
    vec![
        ("no label", json!({})),
        ("a few labels", labels(5, "v")),
        ("many labels", labels(1000, "")),
        ("long labels", labels(30, &"v".repeat(63))),
    ]
}
