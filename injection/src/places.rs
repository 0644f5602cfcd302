//! Every place where a Pod names a Secret: Kubernetes' own list (`VisitPodSecretNames`), in one walk.
//!
//! Kubernetes' own check of mountable Secrets was bypassed three times through a place that it forgot. So nobody here
//! looks for Secret names but this walk, and a test compares it with the schema of a Pod.

use crate::pod::{Container, ContainerKind, Pod, items, text};
use serde_json::Value;
use std::fmt;

/// A place in a Pod that names a Secret, with the indexes that lead there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are indexes into the lists of their names")]
pub enum Place {
    /// `volumes[].secret`.
    Volume { volume: usize },
    /// `volumes[].projected.sources[].secret`.
    ProjectedSource { volume: usize, source: usize },
    /// `volumes[].csi.nodePublishSecretRef`.
    Csi { volume: usize },
    /// `volumes[].azureFile.secretName`.
    AzureFile { volume: usize },
    /// `volumes[].cephfs.secretRef`.
    CephFs { volume: usize },
    /// `volumes[].cinder.secretRef`.
    Cinder { volume: usize },
    /// `volumes[].flexVolume.secretRef`.
    FlexVolume { volume: usize },
    /// `volumes[].rbd.secretRef`.
    Rbd { volume: usize },
    /// `volumes[].scaleIO.secretRef`.
    ScaleIo { volume: usize },
    /// `volumes[].iscsi.secretRef`.
    Iscsi { volume: usize },
    /// `volumes[].storageos.secretRef`.
    StorageOs { volume: usize },
    /// `env[].valueFrom.secretKeyRef` of a container.
    Env { kind: ContainerKind, container: usize, entry: usize },
    /// `envFrom[].secretRef` of a container.
    EnvFrom { kind: ContainerKind, container: usize, entry: usize },
    /// `imagePullSecrets[]`.
    ImagePullSecret { index: usize },
}

impl Place {
    /// Whether the kubelet reads this Secret for itself, before any container runs, so that no sidecar can serve it.
    #[must_use]
    pub const fn is_read_by_kubelet_alone(self) -> bool {
        match self {
            Self::Volume { .. } | Self::ProjectedSource { .. } | Self::Env { .. } | Self::EnvFrom { .. } => false,
            Self::Csi { .. }
            | Self::AzureFile { .. }
            | Self::CephFs { .. }
            | Self::Cinder { .. }
            | Self::FlexVolume { .. }
            | Self::Rbd { .. }
            | Self::ScaleIo { .. }
            | Self::Iscsi { .. }
            | Self::StorageOs { .. }
            | Self::ImagePullSecret { .. } => true,
        }
    }
}

impl fmt::Display for Place {
    /// The field that names the Secret, below its volume, container or Pod.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Volume { .. } => "secret.secretName",
            Self::ProjectedSource { .. } => "projected.sources[].secret",
            Self::Csi { .. } => "csi.nodePublishSecretRef",
            Self::AzureFile { .. } => "azureFile.secretName",
            Self::CephFs { .. } => "cephfs.secretRef",
            Self::Cinder { .. } => "cinder.secretRef",
            Self::FlexVolume { .. } => "flexVolume.secretRef",
            Self::Rbd { .. } => "rbd.secretRef",
            Self::ScaleIo { .. } => "scaleIO.secretRef",
            Self::Iscsi { .. } => "iscsi.secretRef",
            Self::StorageOs { .. } => "storageos.secretRef",
            Self::Env { .. } => "valueFrom.secretKeyRef",
            Self::EnvFrom { .. } => "secretRef",
            Self::ImagePullSecret { .. } => "imagePullSecrets",
        })
    }
}

/// One mention of a Secret in a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention<'a> {
    /// What names it.
    pub place: Place,
    /// The Secret's name, which is never empty.
    pub secret: &'a str,
    /// The container that gets it, where the place belongs to one.
    pub container: Option<(ContainerKind, &'a str)>,
    /// The field path of the name: `spec.containers[0].env[1].valueFrom.secretKeyRef.name`.
    pub path: String,
}

