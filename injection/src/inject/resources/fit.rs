//! Fitting the sidecar's resources into what limits them: each amount is moved as little as possible.

use super::bounds::{Bounds, place};
use super::ratio::Ratio;
use super::{Demand, Resource};
use crate::settings::ResourceSettings;
use alcove_contract::annotations::SidecarResources;
use alcove_contract::quantity::Quantity;
use alcove_contract::{Problem, Problems};

const BYTES_PER_MEBIBYTE: u128 = 1024 * 1024;

/// A request and a limit of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Amounts {
    request: Option<Quantity>,
    limit: Option<Quantity>,
}

impl Demand<'_> {
    /// `resources` within all bounds; what is `stated` stays as it is.
    ///
    /// # Errors
    ///
    /// Every amount that fits nowhere.
    pub(super) fn fit(
        &self,
        mut resources: SidecarResources,
        stated: &SidecarResources,
    ) -> Result<SidecarResources, Problems> {
        if self.ranges.is_empty() && self.spec.get("resources").is_none() {
            return Ok(resources);
        }
        let mut problems = Problems::none();
        for resource in Resource::ALL {
            let bounds = self.bounds(resource, &resources, stated);
            let request = resource.of(&resources.requests).cloned();
            let amounts = Amounts { request, limit: resource.of(&resources.limits).cloned() };
            if let Some(Amounts { request, limit }) = problems.collect(bounds.fit(resource, amounts)) {
                *resource.of_mut(&mut resources.requests) = request;
                *resource.of_mut(&mut resources.limits) = limit;
            }
        }
        problems.or(resources)
    }
}

impl Bounds<'_> {
    fn fit(mut self, resource: Resource, amounts: Amounts) -> Result<Amounts, Problem> {
        let Amounts { request, limit } = self.completed(resource, amounts);
        // No request is more than its limit.
        if let Some(least) = self.request.least.clone() {
            self.limit.at_least(least);
        }
        if let Some(most) = self.request.most.clone().filter(|_| self.tied) {
            self.limit.at_most(most);
        }
        let nearest_limit = |limit| self.limit.nearest(limit, &place("limits", resource.as_str()));
        let limit = limit.map(nearest_limit).transpose()?;
        if self.tied {
            return self.settled(resource, Amounts { request: limit.clone(), limit });
        }
        let request = match &limit {
            Some(limit) => request.map(|request| request.min(limit.clone())),
            None => request,
        };
        let nearest_request = |request| self.request.nearest(request, &place("requests", resource.as_str()));
        let request = request.map(nearest_request).transpose()?;
        self.settled(resource, Amounts { request, limit })
    }

    /// With amounts where a container that is silent about them is refused.
    fn completed(&self, resource: Resource, Amounts { request, limit }: Amounts) -> Amounts {
        let usual = ResourceSettings::default().defaults;
        let request = request.or_else(|| resource.of(&usual.requests).filter(|_| self.request.is_demanded).cloned());
        let limit = limit.or_else(|| resource.of(&usual.limits).filter(|_| self.limit.is_demanded).cloned());
        Amounts { request, limit }
    }

    /// Near enough to each other for every ratio.
    fn settled(&self, resource: Resource, amounts: Amounts) -> Result<Amounts, Problem> {
        let Amounts { request: Some(mut request), limit: Some(mut limit) } = amounts else { return Ok(amounts) };
        for ratio in &self.ratios {
            self.settle(resource, ratio, &mut request, &mut limit)?;
        }
        Ok(Amounts { request: Some(request), limit: Some(limit) })
    }

    /// Raises the request, which only costs; and where that is not enough lowers the limit, as far as both may be moved.
    fn settle(
        &self,
        resource: Resource,
        ratio: &Ratio<'_>,
        request: &mut Quantity,
        limit: &mut Quantity,
    ) -> Result<(), Problem> {
        if ratio.holds(request, limit) {
            return Ok(());
        }
        let most = self.request.most.as_ref().map_or(&*limit, |most| (&most.amount).min(limit));
        let raised = resource.at_least(ratio.least_request(limit), most);
        if raised > *request {
            *request = raised;
        }
        if ratio.holds(request, limit) {
            return Ok(());
        }
        let least = self.limit.least.as_ref().map_or(&*request, |least| (&least.amount).max(request));
        let lowered = resource.at_most_above(ratio.most_limit(request), least);
        if lowered < *limit {
            *limit = lowered;
        }
        if ratio.holds(request, limit) { Ok(()) } else { Err(ratio.problem(resource, request, limit, self)) }
    }
}

impl Resource {
    /// An amount of at most so many thousandths.
    pub(super) fn at_most(self, thousandths: u128) -> Quantity {
        match self {
            Self::Cpu => Quantity::processors(thousandths),
            Self::Memory | Self::EphemeralStorage => Quantity::bytes(thousandths / 1000),
        }
    }

    /// An amount of at least so many thousandths, in round numbers if these are not more than `most`, which wins over all.
    fn at_least(self, thousandths: u128, most: &Quantity) -> Quantity {
        let exact = thousandths.div_ceil(1000);
        let round = Quantity::bytes(exact.next_multiple_of(BYTES_PER_MEBIBYTE));
        let amount = match self {
            Self::Cpu => Quantity::processors(thousandths),
            Self::Memory | Self::EphemeralStorage if round <= *most => round,
            Self::Memory | Self::EphemeralStorage => Quantity::bytes(exact),
        };
        amount.min(most.clone())
    }

    /// An amount of at most so many thousandths, in round numbers if these are not less than `least`, which wins over all.
    fn at_most_above(self, thousandths: u128, least: &Quantity) -> Quantity {
        let exact = self.at_most(thousandths);
        let round = Quantity::bytes(exact.units() / BYTES_PER_MEBIBYTE * BYTES_PER_MEBIBYTE);
        let amount = if self != Self::Cpu && round >= *least { round } else { exact };
        amount.max(least.clone())
    }
}
