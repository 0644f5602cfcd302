//! What the bound Secrets of a Pod ask for: which keys of which stores, and whether policy grants them.

pub(crate) mod running;
mod trial;

use crate::bindings::{BoundSecret, BoundSecrets};
use crate::catalog::Store;
use crate::decision::{Context, Findings, RefusalReason};
use crate::effort::Effort;
use crate::mountable;
use crate::places::Mention;
use crate::pod::Pod;
use crate::policy::conditions;
use crate::policy::{self, Grantor, Judgement, Refused, Request};
use crate::store::{self, Identity};
use alcove_contract::binding::Entry;
use alcove_contract::configuration::{DataConfiguration, SecretConfiguration, StoreConfiguration};
use alcove_contract::name::{FileName, SecretName, StoreName};
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::reference::Reference;
use alcove_contract::{Problem, Problems};
use alcove_resources::policy::StoreKind;
use std::collections::{BTreeMap, BTreeSet};

/// The most keys of one Secret name of which a refusal says that they may not be mounted.
const MOST_TOLD: usize = 10;
/// The most of all Secret names together.
const MOST_TOLD_OF_POD: usize = 100;

/// One key of one store under one Secret name, which a Pod may mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The Secret name.
    pub secret: SecretName,
    /// The kind of the store.
    pub store_kind: StoreKind,
    /// The name of the store.
    pub store: StoreName,
    /// The canonical key, without options.
    pub key: String,
    /// What grants it.
    pub by: Grantor,
}

/// One key of one store under one Secret name, which a Pod may not mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The Secret name.
    pub secret: SecretName,
    /// The kind of the store.
    pub store_kind: StoreKind,
    /// The name of the store.
    pub store: StoreName,
    /// The canonical key, without options.
    pub key: String,
    /// What the policies say to it.
    pub judgement: Judgement,
}

impl Grant {
    fn request<'a>(&'a self, pod: &'a Pod) -> Request<'a> {
        let Self { secret, store_kind, store, key, by: _ } = self;
        request(pod, secret, *store_kind, store, key)
    }
}

impl Denied {
    fn request<'a>(&'a self, pod: &'a Pod) -> Request<'a> {
        let Self { secret, store_kind, store, key, judgement: _ } = self;
        request(pod, secret, *store_kind, store, key)
    }
}

fn request<'a>(
    pod: &'a Pod,
    secret: &'a SecretName,
    store_kind: StoreKind,
    store: &'a StoreName,
    key: &'a str,
) -> Request<'a> {
    let (namespace, service_account) = (pod.namespace(), pod.service_account());
    Request { namespace, service_account, secret: secret.as_str(), store_kind, store: store.as_str(), key }
}

/// What the bound Secrets of one Pod ask for.
#[derive(Debug)]
pub(crate) struct Requests {
    pub stores: Vec<StoreConfiguration>,
    pub secrets: Vec<SecretConfiguration>,
    /// What the sidecar logs in with.
    pub identity: Identity,
    pub grants: Vec<Grant>,
}

