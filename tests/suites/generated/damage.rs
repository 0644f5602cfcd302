//! One mistake at a time, in what Alcove replaces or beside it.

use serde_json::{Value, json};

use super::pods::is_bound;

/// Makes one mistake in a Pod that has a place for it.
type Damage = fn(&mut Value) -> Option<()>;

/// How many Pods get each mistake.
const PODS_PER_DAMAGE: usize = 4;

const DAMAGES: [(&str, Damage); 39] = [
    ("default mode too large", |pod| set(secret(pod)?, "defaultMode", json!(0o1000))),
    ("default mode negative", |pod| set(secret(pod)?, "defaultMode", json!(-1))),
    ("default mode as text", |pod| set(secret(pod)?, "defaultMode", json!("0644"))),
    ("items as an object", |pod| set(secret(pod)?, "items", json!({"key": "a", "path": "b"}))),
    ("item mode too large", |pod| set(item(pod)?, "mode", json!(4096))),
    ("item mode as a fraction", |pod| set(item(pod)?, "mode", json!(1.5))),
    ("item path absolute", |pod| set(item(pod)?, "path", json!("/etc/passwd"))),
    ("item path upwards", |pod| set(item(pod)?, "path", json!("a/../../b"))),
    ("item path hidden upwards", |pod| set(item(pod)?, "path", json!("..data"))),
    ("item path empty", |pod| set(item(pod)?, "path", json!(""))),
    ("item path missing", |pod| unset(item(pod)?, "path")),
    ("item key missing", |pod| unset(item(pod)?, "key")),
    ("item key a number", |pod| set(item(pod)?, "key", json!(7))),
    ("optional as text", |pod| set(secret(pod)?, "optional", json!("yes"))),
    ("name of the Secret a number", |pod| set(secret(pod)?, "secretName", json!(7))),
    ("volume with two sources", |pod| set(volume(pod)?, "emptyDir", json!({}))),
    ("volume name in upper case", |pod| set(volume(pod)?, "name", json!("Creds"))),
    ("volume name missing", |pod| unset(volume(pod)?, "name")),
    ("volume name twice", twice_the_same_volume),
    ("projected mode too large", |pod| set(projected(pod)?, "defaultMode", json!(0o2000))),
    ("projected source of two kinds", |pod| set(source(pod)?, "configMap", json!({"name": "settings"}))),
    ("projected source as text", |pod| {
        projected(pod)?["sources"].as_array_mut().map(|list| list.push(json!("secret")))
    }),
    ("projected path twice", |pod| collide(pod, "collision", "collision")),
    ("projected path absolute", |pod| collide(pod, "/a", "b")),
    ("projected token of no time", |pod| {
        let token = json!({"serviceAccountToken": {"path": "more", "expirationSeconds": 1}});
        projected(pod)?["sources"].as_array_mut().map(|list| list.push(token))
    }),
    ("projected Secret without a name", |pod| set(&mut source(pod)?["secret"], "name", json!(""))),
    ("variable without a name", |pod| set(variable(pod)?, "name", json!(""))),
    ("variable with = in its name", |pod| set(variable(pod)?, "name", json!("A=B"))),
    ("variable with value and source", |pod| set(variable(pod)?, "value", json!("both"))),
    ("variable with two sources", |pod| {
        set(&mut variable(pod)?["valueFrom"], "fieldRef", json!({"fieldPath": "metadata.name"}))
    }),
    ("variable key empty", |pod| set(key(pod)?, "key", json!(""))),
    ("variable key with a blank", |pod| set(key(pod)?, "key", json!("a b"))),
    ("variable key a list", |pod| set(key(pod)?, "key", json!([]))),
    ("envFrom prefix with =", |pod| set(bulk(pod)?, "prefix", json!("A="))),
    ("envFrom with two sources", |pod| set(bulk(pod)?, "configMapRef", json!({"name": "settings"}))),
    ("mount of a volume that is not there", |pod| mount(pod, "absent", "/x")),
    ("two mounts at one path", |pod| mount(pod, "v0", "/twice").and_then(|()| mount(pod, "v0", "/twice"))),
    ("mount path empty", |pod| mount(pod, "v0", "")),
    ("image missing", |pod| unset(&mut pod["spec"]["containers"][0], "image")),
];

