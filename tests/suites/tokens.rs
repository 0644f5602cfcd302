//! What is left at Vault: one token for each Pod and login, and none of a Pod that is gone.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::vault::{AUDIENCE, Vault};
use alcove_tests::wait::{self, Seen};
use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Map, Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        twenty_references_over_three_mounts_and_two_stores_hold_one_token_which_is_given_back,
        a_login_that_cannot_be_renewed_is_replaced_once_for_each_of_its_lifetimes,
        pods_that_are_deleted_at_once_leave_no_token,
        no_token_of_a_pod_that_was_deleted_by_force_outlives_its_lifetime,
    ]
}

/// How many Pods are deleted at once in peace.
const PODS: usize = 50;
/// How many are deleted at once by force.
const FORCED: usize = 15;
/// How many keys each store has.
const KEYS: usize = 4;

/// What the three Secrets consist of: a store with its engine, and one property of all keys there.
const PARTS: [(&str, &str, &str); 5] = [
    ("one", "vault:kv", "password"),
    ("one", "second:kv1", "password"),
    ("two", "vault:kv", "username"),
    ("two", "second:kv1", "username"),
    ("three", "second:kv1", "password"),
];

/// The files of one Secret, each with its reference.
fn data(setting: &Setting<'_>, secret: &str) -> Map<String, Value> {
    let namespace = setting.namespace().name();
    let parts = PARTS.into_iter().filter(|(of, ..)| *of == secret);
    let files = parts.flat_map(|(_, engine, property)| {
        (0..KEYS).map(move |key| {
            let (_, mount) = engine.split_once(':').unwrap();
            (format!("{mount}-{key}-{property}"), format!("{engine}/{namespace}/{key}#{property}").into())
        })
    });
    files.collect()
}

/// A Pod whose 20 references go to two stores that log in alike, over three mounts.
fn pod(setting: &Setting<'_>, name: &str) -> Value {
    let (mut annotations, mut mounts, mut volumes) = (Map::new(), Vec::new(), Vec::new());
    for secret in ["one", "two", "three"] {
        let binding = json!({"data": data(setting, secret), "refreshInterval": "1s"});
        annotations.insert(format!("secret.alcove.dev/{secret}"), binding.to_string().into());
        mounts.push(json!({"name": secret, "mountPath": format!("/etc/{secret}")}));
        volumes.push(json!({"name": secret, "secret": {"secretName": secret}}));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    })
}

/// A Vault of the test's own with the keys of [`pod`] and a second store for its engine of version 1.
struct Tokens<'setting> {
    setting: &'setting Setting<'setting>,
    vault: &'setting Vault,
    /// How many tokens there are without any Pod.
    others: usize,
}

impl<'setting> Tokens<'setting> {
    /// With logins that last for `lifetime`, which no renewal extends.
    async fn lasting(setting: &'setting Setting<'setting>, lifetime: &str) -> Result<Self> {
        let (vault, name) = (setting.vault(), setting.namespace().name());
        let rules = [vault.kv().readable(&format!("{name}/*")), vault.kv1().readable(&format!("{name}/*"))].concat();
        vault.policy(name, &rules).await?;
        let role = json!({
            "bound_service_account_namespaces": [name],
            "bound_service_account_names": ["default"],
            "audience": AUDIENCE,
            "token_policies": [name],
            "token_ttl": lifetime,
            "token_max_ttl": lifetime,
        });
        vault.call("POST", &format!("auth/kubernetes/role/{name}"), &role).await?;
        for key in 0..KEYS {
            let properties = json!({"password": "p", "username": "u"});
            setting.put(&key.to_string(), properties.clone()).await?;
            vault.kv1().put(&format!("{name}/{key}"), properties).await?;
        }
        setting.namespace().apply(&second_store(setting)).await?;
        Ok(Self { setting, vault, others: vault.token_count().await? })
    }

    async fn held(&self) -> Result<usize> {
        Ok(self.vault.token_count().await? - self.others)
    }

    fn logins(&self) -> Result<usize> {
        self.vault.requests("update", "auth/kubernetes/login")
    }

    async fn wait_for_reads(&self, wanted: usize) -> Result<()> {
        wait::until(&format!("{wanted} reads of one key"), async || {
            let reads = self.setting.reads("0")?;
            Ok(if reads >= wanted { Seen::Met(()) } else { Seen::NotYet(format!("{reads} so far")) })
        })
        .await
    }

