//! What the sidecar logs in with: the content of one volume that no other container mounts.

use alcove_contract::layout;
use alcove_contract::name::{FileName, SecretName};
use std::collections::BTreeMap;

/// What the sidecar has to mount to log in to its stores. Every path is relative to [`layout::IDENTITY`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    tokens: BTreeMap<Audience, String>,
    secrets: BTreeMap<(SecretName, FileName), String>,
    cluster_authorities: Option<&'static str>,
}

/// Whom a projected ServiceAccount token is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// The API server: the projection states no audience.
    ApiServer,
    /// A store.
    Store(String),
}

/// The ConfigMap with the authorities of the API server, which Kubernetes keeps in every namespace, and its key.
const CLUSTER_AUTHORITIES: (&str, &str) = ("kube-root-ca.crt", "ca.crt");

impl Identity {
    /// Whether there is nothing to mount.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.secrets.is_empty() && self.cluster_authorities.is_none()
    }

    /// The tokens, one for each audience, and their paths.
    pub fn tokens(&self) -> impl Iterator<Item = (&Audience, &str)> {
        self.tokens.iter().map(|(audience, path)| (audience, path.as_str()))
    }

    /// The credentials: a Secret of the Pod's namespace, a key in it, and its path.
    pub fn secrets(&self) -> impl Iterator<Item = (&SecretName, &FileName, &str)> {
        self.secrets.iter().map(|((secret, key), path)| (secret, key, path.as_str()))
    }

    /// The public files: a ConfigMap of the Pod's namespace, a key in it, and its path.
    pub fn config_maps(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let (name, key) = CLUSTER_AUTHORITIES;
        self.cluster_authorities.into_iter().map(move |path| (name, key, path))
    }

    /// The absolute path of the token for `audience`. An audience may hold any character, so its file has a number.
    pub(super) fn token(&mut self, audience: Audience) -> String {
        let number = self.tokens.len();
        absolute(self.tokens.entry(audience).or_insert_with(|| format!("tokens/{number}")))
    }

    /// The absolute path of a credential.
    pub(super) fn secret(&mut self, secret: &SecretName, key: &FileName) -> String {
        let path = || format!("secrets/{secret}/{key}");
        absolute(self.secrets.entry((secret.clone(), key.clone())).or_insert_with(path))
    }

    /// The absolute path of the authorities of the API server.
    pub(super) fn cluster_authorities(&mut self) -> String {
        absolute(self.cluster_authorities.insert("cluster/ca.crt"))
    }
}

fn absolute(path: &str) -> String {
    format!("{}/{path}", layout::IDENTITY)
}