impl Requests {
    /// Looks up every store, checks every key and asks policy about each.
    pub(crate) fn of(
        pod: &Pod,
        mentions: &[Mention<'_>],
        bound: &BoundSecrets<'_>,
        context: &Context<'_>,
        findings: &mut Findings,
    ) -> Self {
        let mut identity = Identity::default();
        let stores = Stores::of(bound, pod.namespace(), context, &mut identity, findings);
        let mut requests = Self { stores: stores.configurations(), secrets: Vec::new(), identity, grants: Vec::new() };
        let mut places: BTreeMap<&str, &Mention<'_>> = BTreeMap::new();
        for mention in mentions {
            places.entry(mention.secret).or_insert(mention);
        }
        let mut effort = Effort::of(context.most_steps);
        if !bound.is_empty() {
            conditions::judge(pod, context, &mut effort, findings);
        }
        for (name, secret) in bound.iter() {
            requests.secrets.push(configuration(name, secret));
            findings.refuse(RefusalReason::Malformed, stores.without_property(secret));
            let inquiry = Inquiry { pod, place: places.get(name.as_str()).copied(), name, context };
            requests.grants.extend(inquiry.ask_all(stores.keys_of(secret, findings), &mut effort, findings));
        }
        trial::try_out(pod, &places, &requests.grants, context, findings);
        mountable::judge(pod, context, findings, |_| true);
        mountable::judge_credentials(pod, &requests.identity, context, findings);
        requests
    }
}

/// The smallest policy that allows everything that no policy speaks of.
pub(crate) fn remedy(denied: &[Denied], pod: &Pod, context: &Context<'_>) -> Option<String> {
    let requests: Vec<Request<'_>> = denied
        .iter()
        .filter(|denied| denied.judgement == Judgement::Unmatched)
        .map(|denied| denied.request(pod))
        .collect();
    if requests.is_empty() {
        return None;
    }
    policy::smallest_policy(context.catalog, &requests).ok()
}

/// The stores that a Pod's bindings name, as far as they can be used.
struct Stores<'a>(BTreeMap<&'a StoreName, (Store<'a>, StoreConfiguration)>);

impl<'a> Stores<'a> {
    fn of(
        bound: &'a BoundSecrets<'a>,
        namespace: &str,
        context: &Context<'a>,
        identity: &mut Identity,
        findings: &mut Findings,
    ) -> Self {
        let mut named: BTreeMap<&StoreName, &str> = BTreeMap::new();
        for (_, secret) in bound.iter() {
            for reference in secret.binding.references() {
                named.entry(&reference.store).or_insert(&secret.place);
            }
        }
        let mut stores = BTreeMap::new();
        for (name, place) in named {
            match context.catalog.store(name, namespace) {
                Ok(store) => match store::configure(&store, context.catalog, context.settings, identity) {
                    Ok(configuration) => {
                        stores.insert(name, (store, configuration));
                    }
                    Err(problems) => findings.refuse(RefusalReason::Unresolved, problems),
                },
                Err(wrong) => {
                    findings.absent |= wrong.may_be_late();
                    findings.refuse(RefusalReason::Unresolved, wrong.problems(name, namespace).below(place));
                }
            }
        }
        Self(stores)
    }

    fn configurations(&self) -> Vec<StoreConfiguration> {
        self.0.values().map(|(_, configuration)| configuration.clone()).collect()
    }

    /// The keys that a Secret needs, each once and in canonical form, as far as their stores can be used.
    fn keys_of(&self, secret: &BoundSecret<'_>, findings: &mut Findings) -> BTreeSet<(StoreOf<'a>, String)> {
        let mut keys = BTreeSet::new();
        for reference in secret.binding.references() {
            let Some((store, configuration)) = self.0.get(&reference.store) else { continue };
            match configuration.canonical_key(&reference.key) {
                Ok(key) => {
                    keys.insert((StoreOf { kind: store.kind, name: store.name }, key.path));
                }
                Err(problem) => findings.refuse(RefusalReason::Malformed, placed(problem, reference, &secret.place)),
            }
        }
        keys
    }

    /// The entries that ask a store for one value where it holds several.
    fn without_property(&self, secret: &BoundSecret<'_>) -> Problems {
        let entries = secret.binding.data.iter().filter(|(_, entry)| {
            let store = self.0.get(&entry.reference.store);
            entry.reference.property.is_none() && store.is_some_and(|(_, store)| holds_properties(&store.provider))
        });
        entries.map(|(file, entry)| names_no_property(file, &entry.reference, &secret.place)).collect()
    }
}

/// Whether what a store has under one key is a set of values, each with a name of its own.
const fn holds_properties(provider: &ProviderConfiguration) -> bool {
    match provider {
        ProviderConfiguration::Vault(_) | ProviderConfiguration::Kubernetes(_) => true,
    }
}

fn names_no_property(file: &FileName, reference: &Reference, place: &str) -> Problem {
    let completed = Reference { property: file.as_str().parse().ok(), ..reference.clone() };
    Problem::new(format!("{place}.data[{file}]"), "names no property, and this store holds several under each key")
        .with_value(reference.to_string())
        .with_remedy(format!("name one, as in \"{completed}\", or list the reference under dataFrom for all of them"))
}

/// A store as policies name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct StoreOf<'a> {
    kind: StoreKind,
    name: &'a StoreName,
}

fn placed(problem: Problem, reference: &Reference, place: &str) -> Problems {
    let problem = if problem.value.is_none() { problem.with_value(reference.to_string()) } else { problem };
    problem.below(place).into()
}

/// A question to policy about one Secret name of one Pod.
struct Inquiry<'a> {
    pod: &'a Pod,
    /// One place of the name in the Pod is enough: what mends it for one mends it for all.
    place: Option<&'a Mention<'a>>,
    name: &'a SecretName,
    context: &'a Context<'a>,
}