/// Pods with one mistake each, and what it is.
pub(super) fn damaged(pods: &[Value]) -> Vec<(String, Value)> {
    let attempts = DAMAGES.iter().enumerate().flat_map(|(offset, (mistake, damage))| {
        // Every mistake is made in other Pods.
        let pods = pods.iter().cycle().skip(offset).take(pods.len());
        let found = pods.filter_map(move |pod| {
            let mut pod = pod.clone();
            damage(&mut pod)?;
            Some(((*mistake).to_owned(), pod))
        });
        found.take(PODS_PER_DAMAGE)
    });
    attempts.collect()
}

/// How many Pods all mistakes together make, if each finds its places.
pub(super) const fn expected() -> usize {
    DAMAGES.len() * PODS_PER_DAMAGE
}

fn set(object: &mut Value, field: &str, value: Value) -> Option<()> {
    object.as_object_mut()?.insert(field.to_owned(), value);
    Some(())
}

fn unset(object: &mut Value, field: &str) -> Option<()> {
    object.as_object_mut()?.remove(field).map(drop)
}

fn list<'a>(parent: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    parent.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The first volume of a bound Secret.
fn volume(pod: &mut Value) -> Option<&mut Value> {
    list(&mut pod["spec"], "volumes").find(|volume| is_bound(&volume["secret"]["secretName"]))
}

fn secret(pod: &mut Value) -> Option<&mut Value> {
    volume(pod)?.get_mut("secret")
}

/// The first item of a bound Secret, in a volume of its own or projected.
fn item(pod: &mut Value) -> Option<&mut Value> {
    let volumes = list(&mut pod["spec"], "volumes");
    let mut secrets = volumes.flat_map(|volume| {
        let is_secret = volume.get("secret").is_some();
        let content = volume.get_mut(if is_secret { "secret" } else { "projected" });
        let (own, projected) = if is_secret { (content, None) } else { (None, content) };
        let projected = projected.into_iter().flat_map(|projected| list(projected, "sources"));
        own.into_iter().chain(projected.filter_map(|source| source.get_mut("secret")))
    });
    let of_bound = |secret: &Value| is_bound(&secret["secretName"]) || is_bound(&secret["name"]);
    secrets.find_map(|secret| of_bound(secret).then_some(secret)?.get_mut("items")?.get_mut(0))
}

/// The first projected volume with a bound Secret.
fn projected(pod: &mut Value) -> Option<&mut Value> {
    let mut projected = list(&mut pod["spec"], "volumes").filter_map(|volume| volume.get_mut("projected"));
    projected.find(|projected| {
        projected["sources"].as_array().into_iter().flatten().any(|source| is_bound(&source["secret"]["name"]))
    })
}

/// The first bound source of a projected volume.
fn source(pod: &mut Value) -> Option<&mut Value> {
    list(projected(pod)?, "sources").find(|source| is_bound(&source["secret"]["name"]))
}

fn containers(pod: &mut Value) -> impl Iterator<Item = &mut Value> {
    list(&mut pod["spec"], "containers")
}

/// The first variable from a bound Secret.
fn variable(pod: &mut Value) -> Option<&mut Value> {
    let mut variables = containers(pod).flat_map(|container| list(container, "env"));
    variables.find(|variable| is_bound(&variable["valueFrom"]["secretKeyRef"]["name"]))
}

fn key(pod: &mut Value) -> Option<&mut Value> {
    variable(pod)?.get_mut("valueFrom")?.get_mut("secretKeyRef")
}

/// The first `envFrom` entry of a bound Secret.
fn bulk(pod: &mut Value) -> Option<&mut Value> {
    let mut sources = containers(pod).flat_map(|container| list(container, "envFrom"));
    sources.find(|source| is_bound(&source["secretRef"]["name"]))
}

fn mount(pod: &mut Value, volume: &str, path: &str) -> Option<()> {
    let is_known = volume == "absent" || list(&mut pod["spec"], "volumes").next().is_some();
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array_mut()?;
    is_known.then(|| mounts.push(json!({"name": volume, "mountPath": path})))
}

fn twice_the_same_volume(pod: &mut Value) -> Option<()> {
    let again = volume(pod)?.clone();
    pod["spec"]["volumes"].as_array_mut().map(|volumes| volumes.push(again))
}

/// Two sources that put a file of their own choice somewhere.
fn collide(pod: &mut Value, one: &str, other: &str) -> Option<()> {
    let sources = projected(pod)?["sources"].as_array_mut()?;
    sources.push(json!({"secret": {"name": "db-creds", "items": [{"key": "password", "path": one}]}}));
    sources.push(json!({"secret": {"name": "db-creds", "items": [{"key": "username", "path": other}]}}));
    Some(())
}
