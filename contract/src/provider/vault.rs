//! HashiCorp Vault and OpenBao: KV engines, and the ways to log in.

use super::check_options;
use crate::Problem;
use crate::reference::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Vault server, as the sidecar is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VaultConfiguration {
    /// The server's address: `https://vault.example.com:8200`.
    pub server: String,
    /// The Vault namespace (`X-Vault-Namespace`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The version of the KV engines; without it Vault is asked for each mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<EngineVersion>,
    /// The certificate authorities to trust, PEM; without it those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// The name that the server's certificate must carry, where it is not the host of `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The certificate that the sidecar shows to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// How the sidecar logs in.
    pub login: VaultLogin,
}

/// The version of a KV engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EngineVersion {
    /// KV version 1: no versions of values.
    #[serde(rename = "v1")]
    V1,
    /// KV version 2.
    #[serde(rename = "v2")]
    V2,
}

/// Files with a client certificate and its key, re-read at every login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificate {
    /// Path of the certificate chain, PEM.
    pub certificate_file: String,
    /// Path of the private key, PEM.
    pub key_file: String,
}

/// A way to log in to Vault. Credentials are paths of files, re-read at every login, and never values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum VaultLogin {
    /// Kubernetes auth with the Pod's own token.
    #[serde(rename_all = "camelCase")]
    Kubernetes {
        /// Mount path of the auth method.
        mount: String,
        /// Role to log in with.
        role: String,
        /// Path of the projected ServiceAccount token.
        token_file: String,
    },
    /// JWT auth with the Pod's own token.
    #[serde(rename_all = "camelCase")]
    Jwt {
        /// Mount path of the auth method.
        mount: String,
        /// Role to log in with; without it the mount's default role.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// Path of the projected ServiceAccount token.
        token_file: String,
    },
    /// AppRole.
    #[serde(rename_all = "camelCase")]
    AppRole {
        /// Mount path of the auth method.
        mount: String,
        /// The role's id, which is not a secret.
        role_id: String,
        /// Path of the file with the secret id.
        secret_id_file: String,
    },
    /// A user's name and password.
    #[serde(rename_all = "camelCase")]
    UserPass {
        /// Mount path of the auth method.
        mount: String,
        /// The user.
        username: String,
        /// Path of the file with the password.
        password_file: String,
    },
    /// TLS certificate auth with the client certificate.
    #[serde(rename_all = "camelCase")]
    Cert {
        /// Mount path of the auth method.
        mount: String,
        /// Name of the certificate role; without it Vault tries all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A token that somebody else issued.
    #[serde(rename_all = "camelCase")]
    Token {
        /// Path of the file with the token.
        token_file: String,
    },
}

/// Where Vault's own API is mounted, in every namespace. Read as engines they would hand out the login's own token.
const OWN_MOUNTS: [&str; 4] = ["auth", "sys", "identity", "cubbyhole"];

/// Where every login may read its own token, below any namespace. Where the version is not declared, Vault says that this is no
/// KV engine; in version 2, another segment stands before it.
const OWN_TOKEN: [&str; 3] = ["auth", "token", "lookup-self"];

/// Vault's canonical spelling: `<mount>/<path>` as `vault kv get` takes it, without empty, `.` or `..` segments.
pub(super) fn canonical_key(key: &Key, version: Option<EngineVersion>) -> Result<Key, Problem> {
    check_options(key, &["version"])?;
    check_version(key)?;
    let spelt = |problem: Problem| problem.with_value(key.path.as_str());
    let segments: Vec<&str> = key.path.split('/').collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(spelt(Problem::new("", "has a '.' or '..' segment, which is not a name in Vault")));
    }
    let named: Vec<&str> = segments.iter().copied().filter(|segment| !segment.is_empty()).collect();
    if let Some(mount) = named.first().filter(|mount| OWN_MOUNTS.contains(mount)) {
        return Err(spelt(Problem::new(
            "",
            format!("begins with \"{mount}\", which is Vault's own API and no KV engine"),
        )));
    }
    if version == Some(EngineVersion::V1) && named.ends_with(&OWN_TOKEN) {
        return Err(spelt(Problem::new(
            "",
            format!(
                "ends with \"{}\", which is the login's own token where a namespace begins the path",
                OWN_TOKEN.join("/")
            ),
        )));
    }
    if named.len() < 2 {
        return Err(spelt(Problem::new("", "names no secret below a mount"))
            .with_remedy("write <mount>/<path>, for example kv/app/db"));
    }
    if named.len() != segments.len() {
        return Err(
            spelt(Problem::new("", "has an empty segment")).with_remedy(format!("write \"{}\"", named.join("/")))
        );
    }
    match (version, named.as_slice()) {
        (Some(EngineVersion::V1), _) => {}
        (_, [mount, "data", rest @ ..]) if !rest.is_empty() => {
            let canonical = format!("write \"{mount}/{}\"", rest.join("/"));
            let remedy = match version {
                Some(_) => canonical,
                None => format!("{canonical}, or set version: v1 in the store if the mount is KV 1"),
            };
            return Err(spelt(Problem::new("", "is the API's path of a KV version 2 secret, not the secret's own"))
                .with_remedy(remedy));
        }
        _ => {}
    }
    Ok(key.clone())
}

