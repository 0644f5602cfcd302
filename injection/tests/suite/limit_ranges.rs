//! What the admission plugin LimitRanger makes of injected Pods: a model of it, and the promise that it is content.

use crate::cluster;
use alcove_injection::catalog::LimitRange;
use alcove_injection::effort::MOST_STEPS;
use alcove_injection::{Catalog, Context, Decision, Pod, Settings, decide};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

// === the model, after plugin/pkg/admission/limitranger of Kubernetes 1.37 ===

/// What LimitRanger complains of.
fn complaints(range: &Value, pod: &Value) -> Vec<String> {
    let limits = range["spec"]["limits"].as_array().unwrap();
    let mut complaints = Vec::new();
    for limit in limits {
        if limit["type"] == "Pod" {
            complaints.extend(judged(limit, &total(pod, "requests"), &total(pod, "limits"), "Pod"));
            continue;
        }
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                let (requests, limits) = (&container["resources"]["requests"], &container["resources"]["limits"]);
                complaints.extend(judged(
                    limit,
                    &amounts(requests),
                    &amounts(limits),
                    container["name"].as_str().unwrap(),
                ));
            }
        }
    }
    complaints
}

fn judged(limit: &Value, requests: &Map<String, Value>, limits: &Map<String, Value>, who: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut check = |is_right: bool, what: &str| {
        if !is_right {
            complaints.push(format!("{who}: {what}"));
        }
    };
    let milli = |list: &Map<String, Value>, name: &str| list.get(name).and_then(Value::as_f64);
    for (name, least) in amounts(&limit["min"]) {
        let (request, least) = (milli(requests, &name), least.as_f64().unwrap());
        check(request.is_some_and(|request| request >= least), &format!("request below min.{name}"));
        check(milli(limits, &name).is_none_or(|limit| limit >= least), &format!("limit below min.{name}"));
    }
    for (name, most) in amounts(&limit["max"]) {
        let (limit, most) = (milli(limits, &name), most.as_f64().unwrap());
        check(limit.is_some_and(|limit| limit <= most), &format!("limit above max.{name}"));
        check(milli(requests, &name).is_none_or(|request| request <= most), &format!("request above max.{name}"));
    }
    for (name, most) in amounts(&limit["maxLimitRequestRatio"]) {
        let (request, limit) = (milli(requests, &name).unwrap_or(0.0), milli(limits, &name).unwrap_or(0.0));
        let holds = request > 0.0 && limit > 0.0 && limit / request * 1000.0 <= most.as_f64().unwrap();
        check(holds, &format!("more than maxLimitRequestRatio.{name}"));
    }
    complaints
}

/// The amounts of a list in thousandths.
fn amounts(list: &Value) -> Map<String, Value> {
    let amounts = list.as_object().into_iter().flatten();
    amounts.map(|(name, amount)| (name.clone(), json!(milli(amount.as_str().unwrap())))).collect()
}

/// Thousandths of what is written in the few ways of these tests.
fn milli(text: &str) -> f64 {
    let (digits, scale) = [("Ki", 1_024_000.0), ("Mi", 1_048_576_000.0), ("Gi", 1_073_741_824_000.0), ("m", 1.0)]
        .into_iter()
        .find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, scale)))
        .unwrap_or((text, 1000.0));
    digits.parse::<f64>().unwrap_or_else(|error| panic!("{text}: {error}")) * scale
}

/// What a Pod asks for as a whole.
fn total(pod: &Value, list: &str) -> Map<String, Value> {
    let mut total = Map::new();
    for resource in RESOURCES {
        let of = |container: &Value| container["resources"][list][resource].as_str().map(milli);
        let containers = || pod["spec"]["containers"].as_array().unwrap().iter();
        let inits = || pod["spec"]["initContainers"].as_array().into_iter().flatten();
        let is_sidecar = |container: &Value| container["restartPolicy"] == "Always";
        if containers().chain(inits()).all(|container| of(container).is_none()) {
            continue;
        }
        let lasting = containers().chain(inits().filter(|container| is_sidecar(container)));
        let mut most: f64 = lasting.filter_map(of).sum();
        let mut sidecars = 0.0;
        for container in inits() {
            let peak = sidecars + of(container).unwrap_or_default();
            most = most.max(peak);
            if is_sidecar(container) {
                sidecars = peak;
            }
        }
        let whole = pod["spec"]["resources"][list][resource].as_str().filter(|_| resource != "ephemeral-storage");
        total.insert(resource.to_owned(), json!(whole.map_or(most, milli)));
    }
    total
}

