//! Families of objects that differ in one place, right ones and wrong ones: every way to put together the parts that make
//! a difference there.

mod policies;

use serde_json::{Map, Value, json};

use self::policies::policy;

/// The name of each object.
pub(super) const NAME: &str = "specimen";

/// How far the API server has to say the same as Alcove.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Agreement {
    /// It refuses the same objects.
    Exact,
    /// It refuses those, and spellings that Alcove can read in an annotation.
    AtLeast,
}

/// Objects that differ in one place.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) agreement: Agreement,
    pub(super) objects: Vec<Value>,
}

pub(super) fn all() -> Vec<Family> {
    let exact = |name, objects| Family { name, agreement: Agreement::Exact, objects };
    let at_least = |name, objects| Family { name, agreement: Agreement::AtLeast, objects };
    vec![
        exact("patterns of keys", policies::patterns_of_keys()),
        exact("patterns of names", policies::patterns_of_names()),
        exact("names of stores", policies::names_of_stores()),
        exact("rules", policies::rules()),
        exact("accounts", policies::accounts()),
        exact("conditions", policies::conditions()),
        exact("selectors", selectors()),
        exact("references", references()),
        exact("names of files", names_of_files()),
        exact("entries", entries()),
        exact("types", types()),
        exact("bindings", bindings()),
        at_least("modes", modes()),
        at_least("intervals", intervals()),
        at_least("addresses", addresses()),
        at_least("stores", stores()),
    ]
}

fn object(kind: &str, spec: Value) -> Value {
    let mut object = json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": {"name": NAME}});
    object["spec"] = spec;
    object
}

/// Every text of up to `most` of the parts, of the longest ones only each `stride`-th.
fn texts(parts: &[&str], most: usize, stride: usize) -> Vec<String> {
    let mut all: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
    let mut longest = all.clone();
    for length in 2..=most {
        longest = longest.iter().flat_map(|text| parts.iter().map(move |part| format!("{text}{part}"))).collect();
        let stride = if length == most { stride } else { 1 };
        all.extend(longest.iter().step_by(stride).cloned());
    }
    all
}

fn selectors() -> Vec<Value> {
    let values = [None, Some(json!([])), Some(json!(["x"])), Some(json!(["x", "y"]))];
    let selectors = ["In", "NotIn", "Exists", "DoesNotExist", "in"].into_iter().flat_map(|operator| {
        values.clone().map(|values| {
            let mut requirement = json!({"key": "team", "operator": operator});
            if let Some(values) = values {
                requirement["values"] = values;
            }
            json!({"matchExpressions": [requirement]})
        })
    });
    let with = |selector: &Value| {
        let mut store = vault();
        store["conditions"] = json!([{"namespaceSelector": selector}]);
        [
            policy("ClusterSecretPolicy", |spec| spec["namespaceSelector"] = selector.clone()),
            object("ClusterSecretBinding", json!({"dataFrom": ["vault:kv/a"], "namespaceSelector": selector})),
            // A store that admits no namespace is refused to all: this one admits ours besides.
            object("ClusterExternalStore", {
                store["conditions"].as_array_mut().unwrap().push(json!({"namespaceSelector": {}}));
                store
            }),
        ]
    };
    selectors.flat_map(|selector| with(&selector)).collect()
}

// === bindings ===

fn binding(spec: Value) -> Value {
    object("SecretBinding", spec)
}

fn references() -> Vec<Value> {
    let parts = ["kv/a", ":", "?", "v", "=", "1", "&", "#", "%", "2", "%41", "%0A", "é", "\u{7}", "\u{85}", " ", "\n"];
    let others =
        ["vault", ":kv/a", "Vault:kv/a", "a..b:k", "-a:k", "a.b-c:k", "vault:kv/a?v=1&w=2#p", "vault:kv/a?v=1&w#p", ""];
    let references = texts(&parts, 3, 17).into_iter().map(|rest| format!("vault:{rest}"));
    let references = references
        .chain(others.map(str::to_owned))
        .chain([253, 254].map(|length| format!("{}:k", "a".repeat(length))))
        .chain([2042, 2043].map(|length| format!("vault:{}", "é".repeat(length))));
    let places: [fn(String) -> Value; 3] = [
        |text| json!({"data": {"a": text}}),
        |text| json!({"data": {"a": {"ref": text}}}),
        |text| json!({"dataFrom": [text]}),
    ];
    references.zip(places.into_iter().cycle()).map(|(text, place)| binding(place(text))).collect()
}

fn names_of_files() -> Vec<Value> {
    let mut names = texts(&[".", "-", "a", "_", "A", "/", " ", "é", "\n"], 3, 9);
    names.push(String::new());
    names.extend([253, 254].map(|length| "a".repeat(length)));
    let places: [fn(String) -> Value; 2] =
        [|name| json!({"data": {name: "vault:kv/a#p"}}), |name| json!({"dataFrom": ["vault:kv/a"], "keys": [name]})];
    names.into_iter().flat_map(|name| places.map(|place| binding(place(name.clone())))).collect()
}

