//! Events about Pods, each at most once an hour.

use std::collections::{HashMap, HashSet};

use alcove_injection::sweep::Finding;
use jiff::Timestamp;
use kube::Client;

use super::found::Found;
use crate::events::{self, News, Regarding, Reporter, Told};

/// How many Events one sweep makes: a deny that is mistaken must not fill etcd with them. The others come with the next.
const MOST_TOLD: usize = 500;
/// Of how many findings it is remembered that they were told. Others are told again, which the API server refuses.
const MOST_REMEMBERED: usize = 10_000;
/// After how many failures in one sweep that are not a namespace's own nothing more is told in it.
const MOST_FAILURES: usize = 3;

/// What has been told.
pub(super) struct Events {
    reporter: Reporter,
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
        let reporter = Reporter::new(client, identity);
        Self { reporter, now: Timestamp::UNIX_EPOCH, hour: 0, before, this, told: 0, failures: 0, refusing }
    }

    /// Begins a sweep.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.hour = events::hour(now);
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
        reason(&found.finding).is_some() && !self.before.contains_key(&subject(found))
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
        let Some(news) = news(found) else { return false };
        let is_over = self.told >= MOST_TOLD || self.failures >= MOST_FAILURES;
        if is_over || self.refusing.contains(&found.namespace) {
            return false;
        }
        self.told = self.told.saturating_add(1);
        match self.reporter.tell(&news, self.now).await {
            Told::Created => {
                let Found { namespace, pod, finding, .. } = found;
                tracing::warn!(namespace, pod, finding = finding.as_str(), "a Pod that is there already: {finding}");
                return true;
            }
            Told::Known => return true,
            Told::Refused => _ = self.refusing.insert(found.namespace.clone()),
            Told::Failed => self.failures = self.failures.saturating_add(1),
        }
        false
    }
}

fn news(found: &Found) -> Option<News> {
    let reason = reason(&found.finding)?;
    let Found { namespace, pod, uid, finding, .. } = found;
    let regarding = Regarding {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: namespace.clone(),
        name: pod.clone(),
        uid: uid.clone(),
    };
    Some(News { regarding, cause: finding.as_str(), action: "Sweep", reason, note: finding.to_string() })
}

fn subject(found: &Found) -> Subject {
    (found.uid.clone(), found.finding.as_str())
}

/// What a policy on trial has against a Pod stands in its status, and the Pod's owner is left alone.
const fn reason(finding: &Finding) -> Option<&'static str> {
    match finding {
        Finding::NotInjected { .. } => Some("AlcoveNotInjected"),
        Finding::NoLongerGranted(_) => Some("AlcoveNoLongerGranted"),
        Finding::WouldBeRefused(_) => None,
    }
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
    async fn nobody_is_told_of_what_is_not_enforced() {
        let server = ApiServer::prompt();
        let mut events = Events::new(server.client(), "replica".to_owned());
        let finding = Finding::WouldBeRefused(Vec::new());
        let found = Found { finding, ..found("shop", "web") };
        assert!(!events.is_news(&found));
        events.tell(&found).await;
        assert_eq!(server.writes().len(), 0);
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
