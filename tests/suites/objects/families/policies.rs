//! Policies that differ in one place.

use serde_json::{Value, json};

use super::{object, texts};

pub(super) fn policy(kind: &str, change: impl FnOnce(&mut Value)) -> Value {
    let rule = json!({"store": {"kind": "ExternalStore", "name": "vault"}, "keys": ["kv/app/**"], "secrets": ["*"]});
    let mut spec = json!({"serviceAccounts": ["*"], "deny": [rule]});
    change(&mut spec);
    object(kind, spec)
}

const POLICIES: [&str; 2] = ["SecretPolicy", "ClusterSecretPolicy"];

pub(super) fn patterns_of_keys() -> Vec<Value> {
    let parts = ["*", "**", "/", ".", "..", "-", "a", "A", "auth", "sys", " ", "\u{3000}", "é", "\u{7}"];
    let mut patterns = texts(&parts, 3, 11);
    let long =
        ["kv/data/app/**", "/kv/app/**", " kv/app/** ", "kv/*/db", "cubbyhole/**", "identity/x", "sys**", "a.b-c"];
    patterns.extend(long.map(str::to_owned));
    patterns.extend([10, 11].map(|wildcards| "*a".repeat(wildcards)));
    patterns.extend([10, 11].map(|wildcards| format!("kv{}", "/**".repeat(wildcards))));
    patterns.extend([253, 254].map(|length| "a".repeat(length)));
    patterns.extend([1021, 1022].map(|length| format!("kv/{}", "é".repeat(length))));
    let kinds = POLICIES.into_iter().cycle();
    let set = |pattern| move |spec: &mut Value| spec["deny"][0]["keys"][0] = Value::String(pattern);
    patterns.into_iter().zip(kinds).map(|(pattern, kind)| policy(kind, set(pattern))).collect()
}

pub(super) fn patterns_of_names() -> Vec<Value> {
    let mut patterns = texts(&["*", "a", "-", ".", "A", "_", " ", "/", "é"], 3, 7);
    patterns.extend([10, 11].map(|wildcards| "*a".repeat(wildcards)));
    patterns.extend([253, 254].map(|length| "a".repeat(length)));
    let places = ["/serviceAccounts/0", "/deny/0/secrets/0"].into_iter().cycle();
    let set = |pattern, place| move |spec: &mut Value| *spec.pointer_mut(place).unwrap() = Value::String(pattern);
    patterns.into_iter().zip(places).map(|(pattern, place)| policy("SecretPolicy", set(pattern, place))).collect()
}

pub(super) fn names_of_stores() -> Vec<Value> {
    let mut names = texts(&["a", "-", ".", "A", "*", "9"], 3, 3);
    names.extend([253, 254].map(|length| "a".repeat(length)));
    let set = |name| move |spec: &mut Value| spec["deny"][0]["store"]["name"] = Value::String(name);
    names.into_iter().map(|name| policy("ClusterSecretPolicy", set(name))).collect()
}

pub(super) fn rules() -> Vec<Value> {
    let changes: [fn(&mut Value); 14] = [
        |_| {},
        |spec| *spec = json!({}),
        |spec| spec["serviceAccounts"] = json!([]),
        |spec| spec["deny"] = json!([]),
        |spec| drop(spec.as_object_mut().unwrap().remove("deny")),
        |spec| {
            let rules = spec.as_object_mut().unwrap().remove("deny").unwrap();
            spec["allow"] = rules;
        },
        |spec| spec["denny"] = spec["deny"].clone(),
        |spec| spec["deny"][0]["keys"] = json!([]),
        |spec| spec["deny"][0]["keys"] = json!([7]),
        |spec| spec["deny"][0]["secrets"] = json!([]),
        |spec| drop(spec["deny"][0].as_object_mut().unwrap().remove("secrets")),
        |spec| drop(spec["deny"][0].as_object_mut().unwrap().remove("store")),
        |spec| spec["deny"][0]["store"]["kind"] = "SecretStore".into(),
        |spec| spec["deny"][0]["key"] = "kv/a".into(),
    ];
    changes.into_iter().flat_map(|change| POLICIES.map(|kind| policy(kind, change))).collect()
}

/// Policies with a condition, which beside a rule may say anything and without one must forbid something.
pub(super) fn conditions() -> Vec<Value> {
    let fields = [
        "denyPrivileged",
        "denyHostPID",
        "denySharedProcessNamespace",
        "denyKubeletHostPath",
        "allowEphemeral",
        "denyAll",
    ];
    let values = [json!(true), json!(false), json!("true"), json!(1)];
    let single = fields.iter().flat_map(|field| values.iter().map(move |value| json!({*field: value})));
    let several = [
        json!({}),
        json!(true),
        json!({"denyPrivileged": false, "allowEphemeral": true}),
        json!({"denyPrivileged": false, "denyHostPID": true}),
        json!({"denySharedProcessNamespace": false, "allowEphemeral": false}),
    ];
    let with = |conditions: Value, kind: &str, rule: bool| {
        policy(kind, |spec| {
            spec["pod"] = conditions;
            if !rule {
                spec.as_object_mut().unwrap().remove("deny");
            }
        })
    };
    let all: Vec<Value> = single.chain(several).collect();
    let alone =
        all.iter().zip(POLICIES.into_iter().cycle()).map(|(conditions, kind)| with(conditions.clone(), kind, false));
    let beside =
        all.iter().zip(POLICIES.into_iter().cycle()).map(|(conditions, kind)| with(conditions.clone(), kind, true));
    alone.chain(beside).collect()
}

/// Policies that state ServiceAccounts by name, by label, by both or not at all.
pub(super) fn accounts() -> Vec<Value> {
    let names = [None, Some(json!(["web"])), Some(json!([])), Some(json!(null)), Some(json!("web"))];
    let selectors = [
        None,
        Some(json!({})),
        Some(json!(null)),
        Some(json!({"matchLabels": {"tier": "front"}})),
        Some(json!({"matchLabels": {"tier": 7}})),
        Some(json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}]})),
        Some(json!({"matchExpressions": [{"key": "tier", "operator": "In"}]})),
        Some(json!({"matchExpressions": [{"key": "tier", "operator": "Exists", "values": ["x"]}]})),
        Some(json!({"matchExpressions": [{"operator": "Exists"}]})),
        Some(json!({"matchExpressions": [{"key": "", "operator": "Exists"}]})),
        Some(json!([])),
    ];
    let all = names.iter().flat_map(|names| selectors.iter().map(move |selector| (names, selector)));
    let kinds = POLICIES.into_iter().cycle();
    let with = |names: &Option<Value>, selector: &Option<Value>| {
        let (names, selector) = (names.clone(), selector.clone());
        move |spec: &mut Value| {
            let spec = spec.as_object_mut().unwrap();
            spec.remove("serviceAccounts");
            spec.extend(names.map(|names| ("serviceAccounts".to_owned(), names)));
            spec.extend(selector.map(|selector| ("serviceAccountSelector".to_owned(), selector)));
        }
    };
    all.zip(kinds).map(|((names, selector), kind)| policy(kind, with(names, selector))).collect()
}
