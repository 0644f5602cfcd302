//! From a Pod to the Pod that gets its secrets.
//!
//! The intended document is built from what the Pod said before any earlier call; whatever is known of that call is not
//! adopted but made anew. What is not ours is copied as it is, field by field and in its order.

pub(crate) mod document;
pub(crate) mod environment;
mod identity;
pub(crate) mod mount_points;
mod owner;
mod patch;
pub(crate) mod path;
pub(crate) mod position;
pub(crate) mod resources;
pub(crate) mod restore;
mod room;
mod sidecar;
mod size;
pub(crate) mod sub_path;
pub(crate) mod user;
mod volumes;

use crate::bindings::BoundSecrets;
use crate::decision::{Context, Findings, RefusalReason};
use crate::pod::{ContainerKind, Pod};
use crate::requests::Requests;
use alcove_contract::annotations::{INJECTED, PodAnnotations};
use alcove_contract::configuration::{EnvironmentConfiguration, SidecarConfiguration};
use alcove_contract::{Problems, layout};
use document::{at, at_or_made, items, items_mut, object_mut, set, text};
use environment::Room;
use resources::Demand;
use serde_json::Value;
use sidecar::Sidecar;
use std::collections::{BTreeMap, BTreeSet};
use user::User;
use volumes::Volumes;

pub(crate) use patch::difference;
pub(crate) use sidecar::is_own_path;

/// What tells cluster autoscalers that volumes on the node's own memory or disk may be lost.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// Everything that the intended Pod is built from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Injection<'a> {
    /// The Pod as it came.
    pub received: &'a Pod,
    /// The Pod as it was before any earlier call.
    pub original: &'a Pod,
    /// The sidecar that an earlier call left.
    pub sidecar: Option<&'a Value>,
    pub bound: &'a BoundSecrets<'a>,
    pub requests: &'a Requests,
    pub annotations: &'a PodAnnotations,
    pub context: &'a Context<'a>,
}

