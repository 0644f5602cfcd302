//! Who may mount what: default deny, refusals that a person can use, and an attacker who gains nothing.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Context as _, Result, ensure};
use kube::api::PostParams;
use kube::core::Request;
use serde_json::{Value, json};

use crate::setting::{Setting, opted_in};

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_service_account_without_a_policy_is_refused_and_the_policy_of_the_refusal_helps,
        a_deny_wins_over_an_allow,
        a_key_outside_of_the_policy_is_refused,
        a_mistyped_annotation_is_refused_with_the_right_one,
        a_hand_made_sidecar_gains_nothing,
        no_container_reaches_the_volumes_of_the_sidecar,
        an_ephemeral_container_reaches_no_secret,
        what_concerns_us_cannot_be_changed_through_a_subresource,
        a_forged_marker_does_not_skip_policy,
        our_annotations_cannot_be_changed_afterwards,
        our_annotations_cannot_be_changed_by_placing_the_pod,
        the_image_of_the_sidecar_cannot_be_changed_afterwards,
        changes_of_others_pass,
        enforced_mountable_secrets_hold_for_bound_names,
    ]
}

fn with_account(mut pod: Value, account: &str) -> Value {
    pod["spec"]["serviceAccountName"] = account.into();
    pod
}

async fn a_service_account_without_a_policy_is_refused_and_the_policy_of_the_refusal_helps(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    namespace.kubectl(&["create", "serviceaccount", "stranger"]).await?;
    let stranger = with_account(opted_in("app", &setting.reference("db")), "stranger");
    let refusal = namespace.refusal(&stranger.to_string()).await?;
    for expected in ["Forbidden", "app", "stranger", "db-creds", "spec.volumes[0]", "no policy", "kind: SecretPolicy"] {
        ensure!(refusal.contains(expected), "{expected} is not in: {refusal}");
    }
    let (_, policy) = refusal.split_once("apiVersion:").context("the refusal offers no policy")?;
    namespace.apply(&format!("apiVersion:{policy}")).await?;
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
    let refusal = namespace.refusal(&opted_in("app", &setting.reference("root/db")).to_string()).await?;
    ensure!(refusal.contains("nobody-reads-root") && refusal.contains("deny"), "{refusal}");
    ensure!(!refusal.contains("kind: SecretPolicy"), "a policy is offered that cannot help: {refusal}");
    Ok(())
}

async fn a_key_outside_of_the_policy_is_refused(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let own = setting.namespace().name();
    for spelling in
        ["vault:kv/other/db".to_owned(), format!("vault:kv/{own}/../other/db"), format!("vault:kv/{own}-not/db")]
    {
        let refusal = setting.namespace().refusal(&opted_in("app", &spelling).to_string()).await?;
        ensure!(refusal.contains("denied the request"), "{spelling}: {refusal}");
    }
    for spelling in [format!("vault:kv/data/{own}/db"), format!("vault:kv//{own}/db"), format!("vault:/kv/{own}/db")] {
        let refusal = setting.namespace().refusal(&opted_in("app", &spelling).to_string()).await?;
        ensure!(
            refusal.contains(&format!("kv/{own}/db")),
            "the right spelling is not offered for {spelling}: {refusal}"
        );
    }
    Ok(())
}

async fn a_mistyped_annotation_is_refused_with_the_right_one(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let mut mistyped = opted_in("app", &setting.reference("db"));
    mistyped["metadata"]["annotations"] = json!({"alcove.dev/injct": "true", "alcove.dev/env": "flie"});
    let refusal = setting.namespace().refusal(&mistyped.to_string()).await?;
    ensure!(refusal.contains("did you mean \"alcove.dev/inject\"?"), "{refusal}");
    ensure!(refusal.contains("did you mean \"file\"?"), "only the first mistake is told: {refusal}");
    Ok(())
}

/// A container that looks like ours, as an attacker would write it: an image of his own, and a configuration that this
/// version of the sidecar reads, for a Secret of somebody else under the name that the Pod itself uses.
fn forged_sidecar() -> Value {
    let secret = json!({
        "version": 1, "name": "db-creds", "dataFrom": ["vault:kv/somebody-else/db"], "refreshInterval": "5m",
    });
    let volume = json!({
        "version": 1, "name": "creds", "path": "/alcove/volumes/creds", "defaultMode": 420,
        "sources": [{"secret": {"name": "db-creds"}}],
    });
    let general = json!({"version": 1, "logLevel": "info"});
    let variables = [("ALCOVE_SIDECAR", general), ("ALCOVE_SECRET_0", secret), ("ALCOVE_VOLUME_0", volume)];
    let env: Vec<Value> =
        variables.iter().map(|(name, value)| json!({"name": name, "value": value.to_string()})).collect();
    json!({
        "name": "alcove-sidecar",
        "image": "localhost/busybox:test",
        "restartPolicy": "Always",
        "command": ["sh", "-c", "sleep 1000000"],
        "env": env,
    })
}

