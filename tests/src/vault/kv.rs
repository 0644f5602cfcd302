//! The KV engines, whose two versions differ in paths and bodies.

use anyhow::Result;
use serde_json::{Value, json};

use super::Vault;
use crate::wait::{self, Seen};

/// The version of a KV engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Plain paths, one value each.
    One,
    /// Versioned values below `data/`.
    Two,
}

impl Version {
    /// The version as the engine's option spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
        }
    }
}

/// A mounted KV engine.
#[derive(Debug)]
pub struct Kv<'vault> {
    vault: &'vault Vault,
    mount: &'static str,
    version: Version,
}

impl<'vault> Kv<'vault> {
    pub(super) fn at(vault: &'vault Vault, mount: &'static str, version: Version) -> Self {
        Self { vault, mount, version }
    }

    /// Writes the properties of `key`; with version 2 as its next version.
    pub async fn put(&self, key: &str, properties: Value) -> Result<()> {
        let body = match self.version {
            Version::One => properties,
            Version::Two => json!({"data": properties}),
        };
        self.vault.call("POST", &self.path(key), &body).await.map(drop)
    }

    /// Reads the properties of `key`.
    pub async fn get(&self, key: &str) -> Result<Value> {
        let answer = self.vault.call("GET", &self.path(key), &Value::Null).await?;
        let pointer = match self.version {
            Version::One => "/data",
            Version::Two => "/data/data",
        };
        Ok(answer.pointer(pointer).cloned().unwrap_or_default())
    }

    /// Deletes `key`; with version 2 its latest version, which leaves a tombstone.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.vault.call("DELETE", &self.path(key), &Value::Null).await.map(drop)
    }

    /// The rule that lets a policy read `key`, which may end in `*`.
    #[must_use]
    pub fn readable(&self, key: &str) -> String {
        format!("path \"{}\" {{ capabilities = [\"read\"] }}\n", self.path(key))
    }

    /// A new engine of version 2 refuses requests while it upgrades itself.
    pub(super) async fn wait_until_ready(&self) -> Result<()> {
        wait::until("the KV engine to serve", async || {
            Ok(Seen::attempt(self.put("testkit-ready", json!({"ready": "yes"})).await))
        })
        .await?;
        self.delete("testkit-ready").await
    }

    fn path(&self, key: &str) -> String {
        match self.version {
            Version::One => format!("{}/{key}", self.mount),
            Version::Two => format!("{}/data/{key}", self.mount),
        }
    }
}
