use super::*;
use crate::settings::KubernetesVersion;
use alcove_contract::provider::vault::{ClientCertificate, EngineVersion, VaultConfiguration, VaultLogin};
use alcove_resources::{Kind, ObjectName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": "app"}, "spec": spec})
}

fn vault(auth: Value) -> Value {
    let mut spec = json!({"audience": "vault", "provider": {"vault": {"server": "https://vault:8200/"}}});
    spec["provider"]["vault"]["auth"] = auth;
    spec
}

fn by_kubernetes() -> Value {
    json!({"kubernetes": {"role": "web"}})
}

fn settings() -> Settings {
    Settings {
        api_server: "https://10.96.0.1:443".to_owned(),
        ..Settings::new("registry/alcove-sidecar", KubernetesVersion::new(1, 37))
    }
}

/// Configures the store `s` of `objects`.
fn configured_in(objects: &[Value], identity: &mut Identity) -> Result<StoreConfiguration, Problems> {
    let (catalog, name) = (Catalog::of(objects.iter().cloned()), "s".parse()?);
    let store = catalog.store(&name, "app").map_err(|wrong| wrong.problems(&name, "app"))?;
    configure(&store, &catalog, &settings(), identity)
}

fn configured(kind: &str, spec: &Value) -> Result<(ProviderConfiguration, Identity), Problems> {
    let mut identity = Identity::default();
    configured_in(&[object(kind, "s", spec)], &mut identity).map(|store| (store.provider, identity))
}

fn login(auth: Value) -> (VaultLogin, Identity) {
    let mut spec = vault(auth);
    let reference = |key: &str| json!({"name": "vault-client", "key": key});
    spec["provider"]["vault"]["tls"] =
        json!({"certSecretRef": reference("tls.crt"), "keySecretRef": reference("tls.key")});
    let (provider, identity) = configured("ExternalStore", &spec).unwrap();
    let ProviderConfiguration::Vault(vault) = provider else { panic!("not Vault") };
    (vault.login, identity)
}

fn problems(kind: &str, spec: &Value) -> Vec<String> {
    configured(kind, spec).unwrap_err().iter().map(ToString::to_string).collect()
}

fn tokens(identity: &Identity) -> Vec<(Audience, String)> {
    identity.tokens().map(|(audience, path)| (audience.clone(), path.to_owned())).collect()
}

fn secrets(identity: &Identity) -> Vec<(String, String, String)> {
    identity.secrets().map(|(secret, key, path)| (secret.to_string(), key.to_string(), path.to_owned())).collect()
}

#[test]
fn everything_that_a_vault_store_says_reaches_the_sidecar_and_ca_bundles_arrive_as_pem() {
    let mut spec = vault(by_kubernetes());
    let reference = |key: &str| json!({"name": "vault-client", "key": key});
    spec["provider"]["vault"].as_object_mut().unwrap().extend(
        json!({
            "namespace": "team/a", "version": "v2", "serverName": "vault.internal",
            "caBundle": format!(" {}\n", STANDARD.encode(PEM)),
            "tls": {"certSecretRef": reference("tls.crt"), "keySecretRef": reference("tls.key")},
        })
        .as_object()
        .unwrap()
        .clone(),
    );
    let (provider, identity) = configured("ClusterExternalStore", &spec).unwrap();
    let expected = VaultConfiguration {
        server: "https://vault:8200".into(),
        namespace: Some("team/a".into()),
        version: Some(EngineVersion::V2),
        ca_bundle: Some(PEM.into()),
        server_name: Some("vault.internal".into()),
        client_certificate: Some(ClientCertificate {
            certificate_file: "/alcove/identity/secrets/vault-client/tls.crt".into(),
            key_file: "/alcove/identity/secrets/vault-client/tls.key".into(),
        }),
        login: VaultLogin::Kubernetes {
            mount: "kubernetes".into(),
            role: "web".into(),
            token_file: "/alcove/identity/tokens/0".into(),
        },
    };
    assert_eq!(provider, ProviderConfiguration::Vault(expected));
    assert_eq!(tokens(&identity), [(Audience::Store("vault".into()), "tokens/0".into())]);
    let path = |key: &str| ("vault-client".to_owned(), key.to_owned(), format!("secrets/vault-client/{key}"));
    assert_eq!(secrets(&identity), [path("tls.crt"), path("tls.key")]);
    assert_eq!(identity.config_maps().count(), 0);
}