fn entries() -> Vec<Value> {
    let reference = "vault:kv/a#p";
    let entries = [
        json!(reference),
        json!({"ref": reference}),
        json!({"ref": reference, "encoding": "base64url", "mode": 256}),
        json!(5),
        json!(1.5),
        json!(true),
        json!([]),
        json!([reference]),
        json!({}),
        json!({"ref": 5}),
        json!({"ref": [reference]}),
        json!({"mode": 256}),
        json!({"reff": reference}),
        json!({"ref": reference, "reff": reference}),
        json!({"ref": reference, "Mode": 256}),
        json!({"ref": reference, "encoding": "hx"}),
        json!({"ref": reference, "encoding": 5}),
        json!({"ref": reference, "encoding": ""}),
        json!({"ref": reference, "encoding": "raw", "mode": 256, "x": 1}),
    ];
    let mut all: Vec<Value> = entries.iter().map(|entry| binding(json!({"data": {"a": entry}}))).collect();
    all.extend(
        entries.iter().map(|entry| binding(json!({"data": {"b": reference, "a": entry}, "dataFrom": ["vault:kv/a"]}))),
    );
    all
}

fn modes() -> Vec<Value> {
    let numbers =
        [json!(0), json!(256), json!(511), json!(512), json!(-1), json!(1.5), json!(true), json!([]), json!({})];
    let texts = texts(&["0", "4", "7", "8", "0o", "-", "+", " "], 3, 5);
    let texts = texts.into_iter().chain(["0400", "00777", "0o777", "01000", ""].map(str::to_owned)).map(Value::String);
    let with = |mode: Value| binding(json!({"data": {"a": {"ref": "vault:kv/a#p", "mode": mode}}}));
    numbers.into_iter().chain(texts).map(with).collect()
}

fn intervals() -> Vec<Value> {
    let mut intervals = texts(&["0", "1", "365", "366", "9000", "d", "h", "m", "s", "ms", ".5", "-", " ", "P"], 3, 7);
    let others = [
        "1h30m", "1d12h", "366d", "366d1s", "366d0.5s", "365d24h", "8784h", "8784h1s", "999ms", "1000ms", "0.9s",
        "1.5h",
    ];
    intervals.extend(others.map(str::to_owned));
    intervals.extend(
        ["0d0.5s", "0h0.5s", "0.0001h", "1m1h", "1.5h3m", "527040m", "527041m", "never", "1h 3m", "01s"]
            .map(str::to_owned),
    );
    intervals.into_iter().map(|text| binding(json!({"dataFrom": ["vault:kv/a"], "refreshInterval": text}))).collect()
}

fn types() -> Vec<Value> {
    let keys = ["username", "password", "ssh-privatekey", "tls.crt", "tls.key", ".dockercfg", ".dockerconfigjson", "x"];
    let types = [
        "",
        "Opaque",
        "kubernetes.io/dockercfg",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/basic-auth",
        "kubernetes.io/ssh-auth",
        "kubernetes.io/tls",
        "kubernetes.io/service-account-token",
        "bootstrap.kubernetes.io/token",
        "example.com/own",
    ];
    let with = |secret_type: &str, keys: &[&str], whole: &[&str]| {
        let data: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), "vault:kv/a#p".into())).collect();
        binding(json!({"type": secret_type, "data": data, "dataFrom": whole}))
    };
    let mut all: Vec<Value> = [253, 254].map(|length| with(&"é".repeat(length), &["x"], &[])).into();
    for secret_type in types {
        all.extend(keys.map(|key| with(secret_type, &[key], &[])));
        all.extend(keys.windows(2).map(|keys| with(secret_type, keys, &[])));
        all.push(with(secret_type, &["x"], &["vault:kv/a"]));
    }
    all
}

