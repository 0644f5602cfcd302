//! Which namespaces an object of the cluster holds in.

use crate::footprint::{Footprint, allocated};
use alcove_contract::{Problem, Problems};
use alcove_resources::store::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::{Selector, SelectorExt};
use std::collections::BTreeMap;

/// A namespace as far as the catalog knows it: without labels until it has seen the namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespace<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: Option<&'a BTreeMap<String, String>>,
}

/// Whether an object holds in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Yes,
    No,
    /// The answer depends on labels, and the namespace has not been seen.
    Unknown,
}

/// Conditions on a namespace, one of which must hold.
#[derive(Clone, Debug)]
pub(crate) struct Selection(Vec<Condition>);

#[derive(Clone, Debug)]
enum Condition {
    Always,
    Labels(Selector),
    Names(Vec<String>),
    Both(Selector, Vec<String>),
    /// It states nothing.
    Never,
}

impl Selection {
    /// Every namespace.
    pub(crate) fn everywhere() -> Self {
        Self(vec![Condition::Always])
    }

    /// The namespaces with the labels of a `namespaceSelector`; all of them where there is none.
    pub(crate) fn by_selector(stated: Option<&LabelSelector>) -> Result<Self, Problems> {
        let Some(selector) = stated else { return Ok(Self::everywhere()) };
        Ok(Self(vec![Condition::Labels(checked(selector, "spec.namespaceSelector")?)]))
    }

    /// The namespaces that meet one of `conditions`; all of them where there is none.
    pub(crate) fn by_conditions(conditions: &[NamespaceCondition]) -> Result<Self, Problems> {
        if conditions.is_empty() {
            return Ok(Self::everywhere());
        }
        let mut problems = Problems::none();
        let mut read = Vec::with_capacity(conditions.len());
        for (index, condition) in conditions.iter().enumerate() {
            read.extend(problems.collect(Condition::read(condition, index)));
        }
        problems.or(Self(read))
    }

    pub(crate) fn holds_in(&self, namespace: Namespace<'_>) -> Holds {
        self.0.iter().fold(Holds::No, |so_far, condition| match (so_far, condition.holds_in(namespace)) {
            (Holds::Yes, _) | (_, Holds::Yes) => Holds::Yes,
            (Holds::Unknown, _) | (_, Holds::Unknown) => Holds::Unknown,
            (Holds::No, Holds::No) => Holds::No,
        })
    }
}

impl Footprint for Selection {
    /// That of an object of a namespace. Objects of the cluster, which say more, are administrators': nobody weighs them.
    fn heap(&self) -> usize {
        allocated(self.0.capacity().saturating_mul(size_of::<Condition>()))
    }
}

impl Condition {
    fn read(condition: &NamespaceCondition, index: usize) -> Result<Self, Problems> {
        let names = || condition.namespaces.clone();
        let Some(selector) = &condition.namespace_selector else {
            return Ok(if condition.namespaces.is_empty() { Self::Never } else { Self::Names(names()) });
        };
        let selector = checked(selector, &format!("spec.conditions[{index}].namespaceSelector"))?;
        Ok(if condition.namespaces.is_empty() { Self::Labels(selector) } else { Self::Both(selector, names()) })
    }

    fn holds_in(&self, namespace: Namespace<'_>) -> Holds {
        let includes = |names: &[String]| names.iter().any(|name| name == namespace.name);
        match self {
            Self::Always => Holds::Yes,
            Self::Names(names) => yes_or_no(includes(names)),
            Self::Labels(selector) => labelled(selector, namespace),
            Self::Both(selector, names) if includes(names) => labelled(selector, namespace),
            Self::Both(..) | Self::Never => Holds::No,
        }
    }
}

const fn yes_or_no(answer: bool) -> Holds {
    if answer { Holds::Yes } else { Holds::No }
}

fn labelled(selector: &Selector, namespace: Namespace<'_>) -> Holds {
    if selector.selects_all() {
        return Holds::Yes;
    }
    namespace.labels.map_or(Holds::Unknown, |labels| yes_or_no(selector.matches(labels)))
}

/// Reads a selector by Kubernetes' own rules. A requirement such as `In` without values would select nothing, and so
/// would silence a deny: it is a problem instead.
pub(crate) fn checked(selector: &LabelSelector, place: &str) -> Result<Selector, Problems> {
    let requirements = selector.match_expressions.iter().flatten().enumerate();
    let problems: Problems = requirements
        .filter_map(|(index, requirement)| {
            let (field, reason) = wrong(requirement)?;
            Some(Problem::new(format!("{place}.matchExpressions[{index}].{field}"), reason))
        })
        .collect();
    problems.or(())?;
    Selector::try_from(selector.clone()).map_err(|error| Problem::new(place, error.to_string()).into())
}

