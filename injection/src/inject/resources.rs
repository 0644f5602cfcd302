//! What the sidecar asks for: the administrator's defaults, what the Pod wants within bounds, room for the files, and
//! amounts that the namespace's LimitRanges allow.

mod bounds;
mod fit;
mod foreign;
mod ratio;
mod total;

use super::document::{at, items};
use super::size;
use crate::catalog::LimitRange;
use crate::settings::ResourceSettings;
use alcove_contract::annotations::{self, ResourceList, SidecarResources};
use alcove_contract::quantity::Quantity;
use alcove_contract::{Problem, Problems};
use foreign::Foreign;
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
    /// How many init containers come before the sidecar.
    pub position: usize,
    /// The LimitRanges of the namespace, by name.
    pub ranges: &'a [(&'a str, &'a LimitRange)],
}

/// A resource that the sidecar asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Cpu,
    Memory,
    EphemeralStorage,
}

impl Demand<'_> {
    /// What the sidecar asks for where no LimitRange has a say and no earlier call has written anything.
    ///
    /// Every amount that a quota may count is stated, since a quota refuses a container that is silent about it. A Pod
    /// whose containers are all Guaranteed stays Guaranteed.
    ///
    /// # Errors
    ///
    /// What the Pod wants and may not have, or what is too little for the files.
    pub(crate) fn resources(&self) -> Result<SidecarResources, Problems> {
        let place = annotations::place(annotations::RESOURCES);
        let wanted = self.stated();
        self.settings.check(&wanted).map_err(|problems| problems.below(&place))?;
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
        Ok(resources)
    }

    /// The container's `resources`: `resources`, moved as little as the LimitRanges and the Pod's own resources demand.
    ///
    /// # Errors
    ///
    /// What fits into none of them, or only beyond what the Pod states or the administrator allows.
    pub(crate) fn fitted(&self, resources: SidecarResources) -> Result<Value, Problems> {
        let mut problems = Problems::none();
        let foreign = problems.collect(self.foreign()).unwrap_or_default();
        let fitted = problems.collect(self.fit(resources, &self.stated())).unwrap_or_default();
        problems.or(foreign.beside(to_document(&fitted)))
    }

    /// What another webhook has made of the resources since the earlier call, if it may stay.
    ///
    /// An autoscaler that finds its numbers undone evicts the Pod, and then the next one, without end.
    pub(crate) fn kept(&self, found: &Value) -> Option<Value> {
        let own = self.foreign().ok()?.stripped(found)?;
        let asked = SidecarResources::from_document(&own).ok()?;
        let defaults = &self.settings.defaults;
        let is_complete = covers(&asked.limits, &defaults.limits) && covers(&asked.requests, &defaults.requests);
        let may_stay = is_complete && self.settings.check(&asked).is_ok() && self.check(&asked).is_ok();
        let fits = || self.fit(asked.clone(), &asked).is_ok_and(|fitted| fitted == asked);
        (may_stay && fits()).then(|| found.clone())
    }

    /// Checks the amounts against each other and against the files.
    pub(crate) fn check(&self, resources: &SidecarResources) -> Result<(), Problems> {
        let needed = self.needed();
        let mut problems = Problems::none();
        if let Some(limit) = resources.limits.memory.as_ref().filter(|limit| **limit < needed) {
            let reason = format!(
                "is less than {needed}: {} for the files, which are in memory, and {MEBIBYTES_OF_PROCESS}Mi for the program",
                size::mebibytes(self.mebibytes_of_files)
            );
            problems.push(Problem::new("limits.memory", reason).with_value(limit.as_str()));
        }
        for resource in Resource::ALL {
            let (request, limit) = (resource.of(&resources.requests), resource.of(&resources.limits));
            if let (Some(request), Some(limit)) = (request, limit)
                && request > limit
            {
                let place = format!("requests.{}", resource.as_str());
                problems
                    .push(Problem::new(place, format!("is more than the limit, {limit}")).with_value(request.as_str()));
            }
        }
        problems.or(())
    }

    /// The least memory that the program and its files live on.
    fn needed(&self) -> Quantity {
        Quantity::mebibytes(self.mebibytes_of_files.saturating_add(MEBIBYTES_OF_PROCESS))
    }

    fn stated(&self) -> SidecarResources {
        self.wanted.cloned().unwrap_or_default()
    }

    fn foreign(&self) -> Result<Foreign, Problems> {
        Foreign::of(self.ranges)
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

impl Resource {
    const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::EphemeralStorage];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::EphemeralStorage => "ephemeral-storage",
        }
    }

    const fn of(self, list: &ResourceList) -> Option<&Quantity> {
        match self {
            Self::Cpu => list.cpu.as_ref(),
            Self::Memory => list.memory.as_ref(),
            Self::EphemeralStorage => list.ephemeral_storage.as_ref(),
        }
    }

    const fn of_mut(self, list: &mut ResourceList) -> &mut Option<Quantity> {
        match self {
            Self::Cpu => &mut list.cpu,
            Self::Memory => &mut list.memory,
            Self::EphemeralStorage => &mut list.ephemeral_storage,
        }
    }
}

