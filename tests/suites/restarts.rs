//! Containers, the sidecar and a whole Pod that start anew: every start sees the newest values that were delivered, all of one
//! version, whether the store is there or not.

use alcove_tests::claims;
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::json;

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        each_start_shows_the_newest_value_also_through_a_sub_path_and_after_a_crash_of_the_sidecar,
        a_sidecar_that_crashes_during_an_outage_takes_nothing_from_the_application,
        a_pod_that_loses_its_sandbox_during_an_outage_waits_with_the_reason_and_recovers,
    ]
}

const SIDECAR: &str = "alcove-sidecar";

/// Writes down what every start of the application sees: a variable, two files, and a file over one of the image.
const APPLICATION: &str = "echo \"$PASSWORD $(cat /etc/creds/password) $(cat /etc/creds/username) $(cat /etc/group)\" \
                           >>/journal/starts; trap 'exit 0' TERM; while :; do sleep 1; done";

fn pod(setting: &Setting<'_>) -> String {
    let binding = format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference("db"));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": {"secret.alcove.dev/db-creds": binding}},
        "spec": {
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sh", "-c", APPLICATION],
                "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}],
                "volumeMounts": [
                    {"name": "creds", "mountPath": "/etc/creds"},
                    {"name": "creds", "mountPath": "/etc/group", "subPath": "password"},
                    {"name": "journal", "mountPath": "/journal"},
                ],
            }],
            "volumes": [
                {"name": "creds", "secret": {"secretName": "db-creds"}},
                {"name": "journal", "emptyDir": {}},
            ],
        },
    })
    .to_string()
}

/// The Pod of a test, whose values all are the name of their version.
struct App<'test> {
    test: &'test Test,
    setting: &'test Setting<'test>,
    namespace: &'test Namespace,
}

impl<'test> App<'test> {
    async fn start(test: &'test Test, setting: &'test Setting<'test>, version: &str) -> Result<Self> {
        let app = Self { test, setting, namespace: setting.namespace() };
        app.put(version).await?;
        app.namespace.apply(&pod(setting)).await?;
        app.namespace.wait_until_ready("app").await?;
        Ok(app)
    }

    async fn put(&self, version: &str) -> Result<()> {
        self.setting.put("db", json!({"password": version, "username": version})).await
    }

    /// Puts a version into the store and waits until its files are there.
    async fn rotate(&self, version: &str) -> Result<()> {
        self.put(version).await?;
        self.namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], version).await
    }

    /// Kills a container and waits until it runs again.
    async fn restart(&self, container: &str) -> Result<()> {
        self.test.node().restart_container(self.namespace, "app", container).await
    }

    /// What each of so many starts has seen.
    async fn starts(&self, count: usize) -> Result<Vec<String>> {
        wait::until(&format!("{count} starts of the application"), async || {
            let journal = self.namespace.exec("app", "app", &["cat", "/journal/starts"]).await?;
            let starts: Vec<String> = journal.lines().map(str::to_owned).collect();
            Ok(if starts.len() >= count { Seen::Met(starts) } else { Seen::NotYet(journal) })
        })
        .await
    }
}

fn runs(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    })
}

/// What a start sees that sees one version everywhere.
fn whole(version: &str) -> String {
    [version; 4].join(" ")
}

async fn each_start_shows_the_newest_value_also_through_a_sub_path_and_after_a_crash_of_the_sidecar(
    test: Test,
) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let app = App::start(&test, &setting, "first").await?;
    app.rotate("second").await?;
    // As with a real Secret: the mount is bound to the old file, which stays readable.
    let bound = app.namespace.exec("app", "app", &["cat", "/etc/group"]).await?;
    ensure!(bound == "first", "{bound}");
    app.restart("app").await?;
    app.rotate("third").await?;
    app.restart(SIDECAR).await?;
    app.restart("app").await?;
    let starts = app.starts(3).await?;
    ensure!(starts == ["first", "second", "third"].map(whole), "{starts:?}");
    app.rotate("fourth").await?;
    let events = app.namespace.events("app").await?;
    ensure!(!events.iter().any(|event| event.starts_with("Failed")), "{events:#?}");
    Ok(())
}

async fn a_sidecar_that_crashes_during_an_outage_takes_nothing_from_the_application(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let app = App::start(&test, &setting, "first").await?;
    app.rotate("kept").await?;
    vault.seal().await?;
    app.restart(SIDECAR).await?;
    app.namespace.wait_for_log("app", SIDECAR, "sealed").await?;
    app.restart("app").await?;
    let starts = app.starts(2).await?;
    ensure!(starts == ["first", "kept"].map(whole), "{starts:?}");
    vault.unseal().await?;
    app.rotate("after").await?;
    app.namespace.wait_until_ready("app").await?;
    vault.stop().await
}

async fn a_pod_that_loses_its_sandbox_during_an_outage_waits_with_the_reason_and_recovers(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let app = App::start(&test, &setting, "first").await?;
    let running = app.namespace.wait_until_ready("app").await?;
    vault.seal().await?;
    test.node().kill_sandbox(&running).await?;
    let anew = |pod: &Pod| statuses(pod).any(|status| status.name == SIDECAR && status.restart_count == 1);
    app.namespace.wait_for("app", "the sidecar runs anew", |pod| Ok(anew(pod))).await?;
    // A probe has failed by then, and its event has the reason.
    wait_for_event(app.namespace, "sealed").await?;
    let is_held_back = |pod: &Pod| {
        let waits = statuses(pod).any(|status| status.name == SIDECAR && status.started == Some(false));
        waits && statuses(pod).all(|status| status.name != "app" || !runs(status))
    };
    app.namespace.wait_for("app", "the application waits for the sidecar", |pod| Ok(is_held_back(pod))).await?;
    vault.unseal().await?;
    app.rotate("after").await?;
    app.namespace.wait_until_ready("app").await?;
    let starts = app.starts(2).await?;
    let is_whole = |start: &String| ["first", "after"].map(whole).contains(start);
    ensure!(starts.len() == 2 && starts.iter().all(is_whole), "{starts:?}");
    vault.stop().await
}

/// Waits until an event of the Pod, which is what `kubectl describe` shows, holds a text.
async fn wait_for_event(namespace: &Namespace, text: &str) -> Result<()> {
    wait::until(&format!("an event with {text}"), async || {
        let events = namespace.events("app").await?;
        let told = events.iter().any(|event| event.contains(text));
        Ok(if told { Seen::Met(()) } else { Seen::NotYet(events.join("\n")) })
    })
    .await
}
