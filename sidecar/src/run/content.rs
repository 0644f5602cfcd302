//! What the sidecar holds in memory, and brings into the Pod's volumes.

use super::material::Material;
use super::target::Target;
use crate::agent::{SecretId, Setback, SourceId, Sources};
use alcove_contract::configuration::SidecarConfiguration;
use alcove_stores::{Fetched, StoreError};
use jiff::Timestamp;

/// Everything that was fetched, and the places that it goes to.
pub(super) struct Content {
    material: Material,
    targets: Vec<Target>,
    /// Whether everything has been published once.
    started: bool,
}

impl Content {
    pub(super) fn new(configuration: SidecarConfiguration, sources: Sources) -> Self {
        let SidecarConfiguration { secrets, volumes, environments, .. } = configuration;
        let environments = environments.into_iter().map(Target::environment);
        // Env files come first: they are refused for more reasons than files are.
        let targets = environments.chain(volumes.into_iter().map(Target::volume)).collect();
        Self { material: Material::new(secrets, sources), targets, started: false }
    }

    /// Keeps what a store answered. That it has nothing is kept, too.
    pub(super) fn accept(&mut self, id: SourceId, result: Result<Fetched, StoreError>) -> Result<(), StoreError> {
        self.material.accept(id, result)
    }

    /// The mirrored volumes have to be read again before the next publication.
    pub(super) const fn expect_new_mirrors(&mut self) {
        self.material.expect_new_mirrors();
    }

    /// Renders `secrets` anew and publishes what is behind; what is still behind afterwards.
    ///
    /// The first time it is all or nothing: no container starts with a part of its files.
    pub(super) fn publish(&mut self, secrets: &[SecretId], now: Timestamp) -> Vec<Setback> {
        for id in secrets {
            if let Some(changed) = self.material.render(*id) {
                self.targets.iter_mut().for_each(|target| target.note_secret(changed));
            }
        }
        let mirrored = self.targets.iter().flat_map(Target::mirrored).collect();
        for changed in self.material.read_mirrors(&mirrored) {
            self.targets.iter_mut().for_each(|target| target.note_mirror(&changed));
        }
        let mut setbacks = self.material.setbacks();
        let mut prepared = Vec::new();
        for target in self.targets.iter_mut().filter(|target| target.is_behind()) {
            match target.prepare(&self.material) {
                Ok(files) => prepared.push((target, files)),
                Err(setback) => setbacks.extend(setback),
            }
        }
        if self.started || setbacks.is_empty() {
            let published = prepared.into_iter().map(|(target, files)| target.publish(&files, now));
            setbacks.extend(published.filter_map(Result::err));
        }
        self.started |= setbacks.is_empty();
        setbacks
    }
}

#[cfg(test)]
mod tests;