fn overlaid(upper: &ResourceList, lower: &ResourceList) -> ResourceList {
    let mut list = upper.clone();
    for resource in Resource::ALL {
        let amount = resource.of_mut(&mut list);
        *amount = amount.take().or_else(|| resource.of(lower).cloned());
    }
    list
}

/// A limit that the Pod did not state gives way to a request that it did state.
fn raise(limits: &mut ResourceList, stated: &ResourceList, requests: &ResourceList) {
    for resource in Resource::ALL {
        let (limit, request) = (resource.of_mut(limits), resource.of(requests));
        if resource.of(stated).is_none() && limit.is_some() && request > limit.as_ref() {
            *limit = request.cloned();
        }
    }
}

/// A request that the Pod did not state gives way to the limit.
fn lower(requests: &mut ResourceList, stated: &ResourceList, limits: &ResourceList) {
    for resource in Resource::ALL {
        let (request, limit) = (resource.of_mut(requests), resource.of(limits));
        if resource.of(stated).is_none() && limit.is_some() && request.as_ref() > limit {
            *request = limit.cloned();
        }
    }
}

/// Whether `list` states every amount that `least` states.
fn covers(list: &ResourceList, least: &ResourceList) -> bool {
    Resource::ALL.iter().all(|resource| resource.of(list).is_some() || resource.of(least).is_none())
}

fn to_document(resources: &SidecarResources) -> Value {
    let list = |amounts: &ResourceList| {
        let amount = |resource: &Resource| Some((resource.as_str().to_owned(), resource.of(amounts)?.as_str().into()));
        Value::Object(Resource::ALL.iter().filter_map(amount).collect::<Map<String, Value>>())
    };
    let lists = [("requests", list(&resources.requests)), ("limits", list(&resources.limits))];
    Value::Object(lists.into_iter().map(|(name, amounts)| (name.to_owned(), amounts)).collect())
}

/// Whether every container asks for exactly what it may use: such a Pod is the last to be evicted. Where the Pod as a whole
/// states its resources, those of its containers do not count for that.
fn is_guaranteed(spec: &Value) -> bool {
    let of_pod = ["requests", "limits"].map(|list| at(spec, &["resources", list]));
    if of_pod.iter().any(|list| list.get("cpu").is_some() || list.get("memory").is_some()) {
        return false;
    }
    let mut containers = ["initContainers", "containers"].into_iter().flat_map(|list| items(spec, list));
    containers.all(|container| ["cpu", "memory"].iter().all(|name| asks_for_its_limit(container, name)))
}

fn asks_for_its_limit(container: &Value, name: &str) -> bool {
    let amount = |list: &str| quantity(at(container, &["resources", list, name]));
    amount("limits").is_some_and(|limit| amount("requests").is_none_or(|request| request == limit))
}

/// An amount in a Pod, which may be a text or a number.
fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str().map_or_else(|| value.to_string().parse(), str::parse).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn demand<'a>(settings: &'a ResourceSettings, spec: &'a Value) -> Demand<'a> {
        Demand { settings, wanted: None, mebibytes_of_files: 10, spec, position: 0, ranges: &[] }
    }

    fn resources(wanted: &str, spec: &Value) -> Result<Value, Problems> {
        let wanted: SidecarResources = wanted.parse()?;
        let settings = ResourceSettings::default();
        let demand = demand(&settings, spec);
        Demand { wanted: Some(&wanted), ..demand }.resources().map(|resources| to_document(&resources))
    }

    fn kept(found: &Value) -> bool {
        let settings = ResourceSettings::default();
        demand(&settings, &Value::Null).kept(found).is_some()
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
