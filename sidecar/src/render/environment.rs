//! Env files, in the format that the kubelet reads for a `fileKeyRef`: `KEY='value'`, a value may span lines.

use super::secret::Secret;
use alcove_contract::configuration::{EntryConfiguration, EnvironmentConfiguration};
use alcove_contract::name::SecretName;
use alcove_contract::{Problem, Problems};
use alcove_stores::SecretBytes;

/// The longest line that the kubelet reads, in bytes with its line end: its scanner has a buffer of this size.
const LONGEST_LINE: usize = 64 * 1024;
/// What stands between a key and its value.
const OPENING: &[u8] = b"='";
/// What ends a value.
const CLOSING: &[u8] = b"'\n";

/// The env file of one container. It may be empty, but it has to be there.
///
/// # Errors
///
/// Every required entry that is missing, and every value that such a file cannot carry.
pub fn environment<'a>(
    configuration: &EnvironmentConfiguration,
    secret: impl Fn(&SecretName) -> Option<&'a Secret>,
) -> Result<SecretBytes, Problems> {
    let mut problems = Problems::none();
    let mut lines = Vec::with_capacity(configuration.entries.len());
    for entry in &configuration.entries {
        let place = format!("container {}, env {}", configuration.container, entry.variable);
        if let Some(Some(value)) = problems.collect(find(entry, secret(&entry.secret), &place)) {
            lines.push((entry.key.as_str(), value));
        }
    }
    problems.or(write(&lines))
}

/// The value of an entry; nothing, where it may be missing and is.
fn find<'a>(entry: &EntryConfiguration, secret: Option<&'a Secret>, place: &str) -> Result<Option<&'a [u8]>, Problems> {
    let missing = || Problem::new(place, format!("couldn't find key {} in Secret {}", entry.secret_key, entry.secret));
    let Some(secret) = secret else { return Err(missing().into()) };
    if !entry.optional {
        secret.check_complete()?;
    }
    match secret.value(&entry.secret_key) {
        Some(value) => Ok(check(entry, value.bytes.as_bytes()).map(Some).map_err(|problem| problem.below(place))?),
        None if entry.optional => Ok(None),
        None => Err(missing().into()),
    }
}

/// Refuses what the kubelet would read as something else, or not at all.
fn check<'a>(entry: &EntryConfiguration, value: &'a [u8]) -> Result<&'a [u8], Problem> {
    let Some(reason) = obstacle(&entry.key, value) else { return Ok(value) };
    let EntryConfiguration { secret, secret_key, .. } = entry;
    Err(Problem::new("", format!("key {secret_key} of Secret {secret} {reason}, which an env file cannot carry"))
        .with_remedy(
            "mount the Secret as a volume, which carries any bytes; alcove.dev/env: exec will, once Alcove has it",
        ))
}

fn obstacle(key: &str, value: &[u8]) -> Option<&'static str> {
    match value {
        [] => Some("is empty"),
        _ if value.contains(&b'\'') => Some("holds a single quote (')"),
        _ if value.contains(&b'\r') => Some("holds a carriage return"),
        _ if value.contains(&0) => Some("holds a NUL byte"),
        _ if std::str::from_utf8(value).is_err() => Some("is not UTF-8"),
        _ if longest_line(key, value) > LONGEST_LINE => Some("has a line of more than 64 KiB"),
        _ => None,
    }
}

/// The length of the longest line that `value` becomes, where the first begins with the key and the last with its end.
fn longest_line(key: &str, value: &[u8]) -> usize {
    let first = key.len() + OPENING.len();
    let mut lines: Vec<usize> = value.split(|byte| *byte == b'\n').map(|line| line.len() + 1).collect();
    if let Some(line) = lines.first_mut() {
        *line += first;
    }
    if let Some(line) = lines.last_mut() {
        *line += 1;
    }
    lines.into_iter().max().unwrap_or_default()
}

fn write(lines: &[(&str, &[u8])]) -> SecretBytes {
    // Room for everything from the start: a buffer that moves leaves its bytes behind.
    let around = OPENING.len() + CLOSING.len();
    let length = lines.iter().map(|(key, value)| key.len() + value.len() + around).sum();
    let mut text = Vec::with_capacity(length);
    for (key, value) in lines {
        for part in [key.as_bytes(), OPENING, value, CLOSING] {
            text.extend_from_slice(part);
        }
    }
    text.into()
}
