//! Between which amounts the sidecar's resources may lie, and who says so.

use super::ratio::Ratio;
use super::total::{Total, of_pod};
use super::{Demand, Resource, is_guaranteed};
use crate::catalog::{Limit, Scope};
use alcove_contract::annotations::{self, SidecarResources};
use alcove_contract::quantity::Quantity;
use alcove_contract::{Problem, layout};
use std::fmt;

/// What holds for the sidecar's request and limit of one resource.
#[derive(Debug, Default)]
pub(super) struct Bounds<'a> {
    pub request: Span<'a>,
    pub limit: Span<'a>,
    pub ratios: Vec<Ratio<'a>>,
    /// Whether the request has to be the limit, for the Pod to stay Guaranteed.
    pub tied: bool,
}

/// The least and the most of one amount.
#[derive(Clone, Debug, Default)]
pub(super) struct Span<'a> {
    pub least: Option<Bound<'a>>,
    pub most: Option<Bound<'a>>,
    /// Whether a container that does not state it is refused.
    pub is_demanded: bool,
}

/// A bound, and who sets it.
#[derive(Clone, Debug)]
pub(super) struct Bound<'a> {
    pub amount: Quantity,
    pub origin: Origin<'a>,
}

/// Who sets a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// The Pod's author, in the annotation.
    Annotation,
    /// The administrator of Alcove.
    Administrator,
    /// The program, and its files in memory.
    Files,
    /// A LimitRange, for each container.
    Container(&'a str),
    /// A LimitRange, for what all containers of the Pod add up to.
    Containers(&'a str),
    /// The Pod itself, for what all of its containers add up to.
    Pod,
}

/// The field of the sidecar's resources that holds an amount.
pub(super) fn place(list: &str, resource: &str) -> String {
    format!("spec.initContainers[{}].resources.{list}.{resource}", layout::CONTAINER)
}

impl Demand<'_> {
    /// The bounds of `resource`; an amount that is `stated` is not to be moved.
    pub(super) fn bounds(
        &self,
        resource: Resource,
        resources: &SidecarResources,
        stated: &SidecarResources,
    ) -> Bounds<'_> {
        let own = |current, stated| match stated {
            Some(stated) => Span::exactly(stated),
            None => self.of_administrator(resource, current),
        };
        let mut bounds = Bounds {
            request: own(resource.of(&resources.requests), resource.of(&stated.requests)),
            limit: own(resource.of(&resources.limits), resource.of(&stated.limits)),
            tied: is_guaranteed(self.spec) && resource.of(&stated.requests).is_none(),
            ..Bounds::default()
        };
        if resource == Resource::Memory {
            bounds.limit.at_least(Bound { amount: self.needed(), origin: Origin::Files });
        }
        for (range, limits) in self.ranges {
            for limit in &limits.limits {
                match limit.scope {
                    Scope::Container => bounds.limit_container(resource, range, limit),
                    Scope::Pod => bounds.limit_containers(resource, range, limit, &self.totals(resource)),
                }
            }
        }
        let of_pod = of_pod(self.spec, "requests", resource);
        let room = of_pod.and_then(|most| most.checked_sub(self.totals(resource).requests.beside));
        if let Some(room) = room {
            bounds.request.at_most(Bound { amount: resource.at_most(room), origin: Origin::Pod });
        }
        bounds
    }

    /// What the administrator allows; that the default lies beyond it, because of many files, is nothing new.
    fn of_administrator(&self, resource: Resource, current: Option<&Quantity>) -> Span<'static> {
        let bound = |amount: &Quantity| Bound { amount: amount.clone(), origin: Origin::Administrator };
        let least = resource.of(&self.settings.least).map(|least| current.map_or(least, |current| current.min(least)));
        let most = resource.of(&self.settings.most).map(|most| current.map_or(most, |current| current.max(most)));
        Span { least: least.map(bound), most: most.map(bound), is_demanded: false }
    }

    fn totals(&self, resource: Resource) -> Totals {
        let total = |list| Total::of(self.spec, list, resource, self.position);
        Totals { requests: total("requests"), limits: total("limits") }
    }
}

/// What the containers beside the sidecar add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub requests: Total,
    pub limits: Total,
}

