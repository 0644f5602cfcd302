//! What a tool sees that compares the cluster with the manifests again and again: nothing, whatever the webhook writes.

use alcove_tests::alcove::{self, Alcove};
use alcove_tests::claims_alone;
use alcove_tests::pki::Subject;
use alcove_tests::state;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(crate) fn tests() -> Vec<Trial> {
    claims_alone![
        no_kustomization_differs_after_it_was_applied_nor_after_a_new_authority,
        what_cert_manager_wrote_is_served_once_certificate_and_configurations_agree,
    ]
}

const TEST: &str = "manifests/overlays/test";
const CERT_MANAGER: &str = "manifests/overlays/cert-manager";
const MUTATING: &str = "mutatingwebhookconfiguration";
const VALIDATING: &str = "validatingwebhookconfiguration";
/// The kinds of cert-manager that we use. Its own definitions have no defaults either, so an API server that has these keeps
/// what it is given as one that has those.
const CERT_MANAGER_KINDS: [(&str, &str); 2] = [("Issuer", "issuers"), ("Certificate", "certificates")];

/// One kustomization, installed.
struct Installed<'test> {
    test: &'test Test,
    path: String,
    objects: Vec<Value>,
}

impl<'test> Installed<'test> {
    /// Applies the kustomization in both ways, and compares after each.
    async fn new(test: &'test Test, kustomization: &str) -> Result<Self> {
        let path = state::checkout().join(kustomization);
        let path = path.to_str().context("the path of the checkout is not UTF-8")?.to_owned();
        let kubectl = test.node().kubectl();
        kubectl.run(&["apply", "-k", &path]).await?;
        alcove::ensure_no_drift(kubectl, &["-k", &path]).await?;
        let applied = kubectl.json(&["apply", "--server-side", "-k", &path]).await?;
        let objects = applied.pointer("/items").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Self { test, path, objects })
    }

    /// Fails if `kubectl diff` goes on to find a difference in either way.
    async fn ensure_equal(&self) -> Result<()> {
        let kubectl = self.test.node().kubectl();
        alcove::ensure_no_drift(kubectl, &["-k", &self.path]).await?;
        alcove::ensure_no_drift(kubectl, &["--server-side", "-k", &self.path]).await
    }

    /// Has the configurations trust another authority: that of the webhook, or one that cert-manager made.
    async fn change_authority(&self) -> Result<()> {
        let configuration = self.name("MutatingWebhookConfiguration").context("no configuration")?;
        let before = bundle(self.test, &configuration).await?;
        match self.name("Secret") {
            Some(secret) => {
                let namespace = self.object("Secret").and_then(|found| text(found, "/metadata/namespace"));
                let emptied = ["patch", "secret", &secret, "-n", namespace.unwrap_or_default(), "--type=merge"];
                let nothing = ["-p", "{\"data\":null}"];
                self.test.node().kubectl().run(&[&emptied[..], &nothing].concat()).await?;
            }
            None => inject(self.test, &self.test.node().authority().certificate_pem()).await?,
        }
        wait::until("another caBundle", async || {
            let now = bundle(self.test, &configuration).await?;
            Ok(if now.is_empty() || now == before { Seen::NotYet("the old one".to_owned()) } else { Seen::Met(()) })
        })
        .await
    }

    fn object(&self, kind: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind)
    }

    fn name(&self, kind: &str) -> Option<String> {
        text(self.object(kind)?, "/metadata/name").map(str::to_owned)
    }
}

/// The base and every overlay.
fn kustomizations() -> Result<Vec<String>> {
    let mut found = vec!["manifests/base".to_owned()];
    for entry in std::fs::read_dir(state::checkout().join("manifests/overlays"))? {
        found.push(format!("manifests/overlays/{}", entry?.file_name().display()));
    }
    found.sort();
    ensure!(found.len() >= 6, "only {found:?}");
    Ok(found)
}

async fn no_kustomization_differs_after_it_was_applied_nor_after_a_new_authority(test: Test) -> Result<()> {
    test.alcove().await?;
    for image in alcove::released_images()? {
        test.node().load(&image).await?;
    }
    define_cert_manager(&test).await?;
    let outcome = async {
        for kustomization in kustomizations()? {
            compare(&test, &kustomization).await.with_context(|| kustomization.clone())?;
        }
        Ok(())
    }
    .await;
    restore(&test).await?;
    outcome
}

async fn compare(test: &Test, kustomization: &str) -> Result<()> {
    let installed = Installed::new(test, kustomization).await?;
    installed.ensure_equal().await?;
    installed.change_authority().await?;
    installed.ensure_equal().await.context("after a new authority")?;
    let namespace = installed.object("Deployment").and_then(|found| text(found, "/metadata/namespace"));
    if namespace != Some(test.alcove().await?.namespace()) {
        test.node().kubectl().run(&["delete", "-k", &installed.path, "--wait=false"]).await?;
    }
    Ok(())
}

async fn what_cert_manager_wrote_is_served_once_certificate_and_configurations_agree(test: Test) -> Result<()> {
    test.alcove().await?;
    for image in alcove::released_images()? {
        test.node().load(&image).await?;
    }
    define_cert_manager(&test).await?;
    let outcome = serve_from_cert_manager(&test).await;
    restore(&test).await?;
    outcome
}

