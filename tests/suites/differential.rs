//! The measure of success is the kubelet itself: a Pod run with real Secrets and the same Pod run through Alcove see the
//! same paths, links, bytes, modes, owners and environment.
//!
//! Each file in `differential/pods` is one Pod. What may differ is what `normalised` takes out, and nothing else:
//!
//! * the owner of a file: root where the kubelet writes, the user of the sidecar where Alcove does (docs/operations.md);
//! * the group of a file in a Pod without `fsGroup`, for the same reason;
//! * the group's permissions of a file that shuts others out, in a Pod whose every container runs as one user that is not
//!   root: that user owns the file then, and programs refuse a key of their own that its group can read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alcove_tests::image::{self, Image};
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial, claim, title};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    let cases = cases();
    assert!(cases.len() >= 25, "the Pods of the differential test are missing: {cases:?}");
    cases
        .into_iter()
        .map(|path| claim(&title(module_path!(), &claim_name(&path)), |test| same_either_way(test, path)))
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/differential")
}

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join("pods")).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn claim_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.replace('-', "_")
}

async fn same_either_way(test: Test, path: PathBuf) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    test.node().load(&probe()?).await?;
    let real = test.another_namespace("real").await?;
    for (name, data) in secrets() {
        real.apply(&secret(name, &data).to_string()).await?;
        setting.put(name, data).await?;
        setting.namespace().apply(&binding(&setting, name).to_string()).await?;
    }
    for name in ["absent", "gone"] {
        setting.namespace().apply(&binding(&setting, name).to_string()).await?;
    }
    let pod = read_pod(&path)?;
    let mut injected = pod.clone();
    injected["metadata"]["annotations"] = json!({"alcove.dev/inject": "true"});
    for (namespace, pod) in [(&real, &pod), (setting.namespace(), &injected)] {
        namespace.apply(SETTINGS).await?;
        namespace.apply(&pod.to_string()).await?;
    }
    let with_secrets = dumps(&real, &pod).await?;
    let through_alcove = dumps(setting.namespace(), &pod).await?;
    let wrong = wrong_owners(&through_alcove, &pod);
    ensure!(wrong.is_empty(), "not the documented owner: {wrong:#?}");
    let (with_secrets, through_alcove) = (comparable(&with_secrets, &pod), comparable(&through_alcove, &pod));
    ensure!(
        with_secrets == through_alcove,
        "with real Secrets:\n{}\n\nthrough Alcove:\n{}",
        with_secrets.join("\n"),
        through_alcove.join("\n")
    );
    let listed = setting.namespace().kubectl(&["get", "pods,secrets", "-o", "name"]).await?;
    ensure!(listed == "pod/app\n", "not only the Pod is in the namespace that Alcove serves: {listed}");
    Ok(())
}

/// A ConfigMap for projected volumes.
const SETTINGS: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {color: blue, password: not-a-secret}}";

/// The content of every Secret, base64 as Kubernetes keeps it. Vault keeps the same text, and the binding decodes it.
fn secrets() -> BTreeMap<&'static str, Value> {
    let encoded = |pairs: &[(&str, &[u8])]| {
        let fields: Map<String, Value> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into())).collect();
        Value::Object(fields)
    };
    let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
    BTreeMap::from([
        ("db", encoded(&[("username", b"admin"), ("password", b"s3cr3t with blanks")])),
        ("half", encoded(&[("username", b"half")])),
        ("second", encoded(&[("password", b"another"), ("extra", b"more")])),
        ("binary", encoded(&[("all-bytes", &all_bytes)])),
        ("dotted", encoded(&[("connection.string", b"x"), ("a-b", b"y"), ("UPPER", b"z"), ("1st", b"digit")])),
        ("lines", encoded(&[("text", b"first\n  # second = \"x\"\n\n\tlast\n")])),
        (
            "difficult",
            encoded(&[
                (".hidden", b"dot"),
                ("empty", b""),
                ("newline", b"\n"),
                ("crlf", b"a\r\nb"),
                ("quote", b"it's"),
                ("byte-order-mark", b"\xef\xbb\xbftext"),
                ("json", b"{\"b\":1.0,\"a\":1e400}"),
            ]),
        ),
    ])
}

fn secret(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
}

fn binding(setting: &Setting<'_>, name: &str) -> Value {
    let known = secrets();
    let keys = known.get(name).and_then(Value::as_object).map(|data| data.keys().cloned().collect());
    // Nobody has the Secrets `absent` and `gone`, and the binding of `absent` says so. Of `half`, one key is missing.
    let mut keys: Vec<String> = keys.unwrap_or_default();
    if ["absent", "gone", "half"].contains(&name) {
        keys.push("nothing".to_owned());
    }
    let data: Map<String, Value> = keys
        .into_iter()
        .map(|key| {
            let pointer = format!("{}#{key}", setting.reference(name));
            (key, json!({"ref": pointer, "encoding": "base64"}))
        })
        .collect();
    json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretBinding",
        "metadata": {"name": name},
        "spec": {"data": data, "optional": name == "absent"},
    })
}

