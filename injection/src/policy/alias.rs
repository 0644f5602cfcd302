//! Other names of what is asked for: whoever may write an ExternalStore can give the server of a ClusterExternalStore a second
//! name, which no deny speaks of.

use super::Request;
use crate::catalog::Catalog;
use crate::effort::{Effort, Exhausted};
use alcove_contract::provider::KeySpace;
use alcove_resources::policy::StoreKind;
use alcove_resources::store::{Provider, VaultProvider};
use std::collections::BTreeSet;

/// A key as it may be called in a ClusterExternalStore.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alias<'a> {
    store: &'a str,
    key: String,
    /// What the keys of that store look like.
    pub(super) space: Option<KeySpace>,
}

impl Alias<'_> {
    /// Whether two names are of one store.
    pub(super) fn is_of_same_store(&self, other: &Self) -> bool {
        self.store == other.store
    }

    /// The same request under this name.
    pub(super) fn of<'a>(&'a self, request: &Request<'a>) -> Request<'a> {
        Request { store_kind: StoreKind::ClusterExternalStore, store: self.store, key: &self.key, ..*request }
    }
}

/// Under which names of ClusterExternalStores that lead to the same server a key of an ExternalStore is known, whether or not
/// they admit the namespace. Other keys have one name only.
pub(super) fn aliases<'a>(
    catalog: &'a Catalog,
    request: &Request<'_>,
    effort: &mut Effort,
) -> Result<Vec<Alias<'a>>, Exhausted> {
    let mut aliases = Vec::new();
    let own = match request.store_kind {
        StoreKind::ExternalStore => catalog.provider_of_own_store(request.namespace, request.store),
        StoreKind::ClusterExternalStore => None,
    };
    let Some(own) = own else { return Ok(aliases) };
    for cluster in catalog.cluster_stores() {
        effort.spend(1)?;
        let keys = match &cluster.content {
            Ok(content) => keys_in(&content.provider, own, request.key),
            // It may be the same server.
            Err(_unreadable) => [request.key.to_owned()].into(),
        };
        let store = cluster.object.name.as_str();
        let space = catalog.key_space(StoreKind::ClusterExternalStore, "", store);
        aliases.extend(keys.into_iter().map(|key| Alias { store, key, space }));
    }
    Ok(aliases)
}

/// What a key of one store may be called in another one, if it may be there, too.
fn keys_in(other: &Provider, own: &Provider, key: &str) -> BTreeSet<String> {
    match ((&other.vault, &other.kubernetes), (&own.vault, &own.kubernetes)) {
        ((Some(other), _), (Some(own), _)) => keys_in_vault(other, own, key),
        // A namespaced store never says where its API server is, so the other one may always mean the same.
        ((_, Some(other)), (_, Some(own))) if other.remote_namespace == own.remote_namespace => [key.to_owned()].into(),
        _ => BTreeSet::new(),
    }
}

/// A Vault namespace is the beginning of every path in it where a server has namespaces, and is ignored where it has none: the
/// community edition answers in any namespace. Which of the two it is, nobody knows here, so both count.
fn keys_in_vault(other: &VaultProvider, own: &VaultProvider, key: &str) -> BTreeSet<String> {
    let server = |vault: &VaultProvider| vault.server.trim_end_matches('/').to_ascii_lowercase();
    if server(other) != server(own) {
        return BTreeSet::new();
    }
    let whole = join(namespace_of(own), key);
    let below = |namespace: &str| Some(whole.strip_prefix(namespace)?.strip_prefix('/')?.to_owned());
    let in_namespace = match namespace_of(other) {
        "" => Some(whole.clone()),
        namespace => below(namespace),
    };
    in_namespace.into_iter().chain([key.to_owned()]).collect()
}

fn namespace_of(vault: &VaultProvider) -> &str {
    vault.namespace.as_deref().unwrap_or_default().trim_matches('/')
}