#[test]
fn every_way_to_log_in_mounts_what_it_needs_and_a_token_only_where_it_is_sent() {
    let reference = json!({"name": "creds", "key": "word"});
    let file = || "/alcove/identity/secrets/creds/word".to_owned();
    let token = || "/alcove/identity/tokens/0".to_owned();
    let cases = [
        (
            json!({"jwt": {"path": "jwt-prod", "role": "web"}}),
            VaultLogin::Jwt { mount: "jwt-prod".into(), role: Some("web".into()), token_file: token() },
            true,
        ),
        (
            json!({"appRole": {"roleId": "r", "secretRef": reference}}),
            VaultLogin::AppRole { mount: "approle".into(), role_id: "r".into(), secret_id_file: file() },
            false,
        ),
        (
            json!({"userPass": {"username": "u", "secretRef": reference}}),
            VaultLogin::UserPass { mount: "userpass".into(), username: "u".into(), password_file: file() },
            false,
        ),
        (json!({"cert": {"name": "web"}}), VaultLogin::Cert { mount: "cert".into(), name: Some("web".into()) }, false),
        (json!({"tokenSecretRef": reference}), VaultLogin::Token { token_file: file() }, false),
    ];
    for (auth, expected, sends_token) in cases {
        let (way, identity) = login(auth);
        assert_eq!(way, expected);
        assert_eq!(identity.tokens().count() > 0, sends_token, "{way:?}");
        let names_secret = secrets(&identity).iter().any(|(_, _, path)| path == "secrets/creds/word");
        assert_eq!(names_secret, format!("{way:?}").contains("/secrets/creds/word"), "{way:?}");
    }
}

#[test]
fn a_kubernetes_store_uses_the_api_servers_own_token_and_the_authorities_of_the_cluster() {
    let spec = json!({"provider": {"kubernetes": {"remoteNamespace": "shared"}}});
    let (provider, identity) = configured("ExternalStore", &spec).unwrap();
    let expected = KubernetesConfiguration {
        server: "https://10.96.0.1:443".into(),
        ca_file: "/alcove/identity/cluster/ca.crt".into(),
        namespace: "shared".into(),
        token_file: "/alcove/identity/tokens/0".into(),
    };
    assert_eq!(provider, ProviderConfiguration::Kubernetes(expected));
    assert_eq!(tokens(&identity), [(Audience::ApiServer, "tokens/0".into())]);
    assert_eq!(identity.config_maps().collect::<Vec<_>>(), [("kube-root-ca.crt", "ca.crt", "cluster/ca.crt")]);
}

#[test]
fn stores_with_one_audience_share_one_token_and_others_do_not() {
    let mut identity = Identity::default();
    assert!(identity.is_empty());
    for audience in ["a", "b", "a"] {
        let mut spec = vault(by_kubernetes());
        spec["audience"] = json!(audience);
        configured_in(&[object("ExternalStore", "s", &spec)], &mut identity).unwrap();
    }
    let spec = json!({"provider": {"kubernetes": {"remoteNamespace": "shared"}}});
    configured_in(&[object("ExternalStore", "s", &spec)], &mut identity).unwrap();
    let paths: Vec<_> = identity.tokens().map(|(_, path)| path).collect();
    assert_eq!(paths, ["tokens/2", "tokens/0", "tokens/1"], "the API server's, a's, b's");
    assert!(!identity.is_empty());
}

#[test]
fn an_administrator_may_say_where_the_api_server_is_and_a_tenant_may_not() {
    let spec =
        json!({"provider": {"kubernetes": {"remoteNamespace": "shared", "server": {"url": "https://other:6443/"}}}});
    let (ProviderConfiguration::Kubernetes(kubernetes), _) = configured("ClusterExternalStore", &spec).unwrap() else {
        panic!("not Kubernetes")
    };
    assert_eq!(kubernetes.server, "https://other:6443");
    assert_eq!(
        problems("ExternalStore", &spec),
        [
            "ExternalStore app/s: spec.provider.kubernetes.server: must not be stated: a namespaced store may not say where the \
          API server is; use a ClusterExternalStore"
        ]
    );
}

