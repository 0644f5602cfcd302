//! References: `<store>:<key>[?<option>=<value>&…][#<property>]`, with URI escaping in every part.

use crate::name::StoreName;
use crate::{Problem, Problems};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Where one value, or all values of one secret, come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// The store that holds it.
    pub store: StoreName,
    /// What the store calls it, decoded.
    pub key: Key,
    /// One property of a structured value; without it, all of them.
    pub property: Option<Property>,
}

/// What one request to a store asks for: two references with equal keys are served by one request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The store's own name for the secret, decoded.
    pub path: String,
    /// Options such as `version`, by name.
    pub options: BTreeMap<String, String>,
}

impl Key {
    /// The key `path` without options.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), options: BTreeMap::new() }
    }
}

/// The part after `#`, decoded: the literal key first, then a nested path, then a JSON pointer if it starts with `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Property(String);

impl Property {
    /// The property as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Property {
    type Err = Problem;

    /// Takes an already decoded property.
    fn from_str(decoded: &str) -> Result<Self, Problem> {
        if decoded.is_empty() {
            return Err(Problem::new("", "has an empty property")
                .with_remedy("leave '#' away for all properties, or write '#/' for the property whose name is empty"));
        }
        Ok(Self(decoded.to_owned()))
    }
}

impl Reference {
    /// The longest reference, in characters: schemas count those, not bytes.
    pub const LONGEST: usize = 2048;
}

impl FromStr for Reference {
    type Err = Problems;

    fn from_str(text: &str) -> Result<Self, Problems> {
        let about = |problem: Problem| problem.with_value(text);
        if text.chars().count() > Self::LONGEST {
            return Err(Problem::new("", format!("is longer than {} characters", Self::LONGEST)).into());
        }
        let Some((store, rest)) = text.split_once(':') else {
            let remedy = "write <store>:<key>, for example vault:kv/app/db#password";
            return Err(about(Problem::new("", "names no store").with_remedy(remedy)).into());
        };
        let (rest, property) = split(rest, '#');
        let (path, query) = split(rest, '?');

        let mut problems = Problems::none();
        let store = problems.collect(decode(store).and_then(|name| name.parse::<StoreName>()).map_err(about));
        let path = problems.collect(decode(path).and_then(checked_path).map_err(about));
        let options = problems.collect(query.map_or_else(|| Ok(BTreeMap::new()), options).map_err(about));
        let property =
            problems.collect(property.map(|text| decode(text)?.parse::<Property>()).transpose().map_err(about));
        match (store, path, options, property) {
            (Some(store), Some(path), Some(options), Some(property)) => {
                problems.or(Self { store, key: Key { path, options }, property })
            }
            _ => Err(problems),
        }
    }
}

/// The text before the first `separator`, and the text after it if there is one.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn checked_path(path: String) -> Result<String, Problem> {
    if path.is_empty() {
        return Err(Problem::new("", "names no key").with_remedy("write <store>:<key>, for example vault:kv/app/db"));
    }
    Ok(path)
}

fn options(query: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut options = BTreeMap::new();
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Problem::new("", format!("has an option \"{pair}\" without a value"))
                .with_remedy("write ?<option>=<value>, for example ?version=3"));
        };
        let (name, value) = (decode(name)?, decode(value)?);
        if name.is_empty() {
            return Err(Problem::new("", "has an option without a name"));
        }
        if options.contains_key(&name) {
            return Err(Problem::new("", format!("gives the option \"{name}\" twice")));
        }
        options.insert(name, value);
    }
    Ok(options)
}

/// Undoes URI escaping. Control characters are nobody's name for a secret and are refused here, once for all stores.
fn decode(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let escaped =
            digit(rest.next()).zip(digit(rest.next())).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        let Some(byte) = escaped else {
            return Err(Problem::new("", "has a '%' that is not followed by two hexadecimal digits")
                .with_remedy("write a literal '%' as \"%25\""));
        };
        bytes.push(byte);
    }
    let decoded = String::from_utf8(bytes).map_err(|error| {
        Problem::new("", format!("is not UTF-8 once its escapes are decoded ({})", error.utf8_error()))
    })?;
    if decoded.chars().any(char::is_control) {
        return Err(Problem::new("", "contains a control character"));
    }
    Ok(decoded)
}