impl Injection<'_> {
    /// The document of the Pod that gets its secrets; nothing where something stands in the way, which goes to
    /// `findings`.
    ///
    /// All that can be wrong is looked for first: nothing large is built for a Pod that is refused.
    pub(crate) fn intended(&self, findings: &mut Findings) -> Option<Value> {
        let mut document = self.original.document().clone();
        if self.bound.is_empty() {
            unmark(&mut document);
            return findings.is_clean().then_some(document);
        }
        let spec = document.get_mut("spec")?;
        let environments = collect(findings, RefusalReason::Unresolved, self.environments(spec));
        let volumes = collect(findings, RefusalReason::Unresolved, volumes::rewrite(spec, self.bound));
        let user = self.user(&volumes, findings);
        let resources = self.resources(&volumes, &environments, findings);
        if !findings.is_clean() {
            return None;
        }
        let sidecar = Sidecar {
            settings: self.context.settings,
            configuration: self.configuration(environments, &volumes, user),
            volumes: &volumes,
            identity: identity::sources(&self.requests.identity),
            user,
            resources,
            found: self.sidecar.unwrap_or(&Value::Null),
        };
        let container = collect(findings, RefusalReason::Unsupported, sidecar.container());
        self.place_volumes(spec, &sidecar.own_volumes());
        place_container(spec, container, position::after(at(self.original.document(), &["spec"]), self.annotations));
        self.mark(&mut document, &volumes);
        findings.is_clean().then_some(document)
    }

    fn environments(&self, spec: &mut Value) -> Result<Vec<EnvironmentConfiguration>, Problems> {
        let mut problems = Problems::none();
        let mut environments = Vec::new();
        let mut room = Room::default();
        for kind in [ContainerKind::Init, ContainerKind::Regular] {
            for (index, container) in items_mut(spec, kind.field()).iter_mut().enumerate() {
                let place = format!("spec.{}[{index}]", kind.field());
                let rewritten = problems.collect(environment::rewrite(container, &place, self.bound, &mut room));
                environments.extend(rewritten.flatten());
            }
        }
        problems.or(environments)
    }

    fn user(&self, volumes: &Volumes, findings: &mut Findings) -> User {
        let spec = at(self.original.document(), &["spec"]);
        let user = User::of(spec, volumes, self.context.settings.root_user);
        findings.warnings.extend(user.warnings(spec, volumes));
        findings.refuse(RefusalReason::Unsupported, user.check_mirrors(spec, &volumes.mirrors));
        findings.refuse(RefusalReason::Unsupported, owner::problems(spec, volumes, user.id));
        user
    }

    fn resources(
        &self,
        volumes: &Volumes,
        environments: &[EnvironmentConfiguration],
        findings: &mut Findings,
    ) -> Value {
        let spec = at(self.original.document(), &["spec"]);
        let ranges: Vec<_> = self.context.catalog.limit_ranges(self.original.namespace()).collect();
        let demand = Demand {
            settings: &self.context.settings.resources,
            wanted: self.annotations.resources.as_ref(),
            mebibytes_of_files: sidecar::mebibytes_of_files(volumes, environments),
            spec,
            position: position::after(spec, self.annotations).unwrap_or_default(),
            ranges: &ranges,
        };
        let resources = match demand.resources() {
            Ok(resources) => resources,
            Err(problems) => {
                findings.refuse(RefusalReason::Malformed, problems);
                return Value::Null;
            }
        };
        let kept = self.sidecar.and_then(|found| demand.kept(at(found, &["resources"])));
        kept.unwrap_or_else(|| collect(findings, RefusalReason::Invalid, demand.fitted(resources)))
    }

    fn configuration(
        &self,
        environments: Vec<EnvironmentConfiguration>,
        volumes: &Volumes,
        user: User,
    ) -> SidecarConfiguration {
        SidecarConfiguration {
            log_level: self.annotations.log_level,
            stores: self.requests.stores.clone(),
            secrets: self.requests.secrets.clone(),
            volumes: volumes.iter().map(|volume| volume.configuration(user.group_access)).collect(),
            environments,
        }
    }

    /// Adds the sidecar's own volumes behind the Pod's, or where an earlier call has put them.
    fn place_volumes(&self, spec: &mut Value, own: &[Value]) {
        let mut missing: BTreeMap<&str, &Value> = own.iter().map(|volume| (text(volume, "name"), volume)).collect();
        let mut theirs = items(spec, "volumes").iter();
        let mut placed: Vec<Value> = Vec::new();
        for found in items(at(self.received.document(), &["spec"]), "volumes") {
            let name = text(found, "name");
            match missing.remove(name) {
                Some(volume) => placed.push(volume.clone()),
                None if self.sidecar.is_some() && restore::is_own_volume(name) => {}
                None => placed.extend(theirs.next().cloned()),
            }
        }
        placed.extend(own.iter().filter(|volume| missing.contains_key(text(volume, "name"))).cloned());
        set(spec, "volumes", placed.into());
    }

    /// Says in the Pod that it was changed, and which of its volumes an autoscaler need not fear for.
    fn mark(&self, document: &mut Value, volumes: &Volumes) {
        let memory: Vec<String> = items(at(document, &["spec"]), "volumes")
            .iter()
            .filter(|volume| sidecar::is_memory(volume))
            .map(|volume| text(volume, "name").to_owned())
            .filter(|name| name.starts_with(layout::VOLUME_PREFIX) || volumes.contains(name))
            .collect();
        let annotations = at_or_made(document, "metadata").and_then(|metadata| object_mut(metadata, "annotations"));
        if let Some(annotations) = annotations {
            annotations.insert(INJECTED.to_owned(), self.context.settings.version.clone().into());
            let stated = annotations.get(SAFE_TO_EVICT).and_then(Value::as_str).unwrap_or_default();
            let merged = merged(stated, &memory);
            annotations.insert(SAFE_TO_EVICT.to_owned(), merged.into());
        }
    }
}

/// Takes what `result` gives; what is wrong goes to `findings`, and nothing is given.
fn collect<T: Default>(findings: &mut Findings, reason: RefusalReason, result: Result<T, Problems>) -> T {
    result.unwrap_or_else(|problems| {
        findings.refuse(reason, problems);
        T::default()
    })
}

/// Puts the sidecar where it belongs.
fn place_container(spec: &mut Value, container: Value, position: Option<usize>) {
    let mut containers = items(spec, "initContainers").to_vec();
    containers.insert(position.unwrap_or_default().min(containers.len()), container);
    set(spec, "initContainers", containers.into());
}

/// A list of volume names with ours in it, each once, the user's own first.
fn merged(stated: &str, ours: &[String]) -> String {
    let stated = stated.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut seen = BTreeSet::new();
    let all = stated.chain(ours.iter().map(String::as_str)).filter(|name| seen.insert(*name));
    all.collect::<Vec<_>>().join(",")
}

/// Takes away the mark of an earlier call.
fn unmark(document: &mut Value) {
    if let Some(Value::Object(annotations)) = document.pointer_mut("/metadata/annotations") {
        annotations.remove(INJECTED);
    }
}
