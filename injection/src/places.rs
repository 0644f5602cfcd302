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

impl Place {
    /// The index of the volume that it belongs to.
    pub(crate) const fn volume(self) -> Option<usize> {
        match self {
            Self::Volume { volume }
            | Self::ProjectedSource { volume, .. }
            | Self::Csi { volume }
            | Self::AzureFile { volume }
            | Self::CephFs { volume }
            | Self::Cinder { volume }
            | Self::FlexVolume { volume }
            | Self::Rbd { volume }
            | Self::ScaleIo { volume }
            | Self::Iscsi { volume }
            | Self::StorageOs { volume } => Some(volume),
            Self::Env { .. } | Self::EnvFrom { .. } | Self::ImagePullSecret { .. } => None,
        }
    }

    /// The field path of the name: `spec.containers[0].env[1].valueFrom.secretKeyRef.name`.
    fn path(self) -> String {
        let of_volume = |volume: usize, field: &str| format!("spec.volumes[{volume}].{field}");
        match self {
            Self::Volume { volume } => of_volume(volume, "secret.secretName"),
            Self::ProjectedSource { volume, source } => {
                of_volume(volume, &format!("projected.sources[{source}].secret.name"))
            }
            Self::Csi { volume } => of_volume(volume, "csi.nodePublishSecretRef.name"),
            Self::AzureFile { volume } => of_volume(volume, "azureFile.secretName"),
            Self::CephFs { volume } => of_volume(volume, "cephfs.secretRef.name"),
            Self::Cinder { volume } => of_volume(volume, "cinder.secretRef.name"),
            Self::FlexVolume { volume } => of_volume(volume, "flexVolume.secretRef.name"),
            Self::Rbd { volume } => of_volume(volume, "rbd.secretRef.name"),
            Self::ScaleIo { volume } => of_volume(volume, "scaleIO.secretRef.name"),
            Self::Iscsi { volume } => of_volume(volume, "iscsi.secretRef.name"),
            Self::StorageOs { volume } => of_volume(volume, "storageos.secretRef.name"),
            Self::Env { kind, container, entry } => {
                format!("spec.{}[{container}].env[{entry}].valueFrom.secretKeyRef.name", kind.field())
            }
            Self::EnvFrom { kind, container, entry } => {
                format!("spec.{}[{container}].envFrom[{entry}].secretRef.name", kind.field())
            }
            Self::ImagePullSecret { index } => format!("spec.imagePullSecrets[{index}].name"),
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
}

impl Mention<'_> {
    /// The field path of the name: `spec.containers[0].env[1].valueFrom.secretKeyRef.name`.
    #[must_use]
    pub fn path(&self) -> String {
        self.place.path()
    }
}

/// Every mention of a Secret: those of volumes, of containers in the order in which they start, of `imagePullSecrets`.
#[must_use]
pub fn mentions(pod: &Pod) -> Vec<Mention<'_>> {
    let volumes = pod.volumes().enumerate().flat_map(|(index, volume)| of_volume(index, volume));
    let containers = pod.containers().flat_map(of_container);
    let pulls = items(pod.spec(), "imagePullSecrets")
        .enumerate()
        .filter_map(|(index, reference)| mention(Place::ImagePullSecret { index }, reference, &["name"]));
    volumes.chain(containers).chain(pulls).collect()
}

fn mention<'a>(place: Place, document: &'a Value, fields: &[&str]) -> Option<Mention<'a>> {
    Some(Mention { place, secret: named(document, fields)?, container: None })
}

fn of_volume(volume: usize, document: &Value) -> impl Iterator<Item = Mention<'_>> {
    let singles: [(Place, &[&str]); 10] = [
        (Place::Volume { volume }, &["secret", "secretName"]),
        (Place::Csi { volume }, &["csi", "nodePublishSecretRef", "name"]),
        (Place::AzureFile { volume }, &["azureFile", "secretName"]),
        (Place::CephFs { volume }, &["cephfs", "secretRef", "name"]),
        (Place::Cinder { volume }, &["cinder", "secretRef", "name"]),
        (Place::FlexVolume { volume }, &["flexVolume", "secretRef", "name"]),
        (Place::Rbd { volume }, &["rbd", "secretRef", "name"]),
        (Place::ScaleIo { volume }, &["scaleIO", "secretRef", "name"]),
        (Place::Iscsi { volume }, &["iscsi", "secretRef", "name"]),
        (Place::StorageOs { volume }, &["storageos", "secretRef", "name"]),
    ];
    let singles = singles.into_iter().filter_map(move |(place, fields)| mention(place, document, fields));
    singles.chain(of_projected(volume, document))
}

fn of_projected(volume: usize, document: &Value) -> impl Iterator<Item = Mention<'_>> {
    items(document.get("projected"), "sources").enumerate().filter_map(move |(source, projection)| {
        mention(Place::ProjectedSource { volume, source }, projection, &["secret", "name"])
    })
}

fn of_container(container: Container<'_>) -> impl Iterator<Item = Mention<'_>> {
    let (kind, index) = (container.kind, container.index);
    let env = container.env().enumerate().filter_map(move |(entry, variable)| {
        mention(Place::Env { kind, container: index, entry }, variable, &["valueFrom", "secretKeyRef", "name"])
    });
    let env_from = container.env_from().enumerate().filter_map(move |(entry, source)| {
        mention(Place::EnvFrom { kind, container: index, entry }, source, &["secretRef", "name"])
    });
    let found = env.chain(env_from);
    found.map(move |mention| Mention { container: Some((kind, container.name)), ..mention })
}

/// The Secret name at the end of `fields`.
fn named<'a>(document: &'a Value, fields: &[&str]) -> Option<&'a str> {
    let (last, parents) = fields.split_last()?;
    let parent = parents.iter().try_fold(document, |value, field| value.get(field))?;
    text(Some(parent), last)
}

#[cfg(test)]
mod tests;