/// Escapes what would be read as a separator, and what does not survive being copied around.
fn encode(formatter: &mut fmt::Formatter<'_>, text: &str, reserved: &[u8]) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && !reserved.contains(&byte) {
            write!(formatter, "{}", char::from(byte))?;
        } else {
            write!(formatter, "%{byte:02X}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        encode(formatter, &self.path, b"?#")?;
        for (index, (name, value)) in self.options.iter().enumerate() {
            formatter.write_str(if index == 0 { "?" } else { "&" })?;
            encode(formatter, name, b"#&=")?;
            formatter.write_str("=")?;
            encode(formatter, value, b"#&")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.store, self.key)?;
        match &self.property {
            Some(Property(property)) => {
                formatter.write_str("#")?;
                encode(formatter, property, b"")
            }
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = Problems;

    fn try_from(text: String) -> Result<Self, Problems> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl JsonSchema for Reference {
    fn schema_name() -> Cow<'static, str> {
        "Reference".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // What only decoding shows stays with the parser: text that is not UTF-8, and an option that is given twice.
        let (label, option) = ("[a-z0-9]([-a-z0-9]*[a-z0-9])?", "[^=&#]+=[^&#]*");
        let pattern = format!("^{label}([.]{label})*:[^?#]+([?]{option}(&{option})*)?(#.+)?$");
        json_schema!({
            "type": "string",
            "minLength": 3,
            "maxLength": Self::LONGEST,
            "pattern": pattern,
            "x-kubernetes-validations": [
                {
                    "rule": "!self.matches('%($|.$|[^2-9A-Fa-f]|.[^0-9A-Fa-f])')",
                    "message": "has a '%' that escapes no character: write a literal one as %25",
                },
                {
                    "rule": "!self.matches('[\\\\x00-\\\\x1f\\\\x7f-\\\\x9f]')",
                    "message": "contains a control character",
                },
                {"rule": "self.indexOf(':') <= 253", "message": "names a store with more than 253 characters"},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|problems| panic!("{text}: {problems}"))
    }

    #[test]
    fn every_part_is_found_and_decoded() {
        let reference = parse("vault:kv/app/my%20db?version=3&x=a%26b#tls%2Ecrt");
        assert_eq!(reference.store.as_str(), "vault");
        assert_eq!(reference.key.path, "kv/app/my db");
        assert_eq!(reference.key.options["version"], "3");
        assert_eq!(reference.key.options["x"], "a&b");
        assert_eq!(reference.property.unwrap().as_str(), "tls.crt");
    }

    #[test]
    fn a_key_may_hold_colons_and_an_escaped_hash() {
        let reference = parse("aws:arn:aws:secretsmanager:eu-west-1:1:secret:db-AbCdEf#%23");
        assert_eq!(reference.key.path, "arn:aws:secretsmanager:eu-west-1:1:secret:db-AbCdEf");
        assert_eq!(reference.property.unwrap().as_str(), "#");
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_value_shown() {
        for wrong in [
            "",
            "vault",
            "vault:",
            ":kv/a",
            "Vault:kv/a",
            "vault:kv/a#",
            "vault:%zz",
            "vault:%ff",
            "vault:a%00b",
            "vault:a?version",
            "vault:a?=1",
            "vault:a?v=1&v=2",
            "vault:?version=1",
        ] {
            let problems = wrong.parse::<Reference>().expect_err(wrong);
            assert!(problems.iter().all(|problem| problem.value.as_deref() == Some(wrong)), "{problems}");
        }
    }

    #[test]
    fn all_problems_of_a_reference_come_at_once() {
        assert_eq!("Vault:?version#".parse::<Reference>().unwrap_err().iter().count(), 4);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            store in "[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?",
            path in "\\PC{1,24}",
            options in prop::collection::btree_map("\\PC{1,6}", "\\PC{0,6}", 0..3),
            property in proptest::option::of("\\PC{1,12}"),
        ) {
            let reference = Reference {
                store: store.parse().unwrap(),
                key: Key { path, options },
                property: property.map(|text| text.parse().unwrap()),
            };
            prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            if let Err(problems) = text.parse::<Reference>() {
                prop_assert!(problems.iter().all(|problem| problem.value.as_deref() == Some(text.as_str())));
            }
        }
    }
}
