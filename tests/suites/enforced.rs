//! Namespaces under enforcement: every Pod is judged there, whether it asks for Alcove or not.

use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::vault::AUDIENCE;
use alcove_tests::{claims, claims_alone, state};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::setting::{Setting, opted_in};

mod places;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = claims_alone![without_the_webhook_nothing_starts_there_and_the_documented_way_out_works];
    tests.extend(claims![
        every_place_that_the_api_server_knows_is_judged_in_every_kind_of_container,
        a_namespace_joins_and_leaves_while_its_pods_run,
        opting_out_does_not_evade_enforcement,
        only_a_debug_container_that_is_new_is_judged,
        a_token_for_a_store_is_not_made_by_hand,
    ]);
    tests
}

const LABEL: &str = "alcove.dev/enforce";
/// The webhook that sees the Pods of such a namespace that ask for nothing.
const WEBHOOK: &str = "enforce.pods.alcove.dev";

/// Puts the test's namespace under enforcement, with a ServiceAccount `restricted` that may mount `listed` and nothing else.
async fn enforced(test: &Test) -> Result<&Namespace> {
    test.alcove().await?;
    let namespace = test.namespace();
    namespace.label(&format!("{LABEL}=true")).await?;
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "restricted", "annotations": {"alcove.dev/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "listed"}],
        "imagePullSecrets": [{"name": "listed"}],
    });
    namespace.apply(&account.to_string()).await?;
    Ok(namespace)
}

/// A Pod of the restricted ServiceAccount that mounts a Secret of this name, which no binding binds.
fn mounting(name: &str, secret: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": "restricted",
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sleep", "1000000"],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }],
            // In-tree admission misses projected volumes to this day.
            "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": secret, "optional": true}}]}}],
        },
    })
}

/// Adds an ephemeral container to a Pod; the refusal where it is refused.
async fn debug(namespace: &Namespace, pod: &str, container: &Value, dry_run: &str) -> Result<Option<String>> {
    let patch = json!({"spec": {"ephemeralContainers": [container]}}).to_string();
    let arguments =
        ["patch", "pod", pod, "--subresource=ephemeralcontainers", "--type=strategic", dry_run, "-p", &patch];
    Ok(namespace.kubectl(&arguments).await.err().map(|error| format!("{error:#}")))
}

async fn every_place_that_the_api_server_knows_is_judged_in_every_kind_of_container(test: Test) -> Result<()> {
    let namespace = enforced(&test).await?;
    namespace.apply(&mounting("base", "listed").to_string()).await?;
    let published = test.node().kubectl().run(&["get", "--raw", "/openapi/v3/api/v1"]).await?;
    let document = serde_json::from_str(&published)?;
    let places = places::that_name_a_secret(&document)?;
    ensure!(places.len() >= 18, "only {} places were found", places.len());
    for place in &places {
        for variant in place.variants() {
            for (secret, is_allowed) in [("listed", true), ("unlisted", false)] {
                let refusal = match variant.pod(secret) {
                    places::Sent::Pod(mut pod) => {
                        pod["spec"]["serviceAccountName"] = "restricted".into();
                        created(&test, &pod).await?
                    }
                    places::Sent::EphemeralContainer(container) => {
                        debug(namespace, "base", &container, "--dry-run=server").await?
                    }
                };
                judged(&variant, secret, is_allowed, refusal.as_deref())?;
            }
        }
    }
    Ok(())
}

/// Creates a Pod in a dry run; the refusal where it is refused.
async fn created(test: &Test, pod: &Value) -> Result<Option<String>> {
    let arguments = ["-n", test.namespace().name(), "create", "--dry-run=server", "-f", "-"];
    let created = test.node().kubectl().run_with_input(&arguments, &pod.to_string()).await;
    Ok(created.err().map(|error| format!("{error:#}")))
}

fn judged(variant: &places::Variant<'_>, secret: &str, is_allowed: bool, refusal: Option<&str>) -> Result<()> {
    match (is_allowed, refusal) {
        (true, None) => Ok(()),
        (true, Some(refusal)) => anyhow::bail!("{secret} at {variant} is refused: {refusal}"),
        (false, None) => anyhow::bail!("{secret} at {variant} is let in"),
        (false, Some(refusal)) => {
            for expected in [WEBHOOK, "enforces its list", "\"restricted\"", secret, &variant.field_path()] {
                ensure!(refusal.contains(expected), "{variant}: {expected} is not in: {refusal}");
            }
            Ok(())
        }
    }
}

async fn a_namespace_joins_and_leaves_while_its_pods_run(test: Test) -> Result<()> {
    let namespace = enforced(&test).await?;
    namespace.kubectl(&["label", "namespace", namespace.name(), "alcove.dev/enforce-"]).await?;
    namespace.apply(&mounting("before", "unlisted").to_string()).await?;
    namespace.wait_until_ready("before").await?;
    namespace.label(&format!("{LABEL}=true")).await?;
    // What runs is nobody's business: it can be labelled and finalized, and it goes on.
    for patch in [
        json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/hold"]}}),
        json!({"metadata": {"finalizers": null}}),
    ] {
        namespace.kubectl(&["patch", "pod", "before", "-p", &patch.to_string()]).await?;
    }
    let refusal = namespace.refusal(&mounting("during", "unlisted").to_string()).await?;
    ensure!(refusal.contains(WEBHOOK) && refusal.contains("enforces its list"), "{refusal}");
    namespace.wait_until_ready("before").await?;
    namespace.kubectl(&["label", "namespace", namespace.name(), "alcove.dev/enforce-"]).await?;
    namespace.apply(&mounting("after", "unlisted").to_string()).await
}

