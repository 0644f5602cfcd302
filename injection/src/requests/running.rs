//! What the sidecar of a running Pod asks for, judged by what is known today.
//!
//! Its own configuration counts, and not what today's bindings would make of the Pod: those values it delivers.

use super::{Inquiry, StoreOf};
use crate::decision::{Context, Findings, RefusalReason};
use crate::effort::Effort;
use crate::mountable;
use crate::places::{Mention, mentions};
use crate::pod::Pod;
use crate::policy::conditions;
use alcove_contract::configuration::{SecretConfiguration, SidecarConfiguration, StoreConfiguration};
use alcove_contract::layout;
use alcove_contract::name::StoreName;
use alcove_contract::reference::Reference;
use alcove_resources::policy::StoreKind;
use std::collections::{BTreeMap, BTreeSet};

/// Asks policy about every key that the sidecar of `pod` reads; `pod` is as it was before Alcove changed it.
pub(crate) fn judge(pod: &Pod, configuration: &SidecarConfiguration, context: &Context<'_>, findings: &mut Findings) {
    let mentions = mentions(pod);
    let mut places: BTreeMap<&str, &Mention<'_>> = BTreeMap::new();
    for mention in &mentions {
        places.entry(mention.secret).or_insert(mention);
    }
    let stores = Stores::of(configuration, pod.namespace(), context, findings);
    let mut effort = Effort::of(context.most_steps);
    conditions::judge_running(pod, context, &mut effort, findings);
    let mut grants = Vec::new();
    for secret in &configuration.secrets {
        let inquiry = Inquiry { pod, place: places.get(secret.name.as_str()).copied(), name: &secret.name, context };
        grants.extend(inquiry.ask_all(stores.keys_of(secret, findings), &mut effort, findings));
    }
    super::trial::try_out(pod, &places, &grants, context, findings);
    mountable::judge(pod, context, findings, |_| true);
}

/// The stores that a sidecar logs in to, as far as its namespace may use them today.
struct Stores<'a>(BTreeMap<&'a StoreName, (StoreKind, &'a StoreConfiguration)>);

impl<'a> Stores<'a> {
    fn of(
        configuration: &'a SidecarConfiguration,
        namespace: &str,
        context: &Context<'_>,
        findings: &mut Findings,
    ) -> Self {
        let mut stores = BTreeMap::new();
        for store in &configuration.stores {
            match context.catalog.store(&store.name, namespace) {
                Ok(known) => _ = stores.insert(&store.name, (known.kind, store)),
                Err(wrong) => {
                    findings.absent |= wrong.may_be_late();
                    findings
                        .refuse(RefusalReason::Unresolved, wrong.problems(&store.name, namespace).below(&sidecar()));
                }
            }
        }
        Self(stores)
    }

    /// The keys that a Secret needs, each once.
    fn keys_of(&self, secret: &SecretConfiguration, findings: &mut Findings) -> BTreeSet<(StoreOf<'a>, String)> {
        let mut keys = BTreeSet::new();
        for reference in references(secret) {
            let Some((name, (kind, store))) = self.0.get_key_value(&reference.store) else { continue };
            match store.canonical_key(&reference.key) {
                Ok(key) => _ = keys.insert((StoreOf { kind: *kind, name }, key.path)),
                Err(problem) => findings.refuse(RefusalReason::Malformed, [problem.below(&sidecar())]),
            }
        }
        keys
    }
}

fn references(secret: &SecretConfiguration) -> impl Iterator<Item = &Reference> {
    secret.data.values().map(|entry| &entry.reference).chain(&secret.data_from)
}

/// Where the configuration stands.
fn sidecar() -> String {
    format!("spec.initContainers[{}]", layout::CONTAINER)
}
