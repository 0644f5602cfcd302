//! What a refused Pod is told.

use super::{Judgement, Request};
use crate::effort::MOST_STEPS;
use crate::places::{Mention, Place};
use crate::pod::{Pod, text};
use alcove_contract::{Problem, Problems, listed};
use alcove_resources::ObjectName;

/// A request that was not granted, and the mention in the Pod that it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// Where it names the Secret.
    pub mention: &'a Mention<'a>,
    /// What it asks for there.
    pub request: &'a Request<'a>,
}

impl Refused<'_> {
    /// Why it was not granted: Pod, container, place, ServiceAccount, and the rule or that there is none. Nothing if
    /// `judgement` grants it.
    #[must_use]
    pub fn problems(&self, judgement: &Judgement) -> Problems {
        let request = self.request;
        match judgement {
            Judgement::Granted { .. } => Problems::none(),
            Judgement::Denied { by } => self.problem(&format!("{by} denies {request}")).into(),
            Judgement::Unmatched => self.problem(&format!("no policy allows {request}")).into(),
            Judgement::Exhausted { at } => self
                .problem(&format!(
                    "comparing its keys with the policies takes more than {MOST_STEPS} steps, which ended at {at}"
                ))
                .with_remedy(simpler(at))
                .into(),
            Judgement::Undecided(why) => {
                let mut problems = Problems::from(self.problem("the policies about it cannot all be read"));
                problems.append(why.clone());
                problems
            }
        }
    }

    fn problem(&self, reason: &str) -> Problem {
        let who = format!(
            "{} of Pod \"{}\" with ServiceAccount \"{}\"",
            self.receivers(),
            self.pod.display_name(),
            self.request.service_account
        );
        Problem::new(self.mention.path(), format!("must not be mounted by {who}: {reason}"))
            .with_value(self.mention.secret)
    }

    /// The containers that would get the value.
    fn receivers(&self) -> String {
        if let Some((kind, name)) = self.mention.container {
            return format!("{kind} \"{name}\"");
        }
        let volume = self.volume();
        let mounts = |mount| volume.is_some() && text(Some(mount), "name") == volume;
        let receivers = self.pod.containers().filter(|container| container.volume_mounts().any(mounts));
        let names: Vec<_> = receivers.map(|container| format!("{} \"{}\"", container.kind, container.name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() { "no container".to_owned() } else { listed(&names) }
    }

    fn volume(&self) -> Option<&str> {
        let (Place::Volume { volume } | Place::ProjectedSource { volume, .. }) = self.mention.place else {
            return None;
        };
        text(self.pod.volumes().nth(volume), "name")
    }
}

/// What helps when the policies are too much for one review.
pub(super) fn simpler(at: &ObjectName) -> String {
    let kind = at.kind;
    let scope = if kind.is_namespaced() { format!(" of namespace \"{}\"", at.namespace) } else { String::new() };
    format!("delete those {kind} objects{scope} that nobody needs, and write patterns with fewer wildcards")
}