async fn opting_out_does_not_evade_enforcement(test: Test) -> Result<()> {
    let namespace = enforced(&test).await?;
    let mut pod = mounting("app", "unlisted");
    pod["metadata"]["annotations"] = json!({"alcove.dev/inject": "false"});
    let refusal = namespace.refusal(&pod.to_string()).await?;
    ensure!(refusal.contains(WEBHOOK) && refusal.contains("enforces its list"), "{refusal}");
    // Whoever asks for Alcove is judged by the webhook that sees them everywhere.
    pod["metadata"]["annotations"] = json!({"alcove.dev/inject": "true"});
    let refusal = namespace.refusal(&pod.to_string()).await?;
    ensure!(refusal.contains("enforces its list"), "{refusal}");
    pod["metadata"]["annotations"] = json!({"alcove.dev/inject": "false"});
    pod["spec"]["volumes"][0]["projected"]["sources"][0]["secret"]["name"] = "listed".into();
    namespace.apply(&pod.to_string()).await
}

async fn only_a_debug_container_that_is_new_is_judged(test: Test) -> Result<()> {
    let namespace = enforced(&test).await?;
    let debugger = |name: &str, secret: Option<&str>| {
        let reference = |secret| json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k", "optional": true}}}]);
        let env = secret.map_or_else(|| json!([]), reference);
        json!({"name": name, "image": "localhost/busybox:test", "imagePullPolicy": "IfNotPresent", "command": ["true"], "env": env})
    };
    namespace.kubectl(&["label", "namespace", namespace.name(), "alcove.dev/enforce-"]).await?;
    namespace.apply(&mounting("app", "listed").to_string()).await?;
    let before = debug(namespace, "app", &debugger("before", Some("unlisted")), "--dry-run=none").await?;
    ensure!(before.is_none(), "without enforcement: {before:?}");
    namespace.label(&format!("{LABEL}=true")).await?;
    let innocent = debug(namespace, "app", &debugger("innocent", None), "--dry-run=none").await?;
    ensure!(innocent.is_none(), "the first debug container is held against the second: {innocent:?}");
    let another = debug(namespace, "app", &debugger("another", Some("unlisted")), "--dry-run=none").await?;
    let another = another.unwrap_or_default();
    ensure!(another.contains("another") && another.contains("enforces its list"), "{another}");
    ensure!(!another.contains("\"before\""), "what was there before is judged: {another}");
    Ok(())
}

async fn a_token_for_a_store_is_not_made_by_hand(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    setting.put("db", json!({"password": "p"})).await?;
    let namespace = enforced(&test).await?;
    let projecting = |name: &str, audience: &str| {
        let mut pod = mounting(name, "listed");
        pod["spec"]["volumes"][0]["projected"]["sources"][0] =
            json!({"serviceAccountToken": {"path": "token", "audience": audience}});
        pod
    };
    let refusal = namespace.refusal(&projecting("thief", AUDIENCE).to_string()).await?;
    let place = "spec.volumes[0].projected.sources[0].serviceAccountToken.audience";
    ensure!(
        refusal.contains(WEBHOOK) && refusal.contains(place) && refusal.contains("is the audience of"),
        "{refusal}"
    );
    // What a cloud's webhook adds to every Pod.
    namespace.apply(&projecting("cloud", "sts.amazonaws.com").to_string()).await?;
    // The sidecar's own token has that audience, and is let in.
    namespace.apply(&opted_in("app", &setting.reference("db")).to_string()).await?;
    namespace.wait_until_ready("app").await.map(drop)
}

/// The commands of docs/operations.md, for this namespace.
fn documented_way_out(namespace: &str) -> Result<Vec<String>> {
    let operations = std::fs::read_to_string(state::checkout().join("docs/operations.md"))?;
    let (_, section) = operations.split_once("**The way out**").context("no way out is documented")?;
    let block = section.split("```").nth(1).context("the way out has no commands")?;
    let commands: Vec<String> = block.trim().lines().map(|line| line.replace("shop", namespace)).collect();
    ensure!(!commands.is_empty() && commands.iter().all(|command| command.starts_with("kubectl ")), "{commands:?}");
    Ok(commands)
}

async fn without_the_webhook_nothing_starts_there_and_the_documented_way_out_works(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = enforced(&test).await?;
    let alcove = test.alcove().await?;
    alcove.stop(test.node()).await?;
    let outcome = async {
        for pod in [mounting("plain", "listed"), opted_in("opted-in", &setting.reference("db"))] {
            let refusal = namespace.refusal(&pod.to_string()).await?;
            ensure!(refusal.contains("failed calling webhook"), "{refusal}");
        }
        // The system's own namespaces never come here, even if somebody labels them.
        let kubectl = test.node().kubectl();
        kubectl.run(&["label", "namespace", "kube-system", "alcove.dev/enforce=true"]).await?;
        let mut system = mounting("enforced-system", "listed");
        system["spec"]["serviceAccountName"] = "default".into();
        let arguments = ["create", "-n", "kube-system", "--dry-run=server", "-f", "-"];
        let started = kubectl.run_with_input(&arguments, &system.to_string()).await;
        kubectl.run(&["label", "namespace", "kube-system", "alcove.dev/enforce-"]).await?;
        started?;
        for command in documented_way_out(namespace.name())? {
            let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
            kubectl.run(&arguments).await?;
        }
        namespace.apply(&mounting("plain", "listed").to_string()).await?;
        namespace.wait_until_ready("plain").await.map(drop)
    }
    .await;
    alcove.start(test.node()).await?;
    outcome
}
