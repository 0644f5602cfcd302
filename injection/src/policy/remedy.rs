//! The smallest policy that would let a refused Pod in.

use super::Request;
use crate::catalog::Catalog;
use alcove_contract::Problem;
use alcove_resources::policy::StoreKind;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The most patterns of one rule, and the most rules of one policy, that the kind's schema admits.
const MOST: usize = 64;
/// The longest pattern of keys that the kind's schema admits, in characters.
const LONGEST_KEY: usize = 1024;

/// The smallest SecretPolicy that allows `requests`, as YAML that can be applied: exactly these keys under exactly these
/// Secret names, and a name that no policy of the namespace has yet. Several, if one cannot hold them all.
///
/// All requests are of the same namespace and ServiceAccount. A deny cannot be lifted by it: leave denied requests away.
///
/// # Errors
///
/// A request whose text YAML cannot carry.
pub fn smallest_policy(catalog: &Catalog, requests: &[Request<'_>]) -> Result<String, Problem> {
    let Some(first) = requests.first() else { return Ok(String::new()) };
    let rules = rules(requests);
    let names = (1_usize..).map(|number| match number {
        1 => first.service_account.to_owned(),
        _ => format!("{}-{number}", first.service_account),
    });
    let free = names.filter(|name| !catalog.has_policy(first.namespace, name));
    let documents = rules.chunks(MOST).zip(free).map(|(allow, name)| {
        let manifest = Manifest {
            api_version: "alcove.dev/v1alpha1",
            kind: "SecretPolicy",
            metadata: Metadata { name: &name, namespace: first.namespace },
            spec: Spec { service_accounts: [first.service_account], allow },
        };
        // A key stands on one line, however long, so that people can compare it.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_string_with_options(&manifest, options)
            .map_err(|error| Problem::new("", format!("cannot be written: {error}")))
    });
    Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
}

/// Rules that allow these requests and nothing else: Secret names of one store share a rule if they need the same keys.
fn rules<'a>(requests: &[Request<'a>]) -> Vec<AllowRule<'a>> {
    let mut keys_of: BTreeMap<(StoreKind, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for request in requests {
        keys_of.entry((request.store_kind, request.store, request.secret)).or_default().insert(request.key);
    }
    let mut secrets_of: BTreeMap<(StoreKind, &str, BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
    for ((kind, store, secret), keys) in keys_of {
        secrets_of.entry((kind, store, keys)).or_default().push(secret);
    }
    secrets_of
        .into_iter()
        .flat_map(|((kind, name, keys), secrets)| chunked(Store { kind, name }, &keys, &secrets))
        .collect()
}

fn chunked<'a>(store: Store<'a>, keys: &BTreeSet<&'a str>, secrets: &[&'a str]) -> Vec<AllowRule<'a>> {
    let keys: Vec<String> = keys.iter().map(|key| pattern(key)).collect();
    let rules = keys.chunks(MOST).flat_map(|keys| {
        secrets.chunks(MOST).map(|secrets| AllowRule { store, keys: keys.to_vec(), secrets: secrets.to_vec() })
    });
    rules.collect()
}

/// The narrowest pattern that matches a key: its own text, unless that is longer than a pattern may be.
fn pattern(key: &str) -> String {
    if key.len() <= LONGEST_KEY {
        return key.to_owned();
    }
    let fits = |(index, letter): &(usize, char)| index + letter.len_utf8() <= LONGEST_KEY - 2;
    let beginning: String = key.char_indices().take_while(fits).map(|(_, letter)| letter).collect();
    format!("{beginning}**")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    service_accounts: [&'a str; 1],
    allow: &'a [AllowRule<'a>],
}

#[derive(Serialize)]
struct AllowRule<'a> {
    store: Store<'a>,
    keys: Vec<String>,
    secrets: Vec<&'a str>,
}

#[derive(Clone, Copy, Serialize)]
struct Store<'a> {
    kind: StoreKind,
    name: &'a str,
}
