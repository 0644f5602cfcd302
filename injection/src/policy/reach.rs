//! How far a policy reaches now: what its status says of it.

use super::Policy;
use crate::catalog::{Catalog, Entry, Holds, Namespace};
use crate::effort::{Effort, Exhausted};
use alcove_contract::Problems;
use alcove_resources::{Kind, Object};

/// The most steps that counting the ServiceAccounts of one policy takes, about a twentieth of a second.
const MOST_STEPS: usize = 5_000_000;

/// How far a policy reaches now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// What cannot be read of it; whom it concerns is refused meanwhile.
    pub problems: Problems,
    /// How many ServiceAccounts it selects, where that can be told and is not too much to count.
    pub service_accounts: Option<usize>,
}

impl Reach {
    /// That of a policy, as it was read from the API server; nothing for an object of another kind. Where the catalog could
    /// not keep it, that is what is said of it: the catalog is what Pods are judged by.
    #[must_use]
    pub fn of(policy: &Object, catalog: &Catalog) -> Option<Self> {
        let name = policy.object_name();
        let entry = match policy {
            Object::SecretPolicy(policy) => Entry::of_policy(name, policy),
            Object::ClusterSecretPolicy(policy) => Entry::of_cluster_policy(name, policy),
            _ => return None,
        };
        let kept = catalog.policy(&entry.object.namespace, &entry.object.name);
        Some(match kept.unwrap_or(&entry).content.as_ref().and(entry.content.as_ref()) {
            Ok(policy) => {
                let service_accounts = count(&entry, policy, catalog).ok();
                Self { problems: policy.problems.clone(), service_accounts }
            }
            Err(problems) => Self { problems: problems.clone(), service_accounts: None },
        })
    }
}

fn count(entry: &Entry<Policy>, policy: &Policy, catalog: &Catalog) -> Result<usize, Exhausted> {
    let mut effort = Effort::of(MOST_STEPS);
    if entry.object.kind == Kind::SecretPolicy {
        return count_in(catalog.namespace(&entry.object.namespace), policy, catalog, &mut effort);
    }
    let mut count = 0_usize;
    for namespace in catalog.namespaces() {
        effort.spend(1)?;
        if entry.selection.holds_in(namespace) == Holds::Yes {
            count = count.saturating_add(count_in(namespace, policy, catalog, &mut effort)?);
        }
    }
    Ok(count)
}

fn count_in(
    namespace: Namespace<'_>,
    policy: &Policy,
    catalog: &Catalog,
    effort: &mut Effort,
) -> Result<usize, Exhausted> {
    let mut count = 0_usize;
    for account in catalog.service_account_names(namespace.name) {
        effort.spend(1)?;
        if policy.concerns(account, effort)? {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
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
                catalog.apply_service_account(namespace, account, ServiceAccount::default());
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
