//! The places that values go to: volumes and env files.

use super::material::Material;
use crate::agent::Setback;
use crate::publish::{Outcome, Payload, PayloadFile, PublishError, Publisher, replace_file};
use crate::render;
use alcove_contract::configuration::{EnvironmentConfiguration, GroupAccess, SourceConfiguration, VolumeConfiguration};
use alcove_contract::mode::Mode;
use alcove_contract::name::SecretName;
use alcove_stores::SecretBytes;
use jiff::Timestamp;
use std::path::Path;

/// One place.
pub(super) struct Target {
    kind: Kind,
    /// Whether it may not hold what it should.
    is_behind: bool,
}

enum Kind {
    Volume(VolumeConfiguration, Option<Publisher>),
    Environment(EnvironmentConfiguration),
}

/// What a place is to hold.
pub(super) enum Files<'material> {
    Volume(Payload<'material>),
    Environment(SecretBytes),
}

impl Target {
    pub(super) const fn volume(configuration: VolumeConfiguration) -> Self {
        Self { kind: Kind::Volume(configuration, None), is_behind: true }
    }

    pub(super) const fn environment(configuration: EnvironmentConfiguration) -> Self {
        Self { kind: Kind::Environment(configuration), is_behind: true }
    }

    /// Whether there is something to publish.
    pub(super) const fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The Secret `name` has changed.
    pub(super) fn note_secret(&mut self, name: &SecretName) {
        let uses = self.secrets().any(|used| used == name);
        self.is_behind |= uses;
    }

    /// The mirrored volume at `path` has changed.
    pub(super) fn note_mirror(&mut self, path: &str) {
        let uses = self.mirrored().any(|used| used == path);
        self.is_behind |= uses;
    }

    /// The paths of the mirrored volumes that it takes files from.
    pub(super) fn mirrored(&self) -> impl Iterator<Item = &str> {
        self.sources().iter().filter_map(|source| match source {
            SourceConfiguration::Mirror(mirror) => Some(mirror.path.as_str()),
            SourceConfiguration::Secret(_) => None,
        })
    }

    /// Makes its files. That they cannot be made because a Secret or a mirrored volume is missing is not said again.
    pub(super) fn prepare<'material>(
        &self,
        material: &'material Material,
    ) -> Result<Files<'material>, Option<Setback>> {
        let lacks_secret = self.secrets().any(|name| material.secret(name).is_none());
        if lacks_secret || self.mirrored().any(|path| material.mirror(path).is_none()) {
            return Err(None);
        }
        let secret = |name: &_| material.secret(name);
        let files = match &self.kind {
            Kind::Volume(volume, _) => render::volume(volume, secret, |path| material.mirror(path)).map(Files::Volume),
            Kind::Environment(environment) => render::environment(environment, secret).map(Files::Environment),
        };
        files.map_err(|problems| Some(self.setback(problems.to_string())))
    }

    /// Makes its files visible.
    pub(super) fn publish(&mut self, files: &Files<'_>, now: Timestamp) -> Result<(), Setback> {
        let published = match (&mut self.kind, files) {
            (Kind::Volume(volume, publisher), Files::Volume(payload)) => {
                publish_volume(volume, publisher, payload, now)
            }
            (Kind::Environment(environment), Files::Environment(text)) => {
                let file = PayloadFile { content: text.as_bytes(), mode: Mode::OWNER_READ };
                replace_file(Path::new(&environment.path), file)
            }
            (Kind::Volume(..), Files::Environment(_)) | (Kind::Environment(_), Files::Volume(_)) => {
                Ok(Outcome::Unchanged)
            }
        };
        match published {
            Ok(outcome) => {
                self.is_behind = false;
                if outcome == Outcome::Replaced {
                    self.log_published(files);
                }
                Ok(())
            }
            Err(error) => {
                Err(Setback { may_pass: error.may_pass(), ..self.setback(format!("{}: {error}", self.subject())) })
            }
        }
    }

    fn log_published(&self, files: &Files<'_>) {
        if let (Kind::Volume(volume, _), Files::Volume(payload)) = (&self.kind, files) {
            for name in payload.hidden_by(&volume.mount_points) {
                tracing::warn!("{}: {name} is not seen, because another volume is mounted there", self.subject());
            }
            tracing::debug!("modes of {}: {}", self.subject(), rule(volume.group_access));
        }
        match files {
            Files::Volume(payload) if payload.len() == 1 => tracing::info!("published {} (1 file)", self.subject()),
            Files::Volume(payload) => tracing::info!("published {} ({} files)", self.subject(), payload.len()),
            Files::Environment(_) => tracing::info!("published {}", self.subject()),
        }
    }

    fn sources(&self) -> &[SourceConfiguration] {
        match &self.kind {
            Kind::Volume(volume, _) => &volume.sources,
            Kind::Environment(_) => &[],
        }
    }

    fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let of_volume = self.sources().iter().filter_map(|source| match source {
            SourceConfiguration::Secret(source) => Some(&source.name),
            SourceConfiguration::Mirror(_) => None,
        });
        let entries = match &self.kind {
            Kind::Environment(environment) => environment.entries.as_slice(),
            Kind::Volume(..) => &[],
        };
        of_volume.chain(entries.iter().map(|entry| &entry.secret))
    }

    fn subject(&self) -> String {
        match &self.kind {
            Kind::Volume(volume, _) => format!("volume {}", volume.name),
            Kind::Environment(environment) => format!("env of container {}", environment.container),
        }
    }

    fn setback(&self, reason: String) -> Setback {
        Setback { subject: self.subject(), reason, may_pass: false }
    }
}

/// What was done to the modes that were asked for.
const fn rule(access: GroupAccess) -> &'static str {
    match access {
        GroupAccess::AsRequested => "as requested",
        GroupAccess::GroupReads => "as requested, and the fsGroup reads every file",
        GroupAccess::OwnerReads => "as requested, and the group is kept out where others are",
    }
}

fn publish_volume(
    configuration: &VolumeConfiguration,
    publisher: &mut Option<Publisher>,
    payload: &Payload<'_>,
    now: Timestamp,
) -> Result<Outcome, PublishError> {
    let publisher = match publisher {
        Some(publisher) => publisher,
        None => publisher.insert(open_volume(configuration)?),
    };
    publisher.publish(payload, now)
}

fn open_volume(configuration: &VolumeConfiguration) -> Result<Publisher, PublishError> {
    let publisher = Publisher::open(Path::new(&configuration.path))?;
    publisher.make_mount_points(&configuration.mount_points)?;
    Ok(publisher)
}
