//! What a sidecar asks for: `alcove.dev/resources`.

use crate::quantity::Quantity;
use crate::{Problem, Problems, spelling, yaml};
use serde_json::Value;
use std::str::FromStr;

/// Requests and limits of the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidecarResources {
    /// What is set aside for it.
    pub requests: ResourceList,
    /// What it may use.
    pub limits: ResourceList,
}

/// Amounts of the resources that a sidecar can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceList {
    /// Processor time.
    pub cpu: Option<Quantity>,
    /// Memory, the pages of the memory volumes that it fills included.
    pub memory: Option<Quantity>,
    /// Logs and the container's writable layer.
    pub ephemeral_storage: Option<Quantity>,
}

impl FromStr for SidecarResources {
    type Err = Problems;

    fn from_str(text: &str) -> Result<Self, Problems> {
        Self::from_document(&yaml::parse(text)?)
    }
}

impl SidecarResources {
    /// Reads `requests` and `limits` of a document shaped as a container's `resources`.
    ///
    /// # Errors
    ///
    /// Every unknown field and every amount that is not a quantity.
    pub fn from_document(document: &Value) -> Result<Self, Problems> {
        let Value::Object(fields) = document else {
            return Err(Problem::new("", "is not a YAML mapping")
                .with_remedy("write {requests: {cpu: 5m, memory: 16Mi}, limits: {memory: 64Mi}}")
                .into());
        };
        let mut problems = spelling::unknown_fields(fields, &["requests", "limits"]);
        let mut list = |name: &str| {
            let read = fields.get(name).map_or_else(|| Ok(ResourceList::default()), ResourceList::from_document);
            problems.collect(read.map_err(|inner| inner.below(name))).unwrap_or_default()
        };
        let resources = Self { requests: list("requests"), limits: list("limits") };
        problems.or(resources)
    }
}

impl ResourceList {
    fn from_document(document: &Value) -> Result<Self, Problems> {
        let Value::Object(fields) = document else {
            return Err(Problem::new("", "is not a YAML mapping").into());
        };
        let mut problems = spelling::unknown_fields(fields, &["cpu", "memory", "ephemeral-storage"]);
        let mut amount = |name: &str| {
            let value = fields.get(name).filter(|value| !value.is_null())?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            problems.collect(text.parse::<Quantity>().map_err(|problem| problem.below(name)))
        };
        let list =
            Self { cpu: amount("cpu"), memory: amount("memory"), ephemeral_storage: amount("ephemeral-storage") };
        problems.or(list)
    }
}
