//! What a store may say, given who says it.

use crate::catalog::{Catalog, Entry, Store, StoreContent};
use crate::settings::Settings;
use alcove_contract::{Problem, Problems};
use alcove_resources::policy::StoreKind;
use alcove_resources::store::Provider;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Checks a store's audience: the token that the sidecar sends there must be good nowhere else.
pub(super) fn audience(store: &Store<'_>, catalog: &Catalog, settings: &Settings) -> Problems {
    let is_kubernetes = store.provider.kubernetes.is_some();
    match store.audience {
        Some(_) if is_kubernetes => {
            Problem::new("audience", "must not be stated: the API server decides the audience of a kubernetes store")
                .into()
        }
        None if is_kubernetes => tenants_server(store),
        None | Some("") => Problem::new(
            "audience",
            "is missing: the token that the sidecar sends to the store must be good nowhere else",
        )
        .with_remedy("state an audience that this store's server alone accepts")
        .into(),
        Some(audience) if store.kind == StoreKind::ExternalStore => {
            tenants_audience(store, audience, catalog, settings)
        }
        Some(_) => Problems::none(),
    }
}

/// A tenant may not say where the API server is: it would be handed a token that the API server accepts.
fn tenants_server(store: &Store<'_>) -> Problems {
    let states_server = store.provider.kubernetes.as_ref().is_some_and(|kubernetes| kubernetes.server.is_some());
    if store.kind == StoreKind::ExternalStore && states_server {
        let reason = "must not be stated: a namespaced store may not say where the API server is";
        return Problem::new("provider.kubernetes.server", reason).with_remedy("use a ClusterExternalStore").into();
    }
    Problems::none()
}

/// A tenant's server may not be handed a token that the API server or an administrator's store accepts.
fn tenants_audience(store: &Store<'_>, audience: &str, catalog: &Catalog, settings: &Settings) -> Problems {
    let refused = |whose: &str| {
        Problem::new("audience", format!("is an audience of {whose}, and the token must be good nowhere else"))
            .with_value(audience)
            .with_remedy("choose an audience that this store's server alone accepts")
    };
    if settings.api_audiences.contains(audience) {
        return refused("the API server").into();
    }
    catalog
        .cluster_stores()
        .find_map(|cluster| conflict(cluster, store, audience, refused))
        .map(Into::into)
        .unwrap_or_default()
}

/// Why an administrator's store forbids a tenant's audience, if it does. One that cannot be read may have any audience.
fn conflict(
    cluster: &Entry<StoreContent>,
    store: &Store<'_>,
    audience: &str,
    refused: impl Fn(&str) -> Problem,
) -> Option<Problem> {
    let object = &cluster.object;
    let Ok(content) = &cluster.content else {
        let reason = format!("cannot be told from that of {object}, which cannot be read");
        let problem = Problem::new("audience", reason).with_value(audience);
        return Some(problem.with_remedy(format!("{object} must be mended or deleted first, by its administrator")));
    };
    let is_elsewhere = content.audience.as_deref() == Some(audience)
        && Address::of(&content.provider).is_none_or(|address| Some(address) != Address::of(store.provider));
    is_elsewhere.then(|| refused(&format!("{object}, which has another address, caBundle or serverName")))
}

/// What decides which server is spoken to: whoever may name the authorities or the certificate's name chooses it, too.
#[derive(PartialEq)]
struct Address<'a> {
    server: &'a str,
    /// Without white space, which base64 may be folded with.
    authorities: Option<String>,
    server_name: Option<&'a str>,
}

impl<'a> Address<'a> {
    fn of(provider: &'a Provider) -> Option<Self> {
        let vault = provider.vault.as_ref()?;
        Some(Self {
            server: vault.server.trim_end_matches('/'),
            authorities: vault.ca_bundle.as_deref().map(unfolded),
            server_name: vault.server_name.as_deref(),
        })
    }
}

/// Checks that a prefix ends where a name ends: another one would begin the name of something else.
pub(super) fn prefix(store: &Store<'_>) -> Option<Problem> {
    let prefix = store.prefix;
    if prefix.is_empty() {
        return None;
    }
    let wrong =
        |reason: &str, remedy: &str| Some(Problem::new("prefix", reason).with_value(prefix).with_remedy(remedy));
    let segments: Vec<&str> = prefix.trim_end_matches('/').split('/').collect();
    let is_vault = store.provider.vault.is_some();
    if is_vault && !prefix.ends_with('/') {
        return wrong(
            "must end with a slash: it would be the beginning of other names, too",
            "write it as in kv/team-a/",
        );
    }
    if is_vault && (prefix.ends_with("//") || segments.iter().any(|segment| matches!(*segment, "" | "." | ".."))) {
        return wrong("has a segment that is no name in Vault", "write it as in kv/team-a/");
    }
    if !is_vault && prefix.contains('/') {
        return wrong("has a slash, and no name of a Secret has one", "write it as in team-a-");
    }
    None
}

/// Checks the address of a server, which may be reached without TLS, and takes its trailing slash away.
pub(super) fn address_of_server(url: &str, place: &str) -> Result<String, Problem> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    checked(host, url).ok_or_else(|| {
        Problem::new(place, "is not the address of a server")
            .with_value(url)
            .with_remedy("write it as in https://vault.example.com:8200, without user, path or query")
    })
}

/// Checks the address of an API server and takes its trailing slash away.
pub(super) fn https_address(url: &str, place: &str) -> Result<String, Problem> {
    checked(url.strip_prefix("https://"), url).ok_or_else(|| {
        Problem::new(place, "is not the address of an API server")
            .with_value(url)
            .with_remedy("write it as in https://kubernetes.default.svc, without user, path or query")
    })
}

fn checked(host: Option<&str>, url: &str) -> Option<String> {
    let host = host?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_wrong =
        |letter: char| matches!(letter, '/' | '?' | '#' | '@' | '\\') || letter.is_whitespace() || letter.is_control();
    let fits = !host.is_empty() && !host.contains(is_wrong);
    fits.then(|| url.strip_suffix('/').unwrap_or(url).to_owned())
}

/// Reads a `caBundle`: PEM, base64-encoded as everywhere in Kubernetes.
pub(super) fn authorities(bundle: &str, place: &str) -> Result<String, Problem> {
    let refused = |reason: &str| {
        Problem::new(place, reason).with_remedy("write what `base64 -w0 ca.crt` prints for a file of PEM certificates")
    };
    let decoded = STANDARD.decode(unfolded(bundle)).map_err(|error| refused(&format!("is not base64: {error}")))?;
    let pem = String::from_utf8(decoded).map_err(|error| refused(&format!("is not PEM: {error}")))?;
    if pem.contains("-----BEGIN CERTIFICATE-----") { Ok(pem) } else { Err(refused("holds no PEM certificate")) }
}

fn unfolded(bundle: &str) -> String {
    bundle.split_ascii_whitespace().collect()
}
