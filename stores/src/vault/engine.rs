//! Reads of KV engines. Version 1 answers with the values, version 2 with the values and their metadata, and where one
//! is spoken to as the other, Vault's only sign is a warning beside a 404.

use super::api::{Api, Reply, parse};
use super::mounts::Mount;
use super::session::Ticket;
use crate::Fetched;
use crate::document::Document;
use crate::error::{ErrorClass, StoreError};
use crate::secret::SecretBytes;
use alcove_contract::provider::vault::EngineVersion;
use alcove_contract::reference::Key;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What Vault warns of where a version 2 engine is read by the API of version 1.
const VERSIONED: &str = "versioned K/V secrets engine";

/// Where a key is: its engine, and its path in it.
pub(super) struct Place {
    mount: Mount,
    path: String,
}

/// How a read ended, where Vault answered at all.
pub(super) enum Outcome {
    /// With values.
    Found(Fetched),
    /// Nothing is there; the failure to report where nothing is elsewhere, either.
    Missing(StoreError),
    /// The engine is of version 2 and was asked as one of version 1.
    Versioned,
}

impl Place {
    /// The place of `key` in `mount`.
    pub(super) fn new(mount: Mount, key: &Key) -> Result<Self, StoreError> {
        let path = key.path.strip_prefix(&mount.path).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
        if path.is_empty() {
            let text = format!("\"{key}\" names no secret: the engine is mounted at \"{}\"", mount.path);
            return Err(StoreError::misconfigured(text));
        }
        if mount.version == EngineVersion::V1 && key.options.contains_key("version") {
            let text = format!(
                "\"{key}\" asks for a version, and the engine \"{}\" is KV version 1, which has none",
                mount.path
            );
            return Err(StoreError::misconfigured(text));
        }
        Ok(Self { path: path.to_owned(), mount })
    }

    /// The engine.
    pub(super) const fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Reads `key` here.
    pub(super) async fn read(&self, api: &Api, key: &Key, ticket: &Ticket) -> Result<Outcome, StoreError> {
        let reply = api.get(self.url(api, key), ticket.token()).await?;
        match reply.status {
            status if status.is_success() => self.values(api, key, &reply, ticket),
            StatusCode::NOT_FOUND => missing(api, key, &reply),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(self.denied(api, key, &reply)),
            status => {
                let text = format!("{} cannot read \"{key}\": {}", api.shown(), reply.complaint.text(status));
                Err(StoreError::misconfigured(text))
            }
        }
    }

    /// Where Vault is asked for `key`.
    pub(super) fn url(&self, api: &Api, key: &Key) -> Url {
        let mut url = api.url(&self.api_path());
        if let Some(version) = key.options.get("version") {
            url.query_pairs_mut().append_pair("version", version);
        }
        url
    }

    /// The failure of a store that declares another version than the engine has.
    pub(super) fn other_version(&self, key: &Key, actual: EngineVersion) -> StoreError {
        let name = |version| match version {
            EngineVersion::V1 => "v1",
            EngineVersion::V2 => "v2",
        };
        let (declared, actual) = (name(self.mount.version), name(actual));
        StoreError::misconfigured(format!(
            "the store declares version {declared}, and the engine that holds \"{key}\" is {actual}; \
             set the store's version to {actual}, or leave it out and Vault is asked"
        ))
    }

    /// The failure of a read by the API of version 1 that reached a path in the API of version 2.
    fn answers_as_version_2(&self, key: &Key) -> StoreError {
        let mount = &self.mount.path;
        StoreError::misconfigured(format!(
            "\"{key}\" is declared v1, but the mount answers as version 2; set the store's version to v2, or leave it out \
             and Vault is asked, and write the secret's own path below \"{mount}\""
        ))
    }

    /// The failure of an engine whose versions Vault does not agree on yet.
    pub(super) fn upgrading(&self) -> StoreError {
        let text = format!("the engine \"{}\" is being upgraded to KV version 2", self.mount.path);
        StoreError::new(ErrorClass::Unavailable, text)
    }

    fn api_path(&self) -> Vec<&str> {
        match self.mount.version {
            EngineVersion::V1 => vec![&self.mount.path, &self.path],
            EngineVersion::V2 => vec![&self.mount.path, "data", &self.path],
        }
    }

    fn values(&self, api: &Api, key: &Key, reply: &Reply, ticket: &Ticket) -> Result<Outcome, StoreError> {
        match self.mount.version {
            EngineVersion::V1 => {
                let answer: Version1 = parse(&reply.body, "a secret", api.shown())?;
                if answer.is_of_vaults_own_api() || answer.holds(ticket) {
                    let text = format!("\"{key}\" is answered by Vault's own API and not by a KV engine");
                    return Err(StoreError::misconfigured(text));
                }
                if answer.is_of_version_2() {
                    // The engine's API path is not the secret's own, and would slip past policy under another name.
                    return Err(self.answers_as_version_2(key));
                }
                if !answer.lease_id.unwrap_or_default().is_empty() {
                    let text =
                        format!("\"{key}\" is made anew with a lease at each read, and its engine is no KV engine");
                    return Err(StoreError::misconfigured(text));
                }
                found(key, answer.data, None)
            }
            EngineVersion::V2 => {
                let answer: Version2 = parse(&reply.body, "a secret", api.shown())?;
                match answer.data {
                    Some(Versioned { data: Some(values), metadata }) => {
                        found(key, Some(values), metadata.version.map(|version| version.to_string()))
                    }
                    Some(Versioned { data: None, metadata }) => Err(gone(key, &metadata)),
                    None => found(key, None, None),
                }
            }
        }
    }

