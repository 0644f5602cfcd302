//! The one HTTP client: every store speaks through it, and it does nothing that it was not told.
//!
//! No proxy, no redirect, no cookie, no variable of the environment and no certificate authority but those configured.
//! Every wait and every answer has an end.

mod failure;
mod resolver;
mod tls;

pub(crate) use tls::Trust;

use crate::error::{ErrorClass, StoreError};
use crate::secret::{SecretBuffer, SecretBytes};
use alcove_contract::provider::vault::ClientCertificate;
use bytes::Bytes;
use reqwest::header::{DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url};
use resolver::Elsewhere;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a connection may take, with its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take, from the first byte sent to the last received.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection is kept for the next request: enough for one round, since an idle one costs memory.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer, in bytes: a Secret has at most 1 MiB, which base64 and escapes can more than double.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// A server: where it is, how it proves who it is, and the connections to it.
pub(crate) struct Server {
    base: Url,
    elsewhere: Option<Elsewhere>,
    shown: String,
    trust: Trust,
    identity: Option<ClientCertificate>,
    /// Made at the first request and thrown away with its connections where another might do better.
    client: Mutex<Option<Client>>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its method.
    pub(crate) method: Method,
    /// Where below the server's address.
    pub(crate) url: Url,
    /// Its headers; credentials among them are marked as sensitive.
    pub(crate) headers: HeaderMap,
    /// Its body; empty for none.
    pub(crate) body: Bytes,
}

/// What the server answered, whatever its status.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// For how long it asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// Where it points to, without path and query.
    pub(crate) location: Option<String>,
    /// Its body.
    pub(crate) body: SecretBytes,
}

impl Server {
    /// The server at `address`, whose certificate carries `name` if that is not the address's host.
    pub(crate) fn new(address: &str, name: Option<&str>, trust: Trust) -> Result<Self, StoreError> {
        let mut base = parse(address)?;
        let shown = shown(&base);
        let elsewhere = name.map(|name| resolver::rename(&mut base, name)).transpose()?;
        Ok(Self { base, elsewhere, shown, trust, identity: None, client: Mutex::default() })
    }

    /// The same server, to which the client shows a certificate.
    #[must_use]
    pub(crate) fn with_identity(self, identity: Option<ClientCertificate>) -> Self {
        Self { identity, ..self }
    }

    /// The address for messages: scheme, host and port.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The URL of `segments` below the server's address; each is one segment whatever characters it has.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Sends `request` and reads the whole answer.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, StoreError> {
        let client = self.client()?;
        let builder = client.request(request.method, request.url).headers(request.headers).body(request.body);
        let answer = match builder.send().await {
            Ok(response) => self.read(response).await,
            Err(error) => Err(failure::explain(&error, &self.shown)),
        };
        if answer.is_err() {
            self.reconnect();
        }
        answer
    }

    /// Makes the next request use a new connection, with files read anew: another replica may answer, or a rotated
    /// certificate be accepted.
    pub(crate) fn reconnect(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn client(&self) -> Result<Client, StoreError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = self.connect()?;
        *client = Some(made.clone());
        Ok(made)
    }

    fn connect(&self) -> Result<Client, StoreError> {
        let tls = tls::configuration(&self.base, &self.trust, self.identity.as_ref())?;
        let builder = Client::builder()
            .user_agent(concat!("alcove/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT);
        let builder = match &self.elsewhere {
            Some(elsewhere) => builder.dns_resolver(Arc::new(elsewhere.clone())),
            None => builder,
        };
        builder.build().map_err(|error| {
            StoreError::misconfigured(format!("cannot make a client for {}: {}", self.shown, error.without_url()))
        })
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Answer, StoreError> {
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let mut body = SecretBuffer::with_capacity(announced.min(LONGEST_ANSWER));
        while let Some(chunk) = response.chunk().await.map_err(|error| failure::explain(&error, &self.shown))? {
            if body.len().saturating_add(chunk.len()) > LONGEST_ANSWER {
                let text = format!("{} sends an answer of more than {LONGEST_ANSWER} bytes", self.shown);
                return Err(StoreError::new(ErrorClass::Integrity, text));
            }
            body.extend(&chunk);
        }
        Ok(Answer {
            status: response.status(),
            retry_after: retry_after(response.headers()),
            location: response.headers().get(LOCATION).and_then(|location| self.target(location)),
            body: body.into(),
        })
    }

    fn target(&self, location: &HeaderValue) -> Option<String> {
        self.base.join(location.to_str().ok()?).ok().map(|url| shown(&url))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Server").field(&self.shown).finish()
    }
}

/// A credential as a header's value, which no log and no compression table repeats.
pub(crate) fn credential_header(credential: SecretBytes) -> Result<HeaderValue, StoreError> {
    let mut value = HeaderValue::from_maybe_shared(credential.into_shared())
        .map_err(|error| StoreError::misconfigured(format!("a token cannot be sent in a header: {error}")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn parse(address: &str) -> Result<Url, StoreError> {
    // What stands before an '@' is a credential in the wrong place.
    let shown = address.rsplit_once('@').map_or(address, |(_, host)| host);
    let wrong = |reason: &str| StoreError::misconfigured(format!("server \"{shown}\" {reason}"));
    let url = Url::parse(address).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("is not an address; write https://<host>[:<port>]"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user, which belongs to the login"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or fragment; write https://<host>[:<port>]"));
    }
    Ok(url)
}

fn shown(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// For how long the server asks to be left alone, in seconds or until a date. Only the server's own clock is believed: a date
/// says nothing without the one of the answer, and then the caller's own backoff decides. A date that has passed is no wait.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    wanted.parse().map(Duration::from_secs).ok().or_else(|| {
        let [until, now] = [wanted, text(DATE)?].map(httpdate::parse_http_date);
        Some(until.ok()?.duration_since(now.ok()?).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests;
