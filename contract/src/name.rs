//! Names that Kubernetes has rules for, checked once.

use crate::Problem;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;

/// Declares a string type whose values all passed `$check`.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path, $pattern:literal, $longest:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Problem;

            fn from_str(text: &str) -> Result<Self, Problem> {
                $check(text).map(|()| Self(text.to_owned())).map_err(|reason| Problem::new("", reason).with_value(text))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Problem;

            fn try_from(text: String) -> Result<Self, Problem> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "minLength": 1, "maxLength": $longest, "pattern": $pattern})
            }
        }
    };
}

name! {
    /// The name of a Secret: a DNS-1123 subdomain of at most 253 characters.
    SecretName, subdomain, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", 253
}

name! {
    /// The name of an ExternalStore or ClusterExternalStore: a DNS-1123 subdomain of at most 253 characters.
    StoreName, subdomain, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", 253
}

name! {
    /// The name of a container or volume: a DNS-1123 label of at most 63 characters.
    LabelName, label, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", 63
}

name! {
    /// A key of a Secret, which is the name of its file: letters, digits, `-`, `_` and `.`, at most 253 characters,
    /// neither `.` nor beginning with `..`.
    FileName, file_name, "^\\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$", 253
}

const SUBDOMAIN: &str = "must be a lowercase RFC 1123 subdomain: lower case letters, digits, '-' and '.', beginning and \
                         ending with a letter or digit, at most 253 characters";
const LABEL: &str = "must be a lowercase RFC 1123 label: lower case letters, digits and '-', beginning and ending with a \
                     letter or digit, at most 63 characters";

fn subdomain(text: &str) -> Result<(), String> {
    let fits = text.len() <= 253 && text.split('.').all(is_label);
    if fits { Ok(()) } else { Err(SUBDOMAIN.to_owned()) }
}

fn label(text: &str) -> Result<(), String> {
    if text.len() <= 63 && is_label(text) { Ok(()) } else { Err(LABEL.to_owned()) }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| inner(*byte))
        && bytes.last().is_some_and(|byte| inner(*byte))
        && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
}

fn file_name(text: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(allowed) {
        Err("must consist of letters, digits, '-', '_' or '.', at most 253 characters".to_owned())
    } else if text == "." || text.starts_with("..") {
        Err("must not be '.' or start with '..'".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_name_is_a_subdomain_of_at_most_253_characters() {
        assert!("a.b-c.9".parse::<SecretName>().is_ok());
        assert!("a".repeat(253).parse::<SecretName>().is_ok());
        for wrong in ["", "A", "a_b", "-a", "a-", "a..b", ".a", &"a".repeat(254)] {
            assert!(wrong.parse::<SecretName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_name_may_be_a_dotfile_but_never_leave_the_directory() {
        for fine in [".secret-file", "tls.crt", "A_b-9", "..."] {
            assert_eq!(fine.parse::<FileName>().is_ok(), !fine.starts_with(".."), "{fine}");
        }
        for wrong in ["", ".", "..", "..data", "a/b", "a b", "ä", &"a".repeat(254)] {
            assert!(wrong.parse::<FileName>().is_err(), "{wrong}");
        }
    }
}
