//! What was fetched and mirrored, and the Secrets that are made of it.

use crate::agent::{SecretId, Setback, SourceId, Sources};
use crate::mirror::{Mirror, MirrorError};
use crate::render::{Answer, Secret, Wanted};
use alcove_contract::Problems;
use alcove_contract::configuration::SecretConfiguration;
use alcove_contract::name::SecretName;
use alcove_stores::{ErrorClass, Fetched, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What files are made of.
pub(super) struct Material {
    sources: Sources,
    wanted: BTreeMap<SourceId, Wanted>,
    answers: BTreeMap<SourceId, Answer>,
    secrets: Vec<Rendering>,
    mirrors: BTreeMap<String, Mirror>,
    mirror_problems: BTreeMap<String, MirrorError>,
    /// Whether the kubelet may have replaced mirrored files.
    mirrors_may_be_old: bool,
}

/// One Secret.
struct Rendering {
    configuration: SecretConfiguration,
    /// As it was rendered last, without problems.
    secret: Option<Secret>,
    /// Why it could not be rendered since.
    problems: Problems,
}

impl Material {
    pub(super) fn new(secrets: Vec<SecretConfiguration>, sources: Sources) -> Self {
        let mut wanted = BTreeMap::new();
        for secret in &secrets {
            Wanted::add(&mut wanted, secret, |reference| sources.serving(reference));
        }
        let rendering = |configuration| Rendering { configuration, secret: None, problems: Problems::none() };
        Self {
            sources,
            wanted,
            answers: BTreeMap::new(),
            secrets: secrets.into_iter().map(rendering).collect(),
            mirrors: BTreeMap::new(),
            mirror_problems: BTreeMap::new(),
            mirrors_may_be_old: true,
        }
    }

    pub(super) fn accept(&mut self, id: SourceId, result: Result<Fetched, StoreError>) -> Result<(), StoreError> {
        match result {
            Ok(fetched) => {
                let selected = self.wanted.get(&id).map(|wanted| wanted.select(&fetched.document));
                self.answers.insert(id, Answer::Present(selected.unwrap_or_default()));
                Ok(())
            }
            Err(error) => {
                if error.class() == ErrorClass::NotFound {
                    self.answers.insert(id, Answer::Absent(error.clone()));
                }
                Err(error)
            }
        }
    }

    pub(super) const fn expect_new_mirrors(&mut self) {
        self.mirrors_may_be_old = true;
    }

    /// Renders a Secret from the latest answers; its name, if that changed it.
    pub(super) fn render(&mut self, id: SecretId) -> Option<&SecretName> {
        let rendering = self.secrets.get_mut(id.0)?;
        let answer = |reference: &_| self.answers.get(&self.sources.serving(reference)?);
        match Secret::render(&rendering.configuration, answer) {
            Ok(secret) => {
                rendering.problems = Problems::none();
                let changed = rendering.secret.as_ref().is_none_or(|known| !known.equals(&secret));
                rendering.secret = Some(secret);
                changed.then_some(&rendering.configuration.name)
            }
            Err(problems) => {
                rendering.problems = problems;
                None
            }
        }
    }

    /// Reads the mirrored volumes at `paths`, if they may have changed; the paths of those that have.
    pub(super) fn read_mirrors(&mut self, paths: &BTreeSet<&str>) -> Vec<String> {
        if !std::mem::take(&mut self.mirrors_may_be_old) {
            return Vec::new();
        }
        let mut changed = Vec::new();
        self.mirror_problems.clear();
        for &path in paths {
            match Mirror::read(Path::new(path)) {
                Ok(mirror) if self.mirrors.get(path) == Some(&mirror) => {}
                Ok(mirror) => {
                    self.mirrors.insert(path.to_owned(), mirror);
                    changed.push(path.to_owned());
                }
                Err(error) => {
                    self.mirror_problems.insert(path.to_owned(), error);
                    self.mirrors_may_be_old = true;
                }
            }
        }
        changed
    }

    /// The Secret as it was rendered last without problems.
    pub(super) fn secret(&self, name: &SecretName) -> Option<&Secret> {
        self.secrets.iter().find(|rendering| rendering.configuration.name == *name)?.secret.as_ref()
    }

    /// The mirrored volume at `path`, as it was read last.
    pub(super) fn mirror(&self, path: &str) -> Option<&Mirror> {
        self.mirrors.get(path)
    }

    /// The Secrets that cannot be rendered, and the mirrored volumes that cannot be read.
    pub(super) fn setbacks(&self) -> Vec<Setback> {
        let broken = self.secrets.iter().filter(|rendering| !rendering.problems.is_empty());
        let secrets = broken.map(|rendering| Setback {
            subject: format!("Secret {}", rendering.configuration.name),
            reason: rendering.problems.to_string(),
            may_pass: false,
        });
        let mirrors = self.mirror_problems.iter().map(|(path, error)| Setback {
            subject: format!("mirrored volume {path}"),
            reason: error.to_string(),
            may_pass: true,
        });
        secrets.chain(mirrors).collect()
    }
}
