//! What Kubernetes would refuse in the things that we replace, said as Kubernetes says it.
//!
//! Mutation runs before the API server's own validation: once a Secret volume has become an `emptyDir`, or a
//! `secretKeyRef` a `fileKeyRef`, nothing is left there for the API server to object to. So a Pod that is refused
//! without us must be refused by us, in the same words and at the same field. These rules follow
//! `pkg/apis/core/validation` of Kubernetes 1.37.
//!
//! Checked here, because our replacement hides it or moves it to another field:
//!
//! * volumes that mention a bound Secret: name, one type per volume, every rule of `secret` and of `projected`;
//! * `env` and `envFrom` of containers in which one of them mentions a bound Secret, in full, since the expansion of
//!   `envFrom` renumbers what stands behind it;
//! * `recursiveReadOnly` of mounts of such volumes, which depends on the `readOnly` that we set;
//! * `fileKeyRef`s to such volumes, which only an `emptyDir` may serve, and ours will be one;
//! * the JSON types of all that, which the API server's decoder refuses before it looks at any rule.
//!
//! Left to the API server, because it still sees it: everything else, such as the other rules of mounts and devices.
//! From sources of a projected volume that move to a new volume as they are, so do quantities (`divisor`), signer
//! names, key types, label selectors and user annotations. Fields that are not known here are not looked at.
//!
//! Deliberately not repeated is that mounts of a refused volume are `Not found`: it is a consequence, not a mistake.

use std::collections::BTreeSet;

use alcove_contract::Problems;
use alcove_contract::name::SecretName;
use serde_json::Value;

use crate::pod::Pod;

mod downward;
mod environment;
mod fields;
mod mounts;
mod names;
mod paths;
mod projected;
mod report;
mod types;
mod volumes;

#[cfg(test)]
mod tests;

use fields::list;
use report::{Path, Report};

/// The lists of containers that are there when a Pod is created.
const CONTAINER_LISTS: [&str; 2] = ["initContainers", "containers"];

/// What Kubernetes would refuse of `pod` if the Secrets whose names are `bound` stayed in it: volumes first,
/// then container by container.
#[must_use]
pub fn violations(pod: &Pod, bound: &BTreeSet<SecretName>) -> Problems {
    refused(pod.document(), bound)
}

fn refused(document: &Value, bound: &BTreeSet<SecretName>) -> Problems {
    let mut report = Report::default();
    if let Some(spec) = document.get("spec") {
        volumes::check(list(spec, "volumes"), bound, &mut report);
        check_containers(spec, bound, &mut report);
    }
    report.into_problems()
}

fn check_containers(spec: &Value, bound: &BTreeSet<SecretName>, report: &mut Report) {
    let replaced = volumes::replaced(list(spec, "volumes"), bound);
    let root = Path::Root("spec");
    for name in CONTAINER_LISTS {
        let containers = root.child(name);
        for (index, container) in list(spec, name).iter().enumerate() {
            let path = containers.item(index);
            if environment::mentions(container, bound) {
                environment::check(container, &path, report);
            }
            mounts::check(container, &replaced, &path, report);
            environment::check_file_volumes(container, &replaced, &path, report);
        }
    }
}
