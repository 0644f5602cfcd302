//! How the API server is told of us: registrations that vanish, come back, come too early, come twice, or are somebody else's.

use alcove_tests::alcove::Alcove;
use alcove_tests::claims_alone;
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims_alone![
        a_registration_that_vanishes_while_serving_is_trusted_when_it_is_back,
        a_pod_from_before_the_registration_may_change_and_go,
        a_registration_that_is_replaced_by_force_is_trusted,
        a_registration_that_comes_before_the_deployment_refuses_until_it_is_there,
        two_installations_with_different_names_serve_side_by_side,
    ]
}

const TEST: &str = "manifests/overlays/test";
const SECOND: &str = "manifests/overlays/test-second";
/// What makes the API server call us, and refuse without us.
const REGISTRATION: [&str; 4] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

fn plain(name: &str) -> String {
    pod(name, &json!({"containers": [container(&json!([]))]})).to_string()
}

fn opted_in(name: &str, reference: &str) -> String {
    let mut opted_in = pod(
        name,
        &json!({
            "containers": [container(&json!([{"name": "creds", "mountPath": "/etc/creds"}]))],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        }),
    );
    opted_in["metadata"]["annotations"] = json!({"secret.alcove.dev/db-creds": reference});
    opted_in.to_string()
}

fn pod(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["terminationGracePeriodSeconds"] = 0.into();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

fn container(mounts: &Value) -> Value {
    json!({
        "name": "app",
        "image": "localhost/busybox:test",
        "command": ["sleep", "1000000"],
        "volumeMounts": mounts,
    })
}

/// The registration as the manifests have it.
async fn registration(test: &Test) -> Result<String> {
    let path = alcove_tests::state::checkout().join(TEST);
    let path = path.to_str().context("the path of the checkout is not UTF-8")?;
    let printed = test.node().kubectl().run(&["create", "--dry-run=client", "-o", "json", "-k", path]).await?;
    let documents = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    let mut objects = documents.collect::<Result<Vec<_>, _>>().context("parsing what kubectl printed")?;
    objects.retain(|object| REGISTRATION.contains(&object["kind"].as_str().unwrap_or_default()));
    for kind in REGISTRATION {
        ensure!(objects.iter().any(|object| object["kind"] == kind), "the manifests have no {kind}");
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())
}

/// A field of an object of the webhook.
async fn field(test: &Test, object: &str, path: &str) -> Result<String> {
    let alcove = test.alcove().await?.namespace();
    let path = format!("jsonpath={{{path}}}");
    test.node().kubectl().run(&["get", object, "-n", alcove, "-o", &path]).await
}

/// Applies an opted-in Pod and waits until it runs with its secret. The API server learns of a `caBundle` a moment late.
async fn served(setting: &Setting<'_>, name: &str) -> Result<()> {
    let pod = opted_in(name, &setting.reference("db"));
    let namespace = setting.namespace();
    wait::until("an opted-in Pod to be taken", async || Ok(Seen::attempt(namespace.apply(&pod).await))).await?;
    let found = namespace.wait_until_ready(name).await?;
    let sidecars = found.spec.unwrap().init_containers.unwrap_or_default();
    ensure!(sidecars.len() == 1, "{} has {} sidecars", name, sidecars.len());
    namespace.wait_for_output(name, "app", &["cat", "/etc/creds/password"], "p").await
}

async fn starts(namespace: &Namespace, name: &str) -> Result<()> {
    namespace.apply(&plain(name)).await?;
    namespace.wait_until_ready(name).await.map(drop)
}

async fn a_registration_that_vanishes_while_serving_is_trusted_when_it_is_back(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    let registration = registration(&test).await?;
    let before = field(&test, "secret/alcove-webhook-tls", ".data").await?;
    test.node().kubectl().run_with_input(&["delete", "-f", "-"], &registration).await?;
    let outcome = without_a_registration(&setting).await;
    Alcove::apply(test.node(), TEST).await?;
    outcome?;
    served(&setting, "after").await?;
    let after = field(&test, "secret/alcove-webhook-tls", ".data").await?;
    ensure!(before == after, "it took a new certificate");
    Ok(())
}

/// Nobody can refuse now. A Pod that opted in is not served, and does not start either.
async fn without_a_registration(setting: &Setting<'_>) -> Result<()> {
    let namespace = setting.namespace();
    unserved(namespace, "between", &opted_in("between", &setting.reference("db"))).await?;
    starts(namespace, "plain").await?;
    wait::until("the kubelet to hold the Pod back", async || {
        let events = namespace.events("between").await?.join("\n");
        Ok(if events.contains("secret \"db-creds\" not found") { Seen::Met(()) } else { Seen::NotYet(events) })
    })
    .await
}

/// Applies a Pod that opted in, until nobody refuses or changes it any more.
async fn unserved(namespace: &Namespace, name: &str, pod: &str) -> Result<()> {
    wait::until("the API server to forget the registration", async || {
        let taken = namespace.apply(pod).await;
        let Ok(()) = taken else { return Ok(Seen::attempt(taken)) };
        let path = "jsonpath={.spec.initContainers[*].name}";
        if namespace.kubectl(&["get", "pod", name, "-o", path]).await?.is_empty() {
            return Ok(Seen::Met(()));
        }
        namespace.delete("pod", name).await?;
        Ok(Seen::NotYet("it was injected".to_owned()))
    })
    .await
}

async fn a_pod_from_before_the_registration_may_change_and_go(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    setting.put("db", json!({"password": "p"})).await?;
    let registration = registration(&test).await?;
    test.node().kubectl().run_with_input(&["delete", "-f", "-"], &registration).await?;
    let outcome = unserved(namespace, "old", &opted_in("old", &setting.reference("db"))).await;
    Alcove::apply(test.node(), TEST).await?;
    outcome?;
    // A Pod like it is served again, so the changes that follow are judged.
    served(&setting, "new").await?;
    let patch = async |patch: &str| namespace.kubectl(&["patch", "pod", "old", "-p", patch]).await;
    patch(r#"{"metadata": {"finalizers": ["example.com/archive"]}, "spec": {"activeDeadlineSeconds": 3600}}"#).await?;
    namespace.kubectl(&["delete", "pod", "old", "--wait=false"]).await?;
    patch(r#"{"metadata": {"finalizers": null}, "spec": {"activeDeadlineSeconds": 1800}}"#).await?;
    namespace.kubectl(&["wait", "--for=delete", "pod/old", "--timeout=60s"]).await.map(drop)
}

async fn a_registration_that_is_replaced_by_force_is_trusted(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    let registration = registration(&test).await?;
    let uid = async || field(&test, "mutatingwebhookconfiguration/alcove-webhook", ".metadata.uid").await;
    let before = uid().await?;
    test.node().kubectl().run_with_input(&["replace", "--force", "-f", "-"], &registration).await?;
    ensure!(uid().await? != before, "kubectl replace --force has kept the object");
    let outcome = served(&setting, "app").await;
    Alcove::apply(test.node(), TEST).await?;
    outcome
}

async fn a_registration_that_comes_before_the_deployment_refuses_until_it_is_there(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    let (kubectl, namespace) = (test.node().kubectl(), test.alcove().await?.namespace());
    let registration = registration(&test).await?;
    kubectl.run(&["delete", "deployment", "alcove-webhook", "-n", namespace, "--cascade=foreground"]).await?;
    kubectl.run(&["delete", "secret,lease", "--all", "-n", namespace]).await?;
    kubectl.run_with_input(&["delete", "-f", "-"], &registration).await?;
    kubectl.run_with_input(&["apply", "--server-side", "-f", "-"], &registration).await?;
    let outcome = without_a_deployment(&setting).await;
    Alcove::apply(test.node(), TEST).await?;
    outcome?;
    served(&setting, "after").await
}

async fn without_a_deployment(setting: &Setting<'_>) -> Result<()> {
    let refusal = setting.namespace().refusal(&opted_in("early", &setting.reference("db"))).await?;
    ensure!(refusal.contains("failed calling webhook \"pods.alcove.dev\""), "{refusal}");
    starts(setting.namespace(), "plain").await
}

async fn two_installations_with_different_names_serve_side_by_side(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    setting.namespace().label("alcove=second").await?;
    let second = Alcove::apply(test.node(), SECOND).await;
    let outcome = async { beside_each_other(&test, &setting, second?.namespace()).await }.await;
    let path = alcove_tests::state::checkout().join(SECOND);
    let path = path.to_str().context("the path of the checkout is not UTF-8")?;
    test.node().kubectl().run(&["delete", "-k", path, "--wait=false"]).await?;
    Alcove::apply(test.node(), TEST).await?;
    outcome?;
    served(&setting, "first-alone").await
}

async fn beside_each_other(test: &Test, setting: &Setting<'_>, second: &str) -> Result<()> {
    let kubectl = test.node().kubectl();
    let bundle = async |name: &str| {
        field(test, &format!("mutatingwebhookconfiguration/{name}"), ".webhooks[0].clientConfig.caBundle").await
    };
    ensure!(bundle("alcove-webhook").await? != bundle("second-alcove-webhook").await?, "they share an authority");
    served(setting, "both").await?;
    let (mutating, validating) = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration");
    kubectl.run(&["delete", &format!("{mutating},{validating}"), "alcove-webhook"]).await?;
    served(setting, "second-alone").await?;
    let pods = ["get", "pods", "-n", second, "-o", "jsonpath={.items[0].metadata.name}"];
    let metrics = format!("/api/v1/namespaces/{second}/pods/{}:9090/proxy/metrics", kubectl.run(&pods).await?);
    let metrics = kubectl.run(&["get", "--raw", &metrics]).await?;
    ensure!(metrics.contains("webhook=\"mutating\",outcome=\"injected\""), "the second was not asked:\n{metrics}");
    Ok(())
}
