//! Bindings: where the content of a Secret name comes from.
//!
//! One schema in three places: an annotation's short form (a single reference), an annotation's long form (YAML), and
//! `spec` of a SecretBinding or ClusterSecretBinding.

mod document;

use crate::interval::RefreshInterval;
use crate::mode::Mode;
use crate::name::FileName;
use crate::reference::Reference;
use crate::{Problem, Problems, yaml};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use document::BindingDocument;

/// Where the content of one Secret name comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The Secret's type.
    pub secret_type: SecretType,
    /// Its keys, each with the place of its value.
    pub data: BTreeMap<FileName, Entry>,
    /// Secrets whose every property becomes a key; later ones win, `data` wins over all.
    pub data_from: Vec<Reference>,
    /// Names that `data_from` will yield, for places that need them at admission.
    pub keys: Vec<FileName>,
    /// How often the values are read again.
    pub refresh_interval: RefreshInterval,
    /// Whether values that the store does not have are left out.
    pub optional: bool,
    /// Whether the values are read once and never again.
    pub immutable: bool,
}

/// The place of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the value comes from.
    pub reference: Reference,
    /// The mode of its file, if the binding states one.
    pub mode: Option<Mode>,
    /// How the store's text becomes bytes.
    pub encoding: Encoding,
}

/// How the text that a store holds becomes the bytes of a file. Nothing is ever guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As they are.
    #[default]
    Raw,
    /// Standard base64; line ends and spaces are ignored.
    Base64,
    /// Base64 with the URL alphabet, padded or not.
    Base64url,
    /// Hexadecimal digits.
    Hex,
}

impl Encoding {
    /// Whether the bytes are taken as they are.
    #[must_use]
    pub const fn is_raw(&self) -> bool {
        matches!(self, Self::Raw)
    }
}

/// The type of a Secret, as Kubernetes has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretType {
    /// Anything, or nothing at all.
    #[default]
    Opaque,
    /// `kubernetes.io/dockercfg`.
    DockerCfg,
    /// `kubernetes.io/dockerconfigjson`.
    DockerConfigJson,
    /// `kubernetes.io/basic-auth`.
    BasicAuth,
    /// `kubernetes.io/ssh-auth`.
    SshAuth,
    /// `kubernetes.io/tls`.
    Tls,
    /// A type of the user's own, whose content nobody checks.
    Custom(String),
}

impl SecretType {
    /// Whether the type has no rules.
    #[must_use]
    pub const fn is_opaque(&self) -> bool {
        matches!(self, Self::Opaque)
    }

    /// The keys without which the API server accepts no Secret of this type: of each group, one must be there.
    #[must_use]
    pub const fn required_keys(&self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Opaque | Self::Custom(_) => &[],
            Self::DockerCfg => &[&[".dockercfg"]],
            Self::DockerConfigJson => &[&[".dockerconfigjson"]],
            Self::BasicAuth => &[&["username", "password"]],
            Self::SshAuth => &[&["ssh-privatekey"]],
            Self::Tls => &[&["tls.crt"], &["tls.key"]],
        }
    }

    /// The mode of files for which neither binding nor Pod says anything, where the type has one of its own.
    #[must_use]
    pub const fn default_mode(&self) -> Option<Mode> {
        match self {
            // `ssh` refuses a key that its group can read.
            Self::SshAuth => Some(Mode::OWNER_READ),
            Self::Opaque | Self::DockerCfg | Self::DockerConfigJson | Self::BasicAuth | Self::Tls | Self::Custom(_) => {
                None
            }
        }
    }
}

impl TryFrom<String> for SecretType {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        let refused = |reason: &str, remedy: &str| Err(Problem::new("", reason).with_value(&text).with_remedy(remedy));
        match text.as_str() {
            "" | "Opaque" => Ok(Self::Opaque),
            "kubernetes.io/dockercfg" => Ok(Self::DockerCfg),
            "kubernetes.io/dockerconfigjson" => Ok(Self::DockerConfigJson),
            "kubernetes.io/basic-auth" => Ok(Self::BasicAuth),
            "kubernetes.io/ssh-auth" => Ok(Self::SshAuth),
            "kubernetes.io/tls" => Ok(Self::Tls),
            "kubernetes.io/service-account-token" => refused(
                "cannot be delivered: such a token is issued by the API server, not by a store",
                "use a projected serviceAccountToken volume, which needs no Secret",
            ),
            "bootstrap.kubernetes.io/token" => refused(
                "cannot be delivered: the control plane reads bootstrap tokens from real Secrets",
                "create the Secret in kube-system",
            ),
            _ if text.chars().count() <= 253 => Ok(Self::Custom(text)),
            _ => refused("is longer than 253 characters", "shorten it"),
        }
    }
}

impl From<SecretType> for String {
    fn from(secret_type: SecretType) -> Self {
        secret_type.to_string()
    }
}

impl fmt::Display for SecretType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Opaque => "Opaque",
            Self::DockerCfg => "kubernetes.io/dockercfg",
            Self::DockerConfigJson => "kubernetes.io/dockerconfigjson",
            Self::BasicAuth => "kubernetes.io/basic-auth",
            Self::SshAuth => "kubernetes.io/ssh-auth",
            Self::Tls => "kubernetes.io/tls",
            Self::Custom(name) => name,
        })
    }
}

impl Binding {
    /// The binding to a single reference: all properties, each as a key; or the one property, as a key of its name.
    ///
    /// # Errors
    ///
    /// A property whose name cannot be a key.
    pub fn to_reference(reference: Reference) -> Result<Self, Problem> {
        let Some(property) = &reference.property else {
            return Ok(Self { data_from: vec![reference], ..Self::default() });
        };
        let name: FileName = property.as_str().parse().map_err(|problem: Problem| {
            problem.with_remedy(format!("name the file: {{data: {{<file>: \"{reference}\"}}}}"))
        })?;
        let entry = Entry { reference, mode: None, encoding: Encoding::Raw };
        Ok(Self { data: [(name, entry)].into(), ..Self::default() })
    }

    /// The names of the Secret's keys, as far as they are known without asking the store.
    pub fn known_keys(&self) -> impl Iterator<Item = &FileName> {
        let listed = self.keys.iter().filter(|key| !self.data.contains_key(*key));
        self.data.keys().chain(listed)
    }

    /// Whether [`Binding::known_keys`] is the whole list.
    #[must_use]
    pub fn knows_all_keys(&self) -> bool {
        self.data_from.is_empty() || !self.keys.is_empty()
    }

    /// Every reference, in a stable order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.data.values().map(|entry| &entry.reference).chain(&self.data_from)
    }
}

impl FromStr for Binding {
    type Err = Problems;

    /// Reads an annotation's value: a single reference, or YAML.
    fn from_str(text: &str) -> Result<Self, Problems> {
        let text = text.trim();
        let is_document = text.contains('\n') || text.starts_with('{') || text.contains(": ");
        if is_document { Self::from_document(&yaml::parse(text)?) } else { Ok(Self::to_reference(text.parse()?)?) }
    }
}