    fn denied(&self, api: &Api, key: &Key, reply: &Reply) -> StoreError {
        let text = format!(
            "{} does not let this login read \"{key}\": {}; its policies need \"read\" on \"{}\"",
            api.shown(),
            reply.complaint.text(reply.status),
            self.api_path().join("/")
        );
        StoreError::new(ErrorClass::Denied, text)
    }
}

/// Why a read ended with 404.
fn missing(api: &Api, key: &Key, reply: &Reply) -> Result<Outcome, StoreError> {
    let server = api.shown();
    if reply.complaint.warns(VERSIONED) {
        return Ok(Outcome::Versioned);
    }
    // A version that was deleted is a 404 with a body.
    if let Ok(Version2 { data: Some(Versioned { metadata, .. }) }) = parse(&reply.body, "a secret", server) {
        return Err(gone(key, &metadata));
    }
    Ok(Outcome::Missing(if reply.complaint.mentions("no handler for route") {
        StoreError::misconfigured(format!("no engine is mounted at {server} that could hold \"{key}\""))
    } else {
        StoreError::new(ErrorClass::NotFound, format!("{server} has nothing at \"{key}\""))
    }))
}

fn found(key: &Key, values: Option<&RawValue>, version: Option<String>) -> Result<Outcome, StoreError> {
    let text: SecretBytes = values.map_or("null", RawValue::get).as_bytes().to_vec().into();
    Ok(Outcome::Found(Fetched { document: Document::json(key.path.as_str(), text)?, version }))
}

/// Nothing falls back to an older version: somebody deleted this one on purpose.
fn gone(key: &Key, metadata: &Metadata) -> StoreError {
    let version = metadata.version.map_or_else(String::new, |version| format!("version {version} of "));
    let how = match (metadata.destroyed, metadata.deletion_time.as_deref()) {
        (true, _) => "was destroyed".to_owned(),
        (false, None | Some("")) => "was deleted".to_owned(),
        (false, Some(time)) => format!("was deleted on {time}"),
    };
    let remedy = if metadata.destroyed { "" } else { "undelete it, " };
    let text = format!(
        "{version}\"{}\" {how}; {remedy}write a new version, or pin an older one with ?version=<number>",
        key.path
    );
    StoreError::new(ErrorClass::NotFound, text)
}

#[derive(Deserialize)]
struct Version1<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    lease_id: Option<String>,
    #[serde(default)]
    mount_type: Option<String>,
}

impl Version1<'_> {
    /// Whether the values are those of version 2 with their metadata, which no KV 1 secret looks like by accident.
    fn is_of_version_2(&self) -> bool {
        self.data.is_some_and(|data| serde_json::from_str::<Enveloped<'_>>(data.get()).is_ok())
    }

    /// Whether no engine answered but Vault itself, as far as it says so. In a namespace its mounts have types of their
    /// own, and a path may begin with a namespace.
    ///
    /// OpenBao, and Vault before it had types in answers, does not say so: see [`Version1::holds`].
    fn is_of_vaults_own_api(&self) -> bool {
        let kind = self.mount_type.as_deref().unwrap_or_default();
        matches!(kind.strip_prefix("ns_").unwrap_or(kind), "token" | "system" | "identity" | "cubbyhole")
    }

    /// Whether the login's own token is among the values, as where Vault is asked about it, and no engine is named that
    /// somebody could have put it into.
    fn holds(&self, ticket: &Ticket) -> bool {
        let token = ticket.token().as_bytes();
        let values = self.data.map(|data| data.get().as_bytes()).unwrap_or_default();
        self.mount_type.is_none() && !token.is_empty() && values.windows(token.len()).any(|window| window == token)
    }
}

/// What every answer of version 2 has.
#[derive(Deserialize)]
struct Enveloped<'a> {
    #[serde(borrow, rename = "data")]
    _data: &'a RawValue,
    #[serde(rename = "metadata")]
    _metadata: EnvelopedMetadata,
}

#[derive(Deserialize)]
struct EnvelopedMetadata {
    #[serde(rename = "created_time")]
    _created_time: String,
    #[serde(rename = "version")]
    _version: u64,
}

#[derive(Deserialize)]
struct Version2<'a> {
    #[serde(borrow, default)]
    data: Option<Versioned<'a>>,
}

#[derive(Deserialize)]
struct Versioned<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    deletion_time: Option<String>,
    #[serde(default)]
    destroyed: bool,
}
