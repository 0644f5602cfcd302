//! What the sidecar asks for: the administrator's defaults, what the Pod wants within bounds, and room for the files.

use super::document::{at, items};
use super::size;
use crate::settings::ResourceSettings;
use alcove_contract::annotations::{self, ResourceList, SidecarResources};
use alcove_contract::quantity::Quantity;
use alcove_contract::{Problem, Problems};
use serde_json::{Map, Value};

/// What the process itself needs, however little a Pod would like to give it.
const MEBIBYTES_OF_PROCESS: u32 = 8;

/// What decides over the sidecar's resources.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand<'a> {
    pub settings: &'a ResourceSettings,
    /// What the Pod wants.
    pub wanted: Option<&'a SidecarResources>,
    /// How much the volumes hold that the sidecar fills; their pages are charged to it.
    pub mebibytes_of_files: u32,
    /// The Pod without the sidecar.
    pub spec: &'a Value,
}

impl Demand<'_> {
    /// The container's `resources`, where no earlier call has written any.
    ///
    /// Every amount that a quota may count is stated, since a quota refuses a container that is silent about it. A Pod
    /// whose containers are all Guaranteed stays Guaranteed.
    ///
    /// # Errors
    ///
    /// What the Pod wants and may not have, or what is too little for the files.
    pub(crate) fn resources(&self) -> Result<Value, Problems> {
        let place = annotations::place(annotations::RESOURCES);
        let nothing = SidecarResources::default();
        let wanted = self.wanted.unwrap_or(&nothing);
        self.settings.check(wanted).map_err(|problems| problems.below(&place))?;
        let defaults = &self.settings.defaults;
        let mut limits = overlaid(&wanted.limits, &self.with_files(&defaults.limits));
        let mut requests = overlaid(&wanted.requests, &defaults.requests);
        raise(&mut limits, &wanted.limits, &wanted.requests);
        if is_guaranteed(self.spec) {
            limits.cpu = limits.cpu.or_else(|| requests.cpu.clone());
            requests = overlaid(&wanted.requests, &limits);
        }
        lower(&mut requests, &wanted.requests, &limits);
        let resources = SidecarResources { requests, limits };
        self.check(&resources).map_err(|problems| problems.below(&place))?;
        Ok(to_document(&resources))
    }

    /// What another webhook has made of the resources since the earlier call, if it may stay.
    ///
    /// An autoscaler that finds its numbers undone evicts the Pod, and then the next one, without end.
    pub(crate) fn kept(&self, found: &Value) -> Option<Value> {
        let asked = SidecarResources::from_document(found).ok()?;
        let defaults = &self.settings.defaults;
        let is_complete = covers(&asked.limits, &defaults.limits) && covers(&asked.requests, &defaults.requests);
        let may_stay = is_complete && self.settings.check(&asked).is_ok() && self.check(&asked).is_ok();
        may_stay.then(|| found.clone())
    }

    /// Checks the amounts against each other and against the files.
    pub(crate) fn check(&self, resources: &SidecarResources) -> Result<(), Problems> {
        let needed = Quantity::mebibytes(self.mebibytes_of_files.saturating_add(MEBIBYTES_OF_PROCESS));
        let mut problems = Problems::none();
        if let Some(limit) = resources.limits.memory.as_ref().filter(|limit| **limit < needed) {
            let reason = format!(
                "is less than {needed}: {} for the files, which are in memory, and {MEBIBYTES_OF_PROCESS}Mi for the program",
                size::mebibytes(self.mebibytes_of_files)
            );
            problems.push(Problem::new("limits.memory", reason).with_value(limit.as_str()));
        }
        for (name, request, limit) in pairs(&resources.requests, &resources.limits) {
            if let (Some(request), Some(limit)) = (request, limit)
                && request > limit
            {
                let place = format!("requests.{name}");
                problems
                    .push(Problem::new(place, format!("is more than the limit, {limit}")).with_value(request.as_str()));
            }
        }
        problems.or(())
    }

    fn with_files(&self, limits: &ResourceList) -> ResourceList {
        let memory = limits.memory.as_ref().map(|base| {
            let base = u32::try_from(base.units().div_ceil(1024 * 1024)).unwrap_or(u32::MAX);
            let text = size::mebibytes(base.saturating_add(self.mebibytes_of_files));
            text.parse().unwrap_or_else(|_unreachable: Problem| Quantity::mebibytes(base))
        });
        ResourceList { memory, ..limits.clone() }
    }
}

