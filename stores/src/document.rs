//! What one key of a store holds, as the store sent it, and how a property is found in it.
//!
//! No value passes through a number or a string type on its way: a number keeps its digits, an object its order, and a
//! string becomes the bytes that its escapes stand for.

mod json;
mod path;

use crate::error::{ErrorClass, StoreError};
use crate::secret::SecretBytes;
use alcove_contract::nearest;
use alcove_contract::reference::Property;
use json::{Members, Value};
use std::fmt;

/// The most names that one object may have: each takes memory beside its value, and no Secret has a tenth of them.
pub(crate) const MOST_NAMES: usize = 16 * 1024;
/// How many names an error lists where none is near: enough to recognise the wrong key.
const LISTED_NAMES: usize = 10;

/// The values of one key.
pub struct Document {
    key: String,
    content: Content,
}

enum Content {
    /// An object, as the store spelt it.
    Json(SecretBytes),
    /// Names with opaque bytes.
    Entries(Vec<(String, SecretBytes)>),
}

impl Document {
    /// What `key` holds, where the store sent a JSON object.
    ///
    /// # Errors
    ///
    /// Integrity, where the text is not one, has a property twice, or more of them than can be handled.
    pub fn json(key: impl Into<String>, text: SecretBytes) -> Result<Self, StoreError> {
        let key = key.into();
        match Members::parse(text.as_bytes()) {
            Ok(_) => Ok(Self { key, content: Content::Json(text) }),
            Err(reason) => {
                Err(StoreError::new(ErrorClass::Integrity, format!("\"{key}\" is no JSON object: {reason}")))
            }
        }
    }

    /// What `key` holds, where the store sent names with bytes that have no structure.
    #[must_use]
    pub fn entries(key: impl Into<String>, entries: Vec<(String, SecretBytes)>) -> Self {
        Self { key: key.into(), content: Content::Entries(entries) }
    }

    /// Every property that is not `null`, in the store's order.
    ///
    /// # Errors
    ///
    /// Integrity, where a string has an escape that stands for no character.
    pub fn properties(&self) -> Result<Vec<(String, SecretBytes)>, StoreError> {
        match &self.content {
            Content::Json(text) => {
                let present = self.members(text)?.into_iter().filter(|(_, value)| !value.is_null());
                present.map(|(name, value)| Ok((name.clone(), self.bytes(&name, value)?))).collect()
            }
            Content::Entries(entries) => {
                Ok(entries.iter().map(|(name, value)| (name.clone(), value.share())).collect())
            }
        }
    }

    /// One property: the literal name first, then a nested path (`a.b[0].c`), then a JSON pointer.
    ///
    /// # Errors
    ///
    /// NotFound with the nearest name, where it is missing or `null`; Misconfigured with the pointers to choose from,
    /// where a nested path can be read in more than one way.
    pub fn property(&self, property: &Property) -> Result<SecretBytes, StoreError> {
        match &self.content {
            Content::Json(text) => self.json_property(text, property),
            Content::Entries(entries) => {
                let name = path::single_name(property.as_str());
                let entry =
                    entries.iter().find(|(known, _)| *known == property.as_str() || Some(known) == name.as_ref());
                entry.map(|(_, value)| value.share()).ok_or_else(|| self.missing(property))
            }
        }
    }

    /// The names of all properties, which are no secrets; those of `null` values are among them.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match &self.content {
            Content::Json(text) => Members::parse(text.as_bytes())
                .map(|members| members.into_iter().map(|(name, _)| name).collect())
                .unwrap_or_default(),
            Content::Entries(entries) => entries.iter().map(|(name, _)| name.clone()).collect(),
        }
    }

    fn json_property(&self, text: &SecretBytes, property: &Property) -> Result<SecretBytes, StoreError> {
        let members = self.members(text)?;
        let readings = path::readings(&members, property.as_str());
        match readings.as_slice() {
            [] => Err(self.missing(property)),
            [reading] if reading.value.is_null() => Err(self.null(property)),
            [reading] => self.bytes(property.as_str(), reading.value),
            several => Err(self.ambiguous(property, several)),
        }
    }

    fn members<'a>(&self, text: &'a SecretBytes) -> Result<Members<'a>, StoreError> {
        Members::parse(text.as_bytes()).map_err(|reason| {
            StoreError::new(ErrorClass::Integrity, format!("\"{}\" is no JSON object: {reason}", self.key))
        })
    }

    fn bytes(&self, name: &str, value: Value<'_>) -> Result<SecretBytes, StoreError> {
        value.bytes().ok_or_else(|| {
            let text = format!("property \"{name}\" of \"{}\" has an escape that stands for no character", self.key);
            StoreError::new(ErrorClass::Integrity, text)
        })
    }

    /// The names of nested objects are part of a value that can be delivered: none is offered, however near it is.
    fn missing(&self, property: &Property) -> StoreError {
        let (property, names) = (property.as_str(), self.names());
        let remedy = match nearest(property, names.iter().map(String::as_str)) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None if names.is_empty() => "it has none at all".to_owned(),
            None => {
                let listed: Vec<_> = names.iter().take(LISTED_NAMES).map(|name| format!("\"{name}\"")).collect();
                let more = if names.len() > LISTED_NAMES { ", …" } else { "" };
                format!("it has {}{more}", listed.join(", "))
            }
        };
        StoreError::new(ErrorClass::NotFound, format!("\"{}\" has no property \"{property}\"; {remedy}", self.key))
    }

    fn null(&self, property: &Property) -> StoreError {
        let text = format!("property \"{}\" of \"{}\" is null, which is a missing value", property.as_str(), self.key);
        StoreError::new(ErrorClass::NotFound, text)
    }

    fn ambiguous(&self, property: &Property, readings: &[path::Reading<'_>]) -> StoreError {
        let pointers: Vec<_> = readings.iter().map(|reading| format!("\"#{}\"", reading.pointer)).collect();
        let (property, count) = (property.as_str(), readings.len());
        let text = format!(
            "property \"{property}\" of \"{}\" can be read in {count} ways; write the one that is meant: {}",
            self.key,
            pointers.join(" or ")
        );
        StoreError::misconfigured(text)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Document").field("key", &self.key).field("names", &self.names()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