fn join(namespace: &str, key: &str) -> String {
    if namespace.is_empty() { key.to_owned() } else { format!("{namespace}/{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcove_resources::Object;
    use serde_json::{Value, json};

    fn vault(server: &str, namespace: Option<&str>) -> Value {
        json!({"vault": {"server": server, "namespace": namespace, "auth": {"kubernetes": {"role": "r"}}}})
    }

    fn kubernetes(namespace: &str) -> Value {
        json!({"kubernetes": {"remoteNamespace": namespace}})
    }

    fn object(kind: &str, name: &str, provider: &Value, conditions: &Value) -> Object {
        let mut object = json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "t"},
            "spec": {"audience": "vault", "provider": provider}});
        if kind == "ClusterExternalStore" {
            object["spec"]["conditions"] = conditions.clone();
        }
        Object::from_value(&object).unwrap().unwrap()
    }

    /// The names of a key of an ExternalStore beside one ClusterExternalStore.
    fn names(cluster: &Value, own: &Value, key: &str) -> Vec<String> {
        let mut catalog = Catalog::default();
        catalog.apply(object("ClusterExternalStore", "theirs", cluster, &json!([])));
        catalog.apply(object("ExternalStore", "mine", own, &json!([])));
        names_in(&catalog, key)
    }

    fn names_in(catalog: &Catalog, key: &str) -> Vec<String> {
        let request = Request {
            namespace: "t",
            service_account: "web",
            secret: "db",
            store_kind: StoreKind::ExternalStore,
            store: "mine",
            key,
        };
        let aliases = aliases(catalog, &request, &mut Effort::of(10)).unwrap();
        aliases.into_iter().map(|alias| format!("{}:{}", alias.store, alias.key)).collect()
    }

    #[test]
    fn a_key_has_the_names_of_every_store_of_the_cluster_with_the_same_server() {
        let of = |cluster: (&str, Option<&str>), own: (&str, Option<&str>)| {
            names(&vault(cluster.0, cluster.1), &vault(own.0, own.1), "kv/app")
        };
        assert_eq!(of(("https://v:8200", None), ("https://v:8200/", None)), ["theirs:kv/app"]);
        assert_eq!(of(("https://V:8200", None), ("https://v:8200", None)), ["theirs:kv/app"]);
        assert_eq!(of(("https://v:8200", None), ("https://w:8200", None)), [""; 0]);
    }

    #[test]
    fn a_store_that_cannot_be_read_may_have_the_same_server() {
        let mut catalog = Catalog::default();
        let own = object("ExternalStore", "mine", &kubernetes("a"), &json!([]));
        // A condition that is wrong makes the whole store unreadable.
        let wrong = json!([{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]);
        let theirs = object("ClusterExternalStore", "theirs", &kubernetes("b"), &wrong);
        catalog.apply(own);
        catalog.apply(theirs);
        assert_eq!(names_in(&catalog, "db"), ["theirs:db"]);
    }

    #[test]
    fn a_vault_namespace_is_a_part_of_the_key_and_is_none_where_the_server_has_no_namespaces() {
        let of = |cluster: Option<&str>, own: Option<&str>, key: &str| {
            names(&vault("https://v", cluster), &vault("https://v", own), key)
        };
        assert_eq!(of(Some("team"), Some("team/"), "kv/app"), ["theirs:kv/app"]);
        assert_eq!(of(None, Some("team"), "kv/app"), ["theirs:kv/app", "theirs:team/kv/app"]);
        assert_eq!(of(Some("team"), None, "team/kv/app"), ["theirs:kv/app", "theirs:team/kv/app"]);
        assert_eq!(of(Some("team"), Some("teams"), "kv/app"), ["theirs:kv/app"]);
        assert_eq!(of(Some("team"), None, "kv/app"), ["theirs:kv/app"]);
    }

    #[test]
    fn secrets_of_one_namespace_are_the_same_in_every_store() {
        assert_eq!(names(&kubernetes("a"), &kubernetes("a"), "db"), ["theirs:db"]);
        assert_eq!(names(&kubernetes("a"), &kubernetes("b"), "db"), [""; 0]);
        assert_eq!(names(&kubernetes("a"), &vault("https://v", None), "db"), [""; 0]);
    }
}
