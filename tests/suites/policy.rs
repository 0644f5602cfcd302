//! Who may mount what: default deny, refusals that a person can use, and an attacker who gains nothing.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_service_account_without_a_policy_is_refused_and_the_policy_of_the_refusal_helps,
        a_deny_wins_over_an_allow,
        a_key_outside_of_the_policy_is_refused,
        a_mistyped_annotation_is_refused_with_the_right_one,
        a_hand_made_sidecar_gains_nothing,
        a_forged_marker_does_not_skip_policy,
        our_annotations_cannot_be_changed_afterwards,
        the_image_of_the_sidecar_cannot_be_changed_afterwards,
        changes_of_others_pass,
        enforced_mountable_secrets_hold_for_bound_names,
    ]
}

fn pod(name: &str, binding: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"secret.alcove.dev/db-creds": binding}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sleep", "1000000"],
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
}

fn with_account(mut pod: Value, account: &str) -> Value {
    pod["spec"]["serviceAccountName"] = account.into();
    pod
}

async fn a_service_account_without_a_policy_is_refused_and_the_policy_of_the_refusal_helps(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    namespace.kubectl(&["create", "serviceaccount", "stranger"]).await?;
    let stranger = with_account(pod("app", &setting.reference("db")), "stranger");
    let refusal = namespace.refusal(&stranger.to_string()).await?;
    for expected in ["Forbidden", "app", "stranger", "db-creds", "spec.volumes[0]", "no policy", "kind: SecretPolicy"] {
        ensure!(refusal.contains(expected), "{expected} is not in: {refusal}");
    }
    let start = refusal.find("apiVersion: alcove.dev/v1alpha1").context("the refusal offers no policy")?;
    namespace.apply(&refusal[start..]).await?;
    namespace.apply(&stranger.to_string()).await
}

async fn a_deny_wins_over_an_allow(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let deny = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "nobody-reads-root"},
        "spec": {
            "serviceAccounts": ["*"],
            "deny": [{
                "store": {"kind": "ExternalStore", "name": "vault"},
                "keys": [format!("kv/{}/root/**", namespace.name())],
            }],
        },
    });
    namespace.apply(&deny.to_string()).await?;
    let refusal = namespace.refusal(&pod("app", &setting.reference("root/db")).to_string()).await?;
    ensure!(refusal.contains("nobody-reads-root") && refusal.contains("deny"), "{refusal}");
    ensure!(!refusal.contains("kind: SecretPolicy"), "a policy is offered that cannot help: {refusal}");
    Ok(())
}

async fn a_key_outside_of_the_policy_is_refused(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let own = setting.namespace().name();
    for spelling in ["vault:kv/other/db".to_owned(), format!("vault:kv/{own}/../other/db"), format!("vault:kv/{own}-not/db")] {
        let refusal = setting.namespace().refusal(&pod("app", &spelling).to_string()).await?;
        ensure!(refusal.contains("denied the request"), "{spelling}: {refusal}");
    }
    for spelling in [format!("vault:kv/data/{own}/db"), format!("vault:kv//{own}/db"), format!("vault:/kv/{own}/db")] {
        let refusal = setting.namespace().refusal(&pod("app", &spelling).to_string()).await?;
        ensure!(refusal.contains(&format!("kv/{own}/db")), "the right spelling is not offered for {spelling}: {refusal}");
    }
    Ok(())
}

async fn a_mistyped_annotation_is_refused_with_the_right_one(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let mut mistyped = pod("app", &setting.reference("db"));
    mistyped["metadata"]["annotations"] = json!({"alcove.dev/injct": "true", "alcove.dev/env": "flie"});
    let refusal = setting.namespace().refusal(&mistyped.to_string()).await?;
    ensure!(refusal.contains("did you mean \"alcove.dev/inject\"?"), "{refusal}");
    ensure!(refusal.contains("did you mean \"file\"?"), "only the first mistake is told: {refusal}");
    Ok(())
}

/// A container that looks like ours, as an attacker would write it: with a store of another's and an image of his own.
fn forged_sidecar(setting: &Setting<'_>) -> Value {
    let key = "kv/somebody-else/db";
    json!({
        "name": "alcove-sidecar",
        "image": "localhost/busybox:test",
        "restartPolicy": "Always",
        "command": ["sh", "-c", "sleep 1000000"],
        "env": [
            {"name": "ALCOVE_SIDECAR", "value": "{\"version\":1,\"logLevel\":\"info\"}"},
            {"name": "ALCOVE_SECRET_0", "value": format!(
                "{{\"version\":1,\"name\":\"stolen\",\"dataFrom\":[\"vault:{key}\"],\"refreshInterval\":\"5m\"}}"
            )},
            {"name": "ALCOVE_VOLUME_0", "value": format!(
                "{{\"version\":1,\"name\":\"creds\",\"path\":\"/alcove/volumes/creds\",\"defaultMode\":420,\
                 \"sources\":[{{\"secret\":{{\"name\":\"stolen\"}}}}],\"x\":\"{}\"}}",
                setting.namespace().name()
            )},
        ],
    })
}

