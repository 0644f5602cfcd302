//! The audiences that this cluster's API server accepts, as far as they can be found out.
//!
//! A tenant's store must not be sent a token that the API server accepts. Clusters choose their audiences, and no API
//! tells; but the token of our own ServiceAccount is made for all of them.

use std::path::Path;

use alcove_injection::settings::Settings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::report;

/// Where Pods find the token of their ServiceAccount.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Adds what our own token is made for to the audiences that are protected.
pub fn protect(settings: &mut Settings) {
    match of_token(Path::new(TOKEN)) {
        Ok(audiences) => {
            settings.api_audiences.extend(audiences);
            let audiences: Vec<&str> = settings.api_audiences.iter().map(String::as_str).collect();
            tracing::info!(audiences = audiences.join(", "), "audiences that no tenant's store is sent");
        }
        Err(error) => tracing::warn!(
            error = report::chain(&error),
            "the audiences of the API server could not be found out, so its defaults are taken for them; where it has \
             others, give --api-audiences"
        ),
    }
}

/// Why a token does not tell.
#[derive(Debug, thiserror::Error)]
enum UntoldError {
    #[error("the token of the ServiceAccount cannot be read")]
    Unread(#[source] std::io::Error),
    // What is wrong with it would show a part of it.
    #[error("the token of the ServiceAccount is not a JSON Web Token with an audience")]
    Foreign,
}

#[derive(Deserialize)]
struct Claims {
    aud: Audiences,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

fn of_token(path: &Path) -> Result<Vec<String>, UntoldError> {
    told_by(&std::fs::read_to_string(path).map_err(UntoldError::Unread)?)
}

/// The token comes from the kubelet, so nobody needs to vouch for it here.
fn told_by(token: &str) -> Result<Vec<String>, UntoldError> {
    match claims(token).ok_or(UntoldError::Foreign)?.aud {
        Audiences::One(audience) => Ok(vec![audience]),
        Audiences::Many(audiences) => Ok(audiences),
    }
}

fn claims(token: &str) -> Option<Claims> {
    let payload = token.trim().split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_for_whom_it_is_made() {
        let token = |payload: &str| format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(payload));
        assert_eq!(told_by(&token(r#"{"aud": ["https://a", "b"], "sub": "c"}"#)).unwrap(), ["https://a", "b"]);
        assert_eq!(told_by(&token(r#"{"aud": "https://a"}"#)).unwrap(), ["https://a"]);
        let foreign =
            [token(r#"{"sub": "c"}"#), token(r#"{"aud": 7}"#), token("no JSON"), String::new(), "a.b.c".into()];
        for token in foreign {
            let error = told_by(&token).unwrap_err().to_string();
            assert_eq!(error, "the token of the ServiceAccount is not a JSON Web Token with an audience");
        }
    }
}
