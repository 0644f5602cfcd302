//! The cluster: how it is reached, watched and read.

use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use alcove_resources::{
    ClusterExternalStore, ClusterSecretBinding, ClusterSecretPolicy, ExternalStore, Kind as OurKind, SecretBinding,
    SecretPolicy,
};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, TypeMeta};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use serde_json::Value;

use crate::objects::{Kind, View};

pub mod audiences;
pub mod live;
#[cfg(test)]
pub(crate) mod mock;
pub mod version;
pub mod watch;

/// How long a connection to the API server may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many objects a list brings at once. Each may have a mebibyte and a half, and is held several times while it is read.
pub(crate) const PAGE: u32 = 16;

/// The objects that watches and live reads share.
pub type Objects = Arc<RwLock<View>>;

/// Reaches the cluster by a kubeconfig, or as the Pod that this is.
///
/// # Errors
///
/// Neither a Pod's ServiceAccount nor the kubeconfig is there or can be read.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, ClusterError> {
    let mut config = match kubeconfig {
        None => Config::incluster().map_err(ClusterError::InCluster)?,
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(ClusterError::Kubeconfig)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(ClusterError::Kubeconfig)?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(|error| ClusterError::Client(Box::new(error)))
}

/// Why the cluster cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// This is no Pod, or its ServiceAccount token is not mounted.
    #[error("this is not a Pod with a ServiceAccount: give --kubeconfig, or --resources to serve without a cluster")]
    InCluster(#[source] InClusterError),
    /// The kubeconfig is of no use.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[source] KubeconfigError),
    /// The configuration leads to no client.
    #[error("no client for the API server can be made")]
    Client(#[source] Box<kube::Error>),
}

/// The resource of a kind.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::Namespace => ApiResource::erase::<Namespace>(&()),
        Kind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
        Kind::LimitRange => ApiResource::erase::<LimitRange>(&()),
        Kind::Ours(OurKind::ExternalStore) => ApiResource::erase::<ExternalStore>(&()),
        Kind::Ours(OurKind::ClusterExternalStore) => ApiResource::erase::<ClusterExternalStore>(&()),
        Kind::Ours(OurKind::SecretBinding) => ApiResource::erase::<SecretBinding>(&()),
        Kind::Ours(OurKind::ClusterSecretBinding) => ApiResource::erase::<ClusterSecretBinding>(&()),
        Kind::Ours(OurKind::SecretPolicy) => ApiResource::erase::<SecretPolicy>(&()),
        Kind::Ours(OurKind::ClusterSecretPolicy) => ApiResource::erase::<ClusterSecretPolicy>(&()),
    }
}

/// Versions are numbers that count up; one that is not says nothing about what is newer.
fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// An object as a document, and its version.
pub(crate) fn document(resource: &ApiResource, mut object: DynamicObject) -> (Value, u64) {
    let version = version(object.metadata.resource_version.as_deref());
    // The items of a list of built-in kinds do not say what they are.
    object.types = Some(TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
    object.metadata.managed_fields = None;
    (serde_json::to_value(object).unwrap_or_default(), version)
}