async fn a_hand_made_sidecar_gains_nothing(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "own"})).await?;
    let mut forged = pod("forged", &setting.reference("db"));
    forged["spec"]["initContainers"] = json!([forged_sidecar(&setting)]);
    let tried = namespace.apply(&forged.to_string()).await;
    if tried.is_ok() {
        // Allowed only as our own: image, command and configuration are those that a Pod without the forgery gets.
        namespace.apply(&pod("honest", &setting.reference("db")).to_string()).await?;
        let sidecar = |pod: &'static str| async move {
            let path = "jsonpath={.spec.initContainers}";
            namespace.kubectl(&["get", "pod", pod, "-o", path]).await
        };
        let (forged, honest) = (sidecar("forged").await?, sidecar("honest").await?);
        let without_token_volume = |text: &str| -> Result<Value> {
            let mut containers: Value = serde_json::from_str(text)?;
            ensure!(containers.as_array().is_some_and(|list| list.len() == 1), "{text}");
            // The name of the API token's volume is random.
            if let Some(mounts) = containers[0]["volumeMounts"].as_array_mut() {
                mounts.retain(|mount| !mount["name"].as_str().unwrap_or_default().starts_with("kube-api-access-"));
            }
            Ok(containers)
        };
        ensure!(without_token_volume(&forged)? == without_token_volume(&honest)?, "{forged}\n\n{honest}");
    }
    // Volumes of ours in a container of the Pod's own.
    for volume in ["alcove-identity", "alcove-env"] {
        let mut thief = pod("thief", &setting.reference("db"));
        thief["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "creds", "mountPath": "/etc/creds"}, {"name": volume, "mountPath": "/stolen"}]);
        let refusal = namespace.refusal(&thief.to_string()).await?;
        ensure!(refusal.contains(volume), "{refusal}");
    }
    // The env file of another container.
    let mut thief = pod("thief", &setting.reference("db"));
    thief["spec"]["containers"][0]["env"] = json!([
        {"name": "OWN", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}},
        {"name": "STOLEN", "valueFrom": {"fileKeyRef": {"volumeName": "alcove-env", "path": "app", "key": "OWN"}}},
    ]);
    let refusal = namespace.refusal(&thief.to_string()).await?;
    ensure!(refusal.contains("alcove-env"), "{refusal}");
    Ok(())
}

async fn a_forged_marker_does_not_skip_policy(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let mut marked = pod("app", "vault:kv/somebody-else/db");
    marked["metadata"]["annotations"]["alcove.dev/injected"] = "0.1.0".into();
    marked["spec"]["initContainers"] = json!([forged_sidecar(&setting)]);
    marked["spec"]["volumes"] = json!([{"name": "creds", "emptyDir": {"medium": "Memory"}}]);
    let refusal = setting.namespace().refusal(&marked.to_string()).await?;
    ensure!(refusal.contains("denied the request"), "{refusal}");
    Ok(())
}

/// The text with which the API server refuses a patch of the Pod `app`.
async fn refused_patch(setting: &Setting<'_>, patch: &Value) -> Result<String> {
    let tried = setting.namespace().kubectl(&["patch", "pod", "app", "--type=strategic", "-p", &patch.to_string()]).await;
    match tried {
        Ok(_) => anyhow::bail!("the API server took {patch}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

async fn running(test: &Test) -> Result<Setting<'static>> {
    let setting = Setting::shared(test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    setting.namespace().apply(&pod("app", &setting.reference("db")).to_string()).await?;
    Ok(setting)
}

async fn our_annotations_cannot_be_changed_afterwards(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    for annotations in [
        json!({"secret.alcove.dev/db-creds": null}),
        json!({"secret.alcove.dev/other": "vault:kv/x/y"}),
        json!({"alcove.dev/log-level": "debug"}),
        json!({"alcove.dev/injected": "9.9.9"}),
    ] {
        let text = refused_patch(&setting, &json!({"metadata": {"annotations": annotations}})).await?;
        ensure!(text.contains("alcove.dev"), "{text}");
    }
    Ok(())
}

async fn the_image_of_the_sidecar_cannot_be_changed_afterwards(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    let patch = json!({"spec": {"initContainers": [{"name": "alcove-sidecar", "image": "localhost/busybox:test"}]}});
    let text = refused_patch(&setting, &patch).await?;
    ensure!(text.contains("alcove-sidecar") && text.contains("image"), "{text}");
    Ok(())
}

async fn changes_of_others_pass(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    let namespace = setting.namespace();
    // The policy that let the Pod in is gone: what is running is not judged again.
    namespace.delete("secretpolicy", "default").await?;
    for patch in [
        json!({"metadata": {"annotations": {"tekton.dev/ready": "READY"}}}),
        json!({"metadata": {"labels": {"step": "two"}, "finalizers": ["example.com/hold"]}}),
        json!({"metadata": {"finalizers": null}}),
        json!({"spec": {"containers": [{"name": "app", "image": "localhost/busybox:other"}]}}),
        json!({"spec": {"activeDeadlineSeconds": 100_000}}),
    ] {
        namespace.kubectl(&["patch", "pod", "app", "--type=strategic", "-p", &patch.to_string()]).await?;
    }
    Ok(())
}

async fn enforced_mountable_secrets_hold_for_bound_names(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    namespace.kubectl(&["annotate", "serviceaccount", "default", "kubernetes.io/enforce-mountable-secrets=true"]).await?;
    // In-tree admission misses projected volumes to this day; for a bound name we do not.
    let mut projected = pod("app", &setting.reference("db"));
    projected["spec"]["volumes"] =
        json!([{"name": "creds", "projected": {"sources": [{"secret": {"name": "db-creds"}}]}}]);
    let refusal = namespace.refusal(&projected.to_string()).await?;
    ensure!(refusal.contains("db-creds") && refusal.contains("enforces its list"), "{refusal}");
    let secrets = json!({"secrets": [{"name": "db-creds"}]}).to_string();
    namespace.kubectl(&["patch", "serviceaccount", "default", "-p", &secrets]).await?;
    namespace.apply(&projected.to_string()).await
}
