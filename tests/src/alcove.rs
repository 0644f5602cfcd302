//! Alcove on the node, installed as a user would: images, then `kubectl apply -k`.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::builds::Products;
use crate::image::{self, Image};
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::stage::Stage;
use crate::state;
use crate::wait::{self, Seen};

/// The image of the webhook that `manifests/overlays/test` names.
pub const WEBHOOK_IMAGE: &str = "localhost/alcove-webhook:test";
/// The image of the sidecar that `manifests/overlays/test` tells the webhook to inject.
pub const SIDECAR_IMAGE: &str = "localhost/alcove-sidecar:test";

/// The user of both images, as in the Dockerfile.
const USER: &str = "65532:65532";
/// What runs the webhook.
const DEPLOYMENT: &str = "deployment/alcove-webhook";
/// The overlay that differs from the base in the names of the images alone.
const OVERLAY: &str = "manifests/overlays/test";

/// An installed Alcove.
#[derive(Debug, Clone)]
pub struct Alcove {
    namespace: String,
}

impl Alcove {
    /// Builds, packs and installs Alcove, and waits until the API server calls it.
    pub async fn install(node: &Node) -> Result<Self> {
        let stage = Stage::begin("Alcove is installed from manifests/");
        for image in images()? {
            node.load(&image).await?;
        }
        let alcove = Self::apply(node, OVERLAY).await?;
        stage.done();
        Ok(alcove)
    }

    /// Applies a kustomization of the checkout and waits until its Deployments are available and its webhooks trusted.
    pub async fn apply(node: &Node, kustomization: &str) -> Result<Self> {
        let directory = state::checkout().join(kustomization);
        let path = directory.to_str().context("the path of the checkout is not UTF-8")?;
        let applied = node.kubectl().json(&["apply", "--server-side", "-k", path]).await?;
        let mut namespace = None;
        for object in applied.pointer("/items").and_then(Value::as_array).context("kubectl printed no list")? {
            if text(object, "/kind") == "Deployment" {
                wait_until_available(node, text(object, "/metadata/namespace"), text(object, "/metadata/name")).await?;
                namespace = Some(text(object, "/metadata/namespace").to_owned());
            }
        }
        wait_until_trusted(node).await?;
        Ok(Self { namespace: namespace.with_context(|| format!("{kustomization} has no Deployment"))? })
    }

    /// Takes every replica of the webhook away, and waits until the last one is gone.
    pub async fn stop(&self, node: &Node) -> Result<()> {
        self.kubectl(node, &["scale", DEPLOYMENT, "--replicas=0"]).await?;
        let selector = "app.kubernetes.io/name=alcove-webhook";
        self.kubectl(node, &["wait", "--for=delete", "pod", "-l", selector, "--timeout=90s"]).await
    }

    /// Undoes [`Alcove::stop`].
    pub async fn start(&self, node: &Node) -> Result<()> {
        self.kubectl(node, &["scale", DEPLOYMENT, "--replicas=2"]).await?;
        self.kubectl(node, &["rollout", "status", DEPLOYMENT, "--timeout=90s"]).await
    }

    async fn kubectl(&self, node: &Node, arguments: &[&str]) -> Result<()> {
        node.kubectl().run(&[&["-n", self.namespace()], arguments].concat()).await.map(drop)
    }

    /// The namespace of the webhook.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// Fails if `kubectl diff` goes on to find a difference. It reads an object twice, so whatever is written between the two, by
/// a rollout or with a new `caBundle`, is a difference for a moment; drift is one for ever.
pub async fn ensure_no_drift(kubectl: &Kubectl, arguments: &[&str]) -> Result<()> {
    wait::until("kubectl diff to show nothing", async || {
        let difference = kubectl.diff(arguments).await?;
        Ok(if difference.is_empty() { Seen::Met(()) } else { Seen::NotYet(difference) })
    })
    .await
}

/// Builds the programs and packs the images of both, from the files that the Dockerfile copies.
pub fn images() -> Result<[Image; 2]> {
    pack(WEBHOOK_IMAGE, SIDECAR_IMAGE)
}

/// The same under the names that `manifests/base` has, as if they had been released.
pub fn released_images() -> Result<[Image; 2]> {
    pack(
        concat!("ghcr.io/alcove-dev/alcove-webhook:", env!("CARGO_PKG_VERSION")),
        concat!("ghcr.io/alcove-dev/alcove-sidecar:", env!("CARGO_PKG_VERSION")),
    )
}

fn pack(webhook: &str, sidecar: &str) -> Result<[Image; 2]> {
    let products = Products::build()?;
    Ok([image::pack_static(webhook, &products.webhook, USER)?, image::pack_static(sidecar, &products.sidecar, USER)?])
}

async fn wait_until_available(node: &Node, namespace: &str, name: &str) -> Result<()> {
    wait::until(&format!("the Deployment {namespace}/{name} to be available"), async || {
        let deployment = node.kubectl().json(&["get", "deployment", name, "-n", namespace]).await?;
        let wanted = deployment.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
        let available = deployment.pointer("/status/availableReplicas").and_then(Value::as_u64).unwrap_or(0);
        if available >= wanted {
            return Ok(Seen::Met(()));
        }
        let pods = node.kubectl().run(&["get", "pods", "-n", namespace, "-o", "wide"]).await?;
        Ok(Seen::NotYet(format!("{available} of {wanted} replicas are available\n{pods}")))
    })
    .await
}

/// A webhook without `caBundle` refuses every Pod it is asked about: the replica that leads writes it after its start.
async fn wait_until_trusted(node: &Node) -> Result<()> {
    wait::until("the webhook configurations to have a caBundle", async || {
        let list = ["get", "mutatingwebhookconfigurations,validatingwebhookconfigurations"];
        let configurations = node.kubectl().json(&list).await?;
        let items = configurations.pointer("/items").and_then(Value::as_array).cloned().unwrap_or_default();
        let untrusted: Vec<&str> =
            items.iter().filter(|item| !trusted(item)).map(|item| text(item, "/metadata/name")).collect();
        Ok(match (items.len(), untrusted.as_slice()) {
            (0, _) => Seen::NotYet("there are no webhook configurations".to_owned()),
            (_, []) => Seen::Met(()),
            (_, names) => Seen::NotYet(format!("no caBundle yet in {}", names.join(", "))),
        })
    })
    .await
}

fn trusted(configuration: &Value) -> bool {
    let webhooks = configuration.pointer("/webhooks").and_then(Value::as_array);
    webhooks.into_iter().flatten().all(|webhook| !text(webhook, "/clientConfig/caBundle").is_empty())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
