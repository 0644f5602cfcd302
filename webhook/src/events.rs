//! Events about objects of others, each at most once an hour.
//!
//! The name of an Event says about which object, why and in which hour, so that replicas that tell the same cannot make it
//! twice, and none needs the right to read or change Events.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::report::{self, shortened};

/// Who tells.
const CONTROLLER: &str = "alcove.dev/webhook";
/// The longest note of an Event.
const LONGEST_NOTE: usize = 1_024;
/// The longest name of who tells.
const LONGEST_INSTANCE: usize = 128;
/// How much of an object's name goes into that of its Event, whose other parts need the rest.
const LONGEST_BEGINNING: usize = 190;
const SECONDS_PER_HOUR: i64 = 3_600;

/// What is told of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Of which.
    pub regarding: Regarding,
    /// Why, as a part of the Event's name: of one object each is told once an hour.
    pub cause: &'static str,
    /// What was done.
    pub action: &'static str,
    /// Why, as people select Events.
    pub reason: &'static str,
    /// The text for people, of any length.
    pub note: String,
}

/// An object of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Regarding {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// What became of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is there now.
    Created,
    /// It was there: another replica was faster, or this one before it was started anew.
    Known,
    /// The namespace takes none, through a quota or its end, and the next one would fare no better.
    Refused,
    /// The API server did not take it now.
    Failed,
}

/// Makes Events.
#[derive(Clone)]
pub(crate) struct Reporter {
    client: Client,
    identity: String,
}

impl Reporter {
    /// Tells as the replica of this name.
    pub(crate) fn new(client: Client, identity: String) -> Self {
        Self { client, identity }
    }

    /// Makes the Event of this hour.
    pub(crate) async fn tell(&self, news: &News, now: Timestamp) -> Told {
        let namespace = news.regarding.namespace.as_str();
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let Err(error) = events.create(&PostParams::default(), &self.event(news, now)).await else {
            return Told::Created;
        };
        let told = match &error {
            kube::Error::Api(status) if status.code == 409 => return Told::Known,
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => Told::Refused,
            _ => Told::Failed,
        };
        tracing::warn!(namespace, error = report::chain(&error), "failed to create an Event");
        told
    }

    fn event(&self, news: &News, now: Timestamp) -> Event {
        let Regarding { api_version, kind, namespace, name, uid } = &news.regarding;
        let beginning = beginning(name);
        let event_name = format!("{beginning}.{uid}.{}.{}", news.cause, hour(now));
        Event {
            metadata: ObjectMeta {
                name: Some(event_name),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(shortened(self.identity.clone(), LONGEST_INSTANCE)),
            action: Some(news.action.to_owned()),
            reason: Some(news.reason.to_owned()),
            note: Some(shortened(news.note.clone(), LONGEST_NOTE)),
            type_: Some("Warning".to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some(api_version.clone()),
                kind: Some(kind.clone()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

/// The hour of a time, counted from 1970.
pub(crate) fn hour(now: Timestamp) -> i64 {
    now.as_second().div_euclid(SECONDS_PER_HOUR)
}

/// The beginning of a name that another part of a name may follow.
fn beginning(name: &str) -> &str {
    name.get(..LONGEST_BEGINNING).unwrap_or(name).trim_end_matches(['.', '-'])
}
