//! What a Secret would hold, had somebody copied the store's values into one.

use super::answer::{Answer, Refusal, Selection};
use super::{encoding, rules};
use alcove_contract::configuration::{DataConfiguration, SecretConfiguration};
use alcove_contract::mode::Mode;
use alcove_contract::name::{FileName, SecretName};
use alcove_contract::reference::Reference;
use alcove_contract::{Problem, Problems};
use alcove_stores::{ErrorClass, SecretBytes, StoreError};
use std::collections::BTreeMap;

/// A Secret that does not exist.
pub struct Secret {
    values: BTreeMap<FileName, SecretValue>,
    /// The mode of files for which neither binding nor Pod says anything, where the type has one.
    type_mode: Option<Mode>,
    /// What the store does not have although the binding says it must.
    missing: Problems,
}

/// One value of a Secret.
#[derive(PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "a secret has no printable form")]
pub struct SecretValue {
    /// Its bytes.
    pub bytes: SecretBytes,
    /// The mode that the binding gives to its file.
    pub mode: Option<Mode>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&FileName> = self.values.keys().collect();
        formatter.debug_struct("Secret").field("keys", &keys).field("missing", &self.missing).finish_non_exhaustive()
    }
}

impl Secret {
    /// The Secret that `configuration` describes, given what the stores said about each of its references.
    ///
    /// # Errors
    ///
    /// Everything for which the API server would have refused such a Secret, and every value that cannot be found or
    /// decoded. A value that the store does not have is no error here, see [`Secret::check_complete`].
    pub fn render<'a>(
        configuration: &SecretConfiguration,
        answer: impl Fn(&Reference) -> Option<&'a Answer>,
    ) -> Result<Self, Problems> {
        let mut rendering = Rendering::default();
        for (index, reference) in configuration.data_from.iter().enumerate() {
            rendering.take_all(&format!("dataFrom[{index}]"), reference, answer(reference));
        }
        for (name, entry) in &configuration.data {
            rendering.take_one(name, entry, answer(&entry.reference));
        }
        rendering.finish(configuration).map_err(|problems| problems.below(&place(&configuration.name)))
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&SecretValue> {
        self.values.get(key)
    }

    /// All values by key.
    #[must_use]
    pub const fn values(&self) -> &BTreeMap<FileName, SecretValue> {
        &self.values
    }

    /// The mode of a file in a volume whose `defaultMode` is `default`, if nothing says more about this file.
    ///
    /// The API server fills in [`Mode::DEFAULT`] where a Pod says nothing, so that it yields to the type's own mode.
    #[must_use]
    pub fn default_mode(&self, default: Mode) -> Mode {
        match self.type_mode {
            Some(mode) if default == Mode::DEFAULT => mode,
            _ => default,
        }
    }

    /// Says what is missing, to those who cannot do without.
    ///
    /// # Errors
    ///
    /// Every value that the store does not have, unless the binding is optional.
    pub fn check_complete(&self) -> Result<(), Problems> {
        self.missing.clone().or(())
    }

    /// Whether nobody could tell this Secret from `other`.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        self.values == other.values && self.missing == other.missing
    }
}

fn place(name: &SecretName) -> String {
    format!("Secret {name}")
}

/// A Secret in the making.
#[derive(Default)]
struct Rendering {
    values: BTreeMap<FileName, SecretValue>,
    missing: Problems,
    problems: Problems,
}

impl Rendering {
    fn take_all(&mut self, place: &str, reference: &Reference, answer: Option<&Answer>) {
        let Some(selection) = self.selection(place, reference, answer) else { return };
        let properties = match selection.properties() {
            Ok(properties) => properties,
            Err(Refusal::Store(error)) => return self.problems.push(refused(place, reference, error)),
            Err(Refusal::Size(problem)) => return self.problems.push(problem.clone()),
        };
        for (name, bytes) in properties {
            let parsed = name.parse::<FileName>().map_err(|problem| {
                problem.below(&format!("{place} ({reference})")).with_remedy("bind the property under a file name")
            });
            if let Some(name) = self.problems.collect(parsed) {
                self.values.insert(name, SecretValue { bytes: bytes.share(), mode: None });
            }
        }
    }

    fn take_one(&mut self, name: &FileName, entry: &DataConfiguration, answer: Option<&Answer>) {
        let place = format!("data[{name}]");
        // `data` wins over `dataFrom` also where it finds nothing: another value under this name would be a guess.
        self.values.remove(name);
        let Some(selection) = self.selection(&place, &entry.reference, answer) else { return };
        let Some(property) = &entry.reference.property else {
            let problem = Problem::new(place, "names no property of a secret that has several");
            return self.problems.push(problem.with_value(entry.reference.to_string()).with_remedy("add #<property>"));
        };
        match selection.property(property) {
            Ok(text) => match encoding::decode(entry.encoding, text) {
                Ok(bytes) => {
                    self.values.insert(name.clone(), SecretValue { bytes, mode: entry.mode });
                }
                Err(reason) => self.problems.push(Problem::new(place, reason)),
            },
            Err(Refusal::Store(error)) if error.class() == ErrorClass::NotFound => {
                self.missing.push(refused(&place, &entry.reference, &error));
            }
            Err(Refusal::Store(error)) => self.problems.push(refused(&place, &entry.reference, &error)),
            Err(Refusal::Size(problem)) => self.problems.push(problem),
        }
    }

    fn selection<'a>(
        &mut self,
        place: &str,
        reference: &Reference,
        answer: Option<&'a Answer>,
    ) -> Option<&'a Selection> {
        match answer? {
            Answer::Present(selection) => Some(selection),
            Answer::Absent(error) => {
                self.missing.push(refused(place, reference, error));
                None
            }
        }
    }

    fn finish(mut self, configuration: &SecretConfiguration) -> Result<Secret, Problems> {
        let sizes = self.values.iter().map(|(name, value)| (name.as_str(), &value.bytes));
        self.problems.collect(rules::check_size(sizes));
        self.problems.or(())?;

        let value = |key: &'static str| self.values.get(key).map(|value| &value.bytes);
        match rules::check_type(&configuration.secret_type, value) {
            // Without what is missing no such Secret can exist: then it holds nothing.
            Err(_) if !self.missing.is_empty() => self.values.clear(),
            checked => checked?,
        }
        let missing = if configuration.optional { Problems::none() } else { self.missing };
        let type_mode = configuration.secret_type.default_mode();
        Ok(Secret { values: self.values, type_mode, missing: missing.below(&place(&configuration.name)) })
    }
}

fn refused(place: &str, reference: &Reference, error: &StoreError) -> Problem {
    Problem::new(place, format!("{}: {error}", error.class().as_str())).with_value(reference.to_string())
}
