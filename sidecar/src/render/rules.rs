//! What the API server demands of a Secret before it accepts it.

use alcove_contract::binding::SecretType;
use alcove_contract::{Problem, Problems};
use alcove_stores::SecretBytes;
use serde_json::value::RawValue;

/// The most that the values of a Secret may hold together, in bytes.
const MOST_BYTES: usize = 1024 * 1024;
/// How many sizes an error names, the largest first.
const LISTED_SIZES: usize = 10;

/// Checks the sum of the values, as every Secret has it.
pub(super) fn check_size<'a>(values: impl Iterator<Item = (&'a str, &'a SecretBytes)>) -> Result<(), Problem> {
    let mut sizes: Vec<(&str, usize)> = values.map(|(name, bytes)| (name, bytes.len())).collect();
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    if total <= MOST_BYTES {
        return Ok(());
    }
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let listed: Vec<String> = sizes.iter().take(LISTED_SIZES).map(|(name, size)| format!("{name}: {size}")).collect();
    let listed = listed.join(", ");
    Err(Problem::new("data", format!("holds {total} bytes, more than the {MOST_BYTES} of a Secret ({listed})"))
        .with_remedy("bind fewer keys to one Secret name"))
}

/// Checks a value that may still be encoded: in hexadecimal it has two digits for each byte.
pub(super) fn check_encoded_size(name: &str, text: &SecretBytes) -> Result<(), Problem> {
    if text.len() <= 2 * MOST_BYTES { Ok(()) } else { check_size([(name, text)].into_iter()) }
}

/// Checks the keys that a type demands.
pub(super) fn check_type<'a>(
    secret_type: &SecretType,
    value: impl Fn(&'static str) -> Option<&'a SecretBytes>,
) -> Result<(), Problems> {
    let missing = |keys: &[&'static str]| -> Problems {
        keys.iter().filter(|key| value(key).is_none()).map(|key| required(secret_type, key)).collect()
    };
    match secret_type {
        SecretType::Opaque | SecretType::Custom(_) => Ok(()),
        SecretType::DockerCfg => check_object(secret_type, ".dockercfg", value(".dockercfg")),
        SecretType::DockerConfigJson => check_object(secret_type, ".dockerconfigjson", value(".dockerconfigjson")),
        SecretType::BasicAuth if value("username").or_else(|| value("password")).is_some() => Ok(()),
        SecretType::BasicAuth => missing(&["username", "password"]).or(()),
        SecretType::SshAuth if value("ssh-privatekey").is_some_and(|key| !key.is_empty()) => Ok(()),
        SecretType::SshAuth => Err(required(secret_type, "ssh-privatekey").into()),
        SecretType::Tls => missing(&["tls.crt", "tls.key"]).or(()),
    }
}

fn required(secret_type: &SecretType, key: &str) -> Problem {
    Problem::new(format!("data[{key}]"), format!("is required by type {secret_type} and may not be missing"))
        .with_remedy("bind it, or take another type")
}

fn check_object(secret_type: &SecretType, key: &str, value: Option<&SecretBytes>) -> Result<(), Problems> {
    let Some(value) = value else { return Err(required(secret_type, key).into()) };
    let refused = |why: String| {
        let reason = format!("must be a JSON object for type {secret_type}, and {why}");
        Err(Problem::new(format!("data[{key}]"), reason).into())
    };
    match serde_json::from_slice::<&RawValue>(value.as_bytes()) {
        // The API server reads it into a map, which `null` is for Go as well.
        Ok(text) if text.get().starts_with('{') || text.get() == "null" => Ok(()),
        Ok(_) => refused("is none".to_owned()),
        // The parser's own text would quote what it found.
        Err(error) => refused(format!("is no JSON from line {}, column {} on", error.line(), error.column())),
    }
}