async fn serve_from_cert_manager(test: &Test) -> Result<()> {
    let (kubectl, alcove) = (test.node().kubectl(), test.alcove().await?.namespace());
    kubectl.run(&["delete", "deployment", "alcove-webhook", "-n", alcove, "--cascade=foreground"]).await?;
    kubectl.run(&["delete", "secret,role,rolebinding", "--all", "-n", alcove]).await?;
    let path = state::checkout().join(CERT_MANAGER);
    let path = path.to_str().context("the path of the checkout is not UTF-8")?;
    kubectl.run(&["apply", "--server-side", "-k", path]).await?;
    let name = format!("alcove-webhook.{alcove}.svc");
    let issued = test.node().authority().issue("cert-manager", Subject { group: "", user: "alcove" }, &[&name])?;
    let read = |path| std::fs::read_to_string(path).context("reading what was issued");
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "alcove-webhook-tls", "namespace": alcove},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": read(&issued.certificate)?, "tls.key": read(&issued.key)?},
    });
    kubectl.run_with_input(&["create", "-f", "-"], &secret.to_string()).await?;
    // The configurations still trust the webhook's own authority: API servers would refuse what is served now.
    wait::until("the replicas to say that nobody would believe them", async || {
        let log = ["logs", "-n", alcove, "-l", "app.kubernetes.io/name=alcove-webhook"];
        let said = kubectl.run(&log).await.unwrap_or_else(|error| format!("{error:#}"));
        let refused = said.contains("does not verify against the configured caBundle");
        Ok(if refused { Seen::Met(()) } else { Seen::NotYet(said) })
    })
    .await?;
    inject(test, &test.node().authority().certificate_pem()).await?;
    kubectl.run(&["rollout", "status", "deployment/alcove-webhook", "-n", alcove, "--timeout=90s"]).await?;
    wait::until("the API server to call the webhook", async || {
        // Refused by the webhook itself: there is no such store.
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "app", "annotations": {"secret.alcove.dev/db-creds": "vault:kv/app/db"}},
            "spec": {
                "containers": [{"name": "app", "image": "localhost/busybox:test"}],
                "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
            },
        });
        let refusal = test.namespace().refusal(&pod.to_string()).await?;
        Ok(if refusal.contains("denied the request") { Seen::Met(()) } else { Seen::NotYet(refusal) })
    })
    .await
}

/// Whom the API server trusts that calls by a configuration.
async fn bundle(test: &Test, configuration: &str) -> Result<String> {
    let path = "jsonpath={.webhooks[0].clientConfig.caBundle}";
    test.node().kubectl().run(&["get", MUTATING, configuration, "-o", path]).await
}

/// Writes `caBundle` as cert-manager does.
async fn inject(test: &Test, authority: &str) -> Result<()> {
    let bundle = STANDARD.encode(authority);
    for configuration in [MUTATING, VALIDATING] {
        let registered = test.node().kubectl().json(&["get", configuration, "alcove-webhook"]).await?;
        let count = registered["webhooks"].as_array().map_or(0, Vec::len);
        let operations = (0..count).map(
            |index| json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle}),
        );
        let patch = operations.collect::<Value>().to_string();
        let patch = ["patch", configuration, "alcove-webhook", "--type=json", "-p", &patch];
        let manager = ["--field-manager=cert-manager-cainjector"];
        test.node().kubectl().run(&[&patch[..], &manager].concat()).await?;
    }
    Ok(())
}

async fn define_cert_manager(test: &Test) -> Result<()> {
    let kubectl = test.node().kubectl();
    let definition = |(kind, plural): (&str, &str)| {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.cert-manager.io")},
            "spec": {
                "group": "cert-manager.io",
                "names": {"kind": kind, "plural": plural},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
            },
        })
    };
    let items: Vec<Value> = CERT_MANAGER_KINDS.into_iter().map(definition).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    kubectl.run_with_input(&["apply", "-f", "-"], &list.to_string()).await?;
    let names = CERT_MANAGER_KINDS.map(|(_, plural)| format!("crd/{plural}.cert-manager.io"));
    let wait = ["wait", "--for=condition=Established", &names[0], &names[1], "--timeout=60s"];
    kubectl.run(&wait).await.map(drop)
}

/// Installs what the other tests expect.
async fn restore(test: &Test) -> Result<()> {
    let alcove = test.alcove().await?.namespace();
    let kubectl = test.node().kubectl();
    for (_, plural) in CERT_MANAGER_KINDS {
        let name = format!("{plural}.cert-manager.io");
        kubectl.run(&["delete", "crd", &name, "--ignore-not-found"]).await?;
    }
    // Of another type, which cannot be changed, where cert-manager made it.
    kubectl.run(&["delete", "secret", "alcove-webhook-tls", "-n", alcove, "--ignore-not-found"]).await?;
    Alcove::apply(test.node(), TEST).await?;
    kubectl.run(&["rollout", "status", "deployment/alcove-webhook", "-n", alcove, "--timeout=90s"]).await.map(drop)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}
