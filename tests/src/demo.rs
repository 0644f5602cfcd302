//! The task `demo`: WordPress whose Secrets do not exist, on a real node, from nothing to tear-down.

use std::path::{Path, PathBuf};

use alcove_tests::alcove::Alcove;
use alcove_tests::image::{self, Image};
use alcove_tests::kubectl::Kubectl;
use alcove_tests::node::Node;
use alcove_tests::stage::Stage;
use alcove_tests::vault::Vault;
use alcove_tests::wait::{self, Seen};
use alcove_tests::{process, state};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the values come from.
    #[arg(long, value_enum, default_value_t = Store::Kubernetes)]
    store: Store,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    /// Secrets of another namespace.
    Kubernetes,
    /// A real Vault.
    Vault,
}

/// What runs in place of the images of MySQL and WordPress, which no registry is asked for.
const STAND_IN: &str = "localhost/stand-in:demo";
const NAMESPACE: &str = "wordpress";
const SALT: &str = "/etc/wordpress/auth-salt.txt";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting the tokio runtime")?;
    runtime.block_on(async {
        let node = Node::start().await?;
        let shown = show(&node, arguments.store).await;
        let stage = Stage::begin("the node is removed");
        node.stop_and_forget()?;
        stage.done();
        shown
    })
}

async fn show(node: &Node, store: Store) -> Result<()> {
    Alcove::install(node).await?;
    node.load(&stand_in()?).await?;
    let vault = match store {
        Store::Kubernetes => None,
        Store::Vault => Some(prepared_vault(node).await?),
    };
    let stage = Stage::begin("manifests/examples/wordpress is applied");
    let kustomization = kustomization(vault.as_ref())?;
    let kubectl = node.kubectl();
    kubectl.run(&["apply", "-k", text(&kustomization)?]).await?;
    kubectl.run(&["rollout", "status", "deployment/wordpress", "-n", NAMESPACE, "--timeout=120s"]).await?;
    stage.done();
    tell(kubectl).await?;
    change(kubectl, vault.as_ref()).await
}

/// The Pod, its files, its environment, and the Secrets that do not exist.
async fn tell(kubectl: &Kubectl) -> Result<()> {
    let pods = kubectl.json(&["get", "pods", "-n", NAMESPACE, "-l", "app=wordpress"]).await?;
    let pod = pods.pointer("/items/0").context("there is no Pod of WordPress")?;
    heading("The Pod as it was written has one annotation and names two Secrets. This became of it:");
    print!("{}", serde_saphyr::to_string(&excerpt(pod))?);
    heading("kubectl get secrets -n wordpress");
    println!("{}", or_none(&kubectl.run(&["get", "secrets", "-n", NAMESPACE, "-o", "name"]).await?));
    for (container, command) in [
        ("mysql", ["sh", "-c", "echo $MYSQL_ROOT_PASSWORD"]),
        ("wordpress", ["sh", "-c", "echo $WORDPRESS_DB_PASSWORD"]),
        ("wordpress", ["sh", "-c", "ls -la /etc/wordpress/"]),
        ("wordpress", ["sh", "-c", "cat /etc/wordpress/auth-salt.txt"]),
        ("mysql", ["sh", "-c", "ls /etc/wordpress 2>&1; true"]),
    ] {
        heading(&format!("in container {container}: {}", command[2]));
        println!("{}", exec(kubectl, container, &command).await?.trim_end());
    }
    Ok(())
}

/// Changes a value in the store and waits until the file has it.
async fn change(kubectl: &Kubectl, vault: Option<&Vault>) -> Result<()> {
    let value = "changed-in-the-store";
    heading("The value changes in the store; the file follows within the refresh interval of 5 s:");
    if let Some(vault) = vault {
        vault.kv().put("wordpress/config", json!({"auth-salt.txt": value})).await?;
    } else {
        let patch = json!({"stringData": {"auth-salt.txt": value}}).to_string();
        kubectl.run(&["patch", "secret", "config", "-n", "wordpress-secrets", "-p", &patch]).await?;
    }
    let stage = Stage::begin("the file follows");
    wait::until("the file to have the new value", async || {
        let now = exec(kubectl, "wordpress", &["cat", SALT]).await?;
        Ok(if now == value { Seen::Met(()) } else { Seen::NotYet(now) })
    })
    .await?;
    stage.done();
    println!("{}", exec(kubectl, "wordpress", &["cat", SALT]).await?);
    Ok(())
}

