//! The smallest policy that would let a refused Pod in.

use super::Request;
use crate::catalog::Catalog;
use crate::pattern;
use alcove_contract::Problem;
use alcove_resources::policy::StoreKind;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The most patterns of one rule, and the most rules of one policy, that the kind's schema admits.
const MOST: usize = 64;

/// The smallest SecretPolicy that allows `requests`, as YAML that can be applied: exactly these keys under exactly these
/// Secret names, and a name that no policy of the namespace has yet. Several, if one cannot hold them all.
///
/// A key that no pattern matches alone is left out, and a comment says so: what is copied from a refusal must not grant
/// more than was refused. All requests are of the same namespace and ServiceAccount. A deny cannot be lifted by it: leave
/// denied requests away.
///
/// # Errors
///
/// A request whose text YAML cannot carry.
pub fn smallest_policy(catalog: &Catalog, requests: &[Request<'_>]) -> Result<String, Problem> {
    let Some(first) = requests.first() else { return Ok(String::new()) };
    let (exact, inexact): (Vec<_>, Vec<_>) = requests.iter().partition(|request| obstacle(request.key).is_none());
    let rules = rules(&exact);
    let names = (1_usize..).map(|number| match number {
        1 => first.service_account.to_owned(),
        _ => format!("{}-{number}", first.service_account),
    });
    let free = names.filter(|name| catalog.policy(first.namespace, name).is_none());
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
    let documents = documents.collect::<Result<Vec<_>, _>>()?.join("---\n");
    Ok(left_out(&inexact) + &documents)
}

/// Why no pattern matches `key` and nothing else, if that is so.
fn obstacle(key: &str) -> Option<&'static str> {
    if key.contains('*') {
        Some("in a pattern \"*\" would stand for other keys, too")
    } else if key.chars().count() > pattern::LONGEST {
        Some("it is longer than a pattern may be")
    } else if key.trim() != key {
        Some("a pattern may not begin or end with white space")
    } else {
        None
    }
}

/// A comment for each key that is left out.
fn left_out(requests: &[&Request<'_>]) -> String {
    let keys: BTreeSet<_> = requests.iter().map(|request| (request.store_kind, request.store, request.key)).collect();
    let line = |(kind, store, key): (StoreKind, &str, &str)| {
        let why = obstacle(key).unwrap_or_default();
        format!("# Left out: key \"{}\" of {kind} \"{store}\", because {why}.\n", key.escape_debug())
    };
    keys.into_iter().map(line).collect()
}

/// Rules that allow these requests and nothing else: Secret names of one store share a rule if they need the same keys.
fn rules<'a>(requests: &[&Request<'a>]) -> Vec<AllowRule<'a>> {
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
    let keys: Vec<&str> = keys.iter().copied().collect();
    let rules = keys.chunks(MOST).flat_map(|keys| {
        secrets.chunks(MOST).map(|secrets| AllowRule { store, keys: keys.to_vec(), secrets: secrets.to_vec() })
    });
    rules.collect()
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
    keys: Vec<&'a str>,
    secrets: Vec<&'a str>,
}

#[derive(Clone, Copy, Serialize)]
struct Store<'a> {
    kind: StoreKind,
    name: &'a str,
}
