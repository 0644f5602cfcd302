//! Values that change, go and come back, and values that can never be delivered: what the container sees, what a person reads.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::vault::AUDIENCE;
use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_sub_path_of_a_directory_is_warned_of_and_becomes_empty,
        a_secret_that_is_file_and_variable_is_warned_of_and_the_variable_follows_at_a_restart,
        an_optional_file_goes_with_its_version_and_comes_back_with_it,
        a_store_that_declares_version_1_of_an_engine_of_version_2_is_told_so_even_where_optional,
        a_store_that_declares_version_2_of_an_engine_of_version_1_is_told_so_even_where_optional,
        a_property_that_is_not_there_is_named_with_the_nearest_that_is,
        a_path_into_a_value_that_has_no_parts_is_named,
        a_secret_of_more_than_a_mebibyte_is_refused_with_its_sizes,
        many_files_and_one_value_at_several_paths_are_followed,
        more_files_than_could_be_followed_are_refused_at_the_start,
    ]
}

fn pod(binding: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": {"secret.alcove.dev/db-creds": binding}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
}

fn refreshed(setting: &Setting<'_>) -> String {
    binding_of(setting, "db")
}

fn binding_of(setting: &Setting<'_>, name: &str) -> String {
    format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference(name))
}

/// What kubectl shows beside the success of a Pod.
async fn warnings(test: &Test, pod: &Value) -> Result<String> {
    let namespace = test.namespace().name();
    let arguments = ["-n", namespace, "create", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
    test.node().kubectl().failure(&arguments, &pod.to_string()).await
}

async fn a_sub_path_of_a_directory_is_warned_of_and_becomes_empty(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "first"})).await?;
    let mut directory = pod(&refreshed(&setting));
    directory["spec"]["volumes"][0]["secret"]["items"] = json!([{"key": "password", "path": "conf/pass"}]);
    directory["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "creds", "mountPath": "/etc/creds"}, {"name": "creds", "mountPath": "/etc/app", "subPath": "conf"}]);
    let warnings = warnings(&test, &directory).await?;
    ensure!(warnings.contains("/etc/app of volume \"creds\" will be empty after the first change"), "{warnings}");
    namespace.apply(&directory.to_string()).await?;
    namespace.wait_until_ready("app").await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/app/pass"], "first").await?;
    for value in ["second", "third"] {
        setting.put("db", json!({"password": value})).await?;
        namespace.wait_for_output("app", "app", &["cat", "/etc/creds/conf/pass"], value).await?;
        namespace.wait_for_output("app", "app", &["ls", "-A", "/etc/app"], "").await?;
    }
    Ok(())
}

async fn a_secret_that_is_file_and_variable_is_warned_of_and_the_variable_follows_at_a_restart(
    test: Test,
) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "first"})).await?;
    let mut both = pod(&refreshed(&setting));
    both["spec"]["containers"][0]["env"] =
        json!([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}]);
    let warnings = warnings(&test, &both).await?;
    ensure!(warnings.contains("its variables change when the container restarts"), "{warnings}");
    namespace.apply(&both.to_string()).await?;
    namespace.wait_until_ready("app").await?;
    setting.put("db", json!({"password": "second"})).await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "second").await?;
    let variable = namespace.variable("app", "app", "PASSWORD").await?;
    ensure!(variable == "first", "the variable of a running process has changed to {variable}");
    namespace.exec("app", "app", &["kill", "1"]).await?;
    let environment = ["sh", "-c", "tr '\\000' '\\n' </proc/1/environ | grep ^PASSWORD="];
    namespace.wait_for_output("app", "app", &environment, "PASSWORD=second\n").await
}

async fn an_optional_file_goes_with_its_version_and_comes_back_with_it(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "p"})).await?;
    let binding = refreshed(&setting).replace("{dataFrom", "{optional: true, dataFrom");
    namespace.apply(&pod(&binding).to_string()).await?;
    namespace.wait_until_ready("app").await?;
    namespace.wait_for_output("app", "app", &["ls", "/etc/creds"], "password\n").await?;
    setting.delete("db").await?;
    namespace.wait_for_output("app", "app", &["ls", "/etc/creds"], "").await?;
    let undelete = format!("kv/undelete/{}/db", namespace.name());
    setting.vault().call("POST", &undelete, &json!({"versions": [1]})).await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "p").await
}

/// What a Pod says whose store declares another version than its engine has.
async fn of_other_version(test: &Test, declared: &str, mount: &str, expected: &str) -> Result<()> {
    let setting = Setting::shared(test).await?;
    let namespace = setting.namespace();
    let name = namespace.name();
    // Rights on everything: what is missing is not a right.
    let rules = ["kv", "kv1"].map(|mount| format!("path \"{mount}/*\" {{ capabilities = [\"read\"] }}\n"));
    setting.vault().policy(name, &rules.concat()).await?;
    setting.put("db", json!({"password": "p"})).await?;
    setting.vault().kv1().put(&format!("{name}/db"), json!({"password": "p"})).await?;
    let store = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "ExternalStore",
        "metadata": {"name": "mistaken"},
        "spec": {
            "audience": AUDIENCE,
            "provider": {"vault": {
                "server": setting.vault().address(),
                "version": declared,
                "caBundle": STANDARD.encode(setting.vault().authority()),
                "auth": {"kubernetes": {"role": name}},
            }},
        },
    });
    let policy = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "mistaken"},
        "spec": {
            "serviceAccounts": ["default"],
            "allow": [{"store": {"kind": "ExternalStore", "name": "mistaken"}, "keys": ["**"]}],
        },
    });
    namespace.apply(&format!("{store}\n---\n{policy}")).await?;
    let binding = format!("{{optional: true, dataFrom: ['mistaken:{mount}/{name}/db']}}");
    namespace.apply(&pod(&binding).to_string()).await?;
    wait_for_status(&setting, expected).await.map(drop)
}