impl<'a> Bounds<'a> {
    fn limit_container(&mut self, resource: Resource, range: &'a str, limit: &Limit) {
        let bound = |amount: &Quantity| Bound { amount: amount.clone(), origin: Origin::Container(range) };
        let name = resource.as_str();
        for span in [&mut self.request, &mut self.limit] {
            if let Some(least) = limit.min.get(name) {
                span.at_least(bound(least));
            }
            if let Some(most) = limit.max.get(name) {
                span.at_most(bound(most));
            }
        }
        let ratio = limit.ratio.get(name).map(|most| Ratio::of_container(range, most));
        self.request.is_demanded |= limit.min.contains_key(name) || ratio.is_some();
        self.limit.is_demanded |= limit.max.contains_key(name) || ratio.is_some();
        self.ratios.extend(ratio);
    }

    /// What the other containers exceed alone is none of the sidecar's business.
    fn limit_containers(&mut self, resource: Resource, range: &'a str, limit: &Limit, totals: &Totals) {
        let bound = |amount| Bound { amount, origin: Origin::Containers(range) };
        let name = resource.as_str();
        let spans = [(&mut self.request, &totals.requests), (&mut self.limit, &totals.limits)];
        for (span, total) in spans.into_iter().filter(|(_, total)| total.counts_containers()) {
            let most = limit.max.get(name).map(Quantity::thousandths).filter(|most| total.without() <= *most);
            if let Some(room) = most.and_then(|most| most.checked_sub(total.beside)) {
                span.at_most(bound(resource.at_most(room)));
            }
        }
        // The sidecar only makes sums larger; but where no other container has a limit, its own is the sum.
        let Totals { requests, limits } = totals;
        let is_alone = !limits.is_stated && limits.counts_containers();
        if let Some(least) = limit.min.get(name).filter(|least| is_alone && requests.without() >= least.thousandths()) {
            self.limit.at_least(bound(least.clone()));
        }
        self.ratios.extend(limit.ratio.get(name).and_then(|most| Ratio::of_containers(range, most, totals)));
    }
}

impl<'a> Span<'a> {
    fn exactly(amount: &Quantity) -> Self {
        let bound = || Some(Bound { amount: amount.clone(), origin: Origin::Annotation });
        Self { least: bound(), most: bound(), is_demanded: false }
    }

    pub(super) fn at_least(&mut self, bound: Bound<'a>) {
        if self.least.as_ref().is_none_or(|least| least.amount < bound.amount) {
            self.least = Some(bound);
        }
    }

    pub(super) fn at_most(&mut self, bound: Bound<'a>) {
        if self.most.as_ref().is_none_or(|most| most.amount > bound.amount) {
            self.most = Some(bound);
        }
    }

    /// The amount within the bounds that is nearest to `amount`.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn nearest(&self, amount: Quantity, place: &str) -> Result<Quantity, Problem> {
        let Self { least, most, .. } = self;
        if let (Some(least), Some(most)) = (least, most)
            && least.amount > most.amount
        {
            return Err(conflict(place, least, most));
        }
        let raised = least.iter().fold(amount, |amount, least| amount.max(least.amount.clone()));
        Ok(most.iter().fold(raised, |amount, most| amount.min(most.amount.clone())))
    }
}

fn conflict(place: &str, least: &Bound<'_>, most: &Bound<'_>) -> Problem {
    let reason = format!(
        "can be no amount: {} asks for at least {}, and {} allows at most {}",
        least.origin, least.amount, most.origin, most.amount
    );
    Problem::new(place, reason).with_remedy(remedy(&[least.origin, most.origin]))
}

/// What helps where these bounds contradict each other.
pub(super) fn remedy(origins: &[Origin<'_>]) -> String {
    let mut remedies: Vec<String> = origins.iter().map(|origin| origin.remedy()).collect();
    remedies.dedup();
    remedies.join(", or ")
}

impl Origin<'_> {
    fn remedy(self) -> String {
        match self {
            Self::Annotation => format!("state another amount in {}", annotations::RESOURCES),
            Self::Administrator => "ask the administrator of Alcove for other --sidecar-resource-bounds".to_owned(),
            Self::Files => "mount fewer Secrets in this Pod".to_owned(),
            Self::Container(range) => format!("change LimitRange \"{range}\""),
            Self::Containers(range) => {
                format!("ask for less in the other containers, or change LimitRange \"{range}\"")
            }
            Self::Pod => "raise what the Pod requests as a whole".to_owned(),
        }
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation => formatter.write_str(annotations::RESOURCES),
            Self::Administrator => formatter.write_str("the bound of Alcove's administrator"),
            Self::Files => formatter.write_str("the program with its files in memory"),
            Self::Container(range) => write!(formatter, "LimitRange \"{range}\""),
            Self::Containers(range) => {
                write!(formatter, "LimitRange \"{range}\", beside the other containers of the Pod,")
            }
            Self::Pod => formatter.write_str("spec.resources.requests, beside the other containers of the Pod,"),
        }
    }
}
