//! Calls to Vault's HTTP API.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::{Certificate, Client, Method};
use serde_json::Value;

use crate::pki::Authority;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one Vault, with the token it shows.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    address: String,
    token: String,
}

impl Api {
    /// A client without a token that trusts `authority` alone.
    pub(super) fn new(address: &str, authority: &Authority) -> Result<Self> {
        let root = Certificate::from_pem(authority.certificate_pem().as_bytes())?;
        let client = Client::builder().tls_certs_only([root]).no_proxy().timeout(TIMEOUT).build();
        let client = client.context("building the HTTP client for Vault")?;
        Ok(Self { client, address: address.to_owned(), token: String::new() })
    }

    pub(super) fn with_token(self, token: String) -> Self {
        Self { token, ..self }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Fails with Vault's own words for any status that is not a success.
    pub(super) async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let method_name = method;
        let method = Method::from_bytes(method.as_bytes())?;
        let mut request = self.client.request(method, format!("{}/v1/{path}", self.address));
        if !self.token.is_empty() {
            request = request.header("X-Vault-Token", &self.token);
        }
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let response = request.send().await.with_context(|| format!("calling Vault: {method_name} {path}"))?;
        let status = response.status();
        let text = response.text().await.with_context(|| format!("reading Vault's answer to {method_name} {path}"))?;
        if !status.is_success() {
            bail!("Vault answered {status} to {method_name} {path}: {}", text.trim());
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("parsing Vault's answer to {method_name} {path}"))
    }
}