#[test]
fn a_tenants_server_is_never_handed_a_token_that_is_good_elsewhere() {
    let mut spec = vault(by_kubernetes());
    spec["audience"] = json!("https://kubernetes.default.svc.cluster.local");
    assert_eq!(
        problems("ExternalStore", &spec),
        [
            "ExternalStore app/s: spec.audience: \"https://kubernetes.default.svc.cluster.local\" is an audience of the API \
          server, and the token must be good nowhere else; choose an audience that this store's server alone accepts"
        ]
    );

    let theirs = object("ClusterExternalStore", "prod", &vault(by_kubernetes()));
    let mut spec = vault(by_kubernetes());
    let own =
        |spec: &Value| configured_in(&[theirs.clone(), object("ExternalStore", "s", spec)], &mut Identity::default());
    spec["provider"]["vault"]["server"] = json!("https://vault:8200");
    assert!(own(&spec).is_ok(), "the same server, which holds such tokens already");
    spec["provider"]["vault"]["server"] = json!("https://evil:8200");
    let problem = own(&spec).unwrap_err().to_string();
    assert!(problem.contains("is an audience of ClusterExternalStore prod, which has another address"), "{problem}");
    spec["audience"] = json!("evil");
    assert!(own(&spec).is_ok());
}

#[test]
fn a_tenants_audience_is_an_administrators_only_where_server_authorities_and_name_are_the_same() {
    let variants = |field: &str| match field {
        "server" => vec![json!("https://vault:8200"), json!("https://evil:8200"), json!("http://vault:8200")],
        "caBundle" => vec![Value::Null, json!(STANDARD.encode(PEM)), json!(STANDARD.encode(PEM.replace("MA", "MB")))],
        _ => vec![Value::Null, json!("vault.internal"), json!("evil.internal")],
    };
    let fields = ["server", "caBundle", "serverName"];
    let mut addresses = vec![vault(by_kubernetes())];
    for field in fields {
        let with = |spec: &Value| {
            let changed = |value: Value| {
                let mut spec = spec.clone();
                spec["provider"]["vault"][field] = value;
                spec
            };
            variants(field).into_iter().map(changed).collect::<Vec<_>>()
        };
        addresses = addresses.iter().flat_map(with).collect();
    }
    assert_eq!(addresses.len(), 27);
    for theirs in &addresses {
        for own in &addresses {
            let objects = [object("ClusterExternalStore", "prod", theirs), object("ExternalStore", "s", own)];
            let result = configured_in(&objects, &mut Identity::default());
            assert_eq!(result.is_ok(), theirs == own, "{theirs} and {own}");
        }
    }
    let folded = |spec: &Value| {
        let mut spec = spec.clone();
        spec["provider"]["vault"]["caBundle"] = json!(format!("{}\n ", STANDARD.encode(PEM)));
        spec["provider"]["vault"]["server"] = json!("https://vault:8200/");
        spec
    };
    let mut plain = vault(by_kubernetes());
    plain["provider"]["vault"]["server"] = json!("https://vault:8200");
    plain["provider"]["vault"]["caBundle"] = json!(STANDARD.encode(PEM));
    let objects = [object("ClusterExternalStore", "prod", &folded(&plain)), object("ExternalStore", "s", &plain)];
    assert!(configured_in(&objects, &mut Identity::default()).is_ok(), "the same, folded as base64 may be");
}