/// The init containers of a Pod without the mount of the API token, whose volume has a random name.
async fn init_containers(setting: &Setting<'_>, pod: &str) -> Result<Value> {
    let text = setting.namespace().kubectl(&["get", "pod", pod, "-o", "jsonpath={.spec.initContainers}"]).await?;
    let mut containers: Value = serde_json::from_str(&text)?;
    for container in containers.as_array_mut().into_iter().flatten() {
        if let Some(mounts) = container["volumeMounts"].as_array_mut() {
            mounts.retain(|mount| !mount["name"].as_str().unwrap_or_default().starts_with("kube-api-access-"));
        }
    }
    Ok(containers)
}

async fn a_hand_made_sidecar_gains_nothing(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "own"})).await?;
    let mut forged = opted_in("forged", &setting.reference("db"));
    forged["spec"]["initContainers"] = json!([forged_sidecar()]);
    namespace.apply(&forged.to_string()).await?;
    namespace.apply(&opted_in("honest", &setting.reference("db")).to_string()).await?;
    // Generated anew: image, command and configuration are those that a Pod without the forgery gets.
    let (forged, honest) = (init_containers(&setting, "forged").await?, init_containers(&setting, "honest").await?);
    ensure!(forged == honest, "{forged}\n\n{honest}");
    let mut bare = opted_in("bare", &setting.reference("db"));
    bare["metadata"]["annotations"] = json!({"alcove.dev/inject": "true", "alcove.dev/injected": "0.1.0"});
    bare["spec"]["initContainers"] = json!([forged_sidecar()]);
    bare["spec"]["volumes"] = json!([{"name": "creds", "emptyDir": {"medium": "Memory"}}]);
    // No name of this Pod is bound, so the forgery is taken out of it, and the volume is the Secret that it was made from.
    namespace.apply(&bare.to_string()).await?;
    let path = "jsonpath={.spec.initContainers}{.spec.volumes[?(@.name=='creds')].secret.secretName}";
    let left = namespace.kubectl(&["get", "pod", "bare", "-o", path]).await?;
    ensure!(left == "db-creds", "the forgery left something behind: {left}");
    Ok(())
}

async fn no_container_reaches_the_volumes_of_the_sidecar(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "own"})).await?;
    for volume in ["alcove-identity", "alcove-env"] {
        let mut thief = opted_in("thief", &setting.reference("db"));
        thief["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "creds", "mountPath": "/etc/creds"}, {"name": volume, "mountPath": "/stolen"}]);
        let refusal = namespace.refusal(&thief.to_string()).await?;
        ensure!(refusal.contains(volume), "{refusal}");
    }
    // The env file of another container, named as the sidecar names it.
    let mut thief = opted_in("thief", &setting.reference("db"));
    thief["spec"]["containers"][0]["env"] =
        json!([{"name": "OWN", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}]);
    thief["spec"]["containers"].as_array_mut().unwrap().push(json!({
        "name": "second",
        "image": "localhost/busybox:test",
        "env": [{"name": "STOLEN", "valueFrom": {"fileKeyRef": {
            "volumeName": "alcove-env", "path": "app", "key": "OWN.db-creds.password",
        }}}],
    }));
    let refusal = namespace.refusal(&thief.to_string()).await?;
    ensure!(refusal.contains("alcove-env"), "{refusal}");
    Ok(())
}

async fn an_ephemeral_container_reaches_no_secret(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    let namespace = setting.namespace();
    namespace.wait_until_ready("app").await?;
    for stolen in [
        json!({"volumeMounts": [{"name": "creds", "mountPath": "/stolen"}]}),
        json!({"volumeMounts": [{"name": "alcove-identity", "mountPath": "/stolen"}]}),
        json!({"env": [{"name": "X", "valueFrom": {"fileKeyRef": {"volumeName": "alcove-status", "path": "x", "key": "x"}}}]}),
        json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}]}),
        json!({"targetContainerName": "alcove-sidecar"}),
    ] {
        let mut container = stolen.clone();
        container["name"] = "debugger".into();
        container["image"] = "localhost/busybox:test".into();
        let patch = json!({"spec": {"ephemeralContainers": [container]}}).to_string();
        let patching = ["patch", "pod", "app", "--subresource=ephemeralcontainers", "--type=strategic", "-p", &patch];
        let Err(error) = namespace.kubectl(&patching).await else { anyhow::bail!("the API server took {stolen}") };
        let refusal = format!("{error:#}");
        ensure!(refusal.contains("pods.alcove.dev") && refusal.contains("debugger"), "{refusal}");
    }
    // A debugger that asks for nothing of ours is nobody's business.
    let innocent = ["debug", "app", "--image=localhost/busybox:test", "--image-pull-policy=IfNotPresent", "--", "true"];
    namespace.kubectl(&innocent).await.map(drop)
}

