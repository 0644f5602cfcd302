//! Per-container isolation: a container has the Secrets that its own spec names, and no way to those of its neighbours.

use std::collections::BTreeSet;

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![container_b_sees_nothing_of_the_secret_of_container_a]
}

/// The containers, each with the only value that it may see.
const CONTAINERS: [(&str, &str); 2] = [("a", "of-a-alone"), ("b", "of-b-alone")];

/// Prints, with its path, every line with a value of [`CONTAINERS`] that the container can read: in its environment, and
/// in all of its file systems but the kernel's.
///
/// One pass looks for both values, so that it cannot miss the neighbour's by looking nowhere. What cannot be read fails it.
const SEARCH: &str = r#"set -eo pipefail
search() {
    # grep knows nothing of what stands behind a NUL, and says by its exit code that nothing was found.
    tr '\000' '\n' <"$1" | { grep -F -e of-a-alone -e of-b-alone || [ $? -eq 1 ]; } | sed "s|^|$1 |"
}
search /proc/1/environ
find / \( -path /proc -o -path /sys \) -prune -o -type f -print | while IFS= read -r file; do search "$file"; done"#;

/// A Pod whose containers have a Secret of their own name each, as a file and as a variable.
fn pod(setting: &Setting<'_>) -> Value {
    let containers = CONTAINERS.map(|(name, _)| {
        json!({
            "name": name,
            "image": "localhost/busybox:test",
            "command": ["sleep", "1000000"],
            "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}}}],
            "volumeMounts": [{"name": name, "mountPath": "/secret"}],
        })
    });
    let annotations: Value =
        CONTAINERS.iter().map(|(name, _)| (format!("secret.alcove.dev/{name}"), setting.reference(name))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": containers,
            "volumes": CONTAINERS.map(|(name, _)| json!({"name": name, "secret": {"secretName": name}})),
        },
    })
}

async fn container_b_sees_nothing_of_the_secret_of_container_a(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    for (name, value) in CONTAINERS {
        setting.put(name, json!({"password": value})).await?;
    }
    namespace.apply(&pod(&setting).to_string()).await?;
    namespace.wait_until_ready("app").await?;
    for (container, own) in CONTAINERS {
        let found = namespace.exec("app", container, &["sh", "-c", SEARCH]).await?;
        let places: BTreeSet<String> = found.lines().map(without_version).collect();
        let expected = [format!("/proc/1/environ PASSWORD={own}"), format!("/secret/VERSION/password {own}")];
        ensure!(places == BTreeSet::from(expected), "container {container} sees:\n{found}");
    }
    let stored = serde_json::from_str(&namespace.kubectl(&["get", "pod", "app", "-o", "json"]).await?)?;
    ensure_apart(&stored)
}

/// A line of the search; the directory of the present version is named after a time.
fn without_version(line: &str) -> String {
    let is_version = |part: &&str| part.starts_with("..20");
    line.split('/').map(|part| if is_version(&part) { "VERSION" } else { part }).collect::<Vec<_>>().join("/")
}

/// The same by the Pod's spec: each container mounts its own volume and the API's token, and reads an env file of its own.
fn ensure_apart(pod: &Value) -> Result<()> {
    let mut files = BTreeSet::new();
    for (index, (name, _)) in CONTAINERS.into_iter().enumerate() {
        let container = &pod["spec"]["containers"][index];
        let mounts = container["volumeMounts"].as_array().context("a container has no mounts")?;
        let volumes = mounts.iter().filter_map(|mount| mount["name"].as_str());
        let volumes: Vec<&str> = volumes.filter(|volume| !volume.starts_with("kube-api-access-")).collect();
        ensure!(volumes == [name], "container {name} mounts {volumes:?}");
        let file = &container["env"][0]["valueFrom"]["fileKeyRef"]["path"];
        files.insert(file.as_str().with_context(|| format!("the variable of {name} is from no file: {container}"))?);
    }
    ensure!(files.len() == CONTAINERS.len(), "one env file serves several containers: {files:?}");
    Ok(())
}
