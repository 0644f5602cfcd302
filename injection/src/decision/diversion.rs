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

/// The kubelet cuts a longer name of a Pod.
const LONGEST_HOSTNAME: usize = 63;

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
        let authority = server.strip_prefix("http://")?;
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
        let of_itself = self.own_name(pod).into_iter().map(|(place, name)| (place.to_owned(), Some(name)));
        of_aliases.chain(of_resolver).chain(of_itself).map(|(place, value)| self.problem(place, value)).collect()
    }

    /// The field that gives the Pod the server's name: the kubelet writes the Pod's own address beside it.
    fn own_name<'b>(&self, pod: &'b Pod) -> Option<(&'static str, &'b str)> {
        let (metadata, spec) = (at(pod.document(), &["metadata"]), at(pod.document(), &["spec"]));
        let fields = [("spec.hostnameOverride", spec), ("spec.hostname", spec), ("metadata.name", metadata)];
        let mut names = fields.into_iter().map(|(place, parent)| (place, text(parent, last_of(place))));
        let (place, name) = names.find(|(_, name)| !name.is_empty())?;
        let name = name.get(..LONGEST_HOSTNAME).unwrap_or(name);
        let domain = format!("{name}.{}.{}.svc.", text(spec, "subdomain"), pod.namespace()).to_ascii_lowercase();
        let is_own = self.is_meant_by(name) || self.host.to_ascii_lowercase().starts_with(&domain);
        is_own.then_some((place, name))
    }

    /// Whether this is the server's name, which has no upper and lower case.
    fn is_meant_by(&self, name: &str) -> bool {
        name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(self.host)
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

fn last_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcove_contract::provider::vault::{VaultConfiguration, VaultLogin};
    use proptest::prelude::*;
    use serde_json::json;

    fn store(server: &str) -> StoreConfiguration {
        let login = VaultLogin::Token { token_file: "/t".to_owned() };
        let (namespace, version, ca_bundle) = (None, None, None);
        let (server, server_name, client_certificate) = (server.to_owned(), None, None);
        let vault =
            VaultConfiguration { server, namespace, version, ca_bundle, server_name, client_certificate, login };
        StoreConfiguration {
            prefix: String::new(),
            name: "vault".parse().unwrap(),
            provider: ProviderConfiguration::Vault(vault),
        }
    }

    /// The places that are refused.
    fn refused(server: &str, spec: &Value) -> Vec<String> {
        let pod = Pod::new(json!({"metadata": {"name": "web"}, "spec": spec}), "app").unwrap();
        problems(&pod, &[store(server)]).iter().map(|problem| problem.place.clone()).collect()
    }

    const SERVER: &str = "http://vault.vault.svc:8200";

    #[test]
    fn whatever_gives_the_servers_name_another_address_is_refused() {
        let aliases = |name: &str| json!({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["other", name]}]});
        let place = "spec.hostAliases[0].hostnames[1]";
        assert_eq!(refused(SERVER, &aliases("vault.vault.svc")), [place]);
        assert_eq!(refused(SERVER, &aliases("Vault.VAULT.svc.")), [place]);
        assert_eq!(refused("http://vault.vault.svc.", &aliases("vault.vault.svc")), [place]);
        assert_eq!(
            refused(SERVER, &json!({"dnsConfig": {"nameservers": ["10.0.0.1"]}})),
            ["spec.dnsConfig.nameservers"]
        );
        assert_eq!(refused(SERVER, &json!({"dnsConfig": {"searches": ["evil.example"]}})), ["spec.dnsConfig.searches"]);
        assert_eq!(refused("http://vault", &json!({"hostname": "vault"})), ["spec.hostname"]);
        let overridden = json!({"hostname": "other", "hostnameOverride": "vault.vault.svc"});
        assert_eq!(refused(SERVER, &overridden), ["spec.hostnameOverride"]);
        assert_eq!(refused("http://web:8200", &json!({})), ["metadata.name"]);
        let domain = json!({"hostname": "vault", "subdomain": "vaults"});
        assert_eq!(refused("http://vault.vaults.app.svc.cluster.local", &domain), ["spec.hostname"]);
    }

    #[test]
    fn what_leads_no_connection_elsewhere_is_left_alone() {
        let diverting = json!({
            "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["vault.vault.svc", "10.0.0.7"]}],
            "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["evil.example"]},
        });
        for checked in ["https://vault.vault.svc:8200", "http://10.0.0.7:8200", "http://[fd00::1]:8200"] {
            assert_eq!(refused(checked, &diverting), [""; 0], "{checked}");
        }
        for harmless in [
            json!({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["vault.vault", "vault.vault.svc.cluster.local"]}]}),
            json!({"hostAliases": null, "dnsConfig": {"options": [{"name": "ndots", "value": "1"}], "searches": []}}),
            json!({"hostname": "vault", "subdomain": "vault", "dnsPolicy": "Default"}),
        ] {
            assert_eq!(refused(SERVER, &harmless), [""; 0], "{harmless}");
        }
    }

    proptest! {
        #[test]
        fn no_pod_and_no_server_make_it_panic(server in "http://\\PC{0,80}", name in "\\PC{0,80}") {
            refused(&server, &json!({"hostAliases": [{"hostnames": [name, 1]}, 2], "hostname": name, "dnsConfig": []}));
        }
    }
}
