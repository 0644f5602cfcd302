//! Secrets of one namespace of a Kubernetes cluster, read with the Pod's own token.
//!
//! There is no login: the token is the identity, and its file is read for every request, since the kubelet rotates it.

use crate::credential::Credential;
use crate::document::{Document, MOST_NAMES};
use crate::error::{ErrorClass, StoreError};
use crate::http::{Answer, Request, Server, Trust, credential_header};
use crate::secret::SecretBuffer;
use crate::{Fetched, Store};
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::provider::kubernetes::KubernetesConfiguration;
use alcove_contract::reference::Key;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A namespace of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    provider: ProviderConfiguration,
    namespace: String,
    token_file: String,
    server: Server,
    closed: AtomicBool,
}

impl Cluster {
    /// The namespace that `configuration` names. Nothing is sent.
    pub(crate) fn open(configuration: &KubernetesConfiguration) -> Result<Self, StoreError> {
        let trust = Trust::File(configuration.ca_file.clone());
        Ok(Self {
            provider: ProviderConfiguration::Kubernetes(configuration.clone()),
            namespace: configuration.namespace.clone(),
            token_file: configuration.token_file.clone(),
            server: Server::new(&configuration.server, None, trust)?,
            closed: AtomicBool::new(false),
        })
    }

    async fn read(&self, key: &Key) -> Result<Fetched, StoreError> {
        let key = crate::canonical(&self.provider, key)?;
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::new(ErrorClass::Unavailable, "the store is closed"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer(&Credential::read(&self.token_file, "ServiceAccount token")?)?);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let url = self.server.url(&["api", "v1", "namespaces", &self.namespace, "secrets", &key.path]);
        let answer = self.server.send(Request { method: Method::GET, url, headers, body: Bytes::new() }).await?;
        if answer.status == StatusCode::OK { self.secret(&key, &answer) } else { Err(self.refused(&key, &answer)) }
    }

    fn secret(&self, key: &Key, answer: &Answer) -> Result<Fetched, StoreError> {
        let broken = |what: String| {
            let text = format!("{} sends Secret \"{}/{}\" {what}", self.server.shown(), self.namespace, key.path);
            StoreError::new(ErrorClass::Integrity, text)
        };
        let secret: Secret = serde_json::from_slice(answer.body.as_bytes())
            .map_err(|error| broken(format!("malformed at line {} column {}", error.line(), error.column())))?;
        let data = secret.data.unwrap_or_default();
        if data.len() > MOST_NAMES {
            return Err(broken(format!("with {} keys, more than {MOST_NAMES}", data.len())));
        }
        let entries = data.into_iter().map(|(name, value)| {
            // The library's own words would repeat a byte of the value.
            let decoded = STANDARD.decode(value).ok();
            let bytes = decoded.ok_or_else(|| broken(format!("with \"{name}\" that is no base64")))?;
            Ok((name.to_owned(), bytes.into()))
        });
        let document = Document::entries(key.path.as_str(), entries.collect::<Result<_, _>>()?);
        Ok(Fetched { document, version: secret.metadata.resource_version })
    }

    /// Why the API server did not give the Secret, in its own words.
    fn refused(&self, key: &Key, answer: &Answer) -> StoreError {
        let status: Status = serde_json::from_slice(answer.body.as_bytes()).unwrap_or_default();
        let code = answer.status.as_u16();
        let (class, remedy) = match code {
            401 => (
                ErrorClass::Unauthenticated,
                "; the token's audience is not the API server's, or its ServiceAccount is gone",
            ),
            403 => (ErrorClass::Denied, "; its Role needs \"get\" on this Secret"),
            404 => (ErrorClass::NotFound, ""),
            429 => (ErrorClass::Throttled, ""),
            300..=399 | 500.. => (ErrorClass::Unavailable, ""),
            _ => (ErrorClass::Misconfigured, ""),
        };
        if class == ErrorClass::Unavailable {
            self.server.reconnect();
        }
        let reason = match (status.message, answer.location.as_deref()) {
            (Some(message), _) if !message.is_empty() => message,
            (_, Some(location)) => format!("it points to {location}, where the token is not sent"),
            _ => answer.status.canonical_reason().unwrap_or("unknown status").to_lowercase(),
        };
        let server = self.server.shown();
        let text =
            format!("{server} does not give Secret \"{}/{}\": {reason} ({code}){remedy}", self.namespace, key.path);
        let wait = status.details.and_then(|details| details.retry_after_seconds).map(Duration::from_secs);
        let error = StoreError::new(class, text).with_retry_after(answer.retry_after.or(wait));
        if class == ErrorClass::Unauthenticated { error.at_login() } else { error }
    }
}

impl Store for Cluster {
    fn fetch<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Fetched, StoreError>> {
        Box::pin(self.read(key))
    }

    /// Nothing was borrowed: the kubelet's token is not ours to revoke.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.closed.store(true, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}

fn bearer(token: &Credential) -> Result<HeaderValue, StoreError> {
    let mut header = SecretBuffer::default();
    header.extend(b"Bearer ");
    header.extend(token.as_str().as_bytes());
    credential_header(header.into())
}

/// What is wanted of a Secret. The values stay where the answer's buffer has them until they are decoded.
#[derive(Deserialize)]
struct Secret<'a> {
    #[serde(borrow, default)]
    data: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: Option<String>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    retry_after_seconds: Option<u64>,
}

#[cfg(test)]
mod tests;
