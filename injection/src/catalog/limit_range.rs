//! LimitRanges: what the containers and Pods of a namespace may ask for.

use alcove_contract::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// A LimitRange, as far as it speaks of containers and Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitRange {
    /// Its limits, in its order.
    pub limits: Vec<Limit>,
}

/// One of the limits of a LimitRange: amounts by the names of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is limited.
    pub scope: Scope,
    /// No request or limit may be less.
    pub min: BTreeMap<String, Quantity>,
    /// No request or limit may be more.
    pub max: BTreeMap<String, Quantity>,
    /// How many times the request the limit may be.
    pub ratio: BTreeMap<String, Quantity>,
    /// What the API server writes as the limit of a container that states none.
    pub default: BTreeMap<String, Quantity>,
}

/// What a limit speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each container.
    Container,
    /// What the containers of a Pod add up to.
    Pod,
}

impl LimitRange {
    /// Reads a LimitRange.
    ///
    /// Amounts that no container of this version could ask for, such as negative ones, are left out: the API server judges
    /// by them, and says so in its own words.
    #[must_use]
    pub fn from_document(document: &Value) -> Self {
        let limits = document.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten();
        Self { limits: limits.filter_map(Limit::from_document).collect() }
    }
}

impl Limit {
    fn from_document(document: &Value) -> Option<Self> {
        let scope = match document.get("type").and_then(Value::as_str) {
            Some("Container") => Scope::Container,
            Some("Pod") => Scope::Pod,
            _ => return None,
        };
        let list = |field| amounts(document.get(field));
        let ratio = list("maxLimitRequestRatio");
        Some(Self { scope, min: list("min"), max: list("max"), ratio, default: list("default") })
    }
}

fn amounts(list: Option<&Value>) -> BTreeMap<String, Quantity> {
    let amounts = list.and_then(Value::as_object).into_iter().flatten();
    amounts.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect()
}

fn quantity(amount: &Value) -> Option<Quantity> {
    amount.as_str().map_or_else(|| amount.to_string().parse(), str::parse).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_limit_range_says_of_containers_and_pods_is_read_and_nothing_else() {
        let range = LimitRange::from_document(&json!({"spec": {"limits": [
            {"type": "Container", "min": {"cpu": 1, "memory": "-1"}, "default": {"nvidia.com/gpu": "0"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
            {"type": "Pod", "maxLimitRequestRatio": {"memory": "1500m"}},
        ]}}));
        let [container, pod] = range.limits.as_slice() else { panic!("{range:?}") };
        assert_eq!((container.scope, pod.scope), (Scope::Container, Scope::Pod));
        assert_eq!(container.min, BTreeMap::from([("cpu".to_owned(), Quantity::processors(1000))]));
        assert!(container.default.contains_key("nvidia.com/gpu"));
        assert_eq!(pod.ratio["memory"].thousandths(), 1500);
    }

    #[test]
    fn a_document_that_is_no_limit_range_limits_nothing() {
        for document in
            [json!(null), json!({"spec": {"limits": {"type": "Pod"}}}), json!({"spec": {"limits": [7, {}]}})]
        {
            assert_eq!(LimitRange::from_document(&document), LimitRange::default());
        }
    }
}
