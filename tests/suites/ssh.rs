//! OpenSSH as the judge of modes and owners: it takes a delivered key wherever it takes a real Secret's.
//!
//! ssh and ssh-keygen share the check: a key that its reader owns must be closed to group and others. `ssh-keygen -y` prints
//! the public half of a key that passes, which proves the bytes, too.

use std::process::Command;

use alcove_tests::image::{self, Image};
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::{claims, process};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        ssh_takes_a_key_of_its_own_user_where_a_real_secret_has_group_bits,
        ssh_of_two_users_judges_a_delivered_key_as_a_real_one,
    ]
}

const GROUP: u32 = 2000;
const IMAGE: &str = "localhost/ssh:test";

/// How a Pod asks for the key: nothing (a Secret of this type has 0400), an item's mode, the volume's mode.
fn ways() -> [(&'static str, Value); 3] {
    let items = |mode: Option<u32>| json!([{"key": "ssh-privatekey", "path": "key", "mode": mode}]);
    [
        ("default", json!({"items": items(None)})),
        ("item", json!({"items": items(Some(0o400))})),
        ("volume", json!({"defaultMode": 0o440, "items": items(None)})),
    ]
}

/// A Pod in the group 2000 with one container for each user, which sees the delivered key and a real one in each way.
fn pod(name: &str, binding: &str, users: &[u32]) -> Value {
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (kind, secret) in [("bound", "deploy-key"), ("real", "real-key")] {
        for (way, mut source) in ways() {
            source["secretName"] = secret.into();
            volumes.push(json!({"name": format!("{kind}-{way}"), "secret": source}));
            mounts.push(json!({"name": format!("{kind}-{way}"), "mountPath": format!("/{kind}/{way}")}));
        }
    }
    let containers = users.iter().map(|user| {
        json!({
            "name": format!("user-{user}"),
            "image": IMAGE,
            "command": ["sleep", "1000000"],
            "securityContext": {"runAsUser": user},
            "volumeMounts": mounts,
        })
    });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "annotations": {"secret.alcove.dev/deploy-key": binding, "alcove.dev/log-level": "debug"},
        },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"fsGroup": GROUP},
            "containers": containers.collect::<Vec<_>>(),
            "volumes": volumes,
        },
    })
}

/// A new key pair, put into Vault and into a Secret.
struct Keys<'setting> {
    namespace: &'setting Namespace,
    binding: String,
    public: String,
}

impl<'setting> Keys<'setting> {
    async fn new(test: &Test, setting: &'setting Setting<'_>) -> Result<Self> {
        test.node().load(&ssh()?).await?;
        let (private, public) = key_pair()?;
        setting.put("ssh", json!({"key": private})).await?;
        let namespace = setting.namespace();
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "real-key"},
            "type": "kubernetes.io/ssh-auth",
            "stringData": {"ssh-privatekey": private},
        });
        namespace.apply(&secret.to_string()).await?;
        let reference = setting.reference("ssh");
        let binding = format!("{{type: kubernetes.io/ssh-auth, data: {{ssh-privatekey: '{reference}#key'}}}}");
        Ok(Self { namespace, binding, public })
    }

    /// Mode, owner and group of a key as a container sees it, and what ssh makes of it.
    async fn verdict(&self, pod: &str, user: u32, path: &str) -> Result<String> {
        let script = format!("stat -L -c '%a %u:%g' {path}; ssh-keygen -y -f {path} 2>&1");
        let printed =
            self.namespace.exec(pod, &format!("user-{user}"), &["sh", "-c", &format!("{script}; true")]).await?;
        let (stat, said) = printed.split_once('\n').context("stat printed nothing")?;
        let verdict = match said.trim() {
            public if public == self.public => "taken",
            complaint if complaint.contains("bad permissions") => "refused",
            other => other,
        };
        Ok(format!("{stat} {verdict}"))
    }

    async fn ensure_verdicts(&self, pod: &str, user: u32, kind: &str, expected: [&str; 3]) -> Result<()> {
        for ((way, _), expected) in ways().into_iter().zip(expected) {
            let verdict = self.verdict(pod, user, &format!("/{kind}/{way}/key")).await?;
            ensure!(verdict == expected, "Pod {pod}, uid {user}, {kind} key, mode by {way}: {verdict}, not {expected}");
        }
        Ok(())
    }

    /// Which rule the modes follow, by the log of the sidecar.
    async fn ensure_rule(&self, pod: &str, rule: &str) -> Result<()> {
        for (way, _) in ways() {
            self.namespace.wait_for_log(pod, "alcove-sidecar", &format!("modes of volume bound-{way}: {rule}")).await?;
        }
        Ok(())
    }
}

fn ssh() -> Result<Image> {
    let mut recipe = image::busybox_recipe()?;
    image::add_program(&mut recipe, "ssh-keygen")?;
    // It asks who it runs as.
    recipe.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n", 0o644);
    image::pack(IMAGE, &recipe)
}

fn key_pair() -> Result<(String, String)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("key");
    let mut generate = Command::new("ssh-keygen");
    generate.args(["-q", "-t", "ed25519", "-N", "", "-C", "deploy", "-f"]).arg(&path);
    process::run(generate)?;
    let public = std::fs::read_to_string(path.with_extension("pub"))?;
    Ok((std::fs::read_to_string(path)?, public.trim().to_owned()))
}

async fn ssh_takes_a_key_of_its_own_user_where_a_real_secret_has_group_bits(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let keys = Keys::new(&test, &setting).await?;
    for (pod_name, user) in [("user", 1000), ("root", 0)] {
        keys.namespace.apply(&pod(pod_name, &keys.binding, &[user]).to_string()).await?;
    }
    for (pod, user) in [("user", 1000), ("root", 0)] {
        keys.namespace.wait_until_ready(pod).await?;
        let own = format!("400 {user}:{GROUP} taken");
        keys.ensure_verdicts(pod, user, "bound", [own.as_str(); 3]).await?;
        keys.ensure_rule(pod, "as requested, and the group is kept out where others are").await?;
    }
    // The real ones belong to root: only root's own ssh objects to what the group may do.
    keys.ensure_verdicts("user", 1000, "real", ["644 0:2000 taken", "440 0:2000 taken", "440 0:2000 taken"]).await?;
    keys.ensure_verdicts("root", 0, "real", ["644 0:2000 refused", "440 0:2000 refused", "440 0:2000 refused"]).await
}

async fn ssh_of_two_users_judges_a_delivered_key_as_a_real_one(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let keys = Keys::new(&test, &setting).await?;
    keys.namespace.apply(&pod("both", &keys.binding, &[1000, 0]).to_string()).await?;
    keys.namespace.wait_until_ready("both").await?;
    keys.ensure_rule("both", "as requested, and the fsGroup reads every file").await?;
    for (user, verdict) in [(1000, "taken"), (0, "refused")] {
        let [closed, open] = ["440", "644"].map(|mode| format!("{mode} 0:{GROUP} {verdict}"));
        keys.ensure_verdicts("both", user, "bound", [closed.as_str(); 3]).await?;
        keys.ensure_verdicts("both", user, "real", [&open, &closed, &closed]).await?;
    }
    Ok(())
}