/// Every mention of a Secret: those of volumes, of containers in the order in which they start, of `imagePullSecrets`.
#[must_use]
pub fn mentions(pod: &Pod) -> Vec<Mention<'_>> {
    let volumes = pod.volumes().enumerate().flat_map(|(index, volume)| of_volume(index, volume));
    let containers = pod.containers().flat_map(of_container);
    let pulls = items(pod.spec(), "imagePullSecrets").enumerate().filter_map(|(index, reference)| {
        let path = format!("spec.imagePullSecrets[{index}].name");
        Some(mention(Place::ImagePullSecret { index }, text(Some(reference), "name")?, path))
    });
    volumes.chain(containers).chain(pulls).collect()
}

const fn mention(place: Place, secret: &str, path: String) -> Mention<'_> {
    Mention { place, secret, container: None, path }
}

fn of_volume(volume: usize, document: &Value) -> Vec<Mention<'_>> {
    let singles: [(Place, &str, &[&str]); 10] = [
        (Place::Volume { volume }, "secret", &["secretName"]),
        (Place::Csi { volume }, "csi", &["nodePublishSecretRef", "name"]),
        (Place::AzureFile { volume }, "azureFile", &["secretName"]),
        (Place::CephFs { volume }, "cephfs", &["secretRef", "name"]),
        (Place::Cinder { volume }, "cinder", &["secretRef", "name"]),
        (Place::FlexVolume { volume }, "flexVolume", &["secretRef", "name"]),
        (Place::Rbd { volume }, "rbd", &["secretRef", "name"]),
        (Place::ScaleIo { volume }, "scaleIO", &["secretRef", "name"]),
        (Place::Iscsi { volume }, "iscsi", &["secretRef", "name"]),
        (Place::StorageOs { volume }, "storageos", &["secretRef", "name"]),
    ];
    let singles = singles.into_iter().filter_map(|(place, source, fields)| {
        let path = format!("spec.volumes[{volume}].{source}.{}", fields.join("."));
        Some(mention(place, named(document.get(source)?, fields)?, path))
    });
    singles.chain(of_projected(volume, document)).collect()
}

fn of_projected(volume: usize, document: &Value) -> impl Iterator<Item = Mention<'_>> {
    items(document.get("projected"), "sources").enumerate().filter_map(move |(source, projection)| {
        let path = format!("spec.volumes[{volume}].projected.sources[{source}].secret.name");
        Some(mention(Place::ProjectedSource { volume, source }, named(projection, &["secret", "name"])?, path))
    })
}

fn of_container(container: Container<'_>) -> Vec<Mention<'_>> {
    let (kind, index) = (container.kind, container.index);
    let found = |place, secret, path| Mention { place, secret, container: Some((kind, container.name)), path };
    let env = container.env().enumerate().filter_map(|(entry, variable)| {
        let path = format!("{}.env[{entry}].valueFrom.secretKeyRef.name", container.path());
        let place = Place::Env { kind, container: index, entry };
        Some(found(place, named(variable, &["valueFrom", "secretKeyRef", "name"])?, path))
    });
    let env_from = container.env_from().enumerate().filter_map(|(entry, source)| {
        let path = format!("{}.envFrom[{entry}].secretRef.name", container.path());
        let place = Place::EnvFrom { kind, container: index, entry };
        Some(found(place, named(source, &["secretRef", "name"])?, path))
    });
    env.chain(env_from).collect()
}

/// The Secret name at the end of `fields`.
fn named<'a>(document: &'a Value, fields: &[&str]) -> Option<&'a str> {
    let (last, parents) = fields.split_last()?;
    let parent = parents.iter().try_fold(document, |value, field| value.get(field))?;
    text(Some(parent), last)
}

#[cfg(test)]
mod tests;
