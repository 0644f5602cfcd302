//! What in a Pod leads its own connections elsewhere, where a store's address has no TLS that would notice.
//!
//! The sidecar resolves names as every container of its Pod does. An author who points the name of a store at a server of
//! their own would be handed the login, which is good for whatever the store grants, and not only for what policy does.

use crate::inject::document::{at, items, text};
use crate::pod::Pod;
use alcove_contract::configuration::StoreConfiguration;
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::{Problem, Problems};
use serde_json::Value;
use std::net::IpAddr;

/// A store whose server is found by name, and then believed.
struct Believed<'a> {
    store: &'a StoreConfiguration,
    server: &'a str,
    /// The name, without the dot that may end it.
    host: &'a str,
}

/// Every field of the Pod that may say where a server without TLS is.
pub(super) fn problems(pod: &Pod, stores: &[StoreConfiguration]) -> Problems {
    stores.iter().filter_map(Believed::of).flat_map(|believed| believed.diverted(pod)).collect()
}

impl<'a> Believed<'a> {
    fn of(store: &'a StoreConfiguration) -> Option<Self> {
        let server = match &store.provider {
            ProviderConfiguration::Vault(vault) => vault.server.as_str(),
            ProviderConfiguration::Kubernetes(kubernetes) => kubernetes.server.as_str(),
        };
        let authority = strip_scheme(server)?;
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|letter| letter.is_ascii_digit()) => host,
            _ => authority,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        (!is_address).then_some(Self { store, server, host })
    }

    fn diverted(&self, pod: &Pod) -> Vec<Problem> {
        let spec = at(pod.document(), &["spec"]);
        let of_aliases = items(spec, "hostAliases").iter().enumerate().flat_map(|(alias, document)| {
            let names = items(document, "hostnames").iter().filter_map(Value::as_str).enumerate();
            let same = names.filter(|(_, name)| self.is_meant_by(name));
            same.map(move |(index, name)| (format!("spec.hostAliases[{alias}].hostnames[{index}]"), Some(name)))
        });
        let of_resolver = ["nameservers", "searches"].into_iter().filter_map(|field| {
            let is_stated = !items(at(spec, &["dnsConfig"]), field).is_empty();
            is_stated.then(|| (format!("spec.dnsConfig.{field}"), None))
        });
        let of_itself = own_names(pod).into_iter().filter(|(_, name)| self.is_meant_by(name));
        let of_itself = of_itself.map(|(place, name)| (place.to_owned(), Some(name)));
        of_aliases.chain(of_resolver).chain(of_itself).map(|(place, value)| self.problem(place, value)).collect()
    }

    /// Whether a name that the Pod gives an address to is this server's, alone or with its domain.
    fn is_meant_by(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let (begin, end) = (self.host.get(..name.len()), self.host.get(name.len()..));
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(name)) && end == Some("")
    }

    fn problem(&self, place: String, value: Option<&str>) -> Problem {
        let reason = format!(
            "may lead the login of store \"{}\" to another server: nothing on the way to {} would notice, as it has no TLS",
            self.store.name, self.server
        );
        let problem = Problem::new(place, reason)
            .with_remedy("take it away, or let the store's administrator give the store an https:// address");
        value.into_iter().fold(problem, Problem::with_value)
    }
}
