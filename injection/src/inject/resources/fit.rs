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
        // Where both are one amount, whoever demands one of them demands both.
        let is_demanded = |bound: bool| bound || (self.tied && (self.request.is_demanded || self.limit.is_demanded));
        let (of_request, of_limit) = (is_demanded(self.request.is_demanded), is_demanded(self.limit.is_demanded));
        let request = request.or_else(|| resource.of(&usual.requests).filter(|_| of_request).cloned());
        let limit = limit.or_else(|| resource.of(&usual.limits).filter(|_| of_limit).cloned());
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
        let raised = resource.at_least(ratio.least_request(limit), most).max(request.clone());
        if ratio.holds(&raised, limit) {
            *request = raised;
            return Ok(());
        }
        // A request that is raised in vain, as an init container asks for more at another time, would only keep the limit up.
        let lowest = self.limit.least.as_ref().map_or_else(|| request.clone(), |least| least.amount.clone());
        let lowest =
            self.request.least.iter().fold(lowest.min(request.clone()), |low, least| low.max(least.amount.clone()));
        for tried in [raised, request.clone(), lowest] {
            let lowered = self.lowered(resource, ratio, &tried, limit);
            if ratio.holds(&tried, &lowered) {
                (*request, *limit) = (tried, lowered);
                return Ok(());
            }
        }
        Err(ratio.problem(resource, request, limit, self))
    }

    /// The limit that goes with `request`, if it may be as low.
    fn lowered(&self, resource: Resource, ratio: &Ratio<'_>, request: &Quantity, limit: &Quantity) -> Quantity {
        let least = self.limit.least.as_ref().map_or(request, |least| (&least.amount).max(request));
        resource.at_most_above(ratio.most_limit(request), least).min(limit.clone())
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
