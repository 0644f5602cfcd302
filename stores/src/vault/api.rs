//! Requests to Vault, and what its statuses mean before anybody looks at what was asked.

use crate::error::{ErrorClass, StoreError};
use crate::http::{Answer, Request, Server, Trust};
use crate::secret::SecretBytes;
use alcove_contract::provider::vault::VaultConfiguration;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use std::time::Duration;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Proof that no browser was tricked into the request; Vault's proxies can demand it.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// A Vault server, and the namespace in it.
#[derive(Debug)]
pub(super) struct Api {
    server: Server,
    headers: HeaderMap,
}

/// An answer of a server that is able to serve.
pub(super) struct Reply {
    /// Its status: success, or one that is about what was asked.
    pub(super) status: StatusCode,
    /// Its body.
    pub(super) body: SecretBytes,
    /// What it says about a failure.
    pub(super) complaint: Complaint,
}

/// What Vault says about a failure, in its own words.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Complaint {
    #[serde(default)]
    errors: Option<Vec<String>>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

impl Api {
    /// The server that `configuration` names. Nothing is sent.
    pub(super) fn new(configuration: &VaultConfiguration) -> Result<Self, StoreError> {
        let trust = configuration.ca_bundle.clone().map_or(Trust::System, Trust::Bundle);
        let server = Server::new(&configuration.server, configuration.server_name.as_deref(), trust)?
            .with_identity(configuration.client_certificate.clone());
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &configuration.namespace {
            let value = HeaderValue::from_str(namespace).map_err(|error| {
                StoreError::misconfigured(format!("namespace \"{namespace}\" is not one of Vault's: {error}"))
            })?;
            headers.insert(NAMESPACE, value);
        }
        Ok(Self { server, headers })
    }

    /// The address for messages.
    pub(super) fn shown(&self) -> &str {
        self.server.shown()
    }

    /// The URL of the API's path that `parts` make up, which are Vault's own words and not yet escaped.
    pub(super) fn url(&self, parts: &[&str]) -> Url {
        let segments: Vec<&str> = ["v1"].into_iter().chain(parts.iter().flat_map(|part| part.split('/'))).collect();
        self.server.url(&segments)
    }

    /// Reads.
    pub(super) async fn get(&self, url: Url, token: &HeaderValue) -> Result<Reply, StoreError> {
        self.send(Request { method: Method::GET, url, headers: self.with_token(token), body: Bytes::new() }).await
    }

    /// Asks for something to be done with the token itself.
    pub(super) async fn post(&self, url: Url, token: &HeaderValue) -> Result<Reply, StoreError> {
        self.send(Request { method: Method::POST, url, headers: self.with_token(token), body: Bytes::new() }).await
    }

    /// Sends JSON without a token, as logins do.
    pub(super) async fn post_anonymously(&self, url: Url, body: SecretBytes) -> Result<Reply, StoreError> {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.send(Request { method: Method::POST, url, headers, body: body.into_shared() }).await
    }

    /// Makes the next request use a new connection, and read the files of the client's certificate anew.
    pub(super) fn reconnect(&self) {
        self.server.reconnect();
    }

    fn with_token(&self, token: &HeaderValue) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(TOKEN, token.clone());
        headers
    }

    async fn send(&self, request: Request) -> Result<Reply, StoreError> {
        let answer = self.server.send(request).await?;
        let complaint = if answer.status.is_success() { Complaint::default() } else { Complaint::read(&answer.body) };
        if let Some(error) = self.unable(&answer, &complaint) {
            // Another replica may answer on the next connection.
            self.reconnect();
            return Err(error);
        }
        Ok(Reply { status: answer.status, body: answer.body, complaint })
    }

    /// The failure of a server that cannot serve anybody now.
    fn unable(&self, answer: &Answer, complaint: &Complaint) -> Option<StoreError> {
        let (status, code) = (answer.status, answer.status.as_u16());
        let server = self.shown();
        let (class, reason) = match code {
            300..400 => (ErrorClass::Unavailable, redirected(answer.location.as_deref())),
            429 if answer.retry_after.is_some() || complaint.has_errors() => {
                (ErrorClass::Throttled, format!("asks for fewer requests: {}", complaint.text(status)))
            }
            429 | 472 | 473 => {
                let remedy = "the store's address should lead to the active node";
                (ErrorClass::Unavailable, format!("is a standby that serves no requests ({code}); {remedy}"))
            }
            412 => (ErrorClass::Unavailable, format!("has not caught up with the active node ({code})")),
            501 => (ErrorClass::Unavailable, format!("is not initialised ({code})")),
            500..600 => (ErrorClass::Unavailable, format!("cannot answer now: {}", complaint.text(status))),
            _ if complaint.mentions("Upgrading from non-versioned to versioned") => {
                (ErrorClass::Unavailable, format!("cannot answer now: {}", complaint.text(status)))
            }
            _ => return None,
        };
        Some(StoreError::new(class, format!("{server} {reason}")).with_retry_after(answer.retry_after))
    }
}

fn redirected(location: Option<&str>) -> String {
    let target = location.unwrap_or("nowhere");
    format!(
        "is a standby that points to {target}, where this login is not sent; the store's address should lead to the \
         active node, or Vault should forward requests"
    )
}

impl Complaint {
    fn read(body: &SecretBytes) -> Self {
        // What is no JSON comes from something before Vault, and its status says enough.
        serde_json::from_slice(body.as_bytes()).unwrap_or_default()
    }

    /// Vault's errors in one line, or the status where it gives none.
    pub(super) fn text(&self, status: StatusCode) -> String {
        let lines = self.errors.iter().flatten().flat_map(|error| error.lines());
        let reasons: Vec<&str> = lines
            .map(|line| line.trim().trim_start_matches("* "))
            .filter(|line| !line.is_empty() && !line.ends_with("occurred:"))
            .collect();
        match (reasons.as_slice(), status.canonical_reason()) {
            ([], Some(reason)) => format!("{} ({})", reason.to_lowercase(), status.as_u16()),
            ([], None) => format!("status {}", status.as_u16()),
            (reasons, _) => format!("{} ({})", reasons.join(", "), status.as_u16()),
        }
    }

    /// Whether any error says `words`.
    pub(super) fn mentions(&self, words: &str) -> bool {
        self.errors.iter().flatten().any(|error| error.contains(words))
    }

    /// Whether any warning says `words`.
    pub(super) fn warns(&self, words: &str) -> bool {
        self.warnings.iter().flatten().any(|warning| warning.contains(words))
    }

    fn has_errors(&self) -> bool {
        self.errors.iter().flatten().next().is_some()
    }
}

/// The body of a reply in the shape that was asked for.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a SecretBytes, what: &str, server: &str) -> Result<T, StoreError> {
    serde_json::from_slice(body.as_bytes()).map_err(|error| {
        // Serde's own words may repeat a value.
        let place = format!("line {} column {}", error.line(), error.column());
        StoreError::new(ErrorClass::Integrity, format!("{server} sends {what} that is not Vault's JSON, at {place}"))
    })
}

/// A number of seconds as Vault gives it; what is negative has ended.
pub(super) fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or_default())
}
