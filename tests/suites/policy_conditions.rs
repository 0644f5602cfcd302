//! Policies beyond allow and deny: what a Pod with secrets may not be, and policies that are tried out first.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::operations::audited;
use crate::setting::{Setting, opted_in};

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        each_condition_refuses_the_pods_that_get_secrets_and_no_other,
        debug_containers_meet_the_conditions_on_their_pod,
        a_policy_on_trial_refuses_nobody_and_tells_what_it_would_refuse,
        a_service_account_is_selected_by_its_labels_from_its_first_moment,
    ]
}

fn policy(name: &str, more: &Value) -> Value {
    let mut spec = json!({"serviceAccounts": ["*"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": "alcove.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {"name": name}, "spec": spec})
}

fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[field] = value;
    pod
}

/// What kubectl prints when it fails, once it does: a policy holds as soon as the watch has delivered it.
async fn failure(test: &Test, arguments: &[&str], input: &str) -> Result<String> {
    let namespaced: Vec<&str> = ["-n", test.namespace().name()].into_iter().chain(arguments.iter().copied()).collect();
    wait::until("kubectl to fail", async || {
        let tried = test.node().kubectl().failure(&namespaced, input).await;
        Ok(tried.map_or_else(|passed| Seen::NotYet(format!("{passed:#}")), Seen::Met))
    })
    .await
}

const TRY: [&str; 4] = ["create", "--dry-run=server", "-f", "-"];

async fn each_condition_refuses_the_pods_that_get_secrets_and_no_other(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let conditions = json!({
        "denyPrivileged": true,
        "denyHostPID": true,
        "denySharedProcessNamespace": true,
        "denyKubeletHostPath": true,
    });
    namespace.apply(&policy("strict", &json!({"pod": conditions})).to_string()).await?;
    let asking = opted_in("app", &setting.reference("db"));
    let second = json!({"name": "second", "image": "localhost/busybox:test", "securityContext": {"privileged": true}});
    let native = with(second.clone(), "/restartPolicy", "Always".into());
    let host = |path: &str| json!({"name": "host", "hostPath": {"path": path}});
    for (pointer, value, condition, place) in [
        ("/spec/containers/1", &second, "denyPrivileged", "spec.containers[1].securityContext.privileged"),
        (
            "/spec/initContainers",
            &json!([second]),
            "denyPrivileged",
            "spec.initContainers[0].securityContext.privileged",
        ),
        (
            "/spec/initContainers",
            &json!([native]),
            "denyPrivileged",
            "spec.initContainers[0].securityContext.privileged",
        ),
        ("/spec/hostPID", &json!(true), "denyHostPID", "spec.hostPID"),
        ("/spec/shareProcessNamespace", &json!(true), "denySharedProcessNamespace", "spec.shareProcessNamespace"),
        ("/spec/volumes/1", &host("/var/lib/kubelet/pods"), "denyKubeletHostPath", "spec.volumes[1].hostPath.path"),
        ("/spec/volumes/1", &host("/"), "denyKubeletHostPath", "spec.volumes[1].hostPath.path"),
    ] {
        let mut pod = asking.clone();
        if let Some(list) = pointer.strip_suffix("/1") {
            pod.pointer_mut(list).and_then(Value::as_array_mut).unwrap().push(value.clone());
        } else {
            pod = with(pod, pointer, value.clone());
        }
        let refusal = failure(&test, &TRY, &pod.to_string()).await?;
        for expected in
            [place, "Pod \"app\" with ServiceAccount \"default\"", &format!("spec.pod.{condition} of SecretPolicy")]
        {
            ensure!(refusal.contains(expected), "{expected} is not in: {refusal}");
        }
        // The same Pod without a bound Secret is nobody's business.
        pod["metadata"]["annotations"] = json!({"alcove.dev/inject": "true"});
        namespace_takes(&test, &pod).await?;
    }
    namespace_takes(&test, &asking).await
}

async fn namespace_takes(test: &Test, pod: &Value) -> Result<()> {
    let arguments = ["-n", test.namespace().name(), "create", "--dry-run=server", "-f", "-"];
    test.node().kubectl().run_with_input(&arguments, &pod.to_string()).await.map(drop)
}

/// Tries to give the Pod `app` a debug container.
fn debugging<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let first = ["debug", "app", "--image=localhost/busybox:test", "--image-pull-policy=IfNotPresent"];
    first.into_iter().chain(more.iter().copied()).chain(["--", "true"]).collect()
}

async fn debug_containers_meet_the_conditions_on_their_pod(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "p"})).await?;
    namespace.apply(&opted_in("app", &setting.reference("db")).to_string()).await?;
    namespace.wait_until_ready("app").await?;
    let conditions = json!({"denyPrivileged": true, "denySharedProcessNamespace": true});
    namespace.apply(&policy("strict", &json!({"pod": conditions})).to_string()).await?;
    let refusal = failure(&test, &debugging(&["--profile=sysadmin"]), "").await?;
    ensure!(refusal.contains("spec.pod.denyPrivileged of SecretPolicy"), "{refusal}");
    let refusal = failure(&test, &debugging(&["--target=app"]), "").await?;
    ensure!(refusal.contains("spec.pod.denySharedProcessNamespace of SecretPolicy"), "{refusal}");
    namespace.kubectl(&debugging(&[])).await?;
    namespace.apply(&policy("strict", &json!({"pod": {"allowEphemeral": false}})).to_string()).await?;
    let refusal = failure(&test, &debugging(&["-c", "second"]), "").await?;
    for expected in ["\"second\"", "\"app\"", "ServiceAccount \"default\"", "spec.pod.allowEphemeral of SecretPolicy"] {
        ensure!(refusal.contains(expected), "{expected} is not in: {refusal}");
    }
    // A Pod without secrets may be debugged.
    let mut plain = opted_in("plain", "none");
    plain["metadata"]["annotations"] = json!({});
    plain["spec"]["volumes"] = json!([{"name": "creds", "emptyDir": {}}]);
    namespace.apply(&plain.to_string()).await?;
    namespace.kubectl(&["debug", "plain", "--image=localhost/busybox:test", "--", "true"]).await.map(drop)
}

