//! What is kept of the stores' answers: the values that a binding names, and nothing of the documents around them, which
//! may be many times larger.

use super::rules;
use alcove_contract::Problem;
use alcove_contract::configuration::SecretConfiguration;
use alcove_contract::reference::{Property, Reference};
use alcove_stores::{Document, ErrorClass, SecretBytes, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What a store said about one key.
#[derive(Debug)]
pub enum Answer {
    /// It has values.
    Present(Selection),
    /// It has none, and says why.
    Absent(StoreError),
}

/// What all bindings together name of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    all: bool,
    properties: BTreeSet<Property>,
}

/// What they name of it, as the store has it.
#[derive(Default)]
pub struct Selection {
    all: Option<Result<Vec<(String, SecretBytes)>, Refusal>>,
    properties: BTreeMap<Property, Result<SecretBytes, Refusal>>,
}

/// Why a value is not there.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// It is not in what the store sent.
    Store(StoreError),
    /// No Secret could hold it.
    Size(Problem),
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let properties: Vec<&Property> = self.properties.keys().collect();
        formatter.debug_struct("Selection").field("properties", &properties).finish_non_exhaustive()
    }
}

impl Wanted {
    /// Adds what `secret` names, each reference to what is wanted of its key.
    pub fn add<'a, Id: Ord>(
        wanted: &mut BTreeMap<Id, Self>,
        secret: &'a SecretConfiguration,
        key: impl Fn(&'a Reference) -> Option<Id>,
    ) {
        for id in secret.data_from.iter().filter_map(&key) {
            wanted.entry(id).or_default().all = true;
        }
        for reference in secret.data.values().map(|entry| &entry.reference) {
            if let (Some(id), Some(property)) = (key(reference), &reference.property) {
                wanted.entry(id).or_default().properties.insert(property.clone());
            }
        }
    }

    /// Takes it out of what the store sent.
    #[must_use]
    pub fn select(&self, document: &Document) -> Selection {
        let all = || {
            let properties = document.properties().map_err(Refusal::Store)?;
            rules::check_size(properties.iter().map(|(name, bytes)| (name.as_str(), bytes))).map_err(Refusal::Size)?;
            Ok(properties)
        };
        let one = |property: &Property| {
            let text = document.property(property).map_err(Refusal::Store)?;
            rules::check_encoded_size(property.as_str(), &text).map_err(Refusal::Size)?;
            Ok(text)
        };
        Selection {
            all: self.all.then(all),
            properties: self.properties.iter().map(|property| (property.clone(), one(property))).collect(),
        }
    }
}

impl Selection {
    /// Every property, in the store's order, where a binding wants all.
    pub(super) fn properties(&self) -> Result<&[(String, SecretBytes)], &Refusal> {
        self.all.as_ref().map_or(Ok(&[]), |all| all.as_deref())
    }

    /// One property that a binding wants.
    pub(super) fn property(&self, property: &Property) -> Result<SecretBytes, Refusal> {
        match self.properties.get(property) {
            Some(Ok(text)) => Ok(text.share()),
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Err(Refusal::Store(StoreError::new(ErrorClass::Misconfigured, "no binding has asked for it"))),
        }
    }
}
