//! The main job on real input: a value that exists only in Vault is in the Pod, and no Secret exists anywhere.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        the_file_and_the_variable_hold_the_value_of_vault_and_no_secret_exists,
        a_changed_value_is_in_the_file_within_the_refresh_interval_and_one_second,
        a_reader_in_a_loop_never_sees_a_mix_of_two_versions,
        an_unchanged_value_moves_nothing,
        a_pod_created_before_its_secret_starts_when_the_secret_is_there,
        an_immutable_secret_is_read_once,
        each_key_is_read_once_however_many_places_use_it,
        a_job_with_the_sidecar_completes,
        a_pod_runs_in_a_namespace_that_enforces_restricted,
        a_kubernetes_store_serves_a_secret_of_another_namespace,
        stores_with_prefixes_share_a_server_and_neither_reads_what_is_the_others,
        everything_in_one_apply_with_a_bare_pod,
    ]
}

const POD: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: app
  annotations: {secret.alcove.dev/db-creds: BINDING}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: localhost/busybox:test
    command: [sleep, '1000000']
    env: [{name: MYSQL_ROOT_PASSWORD, valueFrom: {secretKeyRef: {name: db-creds, key: password}}}]
    volumeMounts: [{name: creds, mountPath: /etc/creds}]
  volumes:
  - {name: creds, secret: {secretName: db-creds}}
";

fn pod(binding: &str) -> String {
    POD.replace("BINDING", &serde_json::Value::from(binding).to_string())
}

async fn the_file_and_the_variable_hold_the_value_of_vault_and_no_secret_exists(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"username": "admin", "password": "known to Vault alone"})).await?;
    namespace.apply(&pod(&setting.reference("db"))).await?;
    namespace.wait_until_ready("app").await?;
    let file = namespace.exec("app", "app", &["cat", "/etc/creds/password"]).await?;
    ensure!(file == "known to Vault alone", "{file}");
    let variable = namespace.variable("app", "app", "MYSQL_ROOT_PASSWORD").await?;
    ensure!(variable == "known to Vault alone", "{variable}");
    let names = namespace.exec("app", "app", &["ls", "/etc/creds"]).await?;
    ensure!(names == "password\nusername\n", "{names}");
    let mounts = namespace.exec("app", "app", &["grep", " /etc/creds ", "/proc/mounts"]).await?;
    ensure!(mounts.starts_with("tmpfs ") && mounts.contains(" ro,"), "not a read-only tmpfs: {mounts}");
    let objects = namespace.kubectl(&["get", "pods,secrets", "-o", "name"]).await?;
    ensure!(objects == "pod/app\n", "{objects}");
    Ok(())
}

async fn a_changed_value_is_in_the_file_within_the_refresh_interval_and_one_second(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "first"})).await?;
    let binding = format!("{{dataFrom: ['{}'], refreshInterval: 3s}}", setting.reference("db"));
    namespace.apply(&pod(&binding)).await?;
    namespace.wait_until_ready("app").await?;
    let before = namespace.exec("app", "app", &["readlink", "/etc/creds/..data"]).await?;
    setting.put("db", json!({"password": "second"})).await?;
    let written = Timestamp::now();
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "second").await?;
    // The file says when it was published: neither the look at it nor the machine's other work counts.
    let published = namespace.exec("app", "app", &["stat", "-L", "-c", "%Z", "/etc/creds/password"]).await?;
    let passed = published.trim().parse::<i64>()? - written.as_second();
    ensure!(passed <= 3 + 1, "the change took {passed} s with a refresh interval of 3 s");
    let after = namespace.exec("app", "app", &["readlink", "/etc/creds/..data"]).await?;
    ensure!(before != after, "..data has not moved: {before}");
    let directories = namespace.exec("app", "app", &["sh", "-c", "ls -d /etc/creds/..20* | wc -l"]).await?;
    ensure!(directories == "1\n", "old versions are left behind: {directories}");
    Ok(())
}

/// Reads two files as fast as it can until their version is 3. A file that cannot be read is forgiven only if `..data` has
/// moved on meanwhile.
const READER: &str = r#"
fail() { echo "$1" >&2; exit 1; }
missing() { [ "$(readlink ..data)" != "$version" ] || fail "not there: $1 of $version"; }
cd /etc/creds || exit 1
last=0
: >/tmp/reading
until [ "$last" = 3 ]; do
    # A directory that is opened once is one version.
    version=$(readlink ..data) || fail 'no ..data'
    if seen=$(cd "$version" && cat a && echo -n / && cat password); then
        case $seen in 0/0 | 1/1 | 2/2 | 3/3) ;; *) fail "mixed, or not whole: $seen" ;; esac
    else
        missing directory
    fi
    # Applications name each file by its own path: what they read later is of the same version or of a later one.
    version=$(readlink ..data) || fail 'no ..data'
    if seen=$(cat a && echo -n / && cat password); then
        case $last/$seen in 0/0/[0-3] | [01]/1/[1-3] | [0-2]/2/[23] | [0-3]/3/3) ;; *) fail "$seen after $last" ;; esac
        last=${seen#*/}
    else
        missing path
    fi
done
echo never mixed"#;

async fn a_reader_in_a_loop_never_sees_a_mix_of_two_versions(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let version = |number: u32| json!({"a": format!("{number}"), "password": format!("{number}")});
    setting.put("db", version(0)).await?;
    let binding = format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference("db"));
    namespace.apply(&pod(&binding)).await?;
    namespace.wait_until_ready("app").await?;
    let writer = async {
        namespace.wait_for_output("app", "app", &["ls", "/tmp/reading"], "/tmp/reading\n").await?;
        for number in 1..=3 {
            setting.put("db", version(number)).await?;
            let seen = format!("{number}");
            namespace.wait_for_output("app", "app", &["cat", "/etc/creds/a"], &seen).await?;
        }
        Ok(())
    };
    let reader = ["sh", "-c", READER];
    let (read, ()) = tokio::try_join!(namespace.exec("app", "app", &reader), writer)?;
    ensure!(read == "never mixed\n", "{read}");
    Ok(())
}

