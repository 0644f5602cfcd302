//! Plain Secrets of one other namespace, read by the Pod's own ServiceAccount.

use super::check_options;
use crate::Problem;
use crate::name::SecretName;
use crate::reference::Key;
use serde::{Deserialize, Serialize};

/// A namespace whose Secrets are served, as the sidecar is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesConfiguration {
    /// The API server's address: `https://10.96.0.1:443`.
    pub server: String,
    /// Path of the file with the certificate authorities to trust, PEM, re-read at every login.
    pub ca_file: String,
    /// The namespace that holds the Secrets.
    pub namespace: String,
    /// Path of the projected token that the API server accepts, re-read at every login.
    pub token_file: String,
}

/// The canonical spelling is the Secret's name.
pub(super) fn canonical_key(key: &Key) -> Result<Key, Problem> {
    check_options(key, &[])?;
    key.path
        .parse::<SecretName>()
        .map_err(|problem| problem.with_remedy("write the Secret's name alone: its namespace stands in the store"))?;
    Ok(key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_secret_name_and_never_a_path() {
        assert_eq!(canonical_key(&Key::new("db-creds")), Ok(Key::new("db-creds")));
        for wrong in ["other/db-creds", "../db", "DB", ""] {
            assert!(canonical_key(&Key::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_option_is_named_and_told_to_be_left_away() {
        let key = Key { path: "db".into(), options: [("version".into(), "1".into())].into() };
        let expected = ": \"version\" is an option, and this store has none; leave it away, with the '?' before it";
        assert_eq!(canonical_key(&key).unwrap_err().to_string(), expected);
    }
}
