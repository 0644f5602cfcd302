//! Reserved audiences: in a namespace under enforcement, no Pod makes a token for a store by hand.
//!
//! The sidecar logs in with a token that has the store's audience, after policy was asked. A container that projects such a
//! token for itself would log in without anybody being asked.

use crate::catalog::Catalog;
use crate::decision::{Context, Findings, RefusalReason};
use crate::pod::{Pod, items, text};
use alcove_contract::Problem;
use alcove_resources::ObjectName;
use std::collections::HashMap;

/// The label that puts a namespace under enforcement, with the value `true`.
pub const ENFORCE: &str = "alcove.dev/enforce";

/// The audiences of tokens that clouds, and their own webhooks, project into any Pod: no store has them for itself unless
/// it says so.
const SHARED: [&str; 4] =
    ["sts.amazonaws.com", "pods.eks.amazonaws.com", "api://AzureADTokenExchange", "sts.aliyuncs.com"];

/// Whether a store that does not say so has this audience for itself.
pub(crate) fn is_exclusive_by_default(audience: &str) -> bool {
    !SHARED.contains(&audience)
}

/// Notes the tokens of a Pod that are made by hand for a store, where its namespace is under enforcement.
pub(crate) fn judge(pod: &Pod, context: &Context<'_>, findings: &mut Findings) {
    let problems: Vec<Problem> = reserved(pod, context, findings).into_iter().map(|token| token.problem()).collect();
    findings.refuse(RefusalReason::Policy, problems);
}

/// A token of a Pod with an audience that a store has for itself.
pub(crate) struct Reserved<'a> {
    /// The volume that holds it.
    pub(crate) volume: &'a str,
    place: String,
    audience: &'a str,
    store: &'a ObjectName,
}

impl Reserved<'_> {
    fn problem(&self) -> Problem {
        let reason = format!("is the audience of {}, and only Alcove's sidecar may have a token for it", self.store);
        Problem::new(self.place.as_str(), reason).with_value(self.audience).with_remedy(
            "leave the token away and let a binding deliver what the Pod needs; where Pods must log in by themselves, its \
             administrator can say exclusiveAudience: false in the store",
        )
    }

    /// Why an ephemeral container may not mount the volume.
    pub(crate) fn mounted(&self, place: String) -> Problem {
        let reason = format!("holds a token for {}, which only Alcove's sidecar may have", self.store);
        Problem::new(place, reason).with_value(self.volume).with_remedy("leave the mount away")
    }
}

/// The tokens of a Pod, as its author wrote it, that are reserved for a store; none where nothing is enforced.
pub(crate) fn reserved<'a>(pod: &'a Pod, context: &Context<'a>, findings: &mut Findings) -> Vec<Reserved<'a>> {
    let mut tokens = tokens(pod).peekable();
    if tokens.peek().is_none() || !is_enforced(pod.namespace(), context.catalog, findings) {
        return Vec::new();
    }
    let stores: HashMap<&str, &ObjectName> = context.catalog.reserved_audiences(pod.namespace()).collect();
    // Every Pod has a token for the API server, whose audience nobody has for itself.
    let tokens = tokens.filter(|token| !context.settings.api_audiences.contains(token.audience));
    let reserved = tokens.filter_map(|Token { volume, place, audience }| {
        Some(Reserved { volume, place, audience, store: stores.get(audience)? })
    });
    reserved.collect()
}

/// Whether the label stands at the namespace. One that has not been seen may have it.
fn is_enforced(namespace: &str, catalog: &Catalog, findings: &mut Findings) -> bool {
    let Some(labels) = catalog.namespace_labels(namespace) else {
        findings.absent = true;
        return false;
    };
    labels.get(ENFORCE).is_some_and(|value| value == "true")
}

/// A token that a Pod projects with an audience that it states.
struct Token<'a> {
    volume: &'a str,
    place: String,
    audience: &'a str,
}

fn tokens(pod: &Pod) -> impl Iterator<Item = Token<'_>> {
    pod.volumes().enumerate().flat_map(|(index, volume)| {
        let sources = items(volume.get("projected"), "sources").enumerate();
        sources.filter_map(move |(source, projection)| {
            let audience = text(projection.get("serviceAccountToken"), "audience")?;
            let place = format!("spec.volumes[{index}].projected.sources[{source}].serviceAccountToken.audience");
            Some(Token { volume: text(Some(volume), "name").unwrap_or_default(), place, audience })
        })
    })
}

#[cfg(test)]
mod tests;
