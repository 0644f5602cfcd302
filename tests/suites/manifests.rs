//! The manifests that users apply: no drift, no permission too many, and examples that work.

use std::path::Path;

use alcove_tests::suite::{Test, Trial};
use alcove_tests::{claims, facts, generated, state};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = facts![generated_files_are_up_to_date];
    tests.extend(claims![
        what_is_installed_equals_the_manifests,
        every_example_is_accepted_by_the_api_server,
        every_overlay_can_be_rendered,
        the_webhook_may_read_no_secret_but_its_own,
        an_object_with_mistakes_is_refused_with_their_places,
    ]);
    tests
}

fn generated_files_are_up_to_date() -> Result<()> {
    let stale = generated::stale(state::checkout())?;
    ensure!(stale.is_empty(), "out of date: {}; `make generate` writes them anew", stale.join(", "));
    Ok(())
}

async fn what_is_installed_equals_the_manifests(test: Test) -> Result<()> {
    test.alcove().await?;
    let overlay = path(&state::checkout().join("manifests/overlays/test"))?;
    // `kubectl diff` exits with 1 when there is a difference; server-side, as it was applied.
    let difference = test.node().kubectl().run(&["diff", "--server-side", "-k", &overlay]).await;
    difference.map(drop).context("kubectl diff shows a difference to what is installed")
}

async fn every_overlay_can_be_rendered(test: Test) -> Result<()> {
    let mut rendered = 0;
    for entry in std::fs::read_dir(state::checkout().join("manifests/overlays"))? {
        let overlay = path(&entry?.path())?;
        let manifests = test.node().kubectl().run(&["kustomize", &overlay]).await?;
        ensure!(manifests.contains("kind: MutatingWebhookConfiguration"), "{overlay} lacks the registration");
        rendered += 1;
    }
    ensure!(rendered >= 4, "only {rendered} overlays");
    Ok(())
}

/// The kustomizations below `manifests/examples` whose first line is the command that applies them; others are parts.
fn examples() -> Result<Vec<String>> {
    let checkout = state::checkout();
    let mut found = Vec::new();
    let mut directories = vec![checkout.join("manifests/examples")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            directories.extend(Some(entry?.path()).filter(|path| path.is_dir()));
        }
        let text = std::fs::read_to_string(directory.join("kustomization.yaml")).unwrap_or_default();
        if let Some(named) = text.lines().next().and_then(|line| line.strip_prefix("# kubectl apply -k ")) {
            ensure!(checkout.join(named) == directory, "{} says how to apply {named}", directory.display());
            found.push(path(&directory)?);
        }
    }
    found.sort();
    Ok(found)
}

async fn every_example_is_accepted_by_the_api_server(test: Test) -> Result<()> {
    test.alcove().await?;
    let examples = examples()?;
    ensure!(examples.len() >= 6, "examples are missing: {examples:?}");
    let kubectl = test.node().kubectl();
    for example in &examples {
        kubectl.run(&["apply", "-k", example]).await.with_context(|| format!("applying {example}"))?;
        let refused = refused_pods(kubectl, example).await?;
        kubectl.run(&["delete", "-k", example, "--wait=true", "--ignore-not-found"]).await?;
        ensure!(refused.is_empty(), "{example}: {refused}");
    }
    Ok(())
}

/// Why the Pods of an example's Deployments are not there. That they cannot start is fine: stores and images are not here.
async fn refused_pods(kubectl: &alcove_tests::kubectl::Kubectl, example: &str) -> Result<String> {
    let objects = kubectl.json(&["get", "-k", example]).await?;
    let items = objects.pointer("/items").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut refused = Vec::new();
    for item in items.iter().filter(|item| item["kind"] == "Deployment") {
        let (namespace, name) = (text(item, "/metadata/namespace"), text(item, "/metadata/name"));
        // The number of Pods that exist, which is left out where there is none.
        let exists = "--for=jsonpath={.status.replicas}";
        let waited =
            kubectl.run(&["wait", exists, "-n", namespace, &format!("deployment/{name}"), "--timeout=60s"]).await;
        if let Err(error) = waited {
            let events =
                kubectl.run(&["get", "events", "-n", namespace, "--field-selector=reason=FailedCreate"]).await?;
            refused.push(format!("{error:#}\n{events}"));
        }
    }
    Ok(refused.join("\n"))
}

async fn the_webhook_may_read_no_secret_but_its_own(test: Test) -> Result<()> {
    let alcove = test.alcove().await?;
    let kubectl = test.node().kubectl();
    let account = format!("--as=system:serviceaccount:{}:alcove-webhook", alcove.namespace());
    let may = async |verb: &str, what: &str, namespace: &str| {
        let question = ["auth", "can-i", verb, what, "-n", namespace, &account];
        let subresource = ["--subresource=token"];
        let asked = if what == "serviceaccounts" { [&question[..], &subresource].concat() } else { question.to_vec() };
        let answer = kubectl.run(&asked).await;
        // `can-i` exits with 1 for "no".
        answer.is_ok_and(|text| text.trim() == "yes")
    };
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
        for namespace in ["default", "kube-system", test.namespace().name()] {
            ensure!(!may(verb, "secrets", namespace).await, "the webhook may {verb} Secrets in {namespace}");
        }
        ensure!(!may(verb, "secrets/another", alcove.namespace()).await || verb == "create", "{verb} secrets/another");
        ensure!(!may(verb, "serviceaccounts", "default").await, "the webhook may {verb} tokens");
        ensure!(!may(verb, "pods", "default").await, "the webhook may {verb} Pods");
    }
    ensure!(may("get", "secrets/alcove-webhook-tls", alcove.namespace()).await, "not even its own Secret");
    ensure!(may("patch", "mutatingwebhookconfigurations/alcove-webhook", "default").await, "not its own registration");
    ensure!(!may("patch", "mutatingwebhookconfigurations/another", "default").await, "the registrations of others");
    Ok(())
}

async fn an_object_with_mistakes_is_refused_with_their_places(test: Test) -> Result<()> {
    test.alcove().await?;
    let refusal = test
        .namespace()
        .refusal(
            r"
apiVersion: alcove.dev/v1alpha1
kind: ExternalStore
metadata: {name: wrong}
spec: {provider: {vault: {server: 'vault:8200/v1', auth: {}}}}
",
        )
        .await?;
    for expected in
        ["spec.provider.vault.server", "spec.provider.vault.auth", "exactly one of", "must state its audience"]
    {
        ensure!(refusal.contains(expected), "{expected} is not in: {refusal}");
    }
    let unknown = r"
apiVersion: alcove.dev/v1alpha1
kind: SecretPolicy
metadata: {name: wrong}
spec: {serviceAccount: [web]}
";
    let refusal = test.namespace().refusal(unknown).await?;
    ensure!(refusal.contains("spec.serviceAccount"), "{refusal}");
    Ok(())
}

fn path(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("the path of the checkout is not UTF-8")
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
