//! The long form of a binding: its schema, its reading and its writing.

use super::{Binding, Encoding, Entry, SecretType};
use crate::interval::RefreshInterval;
use crate::mode::Mode;
use crate::name::FileName;
use crate::reference::Reference;
use crate::{Problem, Problems, spelling};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The most keys of one Secret.
const MOST_KEYS: usize = 256;
/// The most references in `dataFrom`.
const MOST_SOURCES: usize = 32;

/// The long form of a binding as Kubernetes stores it: not yet read, so that one wrong field in an object does not hide
/// the object from a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingDocument {
    /// The Secret's type; the built-in types are checked before anything is published.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "type_schema")]
    pub secret_type: Option<String>,
    /// File name → reference, or an object {ref, mode, encoding}.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "data_schema")]
    pub data: BTreeMap<String, Value>,
    /// References whose every property becomes a file. `data` wins over `dataFrom`, later ones over earlier ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "references_schema")]
    pub data_from: Vec<String>,
    /// Files rendered from several values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "template_schema")]
    pub template: BTreeMap<String, String>,
    /// Names that dataFrom will yield, needed where env names must be known at admission.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "keys_schema")]
    pub keys: Vec<String>,
    /// How often the values are read again: 30s, 5m, 1.5h, 1d; 0s means once. A lease overrides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<RefreshInterval>")]
    pub refresh_interval: Option<String>,
    /// Whether values that the store does not have are left out instead of holding the Pod back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Whether the values are read once and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

fn type_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "nullable": true,
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",
            "message": "cannot be delivered: the control plane issues or reads such tokens itself",
        }],
    })
}

fn data_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    // A value is a string or an object. A structural schema cannot say so and CEL in it cannot see such values, but what it
    // demands of each form it can say. The names and the forms are left to the admission policy `alcove-bindings`.
    let reference = generator.subschema_for::<Reference>();
    let mut value = reference.clone();
    value.remove("type");
    value.remove("x-kubernetes-validations");
    value.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
    value.insert("required".to_owned(), json!(["ref"]));
    value.insert("maxProperties".to_owned(), ENTRY_FIELDS.len().into());
    let mode = json!({
        "x-kubernetes-int-or-string": true, "minimum": 0, "maximum": 0o777, "maxLength": 16, "pattern": "^(0o)?0*[0-7]{1,3}$",
    });
    let encoding = json!({"type": "string", "enum": ENCODINGS});
    value.insert("properties".to_owned(), json!({"ref": reference, "mode": mode, "encoding": encoding}));
    schemars::json_schema!({"type": "object", "maxProperties": MOST_KEYS, "additionalProperties": value})
}

fn references_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut item = generator.subschema_for::<Reference>();
    let message =
        "names one property, and dataFrom takes all of them: leave \"#…\" away, or move it to data under a file name";
    if let Some(Value::Array(rules)) = item.get_mut("x-kubernetes-validations") {
        rules.push(json!({"rule": "!self.contains('#')", "message": message}));
    }
    schemars::json_schema!({"type": "array", "maxItems": MOST_SOURCES, "items": item})
}

fn template_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": MOST_KEYS,
        "additionalProperties": {"type": "string", "maxLength": 65536},
        "x-kubernetes-validations": [{
            "rule": "self.size() == 0",
            "message": "is not supported by this version of Alcove: name the values under data, one file for each",
        }],
    })
}

fn keys_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<FileName>();
    schemars::json_schema!({"type": "array", "maxItems": MOST_KEYS, "items": item})
}

impl BindingDocument {
    /// Reads the document.
    ///
    /// # Errors
    ///
    /// Every problem of the document, with places below the document.
    pub fn read(&self) -> Result<Binding, Problems> {
        let value = serde_json::to_value(self).map_err(|error| Problem::new("", format!("cannot be read: {error}")))?;
        Binding::from_document(&value)
    }
}

impl Binding {
    /// Reads the long form from a document, such as an annotation's YAML.
    ///
    /// # Errors
    ///
    /// Every problem of the document, with places below the document.
    pub fn from_document(document: &Value) -> Result<Self, Problems> {
        let Value::Object(fields) = document else {
            return Err(Problem::new("", "is neither a reference nor a YAML mapping")
                .with_remedy("write <store>:<key>, or {data: {<file>: <store>:<key>#<property>}}")
                .into());
        };
        let mut reader = Reader { fields, problems: spelling::unknown_fields(fields, FIELDS) };
        let binding = Self {
            secret_type: reader
                .parsed("type", |text: String| SecretType::try_from(text).map_err(Into::into))
                .unwrap_or_default(),
            data: reader.data(),
            data_from: reader.list("dataFrom", MOST_SOURCES, str::parse::<Reference>),
            keys: reader.list("keys", MOST_KEYS, |text| text.parse::<FileName>().map_err(Problems::from)),
            refresh_interval: reader.refresh_interval(),
            optional: reader.flag("optional"),
            immutable: reader.flag("immutable"),
        };
        reader.check(&binding);
        reader.problems.or(binding)
    }

