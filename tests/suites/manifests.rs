//! The manifests that users apply: no drift, no permission too many, and examples that work.

use std::path::Path;

use alcove_tests::alcove::ensure_no_drift;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::{claims, facts, generated, state};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

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
    // Server-side, as it was applied.
    ensure_no_drift(test.node().kubectl(), &["--server-side", "-k", &overlay]).await
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
    let items = objects["items"].as_array().context("kubectl printed no list")?;
    ensure!(items.iter().any(|item| item["kind"] == "Deployment"), "{example} has no workload");
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

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Asks the API server what users may do.
struct Court {
    reviews: Api<SubjectAccessReview>,
    groups: Vec<String>,
}

impl Court {
    /// For users in the groups of a namespace's ServiceAccounts.
    fn of(test: &Test, namespace: &str) -> Self {
        let groups = ["system:authenticated", "system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
        Self { reviews: Api::all(test.node().client().clone()), groups: groups.map(str::to_owned).to_vec() }
    }

    /// Whether a user may do something to what is named; no name stands for all of them, no namespace for every one.
    async fn allows(&self, user: &str, verb: &str, mut what: Value) -> Result<bool> {
        what["verb"] = verb.into();
        let review = json!({"metadata": {}, "spec": {"user": user, "groups": self.groups, "resourceAttributes": what}});
        let answer = self.reviews.create(&PostParams::default(), &serde_json::from_value(review)?).await?;
        let status = answer.status.context("the API server does not answer")?;
        ensure!(status.evaluation_error.is_none(), "{:?}", status.evaluation_error);
        Ok(status.allowed)
    }
}

async fn the_webhook_may_read_no_secret_but_its_own(test: Test) -> Result<()> {
    let alcove = test.alcove().await?;
    let home = alcove.namespace();
    let court = Court::of(&test, home);
    let webhook = format!("system:serviceaccount:{home}:alcove-webhook");
    let secret = |namespace: &str, name: &str| json!({"resource": "secrets", "namespace": namespace, "name": name});
    let tokens =
        |namespace: &str| json!({"resource": "serviceaccounts", "subresource": "token", "namespace": namespace});
    let pods = |namespace: &str| json!({"resource": "pods", "namespace": namespace});
    let events = |namespace: &str| json!({"group": "events.k8s.io", "resource": "events", "namespace": namespace});
    let policies =
        |namespace: &str| json!({"group": "alcove.dev", "resource": "secretpolicies", "namespace": namespace});
    let statuses = |namespace: &str| {
        let mut what = policies(namespace);
        what["subresource"] = "status".into();
        what
    };
    for verb in VERBS {
        for namespace in ["", "default", "kube-system", test.namespace().name(), home] {
            for (what, verbs) in [
                (secret(namespace, ""), &[][..]),
                (secret(namespace, "another"), &[]),
                (tokens(namespace), &[]),
                // To look at those that are there already, and to tell of them.
                (pods(namespace), &["list"]),
                (events(namespace), &["create"]),
                (policies(namespace), &["get", "list", "watch"]),
                (statuses(namespace), &["patch"]),
            ] {
                let is_allowed = court.allows(&webhook, verb, what.clone()).await?;
                ensure!(is_allowed == verbs.contains(&verb), "the webhook: {verb} {what}: {is_allowed}");
            }
        }
        let is_allowed = court.allows(&webhook, verb, secret(home, "alcove-webhook-tls")).await?;
        ensure!(
            is_allowed == ["get", "list", "watch", "update"].contains(&verb),
            "its own Secret: {verb} {is_allowed}"
        );
        for (name, verbs) in [("alcove-webhook", &["get", "list", "watch", "patch"][..]), ("another", &[])] {
            let group = "admissionregistration.k8s.io";
            let what = json!({"group": group, "resource": "mutatingwebhookconfigurations", "name": name});
            let is_allowed = court.allows(&webhook, verb, what).await?;
            ensure!(is_allowed == verbs.contains(&verb), "the registration {name}: {verb} {is_allowed}");
        }
    }
    // The same questions about someone who may: they are about what they seem to be about.
    for (verb, what) in
        [("get", secret("default", "another")), ("create", tokens("default")), ("list", pods("default"))]
    {
        let is_allowed = court.allows("system:kube-controller-manager", verb, what.clone()).await?;
        ensure!(is_allowed, "nobody may {verb} {what}: this would say little");
    }
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
