//! JSON that is looked at and not rebuilt: values stay the text that was sent.

use super::MOST_NAMES;
use crate::secret::{SecretBuffer, SecretBytes};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;

/// The members of one object, in its order, each name once.
pub(super) struct Members<'a>(Vec<(String, Value<'a>)>);

/// The text of one value.
#[derive(Clone, Copy)]
pub(super) struct Value<'a>(&'a str);

impl<'a> Members<'a> {
    /// The members of an object; the reason names no value, where the text is none.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error: serde_json::Error| match error.classify() {
            // The words of a data error are ours, and serde's own may repeat what stands in the text.
            serde_json::error::Category::Data => {
                format!("it is of another type, has more than {MOST_NAMES} names, or one of them twice")
            }
            _ => format!("malformed at line {} column {}", error.line(), error.column()),
        })
    }

    /// The members in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The member `name`.
    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for Members<'a> {
    type Item = (String, Value<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(|members| Members(members.0))
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let (mut members, mut seen) = (Vec::new(), HashSet::new());
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if members.len() == MOST_NAMES || !seen.insert(name.clone()) {
                return Err(A::Error::custom("too many names, or one twice"));
            }
            members.push((name, Value(value.get())));
        }
        Ok(Members(members))
    }
}

/// The element of an array at this index.
struct Element(usize);

impl<'de> DeserializeSeed<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut index) = (None, 0);
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            if index == self.0 {
                found = Some(element);
            }
            index += 1;
        }
        Ok(found)
    }
}

impl<'a> Value<'a> {
    /// Whether it is `null`.
    pub(super) fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Its members, if it is an object.
    pub(super) fn members(self) -> Option<Members<'a>> {
        if self.0.starts_with('{') { Members::parse(self.0.as_bytes()).ok() } else { None }
    }

    /// Its element at `index`, if it is an array that has one. The others are not kept: there may be millions.
    pub(super) fn element(self, index: usize) -> Option<Self> {
        if !self.0.starts_with('[') {
            return None;
        }
        let element = Element(index).deserialize(&mut serde_json::Deserializer::from_str(self.0)).ok()?;
        element.map(|element| Self(element.get()))
    }

    /// What is delivered: the text of a string, and of everything else the JSON text without insignificant white space.
    /// Nothing, where a string has an escape that stands for no character.
    pub(super) fn bytes(self) -> Option<SecretBytes> {
        match self.0.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) => unescaped(text),
            None => Some(compact(self.0)),
        }
    }
}

fn compact(text: &str) -> SecretBytes {
    let mut buffer = SecretBuffer::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            buffer.extend(&[byte]);
        }
        in_string ^= byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
    }
    buffer.into()
}

/// What the inside of a string stands for. Our own code, because serde's would leave a copy in a buffer that is not wiped.
fn unescaped(text: &str) -> Option<SecretBytes> {
    let mut buffer = SecretBuffer::with_capacity(text.len());
    let mut rest = text;
    while let Some((literal, escape)) = rest.split_once('\\') {
        buffer.extend(literal.as_bytes());
        let (character, after) = escape_sequence(escape)?;
        buffer.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = after;
    }
    buffer.extend(rest.as_bytes());
    Some(buffer.into())
}

/// The character of the escape whose text, without its backslash, `text` begins with; and what follows it.
fn escape_sequence(text: &str) -> Option<(char, &str)> {
    let mut characters = text.chars();
    let character = match characters.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode_escape(characters.as_str()),
        other @ ('"' | '\\' | '/') => other,
        _ => return None,
    };
    Some((character, characters.as_str()))
}

fn unicode_escape(text: &str) -> Option<(char, &str)> {
    let (first, rest) = code_unit(text)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Some((character, rest));
    }
    let (second, rest) = code_unit(rest.strip_prefix("\\u")?)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, rest))
}

fn code_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}
