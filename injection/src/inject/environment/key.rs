//! What an entry of an env file is called.

use alcove_contract::name::SecretName;

/// The longest key that Kubernetes documents for env files.
const LONGEST: usize = 128;

/// The key of the entry that gives `variable` the value of one key of one Secret.
///
/// It says what the entry is and not where it stands: other webhooks rearrange a container's variables between two calls.
/// Different entries have different keys, also where a variable's name stands twice. What cannot be written out in
/// letters, digits, `-`, `_` and `.` within Kubernetes' limit is told apart by a digest.
pub(super) fn entry_key(variable: &str, secret: &SecretName, secret_key: &str) -> String {
    let plain = format!("{variable}.{secret}.{secret_key}");
    // No `.` in the first two parts: the first two dots of a key are always the separators.
    let is_plain = is_identifier(variable) && !secret.as_str().contains('.') && plain.len() <= LONGEST;
    if is_plain {
        return plain;
    }
    let legible: String = variable.chars().take(LONGEST / 2).map(legible).collect();
    let digest = digest([variable, secret.as_str(), secret_key]);
    // No name of a Secret is empty: a key with two dots in a row is never a plain one.
    format!("_{legible}..{digest:032x}")
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn legible(character: char) -> char {
    if character.is_ascii_alphanumeric() { character } else { '_' }
}

/// FNV-1a, 128 bits: the same in every version and on every machine. Whoever makes two of his own keys collide swaps two
/// of his own values.
fn digest(parts: [&str; 3]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let separated = parts.iter().flat_map(|part| part.bytes().chain([0]));
    separated.fold(OFFSET, |digest, byte| (digest ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(variable: &str, secret: &str, secret_key: &str) -> String {
        entry_key(variable, &secret.parse().unwrap(), secret_key)
    }

    #[test]
    fn a_key_says_what_the_entry_is() {
        assert_eq!(key("PASSWORD", "db-creds", "tls.key"), "PASSWORD.db-creds.tls.key");
        assert_eq!(key("a.b", "c", "d"), "_a_b..44408f13ce659b4eadf8a3990e8c88fb");
    }

    proptest! {
        #[test]
        fn different_entries_have_different_keys_that_fit_into_an_env_file(
            variables in ("[A-Za-z_.][-._A-Za-z0-9 ]{0,200}", "[A-Z.]{1,3}"),
            secrets in ("[a-z]{1,200}", "[a-z]([.a-z]?[a-z]){0,2}"),
            keys in ("[-._a-z0-9]{1,200}", "[.a-z]{1,3}"),
        ) {
            let triples = [
                (&variables.0, &secrets.0, &keys.0),
                (&variables.1, &secrets.0, &keys.0),
                (&variables.0, &secrets.1, &keys.0),
                (&variables.0, &secrets.0, &keys.1),
                (&variables.1, &secrets.1, &keys.1),
            ];
            for (index, (variable, secret, secret_key)) in triples.iter().enumerate() {
                let made = key(variable, secret, secret_key);
                prop_assert!(made.len() <= LONGEST);
                prop_assert!(made.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{made}");
                prop_assert!(!made.starts_with(|first: char| first.is_ascii_digit()), "{made}");
                for other in triples.iter().skip(index + 1).filter(|other| **other != triples[index]) {
                    prop_assert_ne!(&made, &key(other.0, other.1, other.2));
                }
            }
        }
    }
}
