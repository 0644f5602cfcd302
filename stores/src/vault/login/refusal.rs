//! Why Vault did not let us in, and whose fault it is: the same status has many reasons.

use super::Method;
use crate::error::{ErrorClass, StoreError};
use crate::scrub;
use crate::secret::SecretBytes;
use crate::vault::api::{Complaint, Reply};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use serde::Deserialize;

/// The refusal of a login with the credentials `sent`, which the text does not repeat.
pub(super) fn explain(method: Method<'_>, server: &str, reply: &Reply, sent: &[SecretBytes]) -> StoreError {
    let Reply { status, complaint, .. } = reply;
    let unknown_mount = *status == StatusCode::NOT_FOUND || complaint.mentions("no handler for route");
    let class = if unknown_mount || *status == StatusCode::METHOD_NOT_ALLOWED {
        ErrorClass::Misconfigured
    } else {
        ErrorClass::Unauthenticated
    };
    let remedy = if unknown_mount {
        format!("no auth method is mounted at \"auth/{}\"", method.mount)
    } else {
        remedy(method, *status, complaint, sent)
    };
    let reason = scrub::without(&complaint.text(*status), sent);
    StoreError::new(class, format!("{} failed: {reason}; {remedy}", method.at(server)))
}

fn remedy(method: Method<'_>, status: StatusCode, complaint: &Complaint, sent: &[SecretBytes]) -> String {
    let role = method.role.unwrap_or("the default role");
    if complaint.mentions("failed to get namespace") {
        return "Vault cannot check namespaces: its own ServiceAccount needs \"get\" on namespaces".to_owned();
    }
    if complaint.mentions("namespace not authorized") {
        return format!("the role \"{role}\" does not admit this Pod's namespace (bound_service_account_namespaces)");
    }
    if complaint.mentions("service account name not authorized") {
        return format!("the role \"{role}\" does not admit this ServiceAccount (bound_service_account_names)");
    }
    if complaint.mentions("invalid role name") {
        return format!("there is no role \"{role}\" at \"auth/{}\"", method.mount);
    }
    if complaint.mentions("audience") {
        return format!(
            "the token is for {}, and the role \"{role}\" wants another audience: the store's and the role's must agree",
            audiences(sent)
        );
    }
    match (method.name, status) {
        ("kubernetes", StatusCode::FORBIDDEN) => {
            "the TokenReview that Vault asks for failed: Vault's reviewer token may have ended or lack system:auth-delegator, \
             or this Pod's ServiceAccount was deleted and made again, and then a new Pod works at once"
                .to_owned()
        }
        ("appRole" | "userPass", _) => "the credentials in the login's files are not the ones that Vault knows".to_owned(),
        ("cert", _) => "no certificate role admits the client certificate".to_owned(),
        _ => format!("the role \"{role}\" does not admit this token"),
    }
}

/// The audiences of the token that was sent, which are no secret as the rest of it is.
fn audiences(sent: &[SecretBytes]) -> String {
    let list =
        sent.iter().find_map(|token| Claims::read(token.as_bytes())).map(|claims| claims.aud).unwrap_or_default();
    match list.as_slice() {
        [] => "no audience that could be read".to_owned(),
        list => format!("audience \"{}\"", list.join("\", \"")),
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(deserialize_with = "one_or_more", default)]
    aud: Vec<String>,
}

impl Claims {
    fn read(token: &[u8]) -> Option<Self> {
        let claims = token.split(|byte| *byte == b'.').nth(1)?;
        let claims: SecretBytes = URL_SAFE_NO_PAD.decode(claims).ok()?.into();
        serde_json::from_slice(claims.as_bytes()).ok()
    }
}

/// The claim is a string or a list of them.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(one) => vec![one],
        serde_json::Value::Array(several) => several.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    })
}