    /// The long form of this binding.
    #[must_use]
    pub fn to_document(&self) -> Value {
        let mut fields = Map::new();
        let mut set = |name: &str, is_set: bool, value: Value| {
            if is_set {
                fields.insert(name.to_owned(), value);
            }
        };
        set("type", !self.secret_type.is_opaque(), self.secret_type.to_string().into());
        let data = self.data.iter().map(|(name, entry)| (name.to_string(), entry.to_document())).collect();
        set("data", !self.data.is_empty(), Value::Object(data));
        let strings = |items: Vec<String>| Value::from(items);
        set("dataFrom", !self.data_from.is_empty(), strings(self.data_from.iter().map(ToString::to_string).collect()));
        set("keys", !self.keys.is_empty(), strings(self.keys.iter().map(ToString::to_string).collect()));
        let is_default = self.refresh_interval == RefreshInterval::DEFAULT;
        set("refreshInterval", !is_default, self.refresh_interval.to_string().into());
        set("optional", self.optional, true.into());
        set("immutable", self.immutable, true.into());
        Value::Object(fields)
    }
}

const FIELDS: &[&str] = &["type", "data", "dataFrom", "template", "keys", "refreshInterval", "optional", "immutable"];
const ENTRY_FIELDS: &[&str] = &["ref", "mode", "encoding"];
const ENCODINGS: [&str; 4] = ["raw", "base64", "base64url", "hex"];

/// Takes the fields of a document one by one and gathers what is wrong with them.
struct Reader<'a> {
    fields: &'a Map<String, Value>,
    problems: Problems,
}

impl Reader<'_> {
    fn present(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn parsed<T>(&mut self, name: &str, parse: impl Fn(String) -> Result<T, Problems>) -> Option<T> {
        let result = match self.present(name)? {
            Value::String(text) => parse(text.clone()),
            other => Err(Problem::new("", "must be a string").with_value(other.to_string()).into()),
        };
        self.problems.collect(result.map_err(|problems| problems.below(name)))
    }

    /// An interval is written without quotes, too, and then YAML may have read a number.
    fn refresh_interval(&mut self) -> RefreshInterval {
        let text = match self.present("refreshInterval") {
            None => return RefreshInterval::DEFAULT,
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let result = text.parse::<RefreshInterval>().map_err(|problem| problem.below("refreshInterval"));
        self.problems.collect(result).unwrap_or_default()
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.present(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                let written = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
                let problem = Problem::new(name, "must be true or false").with_value(written);
                self.problems.push(problem);
                false
            }
        }
    }

    fn list<T>(&mut self, name: &str, most: usize, parse: impl Fn(&str) -> Result<T, Problems>) -> Vec<T> {
        let items = match self.present(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) if items.len() <= most => items.clone(),
            Some(Value::Array(items)) => {
                self.problems.push(Problem::new(name, format!("has {} items, more than {most}", items.len())));
                return Vec::new();
            }
            Some(_) => {
                self.problems.push(Problem::new(name, "must be a list"));
                return Vec::new();
            }
        };
        let mut parsed = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let result = match item.as_str() {
                Some(text) => parse(text),
                None => Err(Problem::new("", "must be a string").with_value(item.to_string()).into()),
            };
            parsed
                .extend(self.problems.collect(result.map_err(|problems| problems.below(&format!("{name}[{index}]")))));
        }
        parsed
    }

    fn data(&mut self) -> BTreeMap<FileName, Entry> {
        let entries = match self.present("data") {
            None => return BTreeMap::new(),
            Some(Value::Object(entries)) if entries.len() <= MOST_KEYS => entries.clone(),
            Some(Value::Object(entries)) => {
                self.problems.push(Problem::new("data", format!("has {} keys, more than {MOST_KEYS}", entries.len())));
                return BTreeMap::new();
            }
            Some(_) => {
                self.problems.push(Problem::new("data", "must be a mapping of file names to references"));
                return BTreeMap::new();
            }
        };
        let mut data = BTreeMap::new();
        for (name, value) in &entries {
            let place = format!("data[{name}]");
            let file = self.problems.collect(name.parse::<FileName>().map_err(|problem| problem.below(&place)));
            let entry = self.problems.collect(Entry::from_document(value).map_err(|problems| problems.below(&place)));
            data.extend(file.zip(entry));
        }
        data
    }

    /// What only the whole binding shows.
    fn check(&mut self, binding: &Binding) {
        self.check_template();
        if self.problems.is_empty() && binding.references().next().is_none() {
            self.problems.push(
                Problem::new("", "names no value")
                    .with_remedy("name one under `data`, or a whole secret under `dataFrom`"),
            );
        }
        self.check_type(binding);
        if let Some((index, reference)) = binding.data_from.iter().enumerate().find(|(_, item)| item.property.is_some())
        {
            self.problems.push(
                Problem::new(format!("dataFrom[{index}]"), "names one property, and dataFrom takes all of them")
                    .with_value(reference.to_string())
                    .with_remedy("leave \"#…\" away, or move it to `data` under a file name"),
            );
        }
    }

    fn check_template(&mut self) {
        if let Some(template) = self.present("template") {
            let is_empty = template.as_object().is_some_and(Map::is_empty);
            if !is_empty {
                self.problems.push(
                    Problem::new("template", "is not supported by this version of Alcove")
                        .with_remedy("name the values under `data`, one file for each"),
                );
            }
        }
    }

    /// Keys that the type demands and that can never be there. What a store has under `dataFrom` only the sidecar sees.
    fn check_type(&mut self, binding: &Binding) {
        // A key that could not be read may be just the one.
        if !self.problems.is_empty() || !binding.data_from.is_empty() {
            return;
        }
        let secret_type = &binding.secret_type;
        let is_there = |key: &&str| binding.data.contains_key(*key);
        let absent = secret_type.required_keys().iter().filter(|group| !group.iter().any(is_there));
        self.problems.extend(absent.map(|group| {
            let (place, what) = match group {
                [key] => (format!("data[{key}]"), "is".to_owned()),
                group => ("data".to_owned(), format!("holds none of {}, one of which is", group.join(", "))),
            };
            Problem::new(place, format!("{what} required by type {secret_type} and may not be missing"))
                .with_remedy("bind it, or take another type")
        }));
    }
}

