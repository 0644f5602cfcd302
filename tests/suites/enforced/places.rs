//! The places in a Pod that name a Secret, as the API server's own schema has them, and the smallest Pod for each.

use std::fmt;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

const DEFINITIONS: &str = "/components/schemas";
const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";
/// Fields whose path speaks of a Secret and which hold no Secret's name.
const OTHERS: &[&str] = &["secretFile", "items[].key", "items[].path", "secretKeyRef.key"];
/// The lists of containers, and the name that a container has in each here.
const CONTAINERS: [(&str, &str); 3] =
    [("initContainers", "init"), ("containers", "app"), ("ephemeralContainers", "debug")];
/// What validation demands beyond what the schema says.
const FORMATS: [(&str, &str); 1] = [("iqn", "iqn.2001-04.com.example:storage")];
const ALSO_NEEDED: [(&str, &str); 2] = [("scaleIO", "volumeName"), ("storageos", "volumeName")];

/// A place that names a Secret.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    schema: Schema<'a>,
    /// The names of the fields, from the spec of a Pod; `[]` marks a list.
    fields: Vec<String>,
}

/// A place in a container of one kind, or in the Pod itself.
#[derive(Debug)]
pub(crate) struct Variant<'a> {
    place: &'a Place<'a>,
    is_native_sidecar: bool,
}

/// How the place reaches the API server.
#[derive(Debug)]
pub(crate) enum Sent {
    /// In a new Pod.
    Pod(Value),
    /// In an ephemeral container of a Pod that runs.
    EphemeralContainer(Value),
}

/// Every place of the schema that the API server publishes.
pub(crate) fn that_name_a_secret(document: &Value) -> Result<Vec<Place<'_>>> {
    let definitions = document.pointer(DEFINITIONS).context("the API server publishes no schemas")?;
    let schema =
        Schema { definitions, node: definitions.get(POD_SPEC).context("the API server publishes no PodSpec")? };
    let mut found = Vec::new();
    schema.strings(&mut Vec::new(), &mut found);
    let names = found.into_iter().filter(|fields| {
        let path = fields.join(".");
        path.to_lowercase().contains("secret") && !OTHERS.iter().any(|other| path.ends_with(other))
    });
    Ok(names.map(|fields| Place { schema, fields }).collect())
}

impl<'a> Place<'a> {
    /// The kinds of containers that the place stands for: a list of init containers holds native sidecars, too.
    pub(crate) fn variants(&'a self) -> Vec<Variant<'a>> {
        let is_init = self.list() == "initContainers[]";
        let kinds: &[bool] = if is_init { &[false, true] } else { &[false] };
        kinds.iter().map(|is_native_sidecar| Variant { place: self, is_native_sidecar: *is_native_sidecar }).collect()
    }

    fn list(&self) -> &str {
        &self.fields[0]
    }
}

impl Variant<'_> {
    /// The smallest Pod, or ephemeral container, that names `secret` here.
    pub(crate) fn pod(&self, secret: &str) -> Sent {
        let mut spec = self.place.schema.smallest(&self.place.fields, secret);
        for (list, name) in CONTAINERS {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container["name"] = name.into();
                container["image"] = "localhost/busybox:test".into();
                if self.is_native_sidecar && list == "initContainers" {
                    container["restartPolicy"] = "Always".into();
                }
            }
        }
        match spec.pointer("/ephemeralContainers/0") {
            Some(container) => Sent::EphemeralContainer(container.clone()),
            None => Sent::Pod(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec})),
        }
    }

    /// The place as messages name it.
    pub(crate) fn field_path(&self) -> String {
        format!("spec.{}", self.place.fields.join(".")).replace("[]", "[0]")
    }
}

impl fmt::Display for Variant<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_native_sidecar { " of a native sidecar" } else { "" };
        write!(formatter, "{}{kind}", self.field_path())
    }
}

/// A node of the schema, and what it refers to.
#[derive(Debug, Clone, Copy)]
struct Schema<'a> {
    definitions: &'a Value,
    node: &'a Value,
}

impl<'a> Schema<'a> {
    fn at(self, node: &'a Value) -> Self {
        Self { node, ..self }.resolved()
    }

    /// Follows references, which the API server wraps into `allOf` where a default stands beside them.
    fn resolved(self) -> Self {
        let node = self.node.pointer("/allOf/0").unwrap_or(self.node);
        let name = node.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next());
        match name {
            Some(name) => Self { node: &self.definitions[name], ..self }.resolved(),
            None => Self { node, ..self },
        }
    }

    fn properties(self) -> impl Iterator<Item = (&'a str, Self)> {
        let properties = self.node.get("properties").and_then(Value::as_object).into_iter().flatten();
        properties.map(move |(name, node)| (name.as_str(), self.at(node)))
    }

    fn property(self, name: &str) -> Self {
        self.at(&self.node["properties"][name])
    }

    /// The paths of all strings below.
    fn strings(self, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        for (name, property) in self.properties() {
            let (mark, inner) = match property.node.get("items") {
                Some(items) => ("[]", property.at(items)),
                None => ("", property),
            };
            path.push(format!("{name}{mark}"));
            if inner.node["type"] == "string" {
                found.push(path.clone());
            }
            inner.strings(path, found);
            path.pop();
        }
    }

    /// The smallest document that holds `leaf` at the end of `fields`, beside what is required on the way.
    fn smallest(self, fields: &[String], leaf: &str) -> Value {
        let Some((field, rest)) = fields.split_first() else { return leaf.into() };
        let (name, is_list) = field.strip_suffix("[]").map_or((field.as_str(), false), |name| (name, true));
        let property = self.property(name);
        let inner = if is_list {
            json!([property.at(&property.node["items"]).smallest(rest, leaf)])
        } else {
            let mut inner = property.smallest(rest, leaf);
            for (_, needed) in ALSO_NEEDED.iter().filter(|(volume, _)| *volume == name) {
                inner[*needed] = "x".into();
            }
            inner
        };
        let mut document = self.required();
        document.insert(name.to_owned(), inner);
        Value::Object(document)
    }

    fn required(self) -> Map<String, Value> {
        let names = self.node.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        names.map(|name| (name.to_owned(), self.property(name).sample(name))).collect()
    }

    /// A value that validation takes.
    fn sample(self, name: &str) -> Value {
        match self.node["type"].as_str() {
            Some("array") => json!([self.at(&self.node["items"]).sample(name)]),
            Some("integer") => json!(1),
            Some("boolean") => json!(true),
            Some("string") => {
                json!(FORMATS.iter().find(|(field, _)| *field == name).map_or("x", |(_, value)| *value))
            }
            _ => Value::Object(self.required()),
        }
    }
}
