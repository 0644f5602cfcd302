//! The files of a volume, as the kubelet would project them.

use super::secret::{Secret, SecretValue};
use crate::mirror::Mirror;
use crate::publish::{Payload, PayloadFile};
use alcove_contract::configuration::{
    GroupAccess, ItemConfiguration, SecretSource, SourceConfiguration, VolumeConfiguration,
};
use alcove_contract::mode::Mode;
use alcove_contract::name::SecretName;
use alcove_contract::{Problem, Problems};

/// What the kubelet gives to the group of every file, where the Pod has an `fsGroup`.
const GROUP_READS: u32 = 0o440;
/// What is wrong with a source that nothing is known of.
const UNKNOWN: &str = "is not described by the configuration";
/// The permissions of the group.
const GROUP_BITS: u32 = 0o070;

/// The files of a volume; of two sources with one path the later wins.
///
/// # Errors
///
/// The problems of all sources: as with the kubelet, any of them keeps the whole volume as it is.
pub fn volume<'a>(
    configuration: &VolumeConfiguration,
    secret: impl Fn(&SecretName) -> Option<&'a Secret>,
    mirror: impl Fn(&str) -> Option<&'a Mirror>,
) -> Result<Payload<'a>, Problems> {
    let mut files = Files { configuration, payload: Payload::default(), problems: Problems::none() };
    for source in &configuration.sources {
        match source {
            SourceConfiguration::Secret(source) => match secret(&source.name) {
                Some(secret) => files.add_secret(source, secret),
                None => files.problem(&format!(", Secret {}", source.name), UNKNOWN),
            },
            SourceConfiguration::Mirror(source) => match mirror(&source.path) {
                Some(mirror) => files.add_mirror(mirror),
                None => files.problem(&format!(", {}", source.path), UNKNOWN),
            },
        }
    }
    if let Err(conflict) = files.payload.check() {
        files.problem("", conflict.to_string());
    }
    files.problems.or(files.payload)
}

/// The files of a volume in the making.
struct Files<'volume, 'content> {
    configuration: &'volume VolumeConfiguration,
    payload: Payload<'content>,
    problems: Problems,
}

impl<'content> Files<'_, 'content> {
    fn add_secret(&mut self, source: &SecretSource, secret: &'content Secret) {
        if !source.optional && self.problems.collect(secret.check_complete()).is_none() {
            return;
        }
        match source.items.as_deref() {
            None | Some([]) => {
                for (name, value) in secret.values() {
                    let mode = value.mode.unwrap_or_else(|| secret.default_mode(self.configuration.default_mode));
                    self.add_value(name.as_str(), value, mode);
                }
            }
            Some(items) => items.iter().for_each(|item| self.add_item(source, item, secret)),
        }
    }

    fn add_item(&mut self, source: &SecretSource, item: &ItemConfiguration, secret: &'content Secret) {
        match secret.value(&item.key) {
            Some(value) => {
                let default = secret.default_mode(self.configuration.default_mode);
                self.add_value(&item.path, value, item.mode.or(value.mode).unwrap_or(default));
            }
            None if source.optional => {}
            None => {
                let reason = format!("references non-existent secret key: {}", item.key);
                self.problem(&format!(", Secret {}", source.name), reason);
            }
        }
    }

    fn add_value(&mut self, path: &str, value: &'content SecretValue, mode: Mode) {
        match path.parse() {
            Ok(path) => {
                let mode = self.granted(mode);
                self.payload.insert(path, PayloadFile { content: value.bytes.as_bytes(), mode });
            }
            Err(error) => self.problem("", error.to_string()),
        }
    }

    /// The kubelet has already given these files the modes that they have in this Pod.
    fn add_mirror(&mut self, mirror: &'content Mirror) {
        for (path, file) in mirror.files() {
            self.payload.insert(path.clone(), PayloadFile { content: file.content.as_bytes(), mode: file.mode });
        }
    }

    fn problem(&mut self, source: &str, reason: impl Into<String>) {
        self.problems.push(Problem::new(format!("volume {}{source}", self.configuration.name), reason));
    }

    fn granted(&self, mode: Mode) -> Mode {
        let bits = match self.configuration.group_access {
            GroupAccess::GroupReads => mode.bits() | GROUP_READS,
            GroupAccess::OwnerReads if mode.shuts_others_out() => mode.bits() & !GROUP_BITS,
            GroupAccess::AsRequested | GroupAccess::OwnerReads => mode.bits(),
        };
        Mode::try_from(bits).unwrap_or(mode)
    }
}
