//! What inotify tells of a volume is part of its contract: reloaders are written against exactly the events that the
//! kubelet's writer causes, in exactly its order.

use alcove_tests::claims;
use alcove_tests::image::{self, Image};
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![a_volume_causes_the_inotify_events_of_a_real_secret]
}

const OBSERVER: &str = "localhost/observer:test";

/// What happens to the Secret, one thing after the other. The second is no change, and must cause no event.
const HISTORY: [&[(&str, &str)]; 5] = [
    &[("password", "first"), ("username", "admin")],
    &[("password", "second"), ("username", "admin")],
    &[("password", "second"), ("username", "admin")],
    &[("extra", "x"), ("password", "second"), ("username", "admin")],
    &[("password", "second"), ("username", "admin")],
];

async fn a_volume_causes_the_inotify_events_of_a_real_secret(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    test.node().load(&observer()?).await?;
    let real = test.another_namespace("real").await?;
    let (from_kubernetes, from_us) = tokio::try_join!(of_a_real_secret(&real), through_alcove(&setting))?;
    ensure!(from_kubernetes == from_us, "of a real Secret:\n{from_kubernetes}\n\nthrough Alcove:\n{from_us}");
    Ok(())
}

async fn of_a_real_secret(namespace: &Namespace) -> Result<String> {
    for (step, data) in HISTORY.iter().enumerate() {
        if step == 0 {
            let secret =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db-creds"}, "data": encoded(data)});
            namespace.apply(&secret.to_string()).await?;
            namespace.apply(&pod(&json!({})).to_string()).await?;
            namespace.wait_until_ready("app").await?;
        } else {
            // The label makes it a change of the object where the values stay.
            let labels = json!({"op": "add", "path": "/metadata/labels", "value": {"step": step.to_string()}});
            let patch = json!([labels, {"op": "replace", "path": "/data", "value": encoded(data)}]).to_string();
            namespace.kubectl(&["patch", "secret", "db-creds", "--type=json", "-p", &patch]).await?;
            // The kubelet looks at the volumes of a Pod that changes at once, and else every ten seconds.
            namespace.kubectl(&["label", "pod", "app", &format!("step={step}"), "--overwrite"]).await?;
        }
        wait_until_shown(namespace, step).await?;
    }
    events(namespace).await
}

async fn through_alcove(setting: &Setting<'_>) -> Result<String> {
    let namespace = setting.namespace();
    for (step, data) in HISTORY.iter().enumerate() {
        setting.put("db", content(data)).await?;
        if step == 0 {
            let binding = format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference("db"));
            namespace.apply(&pod(&json!({"secret.alcove.dev/db-creds": binding})).to_string()).await?;
            namespace.wait_until_ready("app").await?;
        } else {
            wait_for_two_reads(setting).await?;
        }
        wait_until_shown(namespace, step).await?;
    }
    events(namespace).await
}

/// The second read begins when the first has been dealt with.
async fn wait_for_two_reads(setting: &Setting<'_>) -> Result<()> {
    let before = setting.reads("db")?;
    wait::until("two more reads of the key", async || {
        let now = setting.reads("db")?;
        Ok(if now >= before + 2 { Seen::Met(()) } else { Seen::NotYet(format!("{now} reads, {before} before")) })
    })
    .await
}

fn content(data: &[(&str, &str)]) -> Value {
    let fields: Map<String, Value> = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    fields.into()
}

fn encoded(data: &[(&str, &str)]) -> Value {
    let fields: Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into())).collect();
    fields.into()
}

fn pod(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "app",
                "image": OBSERVER,
                "command": ["observe", "/etc/creds", "/etc/creds/..data", "/etc/creds/password"],
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
}

/// Waits until the files are those of a step, and the observer watches them.
async fn wait_until_shown(namespace: &Namespace, step: usize) -> Result<()> {
    let expected: Vec<String> = HISTORY[step].iter().map(|(key, value)| format!("{key}={value};")).collect();
    let show = "for key in $(ls /etc/creds); do echo -n \"$key=$(cat /etc/creds/$key);\"; done";
    namespace.wait_for_output("app", "app", &["sh", "-c", show], &expected.concat()).await?;
    let changes = HISTORY[..=step].windows(2).filter(|pair| pair[0] != pair[1]).count();
    wait::until("the observer to watch the new files", async || {
        let log = namespace.logs("app", "app").await?;
        let seen = log.lines().filter(|line| *line == "watching").count();
        Ok(if seen > changes { Seen::Met(()) } else { Seen::NotYet(log) })
    })
    .await
}

/// All events, the random names of directories replaced.
async fn events(namespace: &Namespace) -> Result<String> {
    let log = namespace.logs("app", "app").await?;
    ensure!(log.contains("moved-to ..data"), "the observer has seen nothing: {log}");
    let mut lines: Vec<String> = log.lines().map(without_time).collect::<Result<_>>()?;
    sort_removals(&mut lines);
    Ok(lines.join("\n"))
}

/// The kubelet writes the files of a directory in the order of Go's maps, which is none, and removes them likewise.
fn sort_removals(lines: &mut [String]) {
    const FILE: &str = "/etc/creds/password:";
    let is_removal = |line: &str| line.starts_with(FILE) || line.starts_with("/etc/creds/..data: delete ");
    for run in lines.chunk_by_mut(|one, other| is_removal(one) && is_removal(other)) {
        // What happens to the one file that is watched keeps its order.
        run.sort_by_key(|line| if line.starts_with(FILE) { String::new() } else { line.clone() });
    }
}

fn without_time(line: &str) -> Result<String> {
    if line == "watching" {
        return Ok(line.to_owned());
    }
    let (event, name) = line.rsplit_once(' ').with_context(|| format!("not an event: {line}"))?;
    Ok(if name.starts_with("..2") { format!("{event} ..TIME") } else { line.to_owned() })
}

fn observer() -> Result<Image> {
    let mut recipe = image::busybox_recipe()?;
    recipe.file("bin/observe", image::compile("observe", include_str!("inotify/observe.c"))?, 0o755);
    image::pack(OBSERVER, &recipe)
}
