//! What the webhook hands to the sidecar, in the sidecar's own environment: versioned JSON, one variable for each
//! thing, so that no single string nears the kernel's limit of 128 KiB, and nobody can change it after admission.
//!
//! An old webhook works with a new sidecar and the other way round: the golden files of every version are the promise.
//! A field that a version does not know is an error, because a sidecar that skips what it does not understand delivers
//! something else than what was judged. What is new stays in its version as long as it is left out where it is empty: an
//! old sidecar then serves every Pod that does without, and refuses the others by the name of the field.

mod limits;
mod variables;

use crate::Problem;
use crate::binding::{Encoding, SecretType};
use crate::interval::RefreshInterval;
use crate::mode::Mode;
use crate::name::{FileName, LabelName, SecretName, StoreName};
use crate::path::RelativePath;
use crate::provider::ProviderConfiguration;
use crate::reference::{Key, Reference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that one sidecar has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidecarConfiguration {
    /// How much the sidecar logs.
    pub log_level: LogLevel,
    /// The stores, by name.
    pub stores: Vec<StoreConfiguration>,
    /// The Secrets that do not exist, by name.
    pub secrets: Vec<SecretConfiguration>,
    /// The volumes to fill.
    pub volumes: Vec<VolumeConfiguration>,
    /// The env files to write, one for each container.
    pub environments: Vec<EnvironmentConfiguration>,
}

/// How much a sidecar logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what needs somebody.
    Error,
    /// Also what may need somebody.
    Warn,
    /// Also what changed.
    #[default]
    Info,
    /// Also why.
    Debug,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreConfiguration {
    /// The name that references use.
    pub name: StoreName,
    /// What stands before every key of the store, and in no reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// How it is reached.
    pub provider: ProviderConfiguration,
}

impl StoreConfiguration {
    /// The canonical form of what a reference calls `key`: with the prefix, as policy judges it and the store is asked for it.
    ///
    /// # Errors
    ///
    /// As [`ProviderConfiguration::canonical_key`].
    pub fn canonical_key(&self, key: &Key) -> Result<Key, Problem> {
        if self.prefix.is_empty() {
            return self.provider.canonical_key(key);
        }
        let whole = Key { path: format!("{}{}", self.prefix, key.path), options: key.options.clone() };
        self.provider.canonical_key(&whole).map_err(|problem| {
            let reason = format!("{}, with the prefix \"{}\" of the store before it", problem.reason, self.prefix);
            Problem { reason, ..problem }
        })
    }
}

/// One Secret that does not exist: which values it would hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretConfiguration {
    /// The Secret's name.
    pub name: SecretName,
    /// The Secret's type, whose rules its values must meet.
    #[serde(rename = "type", default, skip_serializing_if = "SecretType::is_opaque")]
    pub secret_type: SecretType,
    /// Its keys, each with the place of its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<FileName, DataConfiguration>,
    /// Secrets whose every property becomes a key; later ones win, `data` wins over all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_from: Vec<Reference>,
    /// How often the values are read again.
    pub refresh_interval: RefreshInterval,
    /// Whether a value that the store does not have is left out instead of being an error.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Whether the values are read once and never again, whatever `refresh_interval` says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub immutable: bool,
}

/// The place of one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataConfiguration {
    /// Where the value comes from.
    #[serde(rename = "ref")]
    pub reference: Reference,
    /// The mode of its file, where the binding states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How the store's text becomes bytes.
    #[serde(default, skip_serializing_if = "Encoding::is_raw")]
    pub encoding: Encoding,
}

/// One volume to fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeConfiguration {
    /// The volume's name in the Pod.
    pub name: LabelName,
    /// Where it is mounted in the sidecar.
    pub path: String,
    /// The mode of files for which nothing else is said.
    pub default_mode: Mode,
    /// What becomes of the group's permission bits.
    #[serde(default)]
    pub group_access: GroupAccess,
    /// What it holds, in order: a later source wins, path by path.
    pub sources: Vec<SourceConfiguration>,
    /// The directories that containers mount other volumes on: no runtime can make them in a volume that is read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<RelativePath>,
}

/// What becomes of the group's permission bits of the files in a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupAccess {
    /// Modes stay as requested.
    #[default]
    AsRequested,
    /// The Pod has an `fsGroup`: its group reads every file (`|0440`) and enters every directory, as the kubelet does it.
    GroupReads,
    /// The only reader owns the files: a mode that shuts others out keeps the group out, too, since programs that check
    /// (PostgreSQL, ssh) refuse a key that its group can read.
    OwnerReads,
}

/// One source of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceConfiguration {
    /// The values of a Secret that does not exist.
    Secret(SecretSource),
    /// What the kubelet projects into another volume.
    Mirror(MirrorSource),
}

/// The values of a Secret that does not exist, as a source of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSource {
    /// The Secret.
    pub name: SecretName,
    /// Which keys go to which paths; without it every key to the path of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<ItemConfiguration>>,
    /// Whether the Secret and each item may be missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// One key of a Secret and its path in a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemConfiguration {
    /// The key, of at most 253 bytes.
    pub key: String,
    /// The relative path of its file.
    pub path: String,
    /// The mode of its file, where the Pod states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// What the kubelet projects into another volume, as a source of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorSource {
    /// Where that volume is mounted in the sidecar.
    pub path: String,
}

/// The env file of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentConfiguration {
    /// The container that the kubelet starts with these values.
    pub container: LabelName,
    /// Where the file is written.
    pub path: String,
    /// Its entries.
    pub entries: Vec<EntryConfiguration>,
}

/// One entry of an env file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryConfiguration {
    /// What the container's `fileKeyRef` names. It belongs to the entry, not to the variable: a name may stand twice.
    pub key: String,
    /// The variable, for messages.
    pub variable: String,
    /// The Secret.
    pub secret: SecretName,
    /// The key in the Secret: a [`FileName`].
    pub secret_key: String,
    /// Whether the entry is left out where the Secret or its key is missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
