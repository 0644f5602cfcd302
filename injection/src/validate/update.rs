//! A changed Pod: what was decided when it was created holds for its life.

use super::sidecar_of;
use crate::decision::{Context, Findings, RefusalReason};
use crate::inject::document::{at, items, says, text};
use crate::inject::resources::Demand;
use crate::pod::Pod;
use alcove_contract::annotations::{self, SidecarResources};
use alcove_contract::quantity::Quantity;
use alcove_contract::{Problem, Problems, layout};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn check(old: &Pod, new: &Pod, context: &Context<'_>, findings: &mut Findings) {
    findings.refuse(RefusalReason::Changed, changed_annotations(old, new));
    if let (Some(before), Some(after)) = (sidecar_of(old), sidecar_of(new)) {
        findings.refuse(RefusalReason::Changed, changed_image(before, after));
        findings.refuse(RefusalReason::Changed, changed_resources(new, before, after, context));
    }
}

fn changed_annotations(old: &Pod, new: &Pod) -> Problems {
    let ours = |pod: &'_ Pod| -> BTreeMap<String, String> {
        let ours = pod.annotations().filter(|(key, _)| annotations::is_ours(key));
        ours.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let (before, after) = (ours(old), ours(new));
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter_map(|key| match (before.get(key), after.get(key)) {
        (Some(_), None) => Some((key, "was removed")),
        (None, Some(_)) => Some((key, "was added")),
        (before, after) if before != after => Some((key, "was changed")),
        _ => None,
    });
    changed
        .map(|(key, what)| {
            Problem::new(annotations::place(key), format!("{what}, and it holds for the life of the Pod"))
                .with_remedy("create the Pod anew")
        })
        .collect()
}

fn changed_image(before: &Value, after: &Value) -> Option<Problem> {
    let (was, is) = (text(before, "image"), text(after, "image"));
    (was != is).then(|| {
        Problem::new(
            format!("spec.initContainers[{}].image", layout::CONTAINER),
            "is not the sidecar that was admitted",
        )
        .with_value(is)
        .with_remedy("create the Pod anew to get another version")
    })
}

/// What was asked for in place must be within the administrator's bounds and enough for the files.
fn changed_resources(pod: &Pod, before: &Value, after: &Value, context: &Context<'_>) -> Problems {
    let (was, is) = (at(before, &["resources"]), at(after, &["resources"]));
    if was == is {
        return Problems::none();
    }
    let spec = at(pod.document(), &["spec"]);
    let settings = &context.settings.resources;
    let mebibytes_of_files = mebibytes_of_files(spec, after);
    // The API server itself judges a change by the LimitRanges.
    let demand = Demand { settings, wanted: None, mebibytes_of_files, spec, position: 0, ranges: &[] };
    let checked = SidecarResources::from_document(is).and_then(|asked| {
        settings.check(&asked)?;
        demand.check(&asked)
    });
    checked.err().map_or_else(Problems::none, |problems| {
        problems.below(&format!("spec.initContainers[{}].resources", layout::CONTAINER))
    })
}

/// How much the volumes hold that the sidecar may write to.
fn mebibytes_of_files(spec: &Value, sidecar: &Value) -> u32 {
    let volumes: BTreeMap<&str, &Value> =
        items(spec, "volumes").iter().map(|volume| (text(volume, "name"), volume)).collect();
    let written = items(sidecar, "volumeMounts").iter().filter(|mount| !says(mount, "readOnly"));
    let limits = written.filter_map(|mount| {
        let volume = volumes.get(text(mount, "name"))?;
        text(at(volume, &["emptyDir"]), "sizeLimit").parse::<Quantity>().ok()
    });
    let mebibytes = limits.map(|limit| limit.units().div_ceil(1024 * 1024)).fold(0, u128::saturating_add);
    u32::try_from(mebibytes).unwrap_or(u32::MAX)
}