#[test]
fn no_tenants_audience_is_accepted_while_an_administrators_store_cannot_be_read() {
    let configured_beside = |kind: &str, broken: &[&str], spec: &Value| {
        let mut catalog = Catalog::of([object(kind, "s", spec)]);
        for name in broken {
            let name = ObjectName { kind: Kind::ClusterExternalStore, namespace: String::new(), name: (*name).into() };
            catalog.apply_unreadable(name, &Value::Null, Problem::new("spec.provider", "does not fit its kind"));
        }
        let name = "s".parse().unwrap();
        let store = catalog.store(&name, "app").unwrap();
        configure(&store, &catalog, &settings(), &mut Identity::default())
    };
    let spec = vault(by_kubernetes());
    assert!(configured_beside("ExternalStore", &[], &spec).is_ok());
    assert_eq!(
        configured_beside("ExternalStore", &["old", "prod"], &spec).unwrap_err().to_string(),
        "ExternalStore app/s: spec.audience: \"vault\" cannot be told from that of ClusterExternalStore old, which cannot be \
         read; ClusterExternalStore old must be mended or deleted first, by its administrator"
    );
    assert!(configured_beside("ClusterExternalStore", &["prod"], &spec).is_ok(), "an administrator's own word");
    let kubernetes = json!({"provider": {"kubernetes": {"remoteNamespace": "shared"}}});
    assert!(configured_beside("ExternalStore", &["prod"], &kubernetes).is_ok(), "it has no audience");

    let mut selects_nothing = spec.clone();
    selects_nothing["audience"] = json!("other");
    selects_nothing["conditions"] =
        json!([{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}]);
    let objects = [object("ClusterExternalStore", "prod", &selects_nothing), object("ExternalStore", "s", &spec)];
    let problem = configured_in(&objects, &mut Identity::default()).unwrap_err().to_string();
    assert!(problem.contains("that of ClusterExternalStore prod, which cannot be read"), "{problem}");
}

#[test]
fn what_the_schema_demands_is_demanded_of_objects_from_files_too() {
    let place = |kind: &str, spec: Value| -> Vec<String> {
        configured(kind, &spec)
            .unwrap_err()
            .into_iter()
            .map(|problem| problem.place.replace(&format!("{kind} app/s: spec."), ""))
            .collect()
    };
    let mut no_audience = vault(by_kubernetes());
    no_audience.as_object_mut().unwrap().remove("audience");
    assert_eq!(place("ExternalStore", no_audience), ["audience"]);
    assert_eq!(
        place("ExternalStore", json!({"audience": "x", "provider": {"kubernetes": {"remoteNamespace": "a/b"}}})),
        ["audience", "provider.kubernetes.remoteNamespace"]
    );
    let mut both = vault(by_kubernetes());
    both["provider"]["kubernetes"] = json!({"remoteNamespace": "a"});
    assert!(place("ExternalStore", both).contains(&"provider".to_owned()));
    assert_eq!(place("ExternalStore", json!({"audience": "x", "provider": {}})), ["provider"]);
    assert_eq!(place("ExternalStore", vault(json!({}))), ["provider.vault.auth"]);
    assert_eq!(
        place("ExternalStore", vault(json!({"cert": {}, "jwt": {}}))),
        ["provider.vault.tls", "provider.vault.auth"]
    );
    assert_eq!(place("ExternalStore", vault(json!({"cert": {}}))), ["provider.vault.tls"]);
    let selector = json!({"name": "Creds", "key": "../token"});
    let outer = "provider.vault.auth.tokenSecretRef";
    assert_eq!(
        place("ExternalStore", vault(json!({"tokenSecretRef": selector}))),
        [format!("{outer}.name"), format!("{outer}.key")]
    );
}

#[test]
fn an_address_is_a_scheme_and_a_host_and_nothing_else() {
    for fine in ["https://vault", "http://127.0.0.1:8200", "https://[::1]:8200/"] {
        assert_eq!(check::address_of_server(fine, "p").as_deref(), Ok(fine.trim_end_matches('/')), "{fine}");
    }
    for wrong in [
        "",
        "vault:8200",
        "ftp://vault",
        "https://",
        "https:///",
        "https://u@v",
        "https://v/x",
        "https://v?x",
        "https://v//",
        "https://v#",
        "https://v w",
    ] {
        assert!(check::address_of_server(wrong, "p").is_err(), "{wrong}");
    }
    assert!(check::https_address("http://kubernetes", "p").is_err(), "an API server is never reached without TLS");
}

#[test]
fn a_ca_bundle_is_base64_of_pem_and_pem_itself_is_refused_with_the_way_to_write_it() {
    for wrong in [
        PEM.to_owned(),
        "!".to_owned(),
        STANDARD.encode("no certificate"),
        STANDARD.encode([0xff, 0xfe]),
        String::new(),
    ] {
        let problem = check::authorities(&wrong, "provider.vault.caBundle").unwrap_err();
        assert_eq!(problem.place, "provider.vault.caBundle");
        assert!(problem.remedy.unwrap().contains("base64 -w0"), "{wrong}");
    }
}
