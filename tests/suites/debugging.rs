//! `kubectl debug`, as people run it: a debug container sees its target, and gets nothing of Alcove's into its own hands.

use std::path::PathBuf;

use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use alcove_tests::{claims, process};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::setting::{Setting, opted_in};

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_debug_container_that_is_shaped_by_a_file_gets_nothing_of_ours,
        a_debug_container_sees_what_its_target_sees_and_nothing_of_the_sidecar,
        a_copy_for_debugging_is_judged_like_any_pod,
    ]
}

/// The value that the application has as a file and as a variable.
const VALUE: &str = "of-the-application";

/// What every `kubectl debug` here says: nobody pulls an image, nobody looks at a terminal.
const DEBUG: [&str; 4] =
    ["debug", "--image=localhost/busybox:test", "--image-pull-policy=IfNotPresent", "--attach=false"];

/// A running Pod `app` with the value as a file and as a variable.
async fn running(test: &Test) -> Result<Setting<'static>> {
    let setting = Setting::shared(test).await?;
    setting.put("db", json!({"password": VALUE})).await?;
    let mut pod = opted_in("app", &setting.reference("db"));
    let source = json!({"secretKeyRef": {"name": "db-creds", "key": "password"}});
    pod["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "valueFrom": source}]);
    setting.namespace().apply(&pod.to_string()).await?;
    setting.namespace().wait_until_ready("app").await?;
    Ok(setting)
}

/// Writes what `--custom` reads.
fn custom(test: &Test, name: &str, container: &Value) -> Result<PathBuf> {
    let path = test.node().directory().join("debugging").join(test.namespace().name()).join(format!("{name}.json"));
    process::write(&path, container.to_string())?;
    Ok(path)
}

/// The env file of the application, as its own spec names it.
async fn env_file(setting: &Setting<'_>) -> Result<Value> {
    let path = "jsonpath={.spec.containers[0].env[0].valueFrom.fileKeyRef}";
    let reference = setting.namespace().kubectl(&["get", "pod", "app", "-o", path]).await?;
    Ok(serde_json::from_str(&reference)?)
}

async fn a_debug_container_that_is_shaped_by_a_file_gets_nothing_of_ours(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    let namespace = setting.namespace();
    let mounting = |volume: &str| json!({"volumeMounts": [{"name": volume, "mountPath": "/stolen"}]});
    let with = |source: Value| json!({"env": [{"name": "STOLEN", "valueFrom": source}]});
    for (index, (told, container)) in [
        ("creds", mounting("creds")),
        ("alcove-identity", mounting("alcove-identity")),
        ("alcove-env", mounting("alcove-env")),
        ("alcove-status", mounting("alcove-status")),
        ("alcove-env", with(json!({"fileKeyRef": env_file(&setting).await?}))),
        ("db-creds", with(json!({"secretKeyRef": {"name": "db-creds", "key": "password"}}))),
        ("db-creds", json!({"envFrom": [{"secretRef": {"name": "db-creds"}}]})),
    ]
    .into_iter()
    .enumerate()
    {
        let file = custom(&test, &format!("thief-{index}"), &container)?;
        let (file, name) = (format!("--custom={}", file.display()), format!("--container=thief-{index}"));
        let arguments =
            [&["-n", namespace.name()], &DEBUG[..], &["app", &file, &name, "--", "sleep", "1000000"]].concat();
        let refusal = test.node().kubectl().failure(&arguments, "").await?;
        for expected in ["pods.alcove.dev", told, &format!("thief-{index}")] {
            ensure!(refusal.contains(expected), "{container}: {expected} is not in: {refusal}");
        }
        ensure!(!refusal.contains("kind: SecretPolicy"), "a policy is offered that cannot help: {refusal}");
    }
    let added = namespace.kubectl(&["get", "pod", "app", "-o", "jsonpath={.spec.ephemeralContainers}"]).await?;
    ensure!(added.is_empty(), "{added}");
    Ok(())
}