async fn an_unchanged_value_moves_nothing(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "same"})).await?;
    let binding = format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference("db"));
    namespace.apply(&pod(&binding)).await?;
    namespace.wait_until_ready("app").await?;
    let link = namespace.exec("app", "app", &["readlink", "/etc/creds/..data"]).await?;
    let reads = setting.reads("db")?;
    setting.put("db", json!({"password": "same"})).await?;
    wait::until("three more reads of the key", async || {
        let now = setting.reads("db")?;
        Ok(if now >= reads + 3 { Seen::Met(()) } else { Seen::NotYet(format!("{now} reads, {reads} before")) })
    })
    .await?;
    let now = namespace.exec("app", "app", &["readlink", "/etc/creds/..data"]).await?;
    ensure!(now == link, "..data moved from {link} to {now} for the same value");
    Ok(())
}

async fn a_pod_created_before_its_secret_starts_when_the_secret_is_there(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let binding = format!("{{data: {{password: '{}#password'}}}}", setting.reference("late"));
    namespace.apply(&pod(&binding)).await?;
    namespace
        .wait_for("app", "the missing key is named in the Pod's status", |pod| {
            Ok(serde_json::to_string(pod)?.contains("late"))
        })
        .await?;
    setting.put("late", json!({"password": "at last"})).await?;
    namespace.wait_until_ready("app").await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "at last").await
}

async fn an_immutable_secret_is_read_once(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "first"})).await?;
    setting.put("other", json!({"x": "y"})).await?;
    let binding = format!("{{dataFrom: ['{}'], refreshInterval: 1s, immutable: true}}", setting.reference("db"));
    let clock = format!("{{dataFrom: ['{}'], refreshInterval: 1s}}", setting.reference("other"));
    let manifest = pod(&binding)
        .replace("annotations: {", &format!("annotations: {{secret.alcove.dev/clock: {}, ", json!(clock)))
        .replace("  volumes:\n", "  volumes:\n  - {name: clock, secret: {secretName: clock}}\n");
    namespace.apply(&manifest).await?;
    namespace.wait_until_ready("app").await?;
    setting.put("db", json!({"password": "second"})).await?;
    let start = setting.reads("other")?;
    wait::until("three refreshes of the other key", async || {
        let now = setting.reads("other")?;
        Ok(if now >= start + 3 { Seen::Met(()) } else { Seen::NotYet(format!("{now} reads")) })
    })
    .await?;
    ensure!(setting.reads("db")? == 1, "an immutable key was read {} times", setting.reads("db")?);
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "first").await
}

async fn each_key_is_read_once_however_many_places_use_it(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"username": "u", "password": "p"})).await?;
    let binding = format!(
        "{{data: {{user: '{0}#username', password: '{0}#password', again: '{0}#password'}}, refreshInterval: 0s}}",
        setting.reference("db")
    );
    let tokens = setting.vault().token_count().await?;
    namespace.apply(&pod(&binding)).await?;
    namespace.wait_until_ready("app").await?;
    ensure!(setting.reads("db")? == 1, "one key was read {} times", setting.reads("db")?);
    let logins = setting.vault().requests("update", "auth/kubernetes/login")?;
    ensure!(logins >= 1, "the audit log shows no login");
    namespace.delete("pod", "app").await?;
    wait::until("the login token to be revoked", async || {
        let now = setting.vault().token_count().await?;
        // Other tests log in and out at the same time: only a count that falls back to where it was proves a revocation.
        Ok(if now <= tokens { Seen::Met(()) } else { Seen::NotYet(format!("{now} tokens, {tokens} before")) })
    })
    .await
}

async fn a_job_with_the_sidecar_completes(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "for a job"})).await?;
    namespace
        .apply(&format!(
            r"
apiVersion: batch/v1
kind: Job
metadata: {{name: work}}
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations: {{secret.alcove.dev/db-creds: '{}'}}
    spec:
      restartPolicy: Never
      containers:
      - name: work
        image: localhost/busybox:test
        command: [sh, -c, 'grep -q job /etc/creds/password']
        volumeMounts: [{{name: creds, mountPath: /etc/creds}}]
      volumes:
      - {{name: creds, secret: {{secretName: db-creds}}}}
",
            setting.reference("db")
        ))
        .await?;
    namespace.kubectl(&["wait", "--for=condition=Complete", "job/work", "--timeout=120s"]).await.map(drop)
}

