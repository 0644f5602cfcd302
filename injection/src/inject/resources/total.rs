//! What the containers of a Pod add up to, as the scheduler and LimitRanges count.

use super::{Resource, quantity};
use crate::inject::document::{at, items, text};
use serde_json::Value;

/// How much the rest of a Pod asks for of one resource, in thousandths; the sidecar comes on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    /// At a time when the sidecar runs as well.
    pub beside: u128,
    /// Before the sidecar starts.
    before: u128,
    /// Whether any of the containers states an amount.
    pub is_stated: bool,
    /// The Pod states an amount as a whole, whatever its containers ask for.
    stated: Option<u128>,
}

impl Total {
    /// Adds up `requests` or `limits`.
    ///
    /// Containers run at the same time; an init container runs beside the native sidecars that come before it.
    pub(super) fn of(spec: &Value, list: &str, resource: Resource, position: usize) -> Self {
        let stated = |container: &Value| quantity(at(container, &["resources", list, resource.as_str()]));
        let amount = |container: &Value| stated(container).map_or(0, |amount| amount.thousandths());
        let mut containers = ["containers", "initContainers"].into_iter().flat_map(|list| items(spec, list));
        let is_stated = containers.any(|container| stated(container).is_some());
        let mut regular = items(spec, "containers").iter().map(amount).fold(0, u128::saturating_add);
        let (mut sidecars, mut before, mut after) = (0_u128, 0, 0);
        for (index, container) in items(spec, "initContainers").iter().enumerate() {
            let own = amount(container);
            let peak = sidecars.saturating_add(own);
            if text(container, "restartPolicy") == "Always" {
                sidecars = peak;
                regular = regular.saturating_add(own);
            }
            let highest = if index < position { &mut before } else { &mut after };
            *highest = peak.max(*highest);
        }
        Self { beside: regular.max(after), before, is_stated, stated: of_pod(spec, list, resource) }
    }

    /// With the sidecar.
    pub(super) fn with(&self, sidecar: u128) -> u128 {
        self.stated.unwrap_or_else(|| self.beside.saturating_add(sidecar).max(self.before))
    }

    /// Without it.
    pub(super) fn without(&self) -> u128 {
        self.with(0)
    }

    /// Whether the sidecar makes a difference.
    pub(super) const fn counts_containers(&self) -> bool {
        self.stated.is_none()
    }
}

/// What the Pod states as a whole, for the resources of which it can.
pub(super) fn of_pod(spec: &Value, list: &str, resource: Resource) -> Option<u128> {
    let stated = quantity(at(spec, &["resources", list, resource.as_str()]));
    stated.filter(|_| resource != Resource::EphemeralStorage).map(|amount| amount.thousandths())
}