async fn a_policy_on_trial_refuses_nobody_and_tells_what_it_would_refuse(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let keys = json!([format!("kv/{}/**", namespace.name())]);
    let deny = json!([{"store": {"kind": "ExternalStore", "name": "vault"}, "keys": keys}]);
    for (name, mode) in [("warned", "Warn"), ("audited", "Audit")] {
        let trial = json!({"mode": mode, "deny": deny, "pod": {"denyHostPID": true}});
        namespace.apply(&policy(name, &trial).to_string()).await?;
    }
    let pod = with(opted_in("app", &setting.reference("db")), "/spec/hostPID", true.into());
    let strictly = ["create", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
    // kubectl prints long warnings in pieces.
    let printed = wait::until("both to be told", async || {
        let printed = failure(&test, &strictly, &pod.to_string()).await?.replace("…\nWarning: …", " ");
        let is_told = printed.contains("spec.deny[0] of SecretPolicy")
            && printed.contains("spec.pod.denyHostPID of SecretPolicy");
        Ok(if is_told { Seen::Met(printed) } else { Seen::NotYet(printed) })
    })
    .await?;
    ensure!(
        printed.contains("Warning: admitted only since a policy is in mode Warn") && !printed.contains("audited"),
        "{printed}"
    );
    namespace.apply(&pod.to_string()).await?;
    let annotations = audited(&test, "app").await?;
    let told = annotations["pods.alcove.dev/would-be-denied"].as_str().context("nothing is recorded")?;
    for (name, mode) in [("warned", "Warn"), ("audited", "Audit")] {
        let by = format!("by SecretPolicy {}/{name} in mode {mode}", namespace.name());
        ensure!(told.matches(&by).count() == 2, "{by} is not twice in: {told}");
    }
    // What it allows is not granted.
    let all = json!([{"store": {"kind": "ExternalStore", "name": "vault"}, "keys": ["**"]}]);
    namespace.apply(&policy("generous", &json!({"mode": "Warn", "allow": all})).to_string()).await?;
    let elsewhere = opted_in("other", "vault:kv/elsewhere/db");
    let refusal = failure(&test, &TRY, &elsewhere.to_string()).await?;
    ensure!(refusal.contains("no policy allows"), "{refusal}");
    // Once it is enforced, it refuses.
    namespace
        .kubectl(&["patch", "secretpolicy", "warned", "--type=merge", "-p", r#"{"spec":{"mode":"Enforce"}}"#])
        .await?;
    let mut again = pod.clone();
    again["metadata"]["name"] = "again".into();
    let refusal = failure(&test, &TRY, &again.to_string()).await?;
    if refusal.contains("spec.deny[0] of SecretPolicy") {
        return Ok(());
    }
    bail!("{refusal}")
}

async fn a_service_account_is_selected_by_its_labels_from_its_first_moment(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    let rule = json!([{"store": {"kind": "ExternalStore", "name": "vault"}, "keys": ["kv/**"]}]);
    let by_label = |name: &str, tier: &str, list: &str| {
        let mut spec = json!({"serviceAccountSelector": {"matchLabels": {"tier": tier}}});
        spec[list] = rule.clone();
        json!({"apiVersion": "alcove.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {"name": name}, "spec": spec})
    };
    namespace.apply(&by_label("front", "front", "allow").to_string()).await?;
    namespace.apply(&by_label("forbidden", "forbidden", "deny").to_string()).await?;
    let asking = |account: &str| {
        let pod = opted_in(account, &setting.reference("db"));
        with(pod, "/spec/serviceAccountName", account.into()).to_string()
    };
    for number in 0..5 {
        let name = format!("front-{number}");
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "labels": {"tier": "front"}},
        });
        // In one breath, as a chart is installed.
        namespace.apply(&format!("{account}\n---\n{}", asking(&name))).await?;
    }
    namespace.kubectl(&["create", "serviceaccount", "back"]).await?;
    let refusal = namespace.refusal(&asking("back")).await?;
    ensure!(refusal.contains("no policy allows"), "{refusal}");
    namespace.kubectl(&["label", "serviceaccount", "default", "tier=forbidden"]).await?;
    let refusal = failure(&test, &TRY, &asking("default")).await?;
    ensure!(refusal.contains("spec.deny[0] of SecretPolicy") && refusal.contains("/forbidden denies key"), "{refusal}");
    // Both count now: the labels, and those of the policy that names it.
    namespace.kubectl(&["label", "serviceaccount", "default", "tier-"]).await?;
    wait::until("the label to be gone", async || {
        let arguments = ["-n", namespace.name(), "create", "--dry-run=server", "-f", "-"];
        let tried = test.node().kubectl().run_with_input(&arguments, &asking("default")).await;
        Ok(tried.map_or_else(|error| Seen::NotYet(format!("{error:#}")), Seen::Met))
    })
    .await
    .map(drop)
}