async fn a_store_that_declares_version_1_of_an_engine_of_version_2_is_told_so_even_where_optional(
    test: Test,
) -> Result<()> {
    of_other_version(&test, "v1", "kv", "set the store's version to v2").await
}

async fn a_store_that_declares_version_2_of_an_engine_of_version_1_is_told_so_even_where_optional(
    test: Test,
) -> Result<()> {
    of_other_version(&test, "v2", "kv1", "set the store's version to v1").await
}

/// Waits until the status of the Pod, which is what `kubectl describe` shows, holds a text; returns the status.
async fn wait_for_status(setting: &Setting<'_>, expected: &str) -> Result<String> {
    let status = |pod: &k8s_openapi::api::core::v1::Pod| {
        let statuses = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
        let ends = statuses.flat_map(|status| {
            let states = [status.state.as_ref(), status.last_state.as_ref()];
            states.into_iter().flatten().filter_map(|state| state.terminated.as_ref()?.message.clone())
        });
        ends.collect::<Vec<_>>().join("\n")
    };
    let pod = setting
        .namespace()
        .wait_for("app", &format!("{expected} in the status of the sidecar"), |pod| Ok(status(pod).contains(expected)))
        .await?;
    Ok(status(&pod))
}

async fn a_property_that_is_not_there_is_named_with_the_nearest_that_is(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"db_url": "x", "username": "y"})).await?;
    let binding = format!("{{data: {{url: '{}#DB_URL'}}}}", setting.reference("db"));
    setting.namespace().apply(&pod(&binding).to_string()).await?;
    let status = wait_for_status(&setting, "has no property \"DB_URL\"; did you mean \"db_url\"?").await?;
    // It is not a matter of rights, and not one of the whole store.
    for wrong in ["policies", "permission", "denied", "cannot be reached"] {
        ensure!(!status.contains(wrong), "{wrong}: {status}");
    }
    Ok(())
}

async fn a_path_into_a_value_that_has_no_parts_is_named(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"text": "x", "list": ["only"], "object": {"name": "y"}})).await?;
    let reference = setting.reference("db");
    let binding =
        format!("{{data: {{a: '{reference}#text.inner', b: '{reference}#list[5]', c: '{reference}#object.nam'}}}}");
    setting.namespace().apply(&pod(&binding).to_string()).await?;
    let status = wait_for_status(&setting, "text.inner").await?;
    for property in ["list[5]", "object.nam"] {
        ensure!(status.contains(property), "not all that is wrong is said: {property} is not in {status}");
    }
    Ok(())
}

async fn a_secret_of_more_than_a_mebibyte_is_refused_with_its_sizes(test: Test) -> Result<()> {
    const SIZE: usize = 600 * 1024;
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"one": "x".repeat(SIZE), "two": "y".repeat(SIZE)})).await?;
    setting.namespace().apply(&pod(&refreshed(&setting)).to_string()).await?;
    let status = wait_for_status(&setting, "holds 1228800 bytes, more than the 1048576 of a Secret").await?;
    ensure!(status.contains("one: 614400") && status.contains("two: 614400"), "{status}");
    Ok(())
}

async fn many_files_and_one_value_at_several_paths_are_followed(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    // Each takes far more room in memory than it has bytes: whole pages, twice while it changes.
    let shapes = [("small", 600, 1, 600), ("uneven", 200, 5100, 200), ("repeated", 1, 500_000, 5)];
    let put = async |letter: &str| {
        for (name, keys, size, _) in shapes {
            let values = (0..keys).map(|key| (format!("key-{key}"), Value::from(letter.repeat(size))));
            setting.put(name, values.collect::<serde_json::Map<_, _>>().into()).await?;
        }
        anyhow::Ok(())
    };
    let mut all = pod("");
    let binding = |name| (format!("secret.alcove.dev/{name}"), json!(binding_of(&setting, name)));
    all["metadata"]["annotations"] = shapes.map(|(name, ..)| binding(name)).into_iter().collect();
    let mounts = shapes.map(|(name, ..)| json!({"name": name, "mountPath": format!("/etc/{name}")}));
    all["spec"]["containers"][0]["volumeMounts"] = mounts.into_iter().collect();
    all["spec"]["volumes"] =
        shapes.map(|(name, ..)| json!({"name": name, "secret": {"secretName": name}})).into_iter().collect();
    all["spec"]["volumes"][2]["secret"]["items"] =
        (0..5).map(|path| json!({"key": "key-0", "path": format!("copy-{path}")})).collect();
    put("a").await?;
    namespace.apply(&all.to_string()).await?;
    namespace.wait_until_ready("app").await?;
    for letter in ["b", "c"] {
        put(letter).await?;
        for (name, .., files) in shapes {
            let count = format!("grep -l {letter} /etc/{name}/* | wc -l");
            namespace.wait_for_output("app", "app", &["sh", "-c", &count], &format!("{files}\n")).await?;
        }
    }
    Ok(())
}

async fn more_files_than_could_be_followed_are_refused_at_the_start(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let values = (0..1400).map(|key| (format!("key-{key}"), json!("x")));
    setting.put("db", values.collect::<serde_json::Map<_, _>>().into()).await?;
    setting.namespace().apply(&pod(&refreshed(&setting)).to_string()).await?;
    let status = wait_for_status(&setting, "its 1400 files take 5600Ki in pages of 4Ki").await?;
    ensure!(status.contains("its size limit is 10240Ki") && status.contains("mount only some with items"), "{status}");
    Ok(())
}
