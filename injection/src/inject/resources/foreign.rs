//! Resources that LimitRanges speak of and the sidecar has no use for, such as graphics processors.

use super::Resource;
use super::bounds::place;
use crate::catalog::{Limit, LimitRange, Scope};
use crate::inject::document::object_mut;
use alcove_contract::{Problem, Problems};
use serde_json::Value;
use std::collections::BTreeSet;

/// Resources of which the sidecar has to state that it takes none.
///
/// A container that is silent about a limited resource is refused. Only where the LimitRange's own default is none can the
/// sidecar say the same; to take what others need would be wrong.
#[derive(Debug, Default)]
pub(super) struct Foreign(BTreeSet<String>);

impl Foreign {
    pub(super) fn of(ranges: &[(&str, &LimitRange)]) -> Result<Self, Problems> {
        let limits = || ranges.iter().flat_map(|(name, range)| range.limits.iter().map(move |limit| (*name, limit)));
        let containers = || limits().filter(|(_, limit)| limit.scope == Scope::Container);
        let mut problems = Problems::none();
        let mut names = BTreeSet::new();
        for (range, limit) in containers() {
            for name in limited(limit) {
                let may_be_none = |limit: &Limit| !demands_some(limit, name);
                let is_none =
                    containers().any(|(_, limit)| limit.default.get(name).is_some_and(|most| most.units() == 0));
                if is_none && containers().all(|(_, limit)| may_be_none(limit)) {
                    names.insert(name.to_owned());
                } else {
                    problems.push(refused(range, name));
                }
            }
        }
        problems.or(Self(names))
    }

    /// `resources` with them.
    pub(super) fn beside(&self, mut resources: Value) -> Value {
        for list in ["requests", "limits"] {
            if let Some(amounts) = object_mut(&mut resources, list) {
                amounts.extend(self.0.iter().map(|name| (name.clone(), "0".into())));
            }
        }
        resources
    }

    /// What another call has found without them; nothing if one of them is missing or not none.
    pub(super) fn stripped(&self, found: &Value) -> Option<Value> {
        let mut own = found.clone();
        for list in ["requests", "limits"] {
            for name in &self.0 {
                let removed = own.get_mut(list)?.as_object_mut()?.remove(name)?;
                (super::quantity(&removed)?.units() == 0).then_some(())?;
            }
        }
        Some(own)
    }
}

/// The resources that a limit speaks of and the sidecar does not.
fn limited(limit: &Limit) -> BTreeSet<&str> {
    let names = [&limit.min, &limit.max, &limit.ratio].into_iter().flat_map(|amounts| amounts.keys());
    let is_foreign = |name: &&str| Resource::ALL.iter().all(|resource| resource.as_str() != *name);
    names.map(String::as_str).filter(is_foreign).collect()
}

/// Whether no container may do without a resource.
fn demands_some(limit: &Limit, name: &str) -> bool {
    limit.ratio.contains_key(name) || limit.min.get(name).is_some_and(|least| least.units() > 0)
}

fn refused(range: &str, name: &str) -> Problem {
    let reason = format!(
        "cannot be stated: LimitRange \"{range}\" demands it of every container, and Alcove's has no use for {name}"
    );
    let remedy =
        format!("set default.{name} to \"0\" in LimitRange \"{range}\", or leave {name} out of its min and max");
    Problem::new(place("limits", name), reason).with_remedy(remedy)
}