fn wrong(requirement: &LabelSelectorRequirement) -> Option<(&'static str, String)> {
    let has_values = requirement.values.as_ref().is_some_and(|values| !values.is_empty());
    match requirement.operator.as_str() {
        _ if requirement.key.is_empty() => Some(("key", "must be stated".to_owned())),
        "In" | "NotIn" if has_values => None,
        operator @ ("In" | "NotIn") => Some(("values", format!("must be stated for the operator {operator}"))),
        "Exists" | "DoesNotExist" if !has_values => None,
        operator @ ("Exists" | "DoesNotExist") => {
            Some(("values", format!("must not be stated for the operator {operator}")))
        }
        operator => Some((
            "operator",
            format!("\"{}\" is not an operator; known: In, NotIn, Exists, DoesNotExist", operator.escape_debug()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn conditions(document: Value) -> Vec<NamespaceCondition> {
        serde_json::from_value(document).unwrap()
    }

    fn selection(document: Value) -> Selection {
        Selection::by_conditions(&conditions(document)).unwrap()
    }

    fn holds(document: Value, labels: &[(&str, &str)]) -> Holds {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        selection(document).holds_in(Namespace { name: "app", labels: Some(&labels) })
    }

    fn unseen(document: Value) -> Holds {
        selection(document).holds_in(Namespace { name: "app", labels: None })
    }

    #[test]
    fn no_condition_admits_all_and_a_condition_that_states_nothing_admits_none() {
        assert_eq!(holds(json!([]), &[]), Holds::Yes);
        assert_eq!(holds(json!([{}]), &[]), Holds::No);
        assert_eq!(holds(json!([{"namespaces": []}]), &[]), Holds::No);
        assert_eq!(holds(json!([{"namespaceSelector": {}}]), &[]), Holds::Yes);
    }

    #[test]
    fn conditions_are_alternatives_and_the_parts_of_one_are_all_required() {
        let team = json!({"matchLabels": {"team": "a"}});
        let both = json!([{"namespaceSelector": team, "namespaces": ["app"]}]);
        assert_eq!(holds(both.clone(), &[("team", "a")]), Holds::Yes);
        assert_eq!(holds(both, &[("team", "b")]), Holds::No);
        assert_eq!(holds(json!([{"namespaceSelector": team, "namespaces": ["other"]}]), &[("team", "a")]), Holds::No);
        assert_eq!(
            holds(json!([{"namespaces": ["other"]}, {"namespaceSelector": team}]), &[("team", "a")]),
            Holds::Yes
        );
    }

    #[test]
    fn an_unseen_namespace_is_unknown_only_where_its_labels_matter() {
        let team = json!({"matchLabels": {"team": "a"}});
        assert_eq!(unseen(json!([{"namespaceSelector": team}])), Holds::Unknown);
        assert_eq!(unseen(json!([{"namespaceSelector": team, "namespaces": ["other"]}])), Holds::No);
        assert_eq!(unseen(json!([{"namespaceSelector": team}, {"namespaces": ["app"]}])), Holds::Yes);
        assert_eq!(unseen(json!([{"namespaces": ["app"]}, {"namespaceSelector": team}])), Holds::Yes);
        assert_eq!(unseen(json!([{"namespaces": ["other"]}, {"namespaceSelector": team}])), Holds::Unknown);
        assert_eq!(unseen(json!([{"namespaceSelector": {}}])), Holds::Yes);
    }

    #[test]
    fn operators_mean_what_they_mean_in_kubernetes() {
        let by = |operator: &str, values: Value| json!([{"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": operator, "values": values}]}}]);
        for (operator, values, with_a, without) in [
            ("In", json!(["a", "b"]), Holds::Yes, Holds::No),
            ("NotIn", json!(["a"]), Holds::No, Holds::Yes),
            ("Exists", json!(null), Holds::Yes, Holds::No),
            ("DoesNotExist", json!([]), Holds::No, Holds::Yes),
        ] {
            assert_eq!(holds(by(operator, values.clone()), &[("team", "a")]), with_a, "{operator}");
            assert_eq!(holds(by(operator, values), &[("other", "a")]), without, "{operator}");
        }
    }

    #[test]
    fn every_broken_requirement_is_named() {
        let document = json!([{"namespaceSelector": {"matchExpressions": [
            {"key": "a", "operator": "In"},
            {"key": "b", "operator": "Exists", "values": ["x"]},
            {"key": "c", "operator": "in", "values": ["x"]},
            {"operator": "Exists"},
        ]}}]);
        let problems = Selection::by_conditions(&conditions(document)).unwrap_err();
        let places: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
        let outer = "spec.conditions[0].namespaceSelector.matchExpressions";
        assert_eq!(
            places,
            [
                format!("{outer}[0].values"),
                format!("{outer}[1].values"),
                format!("{outer}[2].operator"),
                format!("{outer}[3].key"),
            ]
        );
    }
}