/// Adds a debug container to `app` and waits until it runs.
async fn debug(setting: &Setting<'_>, name: &str, options: &[&str]) -> Result<()> {
    let namespace = setting.namespace();
    let container = format!("--container={name}");
    namespace.kubectl(&[&DEBUG[..], &["app", &container], options, &["--", "sleep", "1000000"]].concat()).await?;
    let path = format!("jsonpath={{.status.ephemeralContainerStatuses[?(@.name=='{name}')].state}}");
    wait::until(&format!("the debug container {name} to run"), async || {
        let state = namespace.kubectl(&["get", "pod", "app", "-o", &path]).await?;
        Ok(if state.contains("running") { Seen::Met(()) } else { Seen::NotYet(state) })
    })
    .await
}

/// Prints every file of the container's own file systems that holds the value, and the command, the environment and the mount
/// points of every process of its namespace. The value stands there in two parts, as the search itself is a process.
const SEARCH: &str = r#"find / \( -path /proc -o -path /sys \) -prune -o -type f -print | while IFS= read -r file; do
    grep -l -F of-the-""application "$file" || true
done
for process in /proc/[0-9]*; do
    tr '\000' '\n' <$process/cmdline 2>/dev/null | sed 's|^|process |'
    tr '\000' '\n' <$process/environ 2>/dev/null | sed 's|^|variable |'
    cut -d' ' -f5 $process/mountinfo 2>/dev/null | sed 's|^|mount |'
done"#;

async fn a_debug_container_sees_what_its_target_sees_and_nothing_of_the_sidecar(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    let namespace = setting.namespace();
    debug(&setting, "beside", &[]).await?;
    let beside = namespace.exec("app", "beside", &["sh", "-c", SEARCH]).await?;
    ensure!(beside.contains("process sleep"), "nothing is searched: {beside}");
    ensure!(!beside.contains(VALUE) && !beside.contains("mount /etc/creds"), "{beside}");

    debug(&setting, "inside", &["--target=app"]).await?;
    let inside = namespace.exec("app", "inside", &["sh", "-c", SEARCH]).await?;
    // The target's variables and mounts are the target's own, which is what one debugs.
    ensure!(inside.contains(&format!("variable PASSWORD={VALUE}")) && inside.contains("mount /etc/creds"), "{inside}");
    let file = namespace.exec("app", "inside", &["cat", "/proc/1/root/etc/creds/password"]).await?;
    ensure!(file == VALUE, "{file}");
    let own = namespace.exec("app", "inside", &["sh", "-c", "ls /etc/creds 2>&1 || true"]).await?;
    ensure!(own.contains("No such file"), "the debug container has the volume itself: {own}");
    // Of the sidecar there is no process, and so neither its root nor its variables nor its mounts.
    for searched in [&beside, &inside] {
        for of_sidecar in ["alcove-sidecar", "ALCOVE_", "/alcove/"] {
            ensure!(!searched.contains(of_sidecar), "{of_sidecar} is visible: {searched}");
        }
    }
    let arguments = [&["-n", namespace.name()], &DEBUG[..], &["app", "--target=alcove-sidecar", "--", "true"]].concat();
    let refusal = test.node().kubectl().failure(&arguments, "").await?;
    ensure!(refusal.contains("pods.alcove.dev") && refusal.contains("targetContainerName"), "{refusal}");
    Ok(())
}

async fn a_copy_for_debugging_is_judged_like_any_pod(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    let namespace = setting.namespace();
    let copying = |options: &[&'static str]| {
        [&["-n"], [namespace.name()].as_slice(), &DEBUG[..], &["app"], options, &["--", "sleep", "1000000"]].concat()
    };
    let copied = ["--copy-to=copy", "--keep-annotations"];
    test.node().kubectl().run(&copying(&copied)).await?;
    namespace.wait_until_ready("copy").await?;
    let refusal = test.node().kubectl().failure(&copying(&["--copy-to=bare"]), "").await?;
    for expected in ["\"alcove-sidecar\" is a name that only Alcove may use", "--keep-annotations"] {
        ensure!(refusal.contains(expected), "{expected} is not in: {refusal}");
    }
    // Without the policy that let the original in, its copy is not let in either.
    namespace.delete("secretpolicy", "default").await?;
    let refusal = test.node().kubectl().failure(&copying(&["--copy-to=late", "--keep-annotations"]), "").await?;
    ensure!(refusal.contains("no policy allows"), "{refusal}");
    Ok(())
}