fn bindings() -> Vec<Value> {
    let specs = [
        json!({}),
        json!({"data": {}}),
        json!({"dataFrom": []}),
        json!({"data": {}, "dataFrom": [], "optional": true}),
        json!({"data": [], "dataFrom": ["vault:kv/a"]}),
        json!({"data": "vault:kv/a"}),
        json!({"dataFrom": "vault:kv/a"}),
        json!({"dataFrom": [5]}),
        json!({"dataFrom": ["vault:kv/a"]}),
        json!({"dataFrom": ["vault:kv/a"], "template": {}}),
        json!({"dataFrom": ["vault:kv/a"], "template": {"a": "b"}}),
        json!({"dataFrom": ["vault:kv/a"], "optional": "yes"}),
        json!({"dataFrom": ["vault:kv/a"], "optional": true, "immutable": false}),
        json!({"dataFrom": ["vault:kv/a"], "keys": [5]}),
        json!({"dataFrom": ["vault:kv/a"], "refreshInterval": 5}),
        json!({"dataFrom": ["vault:kv/a"], "dataFrm": []}),
        json!({"dataFrom": vec!["vault:kv/a"; 32]}),
        json!({"dataFrom": vec!["vault:kv/a"; 33]}),
        json!({"dataFrom": ["vault:kv/a"], "keys": vec!["a"; 256]}),
        json!({"dataFrom": ["vault:kv/a"], "keys": vec!["a"; 257]}),
    ];
    // A field of no meaning that is empty is no problem to Alcove, and one to an API server that is asked to be strict.
    let strict = |spec: &Value| spec.get("dataFrm").is_none();
    let many = |count: usize| {
        let data: Map<String, Value> = (0..count).map(|index| (format!("k{index}"), "vault:kv/a#p".into())).collect();
        json!({"data": data})
    };
    let specs = specs.into_iter().filter(strict).chain([256, 257].map(many));
    specs.flat_map(|spec| ["SecretBinding", "ClusterSecretBinding"].map(|kind| object(kind, spec.clone()))).collect()
}

// === stores ===

fn vault() -> Value {
    json!({"audience": "vault", "provider": {"vault": {
        "server": "https://vault.example:8200",
        "auth": {"kubernetes": {"role": "web"}},
    }}})
}

fn kubernetes() -> Value {
    json!({"provider": {"kubernetes": {"remoteNamespace": "secrets"}}})
}

const STORES: [&str; 2] = ["ExternalStore", "ClusterExternalStore"];

fn addresses() -> Vec<Value> {
    let parts = ["http://", "https://", "a", "a.b:8200", "/", "?", "#", "@", "\\", " ", "\u{a0}", "\u{7}", "é"];
    let mut addresses = texts(&parts, 3, 7);
    addresses
        .extend(["https://vault/v1", "HTTPS://vault", "https://user@vault", "https://[::1]:8200/"].map(str::to_owned));
    let places: [fn(String) -> Value; 2] = [
        |address| {
            let mut spec = vault();
            spec["provider"]["vault"]["server"] = address.into();
            object("ExternalStore", spec)
        },
        |address| {
            let mut spec = kubernetes();
            spec["provider"]["kubernetes"]["server"] = json!({"url": address});
            object("ClusterExternalStore", spec)
        },
    ];
    addresses.into_iter().flat_map(|address| places.map(|place| place(address.clone()))).collect()
}

fn stores() -> Vec<Value> {
    let changes: [fn(&mut Value); 13] = [
        |_| {},
        |spec| drop(spec.as_object_mut().unwrap().remove("audience")),
        |spec| spec["audience"] = "".into(),
        |spec| spec["provider"] = json!({}),
        |spec| spec["provider"]["kubernetes"] = kubernetes()["provider"]["kubernetes"].clone(),
        |spec| spec["provider"]["vault"]["auth"] = json!({}),
        |spec| spec["provider"]["vault"]["auth"]["jwt"] = json!({"role": "r"}),
        |spec| spec["provider"]["vault"]["auth"] = json!({"cert": {}}),
        |spec| spec["provider"]["vault"]["auth"] = json!({"cert": {"role": "r"}}),
        |spec| spec["provider"]["vault"]["version"] = "v3".into(),
        |spec| spec["provider"]["vault"]["insecure"] = true.into(),
        |spec| *spec = json!({"audience": "x", "provider": kubernetes()["provider"]}),
        |spec| {
            *spec = kubernetes();
            spec["provider"]["kubernetes"]["server"] = json!({"url": "https://elsewhere"});
        },
    ];
    let with = |change: fn(&mut Value)| {
        let mut spec = vault();
        change(&mut spec);
        spec
    };
    let namespaces = texts(&["a", "-", ".", "A", "9"], 2, 1).into_iter().map(|name| {
        let mut spec = kubernetes();
        spec["provider"]["kubernetes"]["remoteNamespace"] = name.into();
        spec
    });
    let names = texts(&["a", "-", ".", "..", "A", "_", "/"], 3, 5);
    let credentials = names.into_iter().flat_map(|name| {
        [json!({"name": name, "key": "token"}), json!({"name": "login", "key": name})].map(|selector| {
            let mut spec = vault();
            spec["provider"]["vault"]["auth"] = json!({"tokenSecretRef": selector});
            spec
        })
    });
    let specs = changes.into_iter().map(with).chain([kubernetes()]).chain(namespaces).chain(credentials);
    specs.flat_map(|spec| STORES.map(|kind| object(kind, spec.clone()))).collect()
}