fn pairs<'a>(
    left: &'a ResourceList,
    right: &'a ResourceList,
) -> [(&'static str, Option<&'a Quantity>, Option<&'a Quantity>); 3] {
    [
        ("cpu", left.cpu.as_ref(), right.cpu.as_ref()),
        ("memory", left.memory.as_ref(), right.memory.as_ref()),
        ("ephemeral-storage", left.ephemeral_storage.as_ref(), right.ephemeral_storage.as_ref()),
    ]
}

fn overlaid(upper: &ResourceList, lower: &ResourceList) -> ResourceList {
    let pick = |upper: &Option<Quantity>, lower: &Option<Quantity>| upper.clone().or_else(|| lower.clone());
    ResourceList {
        cpu: pick(&upper.cpu, &lower.cpu),
        memory: pick(&upper.memory, &lower.memory),
        ephemeral_storage: pick(&upper.ephemeral_storage, &lower.ephemeral_storage),
    }
}

/// A limit that the Pod did not state gives way to a request that it did state.
fn raise(limits: &mut ResourceList, stated: &ResourceList, requests: &ResourceList) {
    let give_way = |limit: &mut Option<Quantity>, stated: &Option<Quantity>, request: &Option<Quantity>| {
        if stated.is_none() && limit.is_some() && request > limit {
            limit.clone_from(request);
        }
    };
    give_way(&mut limits.cpu, &stated.cpu, &requests.cpu);
    give_way(&mut limits.memory, &stated.memory, &requests.memory);
    give_way(&mut limits.ephemeral_storage, &stated.ephemeral_storage, &requests.ephemeral_storage);
}

/// A request that the Pod did not state gives way to the limit.
fn lower(requests: &mut ResourceList, stated: &ResourceList, limits: &ResourceList) {
    let give_way = |request: &mut Option<Quantity>, stated: &Option<Quantity>, limit: &Option<Quantity>| {
        if stated.is_none() && limit.is_some() && *request > *limit {
            request.clone_from(limit);
        }
    };
    give_way(&mut requests.cpu, &stated.cpu, &limits.cpu);
    give_way(&mut requests.memory, &stated.memory, &limits.memory);
    give_way(&mut requests.ephemeral_storage, &stated.ephemeral_storage, &limits.ephemeral_storage);
}

/// Whether `list` states every amount that `least` states.
fn covers(list: &ResourceList, least: &ResourceList) -> bool {
    pairs(list, least).into_iter().all(|(_, stated, expected)| stated.is_some() || expected.is_none())
}

fn to_document(resources: &SidecarResources) -> Value {
    let list = |amounts: &ResourceList| {
        let stated = pairs(amounts, amounts).into_iter();
        let fields: Map<String, Value> =
            stated.filter_map(|(name, amount, _)| Some((name.to_owned(), amount?.as_str().into()))).collect();
        Value::Object(fields)
    };
    let lists = [("requests", list(&resources.requests)), ("limits", list(&resources.limits))];
    Value::Object(lists.into_iter().map(|(name, amounts)| (name.to_owned(), amounts)).collect())
}

/// Whether every container asks for exactly what it may use: such a Pod is the last to be evicted.
fn is_guaranteed(spec: &Value) -> bool {
    let mut containers = ["initContainers", "containers"].into_iter().flat_map(|list| items(spec, list));
    containers.all(|container| ["cpu", "memory"].iter().all(|name| asks_for_its_limit(container, name)))
}

fn asks_for_its_limit(container: &Value, name: &str) -> bool {
    let amount = |list: &str| {
        let value = at(container, &["resources", list]).get(name)?;
        value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse::<Quantity>().ok()
    };
    amount("limits").is_some_and(|limit| amount("requests").is_none_or(|request| request == limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resources(wanted: &str, spec: &Value) -> Result<Value, Problems> {
        let wanted: SidecarResources = wanted.parse()?;
        let settings = ResourceSettings::default();
        Demand { settings: &settings, wanted: Some(&wanted), mebibytes_of_files: 10, spec }.resources()
    }

    fn kept(found: &Value) -> bool {
        let settings = ResourceSettings::default();
        Demand { settings: &settings, wanted: None, mebibytes_of_files: 10, spec: &Value::Null }.kept(found).is_some()
    }

    #[test]
    fn every_amount_that_a_quota_may_count_is_stated() {
        let resources = resources("{}", &json!({"containers": [{"name": "app"}]})).unwrap();
        for list in ["requests", "limits"] {
            for amount in ["cpu", "memory", "ephemeral-storage"] {
                assert!(resources[list][amount].is_string(), "{list}.{amount}: {resources}");
            }
        }
        assert_eq!(resources["limits"]["memory"], "74Mi", "64Mi for the program, 10Mi for the files");
    }

    #[test]
    fn a_guaranteed_pod_stays_guaranteed_whether_requests_are_stated_or_not() {
        let limits = json!({"cpu": 1, "memory": "1Gi"});
        for requests in [json!(null), json!({"cpu": "1000m", "memory": "1024Mi"})] {
            let spec = json!({"containers": [{"resources": {"limits": limits, "requests": requests}}]});
            let resources = resources("{}", &spec).unwrap();
            assert_eq!(resources["requests"], resources["limits"]);
        }
        let burstable = json!({"containers": [{"resources": {"limits": limits, "requests": {"cpu": "1m"}}}]});
        let resources = resources("{}", &burstable).unwrap();
        assert_ne!(resources["requests"], resources["limits"]);
    }

    #[test]
    fn what_the_pod_did_not_state_gives_way_to_what_it_did() {
        let raised = resources("{requests: {memory: 128Mi}}", &json!({"containers": [{}]})).unwrap();
        assert_eq!(raised["limits"]["memory"], "128Mi");
        let lowered = resources("{limits: {cpu: 1m}}", &json!({"containers": [{}]})).unwrap();
        assert_eq!(lowered["requests"]["cpu"], "1m");
        let contradiction = resources("{requests: {cpu: 20m}, limits: {cpu: 10m}}", &json!({"containers": [{}]}));
        assert!(contradiction.unwrap_err().to_string().contains("requests.cpu: \"20m\" is more than the limit, 10m"));
    }

    #[test]
    fn what_others_have_set_stays_if_it_is_complete_within_bounds_and_enough() {
        let with = |memory: &str| {
            json!({
                "requests": {"cpu": "7m", "memory": "20Mi", "ephemeral-storage": "1Mi"},
                "limits": {"cpu": "200m", "memory": memory, "ephemeral-storage": "1Mi"},
            })
        };
        assert!(kept(&with("90Mi")));
        assert!(!kept(&with("17Mi")), "less than the files need");
        assert!(!kept(&with("2Gi")), "out of bounds");
        let mut unknown = with("90Mi");
        unknown["claims"] = json!([{"name": "gpu"}]);
        assert!(!kept(&unknown));
        let mut silent = with("90Mi");
        silent["limits"].as_object_mut().unwrap().remove("cpu");
        assert!(!kept(&silent), "a quota would refuse it");
    }
}