fn check_version(key: &Key) -> Result<(), Problem> {
    match key.options.get("version") {
        Some(version) if !version.parse::<u64>().is_ok_and(|number| number > 0 && number.to_string() == *version) => {
            Err(Problem::new("", "is not a version")
                .with_value(version)
                .with_remedy("write a positive number, as in ?version=3"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(path: &str, version: Option<EngineVersion>) -> Result<Key, Problem> {
        canonical_key(&Key::new(path), version)
    }

    #[test]
    fn the_canonical_spelling_is_kept_and_every_other_is_refused_with_the_right_one() {
        assert_eq!(canonical("kv/app/db", None), Ok(Key::new("kv/app/db")));
        for (wrong, right) in [
            ("/kv/app/db", "kv/app/db"),
            ("kv//app/db", "kv/app/db"),
            ("kv/app/db/", "kv/app/db"),
            ("kv/data/app/db", "kv/app/db"),
        ] {
            let problem = canonical(wrong, Some(EngineVersion::V2)).expect_err(wrong);
            assert_eq!(problem.remedy, Some(format!("write \"{right}\"")), "{problem}");
        }
        for wrong in ["kv", "kv/", "kv/../sys/x", "kv/./a", "kv/a/.."] {
            assert!(canonical(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_no_version_is_declared_the_remedy_for_data_names_both_ways_out() {
        let problem = canonical("kv/data/app/db", None).unwrap_err();
        let remedy = "write \"kv/app/db\", or set version: v1 in the store if the mount is KV 1";
        assert_eq!(problem.remedy.as_deref(), Some(remedy));
    }

    #[test]
    fn no_key_reaches_the_api_of_vault_itself_whatever_the_version_and_the_spelling() {
        let spellings = |mount: &str| {
            let below = ["token/lookup-self", "data/x", "x", ""];
            below.map(|path| [format!("{mount}/{path}"), format!("/{mount}/{path}"), format!("{mount}//{path}")])
        };
        for version in [None, Some(EngineVersion::V1), Some(EngineVersion::V2)] {
            for mount in ["auth", "sys", "identity", "cubbyhole"] {
                for wrong in spellings(mount).as_flattened() {
                    let problem = canonical(wrong, version).expect_err(wrong);
                    assert_eq!(problem.remedy, None, "no other spelling of {wrong} is right");
                }
                let own = format!("{mount}-kv/{mount}/x");
                assert_eq!(canonical(&own, version), Ok(Key::new(own.as_str())), "a mount that only begins like it");
            }
        }
    }

    #[test]
    fn no_namespace_before_it_makes_a_secret_of_the_logins_own_token() {
        for wrong in ["ns/auth/token/lookup-self", "a/b//auth/token/lookup-self", "ns/auth/token/lookup-self/"] {
            let problem = canonical(wrong, Some(EngineVersion::V1)).expect_err(wrong);
            assert!(problem.reason.contains("the login's own token") && problem.remedy.is_none(), "{problem}");
        }
        for own in ["kv/auth/token", "kv/auth/token/lookup-self-copy", "kv/token/lookup-self"] {
            assert_eq!(canonical(own, Some(EngineVersion::V1)), Ok(Key::new(own)));
        }
    }

    #[test]
    fn data_is_an_ordinary_segment_in_version_1() {
        assert_eq!(canonical("kv/data/app/db", Some(EngineVersion::V1)), Ok(Key::new("kv/data/app/db")));
    }

    #[test]
    fn version_is_a_positive_number_in_its_only_spelling_and_other_options_are_unknown() {
        let with = |name: &str, value: &str| {
            canonical_key(&Key { path: "kv/a".into(), options: [(name.into(), value.into())].into() }, None)
        };
        assert!(with("version", "3").is_ok());
        for wrong in ["0", "-1", "03", "+3", "latest", ""] {
            assert!(with("version", wrong).is_err(), "{wrong}");
        }
        let problem = with("verison", "3").unwrap_err();
        assert_eq!(problem.remedy.as_deref(), Some("did you mean \"version\"?"));
    }
}
