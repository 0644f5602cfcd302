//! HashiCorp Vault and OpenBao: one login for all stores that log in alike, and reads of KV engines of both versions.

mod api;
mod engine;
mod lease;
mod login;
mod mounts;
mod session;

use crate::error::{ErrorClass, StoreError};
use crate::{Fetched, Store};
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::provider::vault::{EngineVersion, VaultConfiguration};
use alcove_contract::reference::Key;
use api::Api;
use engine::{Outcome, Place};
use futures::future::BoxFuture;
use mounts::{Known, Mount, Mounts};
use session::{Session, Ticket};
use std::fmt;
use std::sync::Arc;

/// The logins so far, each with what makes it one: everything but the version of the engines.
#[derive(Default)]
pub(crate) struct Sessions(Vec<(VaultConfiguration, Arc<Session>)>);

/// One store on a Vault server.
pub(crate) struct Vault {
    provider: ProviderConfiguration,
    declared: Option<EngineVersion>,
    session: Arc<Session>,
    mounts: Mounts,
}

impl Sessions {
    /// The store that `configuration` describes, on the login of one that logs in alike.
    pub(crate) fn open(&mut self, configuration: &VaultConfiguration) -> Result<Vault, StoreError> {
        Ok(Vault {
            provider: ProviderConfiguration::Vault(configuration.clone()),
            declared: configuration.version,
            session: self.session(configuration)?,
            mounts: Mounts::default(),
        })
    }

    fn session(&mut self, configuration: &VaultConfiguration) -> Result<Arc<Session>, StoreError> {
        let login = VaultConfiguration { version: None, ..configuration.clone() };
        if let Some((_, session)) = self.0.iter().find(|(known, _)| *known == login) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::new(Api::new(configuration)?, configuration.login.clone()));
        self.0.push((login, Arc::clone(&session)));
        Ok(session)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(configuration, _)| &configuration.server)).finish()
    }
}

impl Store for Vault {
    fn fetch<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Fetched, StoreError>> {
        Box::pin(async {
            let key = crate::canonical(&self.provider, key)?;
            let ticket = self.session.ticket().await?;
            match self.read(&key, &ticket).await {
                Err(error) if error.class() == ErrorClass::Denied => match self.session.after_refusal(&ticket).await? {
                    Some(ticket) => self.read(&key, &ticket).await,
                    None => Err(error),
                },
                answer => answer,
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.session.close())
    }
}

impl Vault {
    async fn read(&self, key: &Key, ticket: &Ticket) -> Result<Fetched, StoreError> {
        let place = Place::new(self.mount(key, ticket).await?, key)?;
        match place.read(self.api(), key, ticket).await? {
            Outcome::Found(fetched) => Ok(fetched),
            Outcome::Missing(error) => self.read_elsewhere(key, ticket, &place, error).await,
            Outcome::Versioned if self.declared.is_some() => Err(place.other_version(key, EngineVersion::V2)),
            Outcome::Versioned => self.read_upgraded(key, ticket).await,
        }
    }

    /// The mount that holds `key`: without a declared version Vault's own answer, else the first segment, unless Vault
    /// has said better.
    async fn mount(&self, key: &Key, ticket: &Ticket) -> Result<Mount, StoreError> {
        match (self.mounts.known(&key.path, ticket), self.declared) {
            (Some(Known::Mount(mount)), declared) if declared.is_none_or(|version| version == mount.version) => {
                Ok(mount)
            }
            (_, Some(version)) => Ok(Mount::first_segment(&key.path, version)),
            (Some(Known::Refused(error)), None) => Err(error),
            (_, None) => self.mounts.look_up(self.api(), &key.path, ticket).await,
        }
    }

    /// Nothing is there. Where version 2 was declared that may only mean that the declaration is wrong, or the mount longer
    /// than its first segment, which Vault is asked once: `optional` must not forgive it.
    async fn read_elsewhere(
        &self,
        key: &Key,
        ticket: &Ticket,
        place: &Place,
        missing: StoreError,
    ) -> Result<Fetched, StoreError> {
        if self.declared != Some(EngineVersion::V2) {
            return Err(missing);
        }
        let mount = match self.mounts.known(&key.path, ticket) {
            Some(Known::Mount(mount)) => mount,
            Some(Known::Refused(_)) => return Err(missing),
            None => match self.mounts.look_up(self.api(), &key.path, ticket).await {
                Ok(mount) => mount,
                Err(error) if error.class() == ErrorClass::Denied => return Err(missing),
                Err(error) => return Err(error),
            },
        };
        match mount.version {
            EngineVersion::V1 => Err(place.other_version(key, EngineVersion::V1)),
            EngineVersion::V2 if mount == *place.mount() => Err(missing),
            EngineVersion::V2 => match Place::new(mount, key)?.read(self.api(), key, ticket).await? {
                Outcome::Found(fetched) => Ok(fetched),
                Outcome::Missing(error) => Err(error),
                Outcome::Versioned => Err(missing),
            },
        }
    }

    /// The engine has become version 2 since Vault was asked for it.
    async fn read_upgraded(&self, key: &Key, ticket: &Ticket) -> Result<Fetched, StoreError> {
        let mount = self.mounts.look_up(self.api(), &key.path, ticket).await?;
        let place = Place::new(mount, key)?;
        match place.read(self.api(), key, ticket).await? {
            Outcome::Found(fetched) => Ok(fetched),
            Outcome::Missing(error) => Err(error),
            Outcome::Versioned => Err(place.upgrading()),
        }
    }

    fn api(&self) -> &Api {
        self.session.api()
    }
}

#[cfg(test)]
mod tests;