async fn a_forged_marker_does_not_skip_policy(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let mut marked = opted_in("app", "vault:kv/somebody-else/db");
    marked["metadata"]["annotations"]["alcove.dev/injected"] = "0.1.0".into();
    let refusal = setting.namespace().refusal(&marked.to_string()).await?;
    let reason = "no policy allows key \"kv/somebody-else/db\"";
    ensure!(refusal.contains(reason), "{refusal}");
    // The same as if it had been changed already: what it was changed from is judged.
    marked["spec"]["initContainers"] = json!([forged_sidecar()]);
    marked["spec"]["volumes"] = json!([{"name": "creds", "emptyDir": {"medium": "Memory"}}]);
    let refusal = setting.namespace().refusal(&marked.to_string()).await?;
    ensure!(refusal.contains(reason), "{refusal}");
    Ok(())
}

/// The text with which the API server refuses a patch of the Pod `app`.
async fn refused_patch(setting: &Setting<'_>, patch: &Value) -> Result<String> {
    let tried =
        setting.namespace().kubectl(&["patch", "pod", "app", "--type=strategic", "-p", &patch.to_string()]).await;
    match tried {
        Ok(_) => anyhow::bail!("the API server took {patch}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

async fn running(test: &Test) -> Result<Setting<'static>> {
    let setting = Setting::shared(test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    setting.namespace().apply(&opted_in("app", &setting.reference("db")).to_string()).await?;
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
        let refusal = refused_patch(&setting, &json!({"metadata": {"annotations": annotations}})).await?;
        ensure!(refusal.contains("alcove.dev"), "{refusal}");
    }
    Ok(())
}

async fn our_annotations_cannot_be_changed_by_placing_the_pod(test: Test) -> Result<()> {
    let namespace = Setting::shared(&test).await?.namespace().clone();
    // No scheduler takes it, so this test is its scheduler. The annotations of a Binding overwrite those of its Pod.
    let container = json!({"name": "app", "image": "localhost/busybox:test"});
    let spec = json!({"schedulerName": "nobody", "containers": [container]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "unplaced"}, "spec": spec});
    namespace.apply(&pod.to_string()).await?;
    for path in ["pods/unplaced/binding", "bindings"] {
        let path = format!("/api/v1/namespaces/{}/{path}", namespace.name());
        let place = async |annotations: &Value| {
            let metadata = json!({"name": "unplaced", "annotations": annotations});
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": "nowhere"});
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target});
            let parameters = PostParams { dry_run: true, field_manager: None };
            let request = Request::new(&path).create(&parameters, serde_json::to_vec(&binding)?)?;
            Ok::<_, anyhow::Error>(test.node().client().request::<Value>(request).await)
        };
        for key in ["alcove.dev/inject", "alcove.dev/injected", "secret.alcove.dev/db-creds"] {
            let outcome = place(&json!({key: "false", "example.com/rank": "1"})).await?;
            let refusal = outcome.err().with_context(|| format!("{path} takes {key}"))?.to_string();
            ensure!(
                refusal.contains("alcove-pod-bindings") && refusal.contains(&format!("leave away: {key}")),
                "{refusal}"
            );
        }
        for annotations in [json!({"example.com/rank": "1", "notalcove.dev/x": "1"}), json!(null)] {
            place(&annotations).await?.with_context(|| format!("{path} does not take {annotations}"))?;
        }
    }
    Ok(())
}

async fn the_image_of_the_sidecar_cannot_be_changed_afterwards(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    let patch = json!({"spec": {"initContainers": [{"name": "alcove-sidecar", "image": "localhost/busybox:test"}]}});
    let refusal = refused_patch(&setting, &patch).await?;
    ensure!(refusal.contains("alcove-sidecar") && refusal.contains("image"), "{refusal}");
    Ok(())
}

async fn what_concerns_us_cannot_be_changed_through_a_subresource(test: Test) -> Result<()> {
    let setting = running(&test).await?;
    // The status of a Pod is its kubelet's, and an update of it may still change annotations.
    let annotations =
        json!({"metadata": {"annotations": {"secret.alcove.dev/db-creds": null, "alcove.dev/injected": null}}});
    let patch = annotations.to_string();
    let tried = setting
        .namespace()
        .kubectl(&["patch", "pod", "app", "--subresource=status", "--type=merge", "-p", &patch])
        .await;
    let Err(error) = tried else { anyhow::bail!("our annotations were removed through the status of the Pod") };
    ensure!(format!("{error:#}").contains("alcove.dev"), "{error:#}");
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
    namespace
        .kubectl(&["annotate", "serviceaccount", "default", "kubernetes.io/enforce-mountable-secrets=true"])
        .await?;
    // In-tree admission misses projected volumes to this day; for a bound name we do not.
    let mut projected = opted_in("app", &setting.reference("db"));
    projected["spec"]["volumes"] =
        json!([{"name": "creds", "projected": {"sources": [{"secret": {"name": "db-creds"}}]}}]);
    let refusal = namespace.refusal(&projected.to_string()).await?;
    ensure!(refusal.contains("db-creds") && refusal.contains("enforces its list"), "{refusal}");
    let secrets = json!({"secrets": [{"name": "db-creds"}]}).to_string();
    namespace.kubectl(&["patch", "serviceaccount", "default", "-p", &secrets]).await?;
    namespace.apply(&projected.to_string()).await
}
