//! How many times the request the limit may be.

use super::Resource;
use super::bounds::{Bounds, Origin, Totals, place, remedy};
use alcove_contract::Problem;
use alcove_contract::quantity::Quantity;

/// What a LimitRange says of limits and requests together.
#[derive(Clone, Debug)]
pub(super) struct Ratio<'a> {
    most: Quantity,
    origin: Origin<'a>,
    /// What is added to the sidecar's own amounts.
    totals: Totals,
}

impl<'a> Ratio<'a> {
    pub(super) fn of_container(range: &'a str, most: &Quantity) -> Self {
        Self { most: most.clone(), origin: Origin::Container(range), totals: Totals::default() }
    }

    /// Gives nothing where the other containers exceed the ratio alone: that is none of the sidecar's business.
    pub(super) fn of_containers(range: &'a str, most: &Quantity, totals: &Totals) -> Option<Self> {
        let ratio = Self { most: most.clone(), origin: Origin::Containers(range), totals: *totals };
        ratio.allows(totals.limits.without(), totals.requests.without()).then_some(ratio)
    }

    /// Whether the sidecar may have this request with this limit.
    pub(super) fn holds(&self, request: &Quantity, limit: &Quantity) -> bool {
        let Totals { requests, limits } = &self.totals;
        self.allows(limits.with(limit.thousandths()), requests.with(request.thousandths()))
    }

    /// As the API server computes it, to the last bit.
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "the API server divides such numbers, too")]
    fn allows(&self, limit: u128, request: u128) -> bool {
        request > 0 && limit > 0 && limit as f64 / request as f64 * 1000.0 <= self.most.thousandths() as f64
    }

    /// The least request that goes with `limit`.
    pub(super) fn least_request(&self, limit: &Quantity) -> u128 {
        let Totals { requests, limits } = &self.totals;
        let limits = limits.with(limit.thousandths());
        let exact =
            limits.saturating_mul(1000).div_ceil(self.most.thousandths().max(1)).saturating_sub(requests.beside);
        // Rounding may let exactly the ratio appear as more.
        exact.saturating_add(u128::from(!self.allows(limits, requests.with(exact))))
    }

    /// The most limit that goes with `request`.
    pub(super) fn most_limit(&self, request: &Quantity) -> u128 {
        let Totals { requests, limits } = &self.totals;
        let requests = requests.with(request.thousandths());
        let exact = (requests.saturating_mul(self.most.thousandths()) / 1000).saturating_sub(limits.beside);
        exact.saturating_sub(u128::from(!self.allows(limits.with(exact), requests)))
    }

    /// Why this request and this limit are too far apart, and nearer ones are out of `bounds`.
    pub(super) fn problem(
        &self,
        resource: Resource,
        request: &Quantity,
        limit: &Quantity,
        bounds: &Bounds<'_>,
    ) -> Problem {
        let reason = format!(
            "is too much beside a request of {request}: {} allows limits of at most {} times the requests",
            self.origin, self.most
        );
        let fixed = [&bounds.request.most, &bounds.limit.least].into_iter().flatten().map(|bound| bound.origin);
        let origins: Vec<Origin<'_>> = fixed.chain([self.origin]).collect();
        Problem::new(place("limits", resource.as_str()), reason)
            .with_value(limit.as_str())
            .with_remedy(remedy(&origins))
    }
}
