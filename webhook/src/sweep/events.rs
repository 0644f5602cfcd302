//! Events about Pods, each at most once an hour.
//!
//! The name of an Event says about which Pod, why and in which hour, so that two replicas that follow each other cannot
//! make it twice, and none needs the right to read or change Events.

use std::collections::{HashMap, HashSet};

use alcove_injection::sweep::Finding;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};

use super::found::Found;
use super::tally::shortened;
use crate::report;

/// Who tells.
const CONTROLLER: &str = "alcove.dev/webhook";
/// The longest note of an Event.
const LONGEST_NOTE: usize = 1_024;
/// How much of a Pod's name goes into that of its Event, whose other parts need the rest.
const LONGEST_POD: usize = 190;
/// How many Events one sweep makes: a deny that is mistaken must not fill etcd with them. The others come with the next.
const MOST_TOLD: usize = 500;
/// Of how many findings it is remembered that they were told. Others are told again, which the API server refuses.
const MOST_REMEMBERED: usize = 10_000;
/// After how many failures in one sweep that are not a namespace's own nothing more is told in it.
const MOST_FAILURES: usize = 3;
const SECONDS_PER_HOUR: i64 = 3_600;

/// What has been told.
pub(super) struct Events {
    client: Client,
    identity: String,
    now: Timestamp,
    hour: i64,
    /// The findings of the last sweep, and the hours in which they were told.
    before: HashMap<Subject, i64>,
    /// Those of this one.
    this: HashMap<Subject, i64>,
    told: usize,
    failures: usize,
    /// The namespaces in which this sweep could make none: a quota, or the end of the namespace, is their own affair.
    refusing: HashSet<String>,
}

/// Which Pod, and what is told of it.
type Subject = (String, &'static str);

impl Events {
    pub(super) fn new(client: Client, identity: String) -> Self {
        let (before, this) = (HashMap::new(), HashMap::new());
        let refusing = HashSet::new();
        Self { client, identity, now: Timestamp::UNIX_EPOCH, hour: 0, before, this, told: 0, failures: 0, refusing }
    }

    /// Begins a sweep.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.hour = now.as_second().div_euclid(SECONDS_PER_HOUR);
        // What a sweep that did not come to its end has told is not told again.
        self.before.extend(self.this.drain());
        (self.told, self.failures) = (0, 0);
        self.refusing.clear();
    }

    /// Ends a sweep: what it has not found again is forgotten.
    pub(super) fn end(&mut self) {
        self.before = std::mem::take(&mut self.this);
    }

    /// Whether something was not found in the last sweep.
    pub(super) fn is_news(&self, found: &Found) -> bool {
        !self.before.contains_key(&subject(found))
    }

    /// Tells of a Pod, unless that was done in this hour.
    pub(super) async fn tell(&mut self, found: &Found) {
        let subject = subject(found);
        let told_in = self.before.get(&subject).copied();
        if told_in == Some(self.hour) || self.create(found).await {
            self.remember(subject, self.hour);
        } else if let Some(hour) = told_in {
            self.remember(subject, hour);
        }
    }

    fn remember(&mut self, subject: Subject, hour: i64) {
        if self.this.len() < MOST_REMEMBERED {
            self.this.insert(subject, hour);
        }
    }

    /// Whether the Event is there now.
    async fn create(&mut self, found: &Found) -> bool {
        let is_over = self.told >= MOST_TOLD || self.failures >= MOST_FAILURES;
        if is_over || self.refusing.contains(&found.namespace) {
            return false;
        }
        self.told = self.told.saturating_add(1);
        let events: Api<Event> = Api::namespaced(self.client.clone(), &found.namespace);
        match events.create(&PostParams::default(), &self.event(found)).await {
            Ok(_created) => {
                let Found { namespace, pod, finding, .. } = found;
                tracing::warn!(namespace, pod, finding = finding.as_str(), "a Pod that is there already: {finding}");
                true
            }
            // Another replica was faster, or this one before it was started anew.
            Err(kube::Error::Api(status)) if status.code == 409 => true,
            Err(error) => {
                match &error {
                    kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                        self.refusing.insert(found.namespace.clone());
                    }
                    _ => self.failures = self.failures.saturating_add(1),
                }
                tracing::warn!(namespace = found.namespace, error = report::chain(&error), "failed to create an Event");
                false
            }
        }
    }

    fn event(&self, found: &Found) -> Event {
        let Found { namespace, pod, uid, finding, .. } = found;
        let beginning = shortened_name(pod);
        let name = format!("{beginning}.{uid}.{}.{}", finding.as_str(), self.hour);
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.clone()), ..ObjectMeta::default() },
            event_time: Some(MicroTime(self.now)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(shortened(self.identity.clone(), 128)),
            action: Some("Sweep".to_owned()),
            reason: Some(reason(finding).to_owned()),
            note: Some(shortened(finding.to_string(), LONGEST_NOTE)),
            type_: Some("Warning".to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(namespace.clone()),
                name: Some(pod.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

fn subject(found: &Found) -> Subject {
    (found.uid.clone(), found.finding.as_str())
}

const fn reason(finding: &Finding) -> &'static str {
    match finding {
        Finding::NotInjected { .. } => "AlcoveNotInjected",
        Finding::NoLongerGranted(_) => "AlcoveNoLongerGranted",
    }
}

/// The beginning of a Pod's name that another part of a name may follow.
fn shortened_name(pod: &str) -> &str {
    let beginning = pod.get(..LONGEST_POD).unwrap_or(pod);
    beginning.trim_end_matches(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::mock::ApiServer;

    fn found(namespace: &str, pod: &str) -> Found {
        Found {
            index: 0,
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            uid: format!("{namespace}-{pod}"),
            finding: Finding::NotInjected { reason: "has no sidecar".to_owned() },
        }
    }

    #[tokio::test]
    async fn a_namespace_that_refuses_events_silences_no_other_one() {
        let server = ApiServer::prompt();
        server.forbid("/apis/events.k8s.io/v1/namespaces/early/events");
        let mut events = Events::new(server.client(), "replica".to_owned());
        events.begin("2026-01-01T10:20:00Z".parse().unwrap());
        for pod in ["a", "b", "c", "d", "e"] {
            events.tell(&found("early", pod)).await;
        }
        events.tell(&found("shop", "web")).await;
        let told: Vec<String> = server.writes().into_iter().map(|(_, path, _)| path).collect();
        assert_eq!(told, ["/apis/events.k8s.io/v1/namespaces/shop/events"]);
        assert_eq!(events.told, 2, "a namespace that refuses is asked once");
    }
}
