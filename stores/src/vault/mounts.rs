//! Which engine holds a key, by Vault's own answer: a mount's path may have several segments, and where two mounts fit
//! the longer one wins.

use super::api::{Api, parse};
use super::session::Ticket;
use crate::error::{ErrorClass, StoreError};
use alcove_contract::provider::vault::EngineVersion;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A KV engine: where it is mounted, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its path, without the last slash.
    pub(super) path: String,
    /// Its version.
    pub(super) version: EngineVersion,
}

/// What Vault said about the mount of one key.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// It is this one.
    Mount(Mount),
    /// It does not tell this login.
    Refused(StoreError),
}

/// Vault's answers so far, by the key that was asked for: a known mount does not answer for every key that begins like it,
/// since a longer one may fit.
#[derive(Debug, Default)]
pub(super) struct Mounts(Mutex<HashMap<String, Answer>>);

#[derive(Clone, Debug)]
enum Answer {
    Mount(Mount),
    /// The next login may be told more.
    Refused {
        generation: u64,
        error: StoreError,
    },
}

impl Mount {
    /// What a store that declares the version says of `key`: the first segment is the mount.
    pub(super) fn first_segment(key: &str, version: EngineVersion) -> Self {
        let path = key.split_once('/').map_or(key, |(mount, _)| mount).to_owned();
        Self { path, version }
    }
}

impl Mounts {
    /// What Vault said about the mount of `key`, if it was asked with this login.
    pub(super) fn known(&self, key: &str, ticket: &Ticket) -> Option<Known> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)? {
            Answer::Mount(mount) => Some(Known::Mount(mount.clone())),
            Answer::Refused { generation, error } if *generation == ticket.generation() => {
                Some(Known::Refused(error.clone()))
            }
            Answer::Refused { .. } => None,
        }
    }

    /// Asks Vault for the mount of `key`, whatever it said before.
    pub(super) async fn look_up(&self, api: &Api, key: &str, ticket: &Ticket) -> Result<Mount, StoreError> {
        let result = ask(api, key, ticket).await;
        let answer = match &result {
            Ok(mount) => Answer::Mount(mount.clone()),
            Err(error) if error.class() == ErrorClass::Denied => {
                Answer::Refused { generation: ticket.generation(), error: error.clone() }
            }
            Err(_) => return result,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), answer);
        result
    }
}

async fn ask(api: &Api, key: &str, ticket: &Ticket) -> Result<Mount, StoreError> {
    let server = api.shown();
    let reply = api.get(api.url(&["sys", "internal", "ui", "mounts", key]), ticket.token()).await?;
    if !reply.status.is_success() {
        // Vault has one answer for both, so that nobody learns which mounts exist.
        let text = format!(
            "{server} does not say which engine holds \"{key}\": {}; the mount is unknown, or its lookup is not permitted \
             to this login: correct the mount, or set the store's version",
            reply.complaint.text(reply.status)
        );
        return Err(StoreError::new(ErrorClass::Denied, text));
    }
    let Lookup { data } = parse(&reply.body, "a mount", server)?;
    let path = data.path.trim_end_matches('/').to_owned();
    match (data.kind.as_str(), data.options.unwrap_or_default().version.as_deref()) {
        ("kv", Some("2")) => Ok(Mount { path, version: EngineVersion::V2 }),
        ("kv" | "generic", None | Some("1")) => Ok(Mount { path, version: EngineVersion::V1 }),
        (kind, _) => {
            let text =
                format!("\"{key}\" of {server} is in the engine \"{path}\" of type \"{kind}\", which is no KV engine");
            Err(StoreError::misconfigured(text))
        }
    }
}

#[derive(Deserialize)]
struct Lookup {
    data: Described,
}

#[derive(Deserialize)]
struct Described {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    options: Option<Options>,
}

#[derive(Default, Deserialize)]
struct Options {
    version: Option<String>,
}
