//! A Kubernetes namespace of its own for each test, and what tests do in it.

mod pods;

use anyhow::{Context as _, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Namespace as NamespaceObject, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, LogParams, ObjectMeta, PostParams};
use kube::{Client, Resource};

use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::wait::{self, Seen};

/// A fresh namespace.
#[derive(Clone)]
pub struct Namespace {
    name: String,
    kubectl: Kubectl,
    client: Client,
}

impl Namespace {
    /// Creates the namespace and waits until Pods can be created in it.
    pub async fn create(node: &Node, name: &str) -> Result<Self> {
        let namespaces = Api::<NamespaceObject>::all(node.client().clone());
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let object = NamespaceObject { metadata, ..NamespaceObject::default() };
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("creating namespace {name}"))?;
        let created = Self { name: name.to_owned(), kubectl: node.kubectl().clone(), client: node.client().clone() };
        let accounts = created.api::<ServiceAccount>();
        wait::until(&format!("the default ServiceAccount of namespace {name}"), async || {
            let found = accounts.get_opt("default").await?;
            Ok(found.map_or_else(|| Seen::NotYet("absent".to_owned()), |_| Seen::Met(())))
        })
        .await?;
        Ok(created)
    }

    /// The name of the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API for one kind in this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Runs kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl.run(&[&["-n", &self.name], arguments].concat()).await
    }

    /// Labels the namespace, as in `pod-security.kubernetes.io/enforce=restricted`.
    pub async fn label(&self, label: &str) -> Result<()> {
        self.kubectl.run(&["label", "namespace", &self.name, label, "--overwrite"]).await.map(drop)
    }

    /// Applies the objects in `yaml`, which may be several documents.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl.run_with_input(&["-n", &self.name, "apply", "-f", "-"], yaml).await.map(drop)
    }

    /// Tries to create the objects in `yaml`, which must be refused, and returns the text that a person would see.
    pub async fn refusal(&self, yaml: &str) -> Result<String> {
        self.kubectl.failure(&["-n", &self.name, "create", "-f", "-"], yaml).await
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete(&self, kind: &str, name: &str) -> Result<()> {
        self.kubectl(&["delete", kind, name, "--wait=true"]).await.map(drop)
    }

    /// Runs a command in a container and returns its stdout; fails with its stderr.
    pub async fn exec(&self, pod: &str, container: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", pod, "-c", container, "--"], command].concat()).await
    }

    /// The value of a variable in the environment that the first process of a container was started with.
    pub async fn variable(&self, pod: &str, container: &str, name: &str) -> Result<String> {
        let environment = self.exec(pod, container, &["sh", "-c", "tr '\\000' '\\n' </proc/1/environ"]).await?;
        let values = environment.lines().filter_map(|line| line.split_once('='));
        let found = values.filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).next();
        found.with_context(|| format!("{name} is not set in {pod}/{container}:\n{environment}"))
    }

    /// What a container has printed so far.
    pub async fn logs(&self, pod: &str, container: &str) -> Result<String> {
        let params = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
        self.api::<Pod>().logs(pod, &params).await.with_context(|| format!("reading the log of {pod}/{container}"))
    }

    /// The events about an object, oldest first, each as `Reason: message`.
    pub async fn events(&self, object: &str) -> Result<Vec<String>> {
        let about = ListParams::default().fields(&format!("involvedObject.name={object}"));
        let mut events = self.api::<Event>().list(&about).await?.items;
        events.sort_by(|one, other| one.metadata.creation_timestamp.cmp(&other.metadata.creation_timestamp));
        let line =
            |event: Event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        Ok(events.into_iter().map(line).collect())
    }

    /// Asks for the removal of the namespace with all that is in it, and kills its Pods at once.
    pub async fn remove(&self) -> Result<()> {
        self.api::<Pod>().delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default()).await?;
        Api::<NamespaceObject>::all(self.client.clone()).delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}