    /// Starts many Pods and waits until all of them are ready.
    async fn start_pods(&self, count: usize) -> Result<()> {
        let pods: Vec<Value> = (0..count).map(|number| pod(self.setting, &format!("app-{number}"))).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
        self.setting.namespace().apply(&list.to_string()).await?;
        let api = self.setting.namespace().api::<Pod>();
        wait::until(&format!("{count} Pods to be ready"), async || {
            let ready = api.list(&ListParams::default()).await?.items.iter().filter(|pod| is_ready(pod)).count();
            Ok(if ready == count { Seen::Met(()) } else { Seen::NotYet(format!("{ready} are ready")) })
        })
        .await
    }

    async fn delete_pods(&self, how: &[&str]) -> Result<()> {
        self.setting.namespace().kubectl(&[&["delete", "pods", "--all"], how].concat()).await.map(drop)
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A second store at the same Vault, for an engine of version 1, and a policy that lets it be used.
fn second_store(setting: &Setting<'_>) -> String {
    let store = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "ExternalStore",
        "metadata": {"name": "second"},
        "spec": {
            "audience": AUDIENCE,
            "provider": {"vault": {
                "server": setting.vault().address(),
                "version": "v1",
                "caBundle": STANDARD.encode(setting.vault().authority()),
                "auth": {"kubernetes": {"role": setting.namespace().name()}},
            }},
        },
    });
    let policy = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "second"},
        "spec": {
            "serviceAccounts": ["default"],
            "allow": [{"store": {"kind": "ExternalStore", "name": "second"}, "keys": ["kv1/**"]}],
        },
    });
    format!("{store}\n---\n{policy}")
}

async fn twenty_references_over_three_mounts_and_two_stores_hold_one_token_which_is_given_back(
    test: Test,
) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let tokens = Tokens::lasting(&setting, "1h").await?;
    let namespace = setting.namespace();
    namespace.apply(&pod(&setting, "app").to_string()).await?;
    namespace.wait_until_ready("app").await?;
    tokens.wait_for_reads(5).await?;
    let files = namespace.exec("app", "app", &["sh", "-c", "cat /etc/one/* /etc/two/* /etc/three/* | wc -c"]).await?;
    ensure!(files == "20\n", "{files} values of one letter each");
    let (logins, held) = (tokens.logins()?, tokens.held().await?);
    ensure!((logins, held) == (1, 1), "{logins} logins and {held} tokens of one Pod with one identity");
    namespace.delete("pod", "app").await?;
    let left = tokens.held().await?;
    ensure!(left == 0, "{left} tokens are left of a Pod that is gone");
    vault.stop().await
}

async fn a_login_that_cannot_be_renewed_is_replaced_once_for_each_of_its_lifetimes(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let tokens = Tokens::lasting(&setting, "6s").await?;
    setting.namespace().apply(&pod(&setting, "app").to_string()).await?;
    setting.namespace().wait_until_ready("app").await?;
    wait::until("three logins", async || {
        let logins = tokens.logins()?;
        // The one before is given back when there is the next; both exist for a moment.
        let held = tokens.held().await?;
        ensure!(held <= 2, "{held} tokens of one Pod with one identity");
        Ok(if logins >= 3 { Seen::Met(()) } else { Seen::NotYet(format!("{logins} logins")) })
    })
    .await?;
    // A login serves for two thirds of its lifetime at least, which is several refreshes.
    let (logins, reads) = (tokens.logins()?, setting.reads("0")?);
    ensure!(reads >= 2 * logins, "{logins} logins for {reads} refreshes");
    setting.namespace().delete("pod", "app").await?;
    let left = tokens.held().await?;
    ensure!(left == 0, "{left} tokens are left of a Pod that is gone");
    vault.stop().await
}

async fn pods_that_are_deleted_at_once_leave_no_token(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let tokens = Tokens::lasting(&setting, "1h").await?;
    tokens.start_pods(PODS).await?;
    let (logins, held) = (tokens.logins()?, tokens.held().await?);
    ensure!((logins, held) == (PODS, PODS), "{logins} logins and {held} tokens of {PODS} Pods");
    tokens.delete_pods(&["--wait=true"]).await?;
    let left = tokens.held().await?;
    ensure!(left == 0, "{left} tokens are left of {PODS} Pods that are gone");
    vault.stop().await
}

async fn no_token_of_a_pod_that_was_deleted_by_force_outlives_its_lifetime(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    let setting = Setting::with(&test, &vault).await?;
    let tokens = Tokens::lasting(&setting, "20s").await?;
    tokens.start_pods(FORCED).await?;
    tokens.delete_pods(&["--grace-period=0", "--force"]).await?;
    wait::until("the tokens to end", async || {
        let left = tokens.held().await?;
        Ok(if left == 0 { Seen::Met(()) } else { Seen::NotYet(format!("{left} tokens are left")) })
    })
    .await?;
    vault.stop().await
}
