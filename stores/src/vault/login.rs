//! The ways to log in. Credentials are read from their files each time: a token that was rotated is the one that is sent.

mod refusal;

use super::api::{Api, parse, seconds};
use crate::credential::Credential;
use crate::error::{ErrorClass, StoreError};
use crate::http::credential_header;
use crate::secret::{SecretBuffer, SecretBytes};
use alcove_contract::provider::vault::VaultLogin;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a login gave.
pub(super) struct Granted {
    /// The token.
    pub(super) token: HeaderValue,
    /// Its life; zero for one without end.
    pub(super) duration: Duration,
    /// Whether it can be renewed.
    pub(super) renewable: bool,
    /// Whether it was made for us and can be revoked.
    pub(super) ours: bool,
}

/// What any of the methods takes.
#[derive(Default, Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Logs in.
pub(super) async fn log_in(api: &Api, login: &VaultLogin) -> Result<Granted, StoreError> {
    match login {
        VaultLogin::Kubernetes { mount, role, token_file } => {
            let method = Method { name: "kubernetes", mount, role: Some(role) };
            let jwt = Credential::read(token_file, "ServiceAccount token")?;
            let body = Body { role: Some(role), jwt: Some(jwt.as_str()), ..Body::default() }.json()?;
            method.log_in(api, &["login"], body, &[jwt.into()]).await
        }
        VaultLogin::Jwt { mount, role, token_file } => {
            let method = Method { name: "jwt", mount, role: role.as_deref() };
            let jwt = Credential::read(token_file, "ServiceAccount token")?;
            let body = Body { role: role.as_deref(), jwt: Some(jwt.as_str()), ..Body::default() }.json()?;
            method.log_in(api, &["login"], body, &[jwt.into()]).await
        }
        VaultLogin::AppRole { mount, role_id, secret_id_file } => {
            let method = Method { name: "appRole", mount, role: Some(role_id) };
            let secret_id = Credential::read(secret_id_file, "secret id")?;
            let body =
                Body { role_id: Some(role_id), secret_id: Some(secret_id.as_str()), ..Body::default() }.json()?;
            method.log_in(api, &["login"], body, &[secret_id.into()]).await
        }
        VaultLogin::UserPass { mount, username, password_file } => {
            let method = Method { name: "userPass", mount, role: Some(username) };
            let password = Credential::read(password_file, "password")?;
            let body = Body { password: Some(password.as_str()), ..Body::default() }.json()?;
            method.log_in(api, &["login", username], body, &[password.into()]).await
        }
        VaultLogin::Cert { mount, name } => {
            let method = Method { name: "cert", mount, role: name.as_deref() };
            let body = Body { name: name.as_deref(), ..Body::default() }.json()?;
            method.log_in(api, &["login"], body, &[]).await
        }
        VaultLogin::Token { token_file } => adopt(api, Credential::read(token_file, "token")?).await,
    }
}

/// A way to log in, as messages name it.
#[derive(Clone, Copy)]
struct Method<'a> {
    name: &'static str,
    mount: &'a str,
    role: Option<&'a str>,
}

impl Method<'_> {
    async fn log_in(
        self,
        api: &Api,
        path: &[&str],
        body: SecretBytes,
        sent: &[SecretBytes],
    ) -> Result<Granted, StoreError> {
        let url = api.url(&[&["auth", self.mount], path].concat());
        let reply = api.post_anonymously(url, body).await?;
        if !reply.status.is_success() {
            return Err(refusal::explain(self, api.shown(), &reply, sent));
        }
        let Answer { auth } = parse(&reply.body, "the answer to a login", api.shown())?;
        match auth {
            Some(auth) if !auth.client_token.is_empty() => auth.granted(),
            _ => Err(StoreError::new(
                ErrorClass::Unauthenticated,
                format!("{} gives no token: it wants more than one factor", self.at(api.shown())),
            )),
        }
    }

    /// What was tried, for messages.
    fn at(self, server: &str) -> String {
        let role = self.role.map_or_else(String::new, |role| format!(" as \"{role}\""));
        format!("login by {} at \"auth/{}\" of {server}{role}", self.name, self.mount)
    }
}

/// Takes a token that somebody else issued: it is asked how long it lasts, and never revoked.
async fn adopt(api: &Api, token: Credential) -> Result<Granted, StoreError> {
    let token = credential_header(token.into())?;
    let reply = api.get(api.url(&["auth", "token", "lookup-self"]), &token).await?;
    if !reply.status.is_success() {
        let text = format!(
            "{} does not accept the token: {}; it has ended, or its policies lack \"read\" on \"auth/token/lookup-self\"",
            api.shown(),
            reply.complaint.text(reply.status)
        );
        return Err(StoreError::new(ErrorClass::Unauthenticated, text));
    }
    let Looked { data } = parse(&reply.body, "a description of the token", api.shown())?;
    Ok(Granted { token, duration: seconds(data.ttl), renewable: data.renewable, ours: false })
}

impl Auth<'_> {
    fn granted(self) -> Result<Granted, StoreError> {
        // A batch token is not stored by Vault: nothing can revoke it.
        let ours = !self.client_token.starts_with("hvb.");
        let token = credential_header(self.client_token.as_bytes().to_vec().into())?;
        Ok(Granted { token, duration: seconds(self.lease_duration), renewable: self.renewable, ours })
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    auth: Option<Auth<'a>>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    client_token: &'a str,
    #[serde(default)]
    lease_duration: i64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct Looked {
    data: LookedUp,
}

#[derive(Deserialize)]
struct LookedUp {
    #[serde(default)]
    ttl: i64,
    #[serde(default)]
    renewable: bool,
}

impl Body<'_> {
    fn json(&self) -> Result<SecretBytes, StoreError> {
        let mut buffer = SecretBuffer::default();
        serde_json::to_writer(&mut buffer, self)
            .map_err(|error| StoreError::misconfigured(format!("cannot write the login's request: {error}")))?;
        Ok(buffer.into())
    }
}
