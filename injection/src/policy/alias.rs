//! Other names of what is asked for: whoever may write an ExternalStore can give the server of a ClusterExternalStore a second
//! name, which no deny speaks of.

use super::Request;
use crate::catalog::Catalog;
use crate::effort::{Effort, Exhausted};
use alcove_resources::policy::StoreKind;
use alcove_resources::store::{Provider, VaultProvider};

/// A key as it is called in a ClusterExternalStore.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alias<'a> {
    store: &'a str,
    key: String,
}

impl Alias<'_> {
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
        let key = cluster.content.as_ref().ok().and_then(|content| key_in(&content.provider, own, request.key));
        aliases.extend(key.map(|key| Alias { store: &cluster.object.name, key }));
    }
    Ok(aliases)
}

/// What a key of one store is called in another one, if it is there, too.
fn key_in(other: &Provider, own: &Provider, key: &str) -> Option<String> {
    match ((&other.vault, &other.kubernetes), (&own.vault, &own.kubernetes)) {
        ((Some(other), _), (Some(own), _)) => key_in_vault(other, own, key),
        // A namespaced store never says where its API server is, so the other one may always mean the same.
        ((_, Some(other)), (_, Some(own))) if other.remote_namespace == own.remote_namespace => Some(key.to_owned()),
        _ => None,
    }
}

/// A Vault namespace is the beginning of every path in it, however it is stated.
fn key_in_vault(other: &VaultProvider, own: &VaultProvider, key: &str) -> Option<String> {
    let server = |vault: &VaultProvider| vault.server.trim_end_matches('/').to_ascii_lowercase();
    if server(other) != server(own) {
        return None;
    }
    let whole = join(namespace_of(own), key);
    match namespace_of(other) {
        "" => Some(whole),
        namespace => Some(whole.strip_prefix(namespace)?.strip_prefix('/')?.to_owned()),
    }
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

    /// The names of a key of an ExternalStore beside one ClusterExternalStore.
    fn names(cluster: &Value, own: &Value, key: &str) -> Vec<String> {
        let mut catalog = Catalog::default();
        for (kind, name, provider) in [("ClusterExternalStore", "theirs", cluster), ("ExternalStore", "mine", own)] {
            let object = json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "t"},
                "spec": {"audience": "vault", "provider": provider}});
            catalog.apply(Object::from_value(&object).unwrap().unwrap());
        }
        let request = Request {
            namespace: "t",
            service_account: "web",
            secret: "db",
            store_kind: StoreKind::ExternalStore,
            store: "mine",
            key,
        };
        let aliases = aliases(&catalog, &request, &mut Effort::of(10)).unwrap();
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
    fn a_vault_namespace_is_a_part_of_the_key() {
        let of = |cluster: Option<&str>, own: Option<&str>, key: &str| {
            names(&vault("https://v", cluster), &vault("https://v", own), key)
        };
        assert_eq!(of(Some("team"), Some("team/"), "kv/app"), ["theirs:kv/app"]);
        assert_eq!(of(None, Some("team"), "kv/app"), ["theirs:team/kv/app"]);
        assert_eq!(of(Some("team"), None, "team/kv/app"), ["theirs:kv/app"]);
        assert_eq!(of(Some("team"), Some("teams"), "kv/app"), [""; 0]);
    }

    #[test]
    fn secrets_of_one_namespace_are_the_same_in_every_store() {
        assert_eq!(names(&kubernetes("a"), &kubernetes("a"), "db"), ["theirs:db"]);
        assert_eq!(names(&kubernetes("a"), &kubernetes("b"), "db"), [""; 0]);
        assert_eq!(names(&kubernetes("a"), &vault("https://v", None), "db"), [""; 0]);
    }
}