impl Inquiry<'_> {
    /// Asks policy about every key, as long as there are steps left.
    fn ask_all(
        &self,
        keys: BTreeSet<(StoreOf<'_>, String)>,
        effort: &mut Effort,
        findings: &mut Findings,
    ) -> Vec<Grant> {
        let (mut grants, mut denied) = (Vec::new(), Vec::new());
        for (store, key) in keys {
            let (secret, store_kind, store) = (self.name.clone(), store.kind, store.name.clone());
            let request = request(self.pod, &secret, store_kind, &store, &key);
            let judgement = policy::judge(self.context.catalog, self.context.settings, &request, effort);
            findings.absent |= judgement.may_be_late();
            match judgement {
                Judgement::Granted { by } => grants.push(Grant { secret, store_kind, store, key, by }),
                judgement => {
                    let is_last = matches!(judgement, Judgement::Exhausted { .. });
                    denied.push(Denied { secret, store_kind, store, key, judgement });
                    if is_last {
                        break;
                    }
                }
            }
        }
        self.refuse(denied, findings);
        grants
    }

    /// Tells what was refused of the first keys, and counts the rest.
    fn refuse(&self, denied: Vec<Denied>, findings: &mut Findings) {
        let told = MOST_TOLD.min(MOST_TOLD_OF_POD.saturating_sub(findings.denied.len()));
        for denied in denied.iter().take(told) {
            findings.refuse(RefusalReason::Policy, self.problems(denied));
        }
        let untold = denied.len().saturating_sub(told);
        if let Some(place) = self.place.filter(|_| untold > 0) {
            let more = if told > 0 { " more" } else { "" };
            let reason = format!("must not be mounted for {untold}{more} of its keys");
            findings.refuse(RefusalReason::Policy, [Problem::new(place.path(), reason).with_value(place.secret)]);
        }
        findings.denied.extend(denied);
    }

    fn problems(&self, denied: &Denied) -> Problems {
        let request = denied.request(self.pod);
        let refused = self.place.map(|mention| Refused { pod: self.pod, mention, request: &request });
        refused.map(|refused| refused.problems(&denied.judgement)).unwrap_or_default()
    }
}

fn configuration(name: &SecretName, secret: &BoundSecret<'_>) -> SecretConfiguration {
    let binding = secret.binding;
    let data = |entry: &Entry| DataConfiguration {
        reference: entry.reference.clone(),
        mode: entry.mode,
        encoding: entry.encoding,
    };
    SecretConfiguration {
        name: name.clone(),
        secret_type: binding.secret_type.clone(),
        data: binding.data.iter().map(|(key, entry)| (key.clone(), data(entry))).collect(),
        data_from: binding.data_from.clone(),
        refresh_interval: binding.refresh_interval,
        optional: binding.optional,
        immutable: binding.immutable,
    }
}
