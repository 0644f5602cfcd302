//! The status of policies: whether they can be read, how many ServiceAccounts they select, which Pods they deny what they
//! have.

use std::sync::Arc;

use alcove_injection::Catalog;
use alcove_injection::policy::{Reach, stated_mode};
use alcove_resources::policy::PolicyStatus;
use alcove_resources::{Kind as OurKind, Object, ObjectName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::SweepError;
use super::tally::ByPolicy;
use crate::clock;
use crate::cluster::{PAGE, document, resource};
use crate::objects::{Key, Kind};
use crate::report::shortened;

/// Who writes the status of policies.
const FIELD_MANAGER: &str = "alcove-webhook";
/// The condition that says whether a policy can be read.
const READY: &str = "Ready";
const LONGEST_MESSAGE: usize = 4_096;

/// Writes the status of every policy of which it is not what is there.
pub(super) async fn publish(
    client: &Client,
    catalog: &Arc<Catalog>,
    violations: &Arc<ByPolicy>,
) -> Result<(), SweepError> {
    for kind in [OurKind::SecretPolicy, OurKind::ClusterSecretPolicy] {
        let policies = Policies { client, kind, resource: resource(Kind::Ours(kind)) };
        policies.publish(catalog, violations).await?;
    }
    Ok(())
}

/// The policies of one kind.
struct Policies<'a> {
    client: &'a Client,
    kind: OurKind,
    resource: ApiResource,
}

/// A status that is not what is there.
struct Change {
    policy: ObjectName,
    status: PolicyStatus,
}

impl Policies<'_> {
    async fn publish(&self, catalog: &Arc<Catalog>, violations: &Arc<ByPolicy>) -> Result<(), SweepError> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &self.resource);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = api.list(&page).await?;
            let documents = list.items.into_iter().map(|object| document(&self.resource, object).0);
            let (documents, kind) = (documents.collect::<Vec<_>>(), self.kind);
            let (catalog, violations) = (Arc::clone(catalog), Arc::clone(violations));
            let changes = spawn_blocking(move || {
                documents
                    .iter()
                    .filter_map(|document| change(kind, document, &catalog, &violations))
                    .collect::<Vec<_>>()
            });
            for change in changes.await? {
                self.apply(&change).await?;
            }
            match list.metadata.continue_.filter(|rest| !rest.is_empty()) {
                Some(rest) => page = page.continue_token(&rest),
                None => return Ok(()),
            }
        }
    }

    async fn apply(&self, Change { policy, status }: &Change) -> Result<(), SweepError> {
        let client = self.client.clone();
        let api: Api<DynamicObject> = if policy.kind.is_namespaced() {
            Api::namespaced_with(client, &policy.namespace, &self.resource)
        } else {
            Api::all_with(client, &self.resource)
        };
        let (api_version, kind) = (&self.resource.api_version, &self.resource.kind);
        let applied =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": policy.name}, "status": status});
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        match api.patch_status(&policy.name, &parameters, &Patch::Apply(applied)).await {
            Ok(_applied) => Ok(()),
            // It has gone meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The status that a policy should have, if it is not what it has.
fn change(kind: OurKind, document: &Value, catalog: &Catalog, violations: &ByPolicy) -> Option<Change> {
    let Key { namespace, name, .. } = Key::of(Kind::Ours(kind), document).ok()?;
    let reach = match Object::from_value(document) {
        Ok(policy) => Reach::of(&policy?, catalog)?,
        Err(problem) => Reach { problems: problem.into(), mode: stated_mode(document), service_accounts: None },
    };
    let policy = ObjectName { kind, namespace, name };
    let there = document.get("status").and_then(|status| PolicyStatus::deserialize(status).ok()).unwrap_or_default();
    let violations = violations.get(&policy).cloned().unwrap_or_default();
    let status = PolicyStatus {
        conditions: vec![ready(&reach, document, &there)],
        service_accounts: reach.service_accounts.map(number),
        violating_pods: Some(number(violations.pods)),
        violations: violations.listed,
    };
    (status != there).then_some(Change { policy, status })
}

/// Whether the policy can be read, and since when.
fn ready(Reach { problems, mode, .. }: &Reach, document: &Value, there: &PolicyStatus) -> Condition {
    let (status, reason, message) = if problems.is_empty() {
        ("True", "Readable", "all of it can be read".to_owned())
    } else if mode.is_trial() {
        ("False", "Unreadable", format!("not all that it would refuse is told until it is mended\n{problems}"))
    } else {
        ("False", "Unreadable", format!("whom it concerns is refused until it is mended\n{problems}"))
    };
    let same = there.conditions.iter().find(|condition| condition.type_ == READY && condition.status == status);
    Condition {
        type_: READY.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: shortened(message, LONGEST_MESSAGE),
        observed_generation: document.pointer("/metadata/generation").and_then(Value::as_i64),
        last_transition_time: same.map_or_else(|| Time(clock::now()), |same| same.last_transition_time.clone()),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