// === Pods and limit ranges ===

fn amount(resource: &'static str) -> impl Strategy<Value = Value> {
    match resource {
        "cpu" => select(vec!["1m", "5m", "7m", "20m", "50m", "100m", "333m", "1", "2"]),
        _ => select(vec!["1000000", "8Mi", "16Mi", "20Mi", "70Mi", "74Mi", "100Mi", "128Mi", "1Gi", "2Gi"]),
    }
    .prop_map(Value::from)
}

/// Amounts of some resources.
fn list() -> impl Strategy<Value = Value> {
    let some = |resource| prop::option::weighted(0.3, amount(resource));
    (some("cpu"), some("memory"), some("ephemeral-storage")).prop_map(|(cpu, memory, storage)| {
        let named = RESOURCES.into_iter().zip([cpu, memory, storage]);
        named.filter_map(|(name, amount)| Some((name.to_owned(), amount?))).collect::<Map<_, _>>().into()
    })
}

fn ratios() -> impl Strategy<Value = Value> {
    let some = || prop::option::weighted(0.25, select(vec!["1", "2", "1500m", "1100m", "3", "100"]));
    (some(), some()).prop_map(|(cpu, memory)| {
        let named = [("cpu", cpu), ("memory", memory)];
        named
            .into_iter()
            .filter_map(|(name, ratio)| Some((name.to_owned(), ratio?.into())))
            .collect::<Map<_, _>>()
            .into()
    })
}

fn limit_range() -> impl Strategy<Value = Value> {
    let limit = (select(vec!["Container", "Container", "Pod"]), list(), list(), ratios()).prop_map(
        |(scope, min, max, ratio)| json!({"type": scope, "min": min, "max": max, "maxLimitRequestRatio": ratio}),
    );
    prop::collection::vec(limit, 1..3).prop_map(|limits| json!({"spec": {"limits": limits}}))
}

/// Resources of a container that the API server accepts: no request above its limit, and a request where there is a limit.
fn resources() -> impl Strategy<Value = Value> {
    (list(), list()).prop_map(|(mut requests, limits)| {
        for (name, limit) in limits.as_object().unwrap() {
            let request = &mut requests[name];
            if request.as_str().is_none_or(|request| milli(request) > milli(limit.as_str().unwrap())) {
                *request = limit.clone();
            }
        }
        json!({"requests": requests, "limits": limits})
    })
}

fn container(name: &str, resources: &Value) -> Value {
    json!({"name": name, "image": "busybox", "resources": resources})
}

fn any_pod() -> impl Strategy<Value = Value> {
    let init = (resources(), any::<bool>());
    let wanted = prop::option::weighted(0.3, resources());
    let whole = prop::option::weighted(0.2, resources());
    (resources(), prop::collection::vec(init, 0..3), wanted, whole, any::<bool>()).prop_map(
        |(own, inits, wanted, whole, after)| {
            let mut app = container("app", &own);
            app["volumeMounts"] = json!([{"name": "creds", "mountPath": "/etc/creds"}]);
            let inits = inits.iter().enumerate().map(|(index, (resources, is_sidecar))| {
                let mut init = container(&format!("init-{index}"), resources);
                if *is_sidecar {
                    init["restartPolicy"] = "Always".into();
                }
                init
            });
            let inits: Vec<Value> = inits.collect();
            let mut annotations = json!({"secret.alcove.dev/db-creds": "vault:kv/app/db"});
            if after && !inits.is_empty() {
                annotations["alcove.dev/after"] = "init-0".into();
            }
            if let Some(wanted) = wanted {
                annotations["alcove.dev/resources"] = wanted.to_string().into();
            }
            let mut spec = json!({
                "serviceAccountName": "web",
                "containers": [app],
                "initContainers": inits,
                "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
            });
            if let Some(whole) = whole {
                spec["resources"] = whole;
            }
            json!({"metadata": {"name": "web", "annotations": annotations}, "spec": spec})
        },
    )
}