impl Entry {
    fn from_document(document: &Value) -> Result<Self, Problems> {
        let fields = match document {
            Value::String(text) => {
                return Ok(Self { reference: text.parse()?, mode: None, encoding: Encoding::Raw });
            }
            Value::Object(fields) => fields,
            other => {
                let remedy = "write a reference, or {ref: <reference>, mode: 0400, encoding: base64}";
                return Err(Problem::new("", "is not a reference")
                    .with_value(other.to_string())
                    .with_remedy(remedy)
                    .into());
            }
        };
        let mut problems = spelling::unknown_fields(fields, ENTRY_FIELDS);
        let missing = || Problem::new("ref", "is missing").with_remedy("write {ref: <store>:<key>#<property>}");
        let text = fields.get("ref").and_then(Value::as_str).ok_or_else(|| Problems::from(missing()));
        let reference = text.and_then(|text| text.parse::<Reference>().map_err(|inner| inner.below("ref")));
        let reference = problems.collect(reference);
        let mode = fields.get("mode").filter(|value| !value.is_null()).map(Mode::from_value).transpose();
        let mode = problems.collect(mode.map_err(|problem| problem.below("mode"))).flatten();
        let encoding = problems.collect(encoding(fields.get("encoding"))).unwrap_or_default();
        match reference {
            Some(reference) => problems.or(Self { reference, mode, encoding }),
            None => Err(problems),
        }
    }

    fn to_document(&self) -> Value {
        if self.mode.is_none() && self.encoding.is_raw() {
            return self.reference.to_string().into();
        }
        let mut document = Map::from_iter([("ref".to_owned(), self.reference.to_string().into())]);
        document.extend(self.mode.map(|mode| ("mode".to_owned(), mode.bits().into())));
        if !self.encoding.is_raw() {
            document.insert("encoding".to_owned(), json!(self.encoding));
        }
        Value::Object(document)
    }
}

fn encoding(value: Option<&Value>) -> Result<Encoding, Problem> {
    match value {
        None | Some(Value::Null) => Ok(Encoding::Raw),
        Some(value) => Encoding::deserialize(value).map_err(|_unknown_word| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let problem = Problem::new("encoding", "is not an encoding").with_value(&text);
            problem.with_remedy(spelling::remedy(&text, &ENCODINGS))
        }),
    }
}

#[cfg(test)]
mod tests;
