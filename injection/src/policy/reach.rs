//! How far a policy reaches now: what its status says of it.

use super::Policy;
use crate::catalog::{Catalog, Entry, Holds, Namespace};
use crate::effort::{Effort, Exhausted};
use alcove_contract::Problems;
use alcove_resources::policy::PolicyMode;
use alcove_resources::{Kind, Object};

/// The most steps that counting the ServiceAccounts of one policy takes, about a twentieth of a second.
const MOST_STEPS: usize = 5_000_000;

/// How far a policy reaches now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// What cannot be read of it; whom it concerns is refused meanwhile, if it is enforced.
    pub problems: Problems,
    /// Whether it is enforced.
    pub mode: PolicyMode,
    /// How many ServiceAccounts it selects, where that can be told and is not too much to count.
    pub service_accounts: Option<usize>,
}

impl Reach {
    /// That of a policy, as it was read from the API server; nothing for an object of another kind. Where the catalog could
    /// not keep it, that is what is said of it: the catalog is what Pods are judged by.
    #[must_use]
    pub fn of(policy: &Object, catalog: &Catalog) -> Option<Self> {
        let name = policy.object_name();
        let (entry, mode) = match policy {
            Object::SecretPolicy(policy) => (Entry::of_policy(name, policy), policy.spec.mode),
            Object::ClusterSecretPolicy(policy) => (Entry::of_cluster_policy(name, policy), policy.spec.mode),
            _ => return None,
        };
        let mode = mode.unwrap_or_default();
        let kept = catalog.policy(&entry.object.namespace, &entry.object.name);
        Some(match kept.unwrap_or(&entry).content.as_ref().and(entry.content.as_ref()) {
            Ok(policy) => {
                let service_accounts = count(&entry, policy, catalog).ok().flatten();
                Self { problems: policy.problems.clone(), mode, service_accounts }
            }
            Err(problems) => Self { problems: problems.clone(), mode, service_accounts: None },
        })
    }
}

/// Nothing where the labels of an account on which it depends are not known.
fn count(entry: &Entry<Policy>, policy: &Policy, catalog: &Catalog) -> Result<Option<usize>, Exhausted> {
    let mut effort = Effort::of(MOST_STEPS);
    if entry.object.kind == Kind::SecretPolicy {
        return count_in(catalog.namespace(&entry.object.namespace), policy, catalog, &mut effort);
    }
    let mut count = Some(0_usize);
    for namespace in catalog.namespaces() {
        effort.spend(1)?;
        if entry.selection.holds_in(namespace) == Holds::Yes {
            let here = count_in(namespace, policy, catalog, &mut effort)?;
            count = count.zip(here).map(|(count, here)| count.saturating_add(here));
        }
    }
    Ok(count)
}

fn count_in(
    namespace: Namespace<'_>,
    policy: &Policy,
    catalog: &Catalog,
    effort: &mut Effort,
) -> Result<Option<usize>, Exhausted> {
    let mut count = 0_usize;
    for account in catalog.accounts(namespace.name) {
        effort.spend(1)?;
        match policy.concerns(account, effort)? {
            Holds::Yes => count = count.saturating_add(1),
            Holds::No => {}
            Holds::Unknown => return Ok(None),
        }
    }
    Ok(Some(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ServiceAccount;
    use alcove_contract::Problem;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for (namespace, team) in [("app", "a"), ("shop", "b")] {
            catalog.apply_namespace(namespace, BTreeMap::from([("team".to_owned(), team.to_owned())]));
            for account in ["default", "web", "web-2"] {
                let labels = BTreeMap::from([("tier".to_owned(), account.replace("web-2", "web"))]);
                let known = ServiceAccount { labels: Some(labels), ..ServiceAccount::default() };
                catalog.apply_service_account(namespace, account, known);
            }
        }
        catalog
    }

    fn reach(kind: &str, spec: Value) -> Reach {
        let mut object =
            json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": {"name": "p", "namespace": "app"}});
        object["spec"] = spec;
        Reach::of(&Object::from_value(&object).unwrap().unwrap(), &catalog()).unwrap()
    }

    #[test]
    fn a_policy_counts_the_accounts_of_its_namespace_and_one_of_the_cluster_those_of_all_it_selects() {
        let accounts = |kind: &str, spec: Value| reach(kind, spec).service_accounts;
        assert_eq!(accounts("SecretPolicy", json!({"serviceAccounts": ["web*"]})), Some(2));
        assert_eq!(accounts("SecretPolicy", json!({"serviceAccounts": ["nobody"]})), Some(0));
        assert_eq!(accounts("ClusterSecretPolicy", json!({"serviceAccounts": ["web"]})), Some(2));
        let selecting = json!({"serviceAccounts": ["*"], "namespaceSelector": {"matchLabels": {"team": "b"}}});
        assert_eq!(accounts("ClusterSecretPolicy", selecting), Some(3));
        let by_labels = json!({"serviceAccountSelector": {"matchLabels": {"tier": "web"}}});
        assert_eq!(accounts("SecretPolicy", by_labels.clone()), Some(2));
        assert_eq!(accounts("ClusterSecretPolicy", by_labels), Some(4));
    }

    #[test]
    fn accounts_whose_labels_are_not_kept_cannot_be_counted_by_them() {
        let mut catalog = catalog();
        catalog.apply_service_account("shop", "crowded", ServiceAccount::default());
        let spec = json!({"serviceAccountSelector": {"matchLabels": {"tier": "web"}}});
        let reach = |kind: &str| {
            let metadata = json!({"name": "p", "namespace": "app"});
            let object = json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
            Reach::of(&Object::from_value(&object).unwrap().unwrap(), &catalog).unwrap().service_accounts
        };
        assert_eq!((reach("SecretPolicy"), reach("ClusterSecretPolicy")), (Some(2), None));
    }

    #[test]
    fn a_policy_that_could_not_be_kept_is_one_that_refuses() {
        let allow = json!([{"store": {"kind": "ExternalStore", "name": "s"}, "keys": ["**"]}]);
        let spec = json!({"serviceAccounts": ["web"], "allow": allow});
        let object = json!({"apiVersion": "alcove.dev/v1alpha1", "kind": "SecretPolicy", "metadata": {"name": "p", "namespace": "app"}, "spec": spec});
        let policy = Object::from_value(&object).unwrap().unwrap();
        let mut catalog = catalog();
        catalog.apply_unreadable(policy.object_name(), &Value::Null, Problem::new("", "is left out"));
        let reach = Reach::of(&policy, &catalog).unwrap();
        assert_eq!((reach.problems, reach.service_accounts), (Problem::new("", "is left out").into(), None));
        catalog.apply(policy.clone());
        assert_eq!(Reach::of(&policy, &catalog).unwrap().problems, Problems::none());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let wrong = json!({"serviceAccounts": ["web"], "deny": [{"store": {"kind": "ExternalStore", "name": "s"}, "keys": [""]}]});
        let reach_of_wrong = reach("SecretPolicy", wrong);
        assert_eq!(reach_of_wrong.problems.to_string(), "spec.deny[0].keys[0]: is empty");
        assert_eq!(reach_of_wrong.service_accounts, Some(1));
        let selector = json!({"serviceAccounts": ["*"], "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}});
        let unselective = reach("ClusterSecretPolicy", selector);
        assert!(!unselective.problems.is_empty() && unselective.service_accounts.is_none());
        let right = json!({"serviceAccounts": ["web"], "allow": [{"store": {"kind": "ExternalStore", "name": "s"}, "keys": ["**"]}]});
        assert_eq!(reach("SecretPolicy", right).problems, Problems::none());
    }
}