fn catalog(range: &Value) -> Catalog {
    let mut catalog = Catalog::default();
    cluster::apply(&mut catalog, include_str!("../cases/base.yaml"));
    catalog.apply_limit_range("t", "range", LimitRange::from_document(range));
    catalog
}

fn decision(document: &Value, catalog: &Catalog, settings: &Settings) -> Decision {
    decide(&Pod::new(document.clone(), "t").unwrap(), &Context { catalog, settings, most_steps: MOST_STEPS })
}

fn patched(document: &Value, patch: &json_patch::Patch) -> Value {
    let mut patched = document.clone();
    json_patch::patch(&mut patched, patch).unwrap();
    patched
}

fn settings() -> impl Strategy<Value = Settings> {
    let defaults = select(vec!["{}", "{requests: {memory: 16Mi}, limits: {memory: 64Mi}}"]);
    prop::option::weighted(0.3, defaults).prop_map(|resources| {
        cluster::settings(&resources.map_or(Value::Null, |resources| json!({"resources": resources})))
    })
}

/// A Pod with a bound Secret in one container of these resources.
fn pod_with(own: &Value) -> Value {
    let mut app = container("app", own);
    app["volumeMounts"] = json!([{"name": "creds", "mountPath": "/etc/creds"}]);
    json!({
        "metadata": {"name": "web", "annotations": {"secret.alcove.dev/db-creds": "vault:kv/app/db"}},
        "spec": {
            "serviceAccountName": "web",
            "containers": [app],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
}

#[test]
fn what_is_demanded_of_a_guaranteed_pod_is_stated_as_request_and_limit_where_the_administrator_states_neither() {
    let amounts = json!({"cpu": "1", "memory": "1Gi"});
    let pod = pod_with(&json!({"requests": amounts, "limits": amounts}));
    let settings = cluster::settings(&json!({"resources": "{}"}));
    for (demand, amount) in [("min", "1m"), ("max", "2"), ("maxLimitRequestRatio", "1")] {
        let range = json!({"spec": {"limits": [{"type": "Container", demand: {"cpu": amount}}]}});
        let Decision::Inject(plan) = decision(&pod, &catalog(&range), &settings) else { panic!("{demand} is refused") };
        let after = patched(&pod, &plan.patch);
        assert_eq!(complaints(&range, &after), [""; 0], "{demand}");
        let resources = &after["spec"]["initContainers"][0]["resources"];
        assert_eq!(resources["requests"], resources["limits"], "{demand}: it is no longer Guaranteed");
    }
}

#[test]
fn a_request_that_would_be_raised_in_vain_does_not_keep_the_limit_up() {
    let mut pod = pod_with(&json!({"requests": {"memory": "1000000"}, "limits": {"memory": "70Mi"}}));
    // It asks for most while it runs alone, whatever the sidecar asks for later.
    let alone = json!({"requests": {"memory": "70Mi"}, "limits": {"memory": "70Mi"}});
    pod["spec"]["initContainers"] = json!([container("init-0", &alone)]);
    pod["metadata"]["annotations"]["alcove.dev/after"] = "init-0".into();
    let range = json!({"spec": {"limits": [{"type": "Pod", "maxLimitRequestRatio": {"memory": "1500m"}}]}});
    let decision = decision(&pod, &catalog(&range), &cluster::settings(&Value::Null));
    let Decision::Inject(plan) = decision else { panic!("{decision:?}") };
    assert_eq!(complaints(&range, &patched(&pod, &plan.patch)), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn limit_ranger_admits_what_alcove_has_injected_or_refuses_it_for_the_applications_own_sake(
        range in limit_range(),
        pod in any_pod(),
        settings in settings(),
    ) {
        let catalog = catalog(&range);
        match decision(&pod, &catalog, &settings) {
            Decision::Inject(plan) => {
                let after = patched(&pod, &plan.patch);
                let own_fault = complaints(&range, &pod);
                let complaints = complaints(&range, &after);
                prop_assert!(complaints.is_empty() || !own_fault.is_empty(), "{complaints:?}\n{}", after["spec"]);
                prop_assert!(is_within_whole(&after) || !is_within_whole(&pod), "{}", after["spec"]);
                let again = decision(&after, &catalog, &settings);
                prop_assert!(matches!(&again, Decision::Inject(plan) if plan.patch.is_empty()), "{again:?}");
            }
            Decision::Deny(refusal) => {
                let text = refusal.to_string();
                prop_assert!(text.contains("alcove-sidecar") || text.contains("alcove.dev/resources"), "{text}");
                prop_assert!(!text.contains("can be no amount") || text.contains("; "), "no remedy: {text}");
            }
            Decision::Skip(skip) => prop_assert!(false, "{skip:?}"),
        }
    }

    /// Nothing is refused for the sake of a LimitRange that some amount within the administrator's bounds would satisfy.
    #[test]
    fn what_fits_is_not_refused(range in limit_range(), pod in any_pod()) {
        prop_assume!(pod["metadata"]["annotations"].get("alcove.dev/resources").is_none());
        prop_assume!(complaints(&range, &pod).is_empty() && is_within_whole(&pod));
        let (catalog, settings) = (catalog(&range), cluster::settings(&Value::Null));
        if matches!(decision(&pod, &catalog, &settings), Decision::Deny(_)) {
            // Without LimitRanges only what the Pod requests as a whole can stand in the way.
            let free = self::catalog(&json!({"spec": {"limits": []}}));
            let Decision::Inject(plan) = decision(&pod, &free, &settings) else { return Ok(()) };
            let mut other = patched(&pod, &plan.patch);
            for resources in alternatives() {
                let inits = other["spec"]["initContainers"].as_array_mut().unwrap();
                let sidecar = inits.iter_mut().find(|container| container["name"] == "alcove-sidecar").unwrap();
                sidecar["resources"] = resources;
                let would_do = complaints(&range, &other).is_empty() && is_within_whole(&other);
                prop_assert!(!would_do, "{}", other["spec"]);
            }
        }
    }
}

/// Amounts that a sidecar with one Secret can live on.
fn alternatives() -> Vec<Value> {
    let pairs = |amounts: [&'static str; 5]| {
        let ordered = (0..5).flat_map(|most| (0..=most).map(move |least| (least, most)));
        ordered.map(|(least, most)| (amounts[least], amounts[most])).collect::<Vec<_>>()
    };
    let (cpus, memories) = (pairs(["1m", "5m", "50m", "100m", "1"]), pairs(["19Mi", "32Mi", "75Mi", "128Mi", "1Gi"]));
    let each = cpus.iter().flat_map(|cpu| memories.iter().map(move |memory| (cpu, memory)));
    each.map(|(cpu, memory)| {
        json!({
            "requests": {"cpu": cpu.0, "memory": memory.0, "ephemeral-storage": "16Mi"},
            "limits": {"cpu": cpu.1, "memory": memory.1, "ephemeral-storage": "64Mi"},
        })
    })
    .collect()
}

/// Whether the containers request no more than the Pod as a whole.
fn is_within_whole(pod: &Value) -> bool {
    let mut containers = pod.clone();
    let mut whole = amounts(&containers["spec"]["resources"]["requests"].take());
    // No Pod can state it as a whole.
    whole.remove("ephemeral-storage");
    let requested = total(&containers, "requests");
    whole.iter().all(|(name, most)| requested.get(name).is_none_or(|sum| sum.as_f64() <= most.as_f64()))
}
