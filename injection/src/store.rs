//! From a store's object to what the sidecar is told of it, and what it must mount to log in there.
//!
//! What the schema of the kind demands is checked again: objects from files never met the API server, and a schema that
//! was tightened does not reach the objects that exist already.

mod check;
mod identity;
mod vault;

use crate::catalog::{Catalog, Store, located};
use crate::settings::Settings;
use alcove_contract::configuration::StoreConfiguration;
use alcove_contract::name::{FileName, LabelName, SecretName, StoreName};
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::provider::kubernetes::KubernetesConfiguration;
use alcove_contract::{Problem, Problems};
use alcove_resources::policy::StoreKind;
use alcove_resources::store::{KubernetesProvider, SecretKeySelector};
use alcove_resources::{ClusterExternalStore, ExternalStore, Object};

pub use identity::{Audience, Identity};

/// What the sidecar is told of `store`; what it has to mount for it is added to `identity`.
///
/// One identity serves all stores of a Pod. Its paths depend on the order of the calls: make them in the order of names.
///
/// # Errors
///
/// Everything that is wrong with the store's object, each with its place in it.
pub fn configure(
    store: &Store<'_>,
    catalog: &Catalog,
    settings: &Settings,
    identity: &mut Identity,
) -> Result<StoreConfiguration, Problems> {
    let mut problems = check::audience(store, catalog, settings);
    let mut reader = Reader { store, settings, identity, problems: Problems::none() };
    let provider = reader.provider();
    problems.append(reader.problems);
    problems.extend(check::prefix(store));
    match provider {
        Some(provider) if problems.is_empty() => {
            Ok(StoreConfiguration { name: store.name.clone(), prefix: store.prefix.to_owned(), provider })
        }
        _ => Err(located(&problems.below("spec"), store.object)),
    }
}

/// What is wrong with a store that somebody is about to write: what any Pod that uses it would be refused for.
///
/// An object of another kind has nothing wrong with it.
#[must_use]
pub fn mistakes(object: &Object, catalog: &Catalog, settings: &Settings) -> Problems {
    let (kind, provider, audience, prefix) = match object {
        Object::ExternalStore(ExternalStore { spec, .. }) => {
            (StoreKind::ExternalStore, &spec.provider, &spec.audience, &spec.prefix)
        }
        Object::ClusterExternalStore(ClusterExternalStore { spec, .. }) => {
            (StoreKind::ClusterExternalStore, &spec.provider, &spec.audience, &spec.prefix)
        }
        _ => return Problems::none(),
    };
    let object = object.object_name();
    let name = match object.name.parse::<StoreName>() {
        Ok(name) => name,
        Err(problem) => return problem.below("metadata.name").into(),
    };
    let (audience, prefix) = (audience.as_deref(), prefix.as_deref().unwrap_or_default());
    let store = Store { kind, name: &name, object: &object, provider, audience, prefix };
    configure(&store, catalog, settings, &mut Identity::default()).err().unwrap_or_default()
}

/// What the author of a store should know: that Pods can log in to it by themselves, whatever policies say.
#[must_use]
pub fn caution(object: &Object, settings: &Settings) -> Option<String> {
    let Object::ClusterExternalStore(store) = object else { return None };
    let audience = store.spec.audience.as_deref().filter(|audience| settings.api_audiences.contains(*audience))?;
    Some(format!(
        "spec.audience: \"{audience}\" is an audience of the API server: the token that every Pod has can log in to this store \
         without Alcove, whatever policies say; choose one of its own"
    ))
}

/// Reads one store and gathers what is wrong with it.
struct Reader<'a> {
    store: &'a Store<'a>,
    settings: &'a Settings,
    identity: &'a mut Identity,
    problems: Problems,
}

impl Reader<'_> {
    fn provider(&mut self) -> Option<ProviderConfiguration> {
        match (&self.store.provider.vault, &self.store.provider.kubernetes) {
            (Some(vault), None) => self.vault(vault).map(ProviderConfiguration::Vault),
            (None, Some(kubernetes)) => self.kubernetes(kubernetes).map(ProviderConfiguration::Kubernetes),
            (Some(_), Some(_)) | (None, None) => {
                self.problems.push(Problem::new("provider", "must state exactly one of: vault, kubernetes"));
                None
            }
        }
    }

    fn kubernetes(&mut self, provider: &KubernetesProvider) -> Option<KubernetesConfiguration> {
        let namespace = provider.remote_namespace.parse::<LabelName>();
        let namespace =
            self.problems.collect(namespace.map_err(|problem| problem.below("provider.kubernetes.remoteNamespace")));
        let url = provider.server.as_ref().map_or(&self.settings.api_server, |server| &server.url);
        let server = self.problems.collect(check::https_address(url, "provider.kubernetes.server.url"));
        Some(KubernetesConfiguration {
            server: server?,
            ca_file: self.identity.cluster_authorities(),
            namespace: namespace?.to_string(),
            token_file: self.identity.token(Audience::ApiServer),
        })
    }

    /// The path of the token that the sidecar logs in with. A store without an audience is refused already.
    fn token(&mut self) -> String {
        let audience = self.store.audience.unwrap_or_default();
        self.identity.token(Audience::Store(audience.to_owned()))
    }

    /// The path of a credential.
    fn credential(&mut self, selector: &SecretKeySelector, place: &str) -> Option<String> {
        let below = |field: &str| format!("{place}.{field}");
        let secret = selector.name.parse::<SecretName>().map_err(|problem| problem.below(&below("name")));
        let key = selector.key.parse::<FileName>().map_err(|problem| problem.below(&below("key")));
        let (secret, key) = (self.problems.collect(secret), self.problems.collect(key));
        Some(self.identity.secret(&secret?, &key?))
    }
}

#[cfg(test)]
mod tests;