async fn a_pod_runs_in_a_namespace_that_enforces_restricted(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    namespace.label("pod-security.kubernetes.io/enforce=restricted").await?;
    setting.put("db", json!({"password": "restricted"})).await?;
    let hardened = pod(&setting.reference("db")).replace(
        "    image: localhost/busybox:test\n",
        "    image: localhost/busybox:test\n    securityContext: {runAsNonRoot: true, runAsUser: 1000, \
         allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}\n",
    );
    namespace.apply(&hardened).await?;
    namespace.wait_until_ready("app").await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "restricted").await
}

async fn a_kubernetes_store_serves_a_secret_of_another_namespace(test: Test) -> Result<()> {
    test.alcove().await?;
    let (namespace, source) = (test.namespace(), test.another_namespace("source").await?);
    source
        .apply(&format!(
            r"
apiVersion: v1
kind: Secret
metadata: {{name: mysql}}
stringData: {{password: from another namespace}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: read}}
rules: [{{apiGroups: [''], resources: [secrets], resourceNames: [mysql], verbs: [get]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: read}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: read}}
subjects: [{{kind: ServiceAccount, name: default, namespace: {}}}]
",
            namespace.name()
        ))
        .await?;
    namespace
        .apply(&format!(
            r"
apiVersion: alcove.dev/v1alpha1
kind: ExternalStore
metadata: {{name: shared}}
spec: {{provider: {{kubernetes: {{remoteNamespace: {}}}}}}}
---
apiVersion: alcove.dev/v1alpha1
kind: SecretPolicy
metadata: {{name: default}}
spec:
  serviceAccounts: [default]
  allow: [{{store: {{kind: ExternalStore, name: shared}}, keys: [mysql]}}]
",
            source.name()
        ))
        .await?;
    namespace.apply(&pod("shared:mysql")).await?;
    namespace.wait_until_ready("app").await?;
    namespace.wait_for_output("app", "app", &["cat", "/etc/creds/password"], "from another namespace").await
}

async fn stores_with_prefixes_share_a_server_and_neither_reads_what_is_the_others(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    for team in ["a", "b"] {
        setting.put(&format!("{team}/db"), json!({"team": team})).await?;
        let (prefix, mut store) = (format!("kv/{}/{team}/", namespace.name()), setting.store());
        store["metadata"]["name"] = json!(team);
        store["spec"]["prefix"] = json!(prefix);
        namespace.apply(&store.to_string()).await?;
        let rule = json!({"store": {"kind": "ExternalStore", "name": team}, "keys": [format!("{prefix}db")]});
        let policy = json!({"apiVersion": "alcove.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {"name": team},
            "spec": {"serviceAccounts": ["default"], "allow": [rule]}});
        namespace.apply(&policy.to_string()).await?;
    }
    for team in ["a", "b"] {
        let app =
            pod(&format!("{{data: {{password: '{team}:db#team'}}}}")).replace("name: app", &format!("name: {team}"));
        namespace.apply(&app).await?;
    }
    for team in ["a", "b"] {
        namespace.wait_until_ready(team).await?;
        let value = namespace.exec(team, team, &["cat", "/etc/creds/password"]).await?;
        ensure!(value == team, "store {team} has delivered {value}");
    }
    // Neither a way up nor the whole key leads to the other's.
    for key in ["../b/db".to_owned(), format!("kv/{}/b/db", namespace.name()), "/../b/db".to_owned()] {
        let refusal = namespace.refusal(&pod(&format!("a:{key}"))).await?;
        ensure!(refusal.contains("kv/") && refusal.contains("/a/"), "{key}: {refusal}");
    }
    Ok(())
}

async fn everything_in_one_apply_with_a_bare_pod(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"password": "at once"})).await?;
    for round in 0..10 {
        let namespace = setting.namespace();
        // The annotation names nothing: the binding arrives in the same file as the Pod, one line before it.
        let manifest = format!(
            "{}\n---\n{}",
            json!({
                "apiVersion": "alcove.dev/v1alpha1",
                "kind": "SecretBinding",
                "metadata": {"name": format!("fresh-{round}")},
                "spec": {"dataFrom": [setting.reference("db")]},
            }),
            pod("BINDING")
                .replace("{secret.alcove.dev/db-creds: \"BINDING\"}", "{alcove.dev/inject: 'true'}")
                .replace("db-creds", &format!("fresh-{round}"))
                .replace("name: app\n  annotations", &format!("name: app-{round}\n  annotations"))
        );
        namespace.apply(&manifest).await?;
        let pod = format!("app-{round}");
        let containers =
            namespace.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.spec.initContainers[*].name}"]).await?;
        ensure!(containers == "alcove-sidecar", "round {round}: the Pod was left as it is, and would wait for ever");
        namespace.kubectl(&["delete", "pod", &pod, "--wait=false"]).await?;
    }
    Ok(())
}