fn read_pod(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut pod: Value =
        serde_saphyr::from_str_with_options(&text, serde_saphyr::options! { legacy_octal_numbers: true })
            .with_context(|| format!("reading {}", path.display()))?;
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"] = json!({"name": "app"});
    pod["spec"]["terminationGracePeriodSeconds"] = 0.into();
    Ok(pod)
}

/// What the containers of the Pod have printed, those that Alcove adds left out.
async fn dumps(namespace: &Namespace, pod: &Value) -> Result<Vec<String>> {
    namespace.wait_until_ready("app").await?;
    let mut lines = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            let log = namespace.wait_for_log("app", name, "dump complete").await?;
            // Two dumps that show nothing are equal, too.
            for shown in ["path /", "env HOSTNAME=app"] {
                ensure!(log.lines().any(|line| line.starts_with(shown)), "the dump of {name} has no {shown}:\n{log}");
            }
            lines.extend(log.lines().map(|line| format!("{name}: {line}")));
        }
    }
    Ok(lines)
}

/// Lines without what is documented to differ.
fn comparable(lines: &[String], pod: &Value) -> Vec<String> {
    let comparable = |line: &String| {
        let (container, line) = line.split_once(": ").unwrap_or(("", line));
        format!("{container}: {}", normalised(container, line, pod))
    };
    lines.iter().map(comparable).collect()
}

/// The files that Alcove delivered to an owner other than the documented one: the one user of the whole Pod, if it states
/// one; root, for a mode that shuts others out; else whoever the sidecar is.
fn wrong_owners<'a>(lines: &'a [String], pod: &Value) -> Vec<&'a String> {
    let user = pod["spec"]["securityContext"]["runAsUser"].as_u64().filter(|user| *user != 0);
    let is_wrong = |line: &&String| {
        let (container, line) = line.split_once(": ").unwrap_or(("", line));
        let fields: Vec<&str> = line.split('|').collect();
        let [kind, mode, owner, ..] = fields.as_slice() else { return false };
        if !kind.ends_with("regular file") || !is_delivered(container, line, pod) {
            return false;
        }
        match user {
            Some(user) => *owner != user.to_string(),
            None if mode.ends_with('0') && pod["spec"]["securityContext"]["fsGroup"].is_null() => *owner != "0",
            None => false,
        }
    };
    lines.iter().filter(is_wrong).collect()
}

/// A line of a dump without what is documented to differ: who owns what Alcove writes.
fn normalised(container: &str, line: &str, pod: &Value) -> String {
    let fields: Vec<&str> = line.split('|').collect();
    let ([kind, mode, _owner, rest], true) = (fields.as_slice(), is_delivered(container, line, pod)) else {
        return line.to_owned();
    };
    let target = rest.split_once(' ').map_or("", |(_, target)| target);
    let group = match pod["spec"]["securityContext"]["fsGroup"].as_u64() {
        Some(_) => rest.split_once(' ').map_or("", |(group, _)| group),
        None => "GROUP",
    };
    let is_owned = pod["spec"]["securityContext"]["runAsUser"].as_u64().is_some_and(|user| user != 0);
    let mode = if is_owned { without_group(mode) } else { (*mode).to_owned() };
    format!("{kind}|{mode}|OWNER|{group} {target}")
}

/// An octal mode that shuts others out, without what it says of the group.
fn without_group(mode: &str) -> String {
    let bits = u32::from_str_radix(mode, 8).unwrap_or_default();
    if mode.ends_with('0') { format!("{:o}", bits & 0o7707) } else { mode.to_owned() }
}

/// Whether a line is about something in a volume that Alcove fills: the innermost mount of the container says.
fn is_delivered(container: &str, line: &str, pod: &Value) -> bool {
    let lists = ["initContainers", "containers"].into_iter();
    let mut containers = lists.flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    let mounts = containers.find(|candidate| candidate["name"] == container);
    let mounts = mounts.and_then(|container| container["volumeMounts"].as_array()).into_iter().flatten();
    // A path may begin without the slash.
    let path = |mount: &Value| mount["mountPath"].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
    let shown = mounts.filter(|mount| {
        let rest = line.strip_prefix("path /").and_then(|line| line.strip_prefix(&path(mount)));
        rest.is_some_and(|rest| rest.starts_with(['/', ' ']))
    });
    let innermost = shown.max_by_key(|mount| path(mount).len());
    innermost.is_some_and(|mount| is_replaced(&mount["name"], pod))
}

fn is_replaced(name: &Value, pod: &Value) -> bool {
    let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.any(|volume| {
        let mut sources = volume["projected"]["sources"].as_array().into_iter().flatten();
        let has_secret = volume.get("secret").is_some() || sources.any(|source| source.get("secret").is_some());
        has_secret && volume["name"] == *name
    })
}

/// The image of the probes: a shell, the usual small programs, and `dump`.
fn probe() -> Result<Image> {
    let mut recipe = image::busybox_recipe()?;
    recipe.file("bin/dump", std::fs::read(folder().join("dump.sh"))?, 0o755);
    image::pack("localhost/probe:test", &recipe)
}