/// What Alcove changed in the Pod, without what everybody's Pods have.
fn excerpt(pod: &Value) -> Value {
    let spec = |pointer: &str| pod.pointer(pointer).cloned().unwrap_or_default();
    let environment = |index: usize| {
        let entries = spec(&format!("/spec/containers/{index}/env"));
        let from = entries.as_array().into_iter().flatten().filter(|entry| entry.get("valueFrom").is_some()).cloned();
        from.collect::<Vec<_>>()
    };
    let volumes = spec("/spec/volumes");
    let shown = volumes.as_array().into_iter().flatten().filter(|volume| {
        let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
        !name.starts_with("kube-api-access-")
    });
    json!({
        "initContainers": [{
            "name": spec("/spec/initContainers/0/name"),
            "image": spec("/spec/initContainers/0/image"),
            "restartPolicy": spec("/spec/initContainers/0/restartPolicy"),
            "securityContext": spec("/spec/initContainers/0/securityContext"),
        }],
        "containers": [
            {"name": spec("/spec/containers/0/name"), "env": environment(0)},
            {"name": spec("/spec/containers/1/name"), "env": environment(1),
             "volumeMounts": spec("/spec/containers/1/volumeMounts/0")},
        ],
        "volumes": shown.cloned().collect::<Vec<_>>(),
    })
}

async fn exec(kubectl: &Kubectl, container: &str, command: &[&str]) -> Result<String> {
    let target = ["exec", "-n", NAMESPACE, "deployment/wordpress", "-c", container, "--"];
    kubectl.run(&[&target, command].concat()).await
}

/// A Vault with the values of the example, and the role that its README asks for.
async fn prepared_vault(node: &Node) -> Result<Vault> {
    let vault = Vault::start(node, "demo").await?;
    vault.kv().put("wordpress/mysql", json!({"password": "example-only-change-me"})).await?;
    vault.kv().put("wordpress/config", json!({"auth-salt.txt": "example-only-change-me-too"})).await?;
    vault.policy("wordpress", &vault.kv().readable("wordpress/*")).await?;
    vault.role("wordpress", (NAMESPACE, "wordpress"), &["wordpress"]).await?;
    Ok(vault)
}

/// The example with images that are on the node and, for Vault, with the address of this one.
fn kustomization(vault: Option<&Vault>) -> Result<PathBuf> {
    let directory = state::directory().join("demo");
    std::fs::create_dir_all(&directory)?;
    let examples = state::checkout().join("manifests/examples/wordpress");
    let (resource, patches) = match vault {
        None => (examples, json!([])),
        Some(vault) => (examples.join("vault"), json!([address_patch(vault)])),
    };
    let image = |name: &str| json!({"name": name, "newName": "localhost/stand-in", "newTag": "demo"});
    let content = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        // As the example lists them: a Pod that comes before its bindings names plain Secrets, which do not exist.
        "sortOptions": {"order": "fifo"},
        "resources": [relative(&directory, &resource)],
        "images": [image("mysql"), image("wordpress")],
        "patches": patches,
    });
    process::write(&directory.join("kustomization.yaml"), content.to_string())?;
    Ok(directory)
}

fn address_patch(vault: &Vault) -> Value {
    let operations = json!([
        {"op": "replace", "path": "/spec/provider/vault/server", "value": vault.address()},
        {"op": "add", "path": "/spec/provider/vault/caBundle", "value": STANDARD.encode(vault.authority())},
    ]);
    json!({"target": {"kind": "ClusterExternalStore", "name": "wordpress"}, "patch": operations.to_string()})
}

/// The way from one directory to another; kustomize takes no absolute path.
fn relative(from: &Path, to: &Path) -> String {
    let shared = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(shared).map(|_| Path::new(".."));
    let down = to.components().skip(shared).map(|component| Path::new(component.as_os_str()));
    up.chain(down).collect::<PathBuf>().display().to_string()
}

fn stand_in() -> Result<Image> {
    let mut recipe = image::busybox_recipe()?;
    recipe.entrypoint(["/bin/sleep".to_owned(), "1000000".to_owned()]);
    image::pack(STAND_IN, &recipe)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path of the checkout is not UTF-8")
}

fn or_none(names: &str) -> &str {
    if names.is_empty() { "(none)" } else { names.trim_end() }
}

fn heading(title: &str) {
    println!("\n── {title}");
}
