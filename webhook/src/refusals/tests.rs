use alcove_injection::settings::{KubernetesVersion, Settings};
use arc_swap::ArcSwap;
use serde_json::json;

use super::*;
use crate::admission::{Admission, Turns};
use crate::args::Webhook;
use crate::cluster::Objects;
use crate::cluster::live::Live;
use crate::cluster::mock::ApiServer;
use crate::review::Review;

const UID: &str = "0f0e0d0c-0b0a-0908-0706-050403020100";

/// A time of the hour of this number.
fn in_hour(hour: i64) -> Timestamp {
    Timestamp::from_second(hour * 3_600 + 1_800).unwrap()
}

/// A refusal of a Pod of the ReplicaSet with this number.
fn refused(namespace: &str, number: usize) -> Refused {
    Refused(News {
        regarding: Regarding {
            api_version: "apps/v1".to_owned(),
            kind: "ReplicaSet".to_owned(),
            namespace: namespace.to_owned(),
            name: "web-1".to_owned(),
            uid: format!("0f0e0d0c-0b0a-0908-0706-{number:012}"),
        },
        cause: "policy",
        action: "Admit",
        reason: "AlcoveRefused",
        note: "no".to_owned(),
    })
}

struct Setting {
    server: Arc<ApiServer>,
    metrics: Arc<Metrics>,
}

impl Setting {
    fn of(server: Arc<ApiServer>) -> Self {
        server.put("/api/v1/namespaces", json!({"metadata": {"name": "shop", "resourceVersion": "9"}}));
        Self { server, metrics: Arc::default() }
    }

    fn refusals(&self) -> (Refusals, impl Future<Output = ()> + use<>) {
        let reporter = Reporter::new(self.server.client(), "replica".to_owned());
        Refusals::new(reporter, Arc::clone(&self.metrics))
    }

    fn count(&self, outcome: &str) -> usize {
        let metric = format!("alcove_webhook_refusal_events_total{{outcome=\"{outcome}\"}} ");
        let text = self.metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(&metric)?.parse().ok()).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_controller_is_told_once_an_hour_for_each_kind_of_refusal_however_often_it_tries() {
    let setting = Setting::of(ApiServer::prompt());
    let (refusals, work) = setting.refusals();
    let other_cause = Refused(News { cause: "unresolved", ..refused("shop", 1).0 });
    for _try in 0..50 {
        for told in [refused("shop", 1), refused("shop", 2), other_cause.clone(), refused("office", 1)] {
            refusals.tell(&told, in_hour(7));
        }
    }
    refusals.tell(&refused("shop", 1), in_hour(8));
    drop(refusals);
    work.await;
    assert_eq!(setting.server.writes().len(), 5);
    // Another replica, or this one after it was started anew.
    let (refusals, work) = setting.refusals();
    refusals.tell(&refused("shop", 1), in_hour(8));
    drop(refusals);
    work.await;
    assert_eq!((setting.count("created"), setting.count("known"), setting.count("dropped")), (5, 1, 0));
}

#[tokio::test]
async fn nobody_waits_and_what_finds_no_room_is_counted_and_told_at_the_next_try() {
    let setting = Setting::of(ApiServer::prompt());
    let (refusals, work) = setting.refusals();
    let all: Vec<Refused> =
        ["a", "b"].iter().flat_map(|namespace| (0..75).map(|number| refused(namespace, number))).collect();
    // Nothing works on the queue yet.
    for refused in &all {
        refusals.tell(refused, in_hour(7));
    }
    assert_eq!(setting.count("dropped"), 50);
    for refused in all.iter().take(QUEUE) {
        refusals.tell(refused, in_hour(7));
    }
    assert_eq!(setting.count("dropped"), 50, "what waits already is no loss");
    let working = tokio::spawn(work);
    while setting.count("created") < QUEUE {
        tokio::task::yield_now().await;
    }
    for refused in &all {
        refusals.tell(refused, in_hour(7));
    }
    drop(refusals);
    working.await.unwrap();
    assert_eq!((setting.count("created"), setting.count("dropped")), (150, 50));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_is_not_waited_for_and_is_told_at_the_next_try() {
    let setting = Setting::of(ApiServer::silent());
    let (refusals, work) = setting.refusals();
    let working = tokio::spawn(work);
    refusals.tell(&refused("shop", 1), in_hour(7));
    while setting.count("failed") == 0 {
        tokio::time::advance(PATIENCE).await;
    }
    setting.server.remove(&format!("/apis/events.k8s.io/v1/namespaces/shop/events/web-1.{}.policy.7", {
        let Refused(news) = refused("shop", 1);
        news.regarding.uid
    }));
    setting.server.answer();
    refusals.tell(&refused("shop", 1), in_hour(7));
    drop(refusals);
    working.await.unwrap();
    assert_eq!(setting.count("created"), 1);
}

#[tokio::test]
async fn owners_that_one_namespace_makes_up_take_nothing_from_another_one() {
    let setting = Setting::of(ApiServer::prompt());
    let (refusals, work) = setting.refusals();
    let working = tokio::spawn(work);
    for number in 0..3 * MOST_OF_NAMESPACE {
        refusals.tell(&refused("forger", number), in_hour(7));
        tokio::task::yield_now().await;
    }
    refusals.tell(&refused("shop", 1), in_hour(7));
    drop(refusals);
    working.await.unwrap();
    let of_shop = |path: &str| path.contains("/shop/");
    let writes = setting.server.writes();
    assert_eq!(writes.iter().filter(|(_, path, _)| of_shop(path)).count(), 1);
    assert!(writes.len() <= MOST_OF_NAMESPACE + 1, "{} Events", writes.len());
    assert!(setting.count("dropped") >= 2 * MOST_OF_NAMESPACE, "{}", setting.metrics.encode());
}

#[tokio::test]
async fn a_namespace_that_takes_no_events_is_asked_once_for_each_of_them() {
    let setting = Setting::of(ApiServer::prompt());
    setting.server.forbid("/apis/events.k8s.io/v1/namespaces/shop/events");
    let (refusals, work) = setting.refusals();
    let working = tokio::spawn(work);
    refusals.tell(&refused("shop", 1), in_hour(7));
    while setting.count("refused") == 0 {
        tokio::task::yield_now().await;
    }
    refusals.tell(&refused("shop", 1), in_hour(7));
    drop(refusals);
    working.await.unwrap();
    assert_eq!(setting.count("refused"), 1);
}

/// Reviews a Pod with these references to owners that names a Secret of a store which is not there.
async fn review(setting: &Setting, owners: &Value, dry_run: &str) {
    let (refusals, work) = setting.refusals();
    let objects = Objects::default();
    let settings = Arc::new(ArcSwap::from_pointee(Settings::new("sidecar", KubernetesVersion::new(1, 37))));
    let patience = Duration::from_secs(2);
    let live = Live::new(setting.server.client(), Arc::clone(&objects), patience, Arc::default());
    let admission = Admission::in_cluster(objects, settings, live).telling(refusals);
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "object": {
                "metadata": {
                    "generateName": "web-",
                    "annotations": {"secret.alcove.dev/db": format!("nowhere:{}", "k".repeat(2_000))},
                    "ownerReferences": owners,
                },
                "spec": {
                    "volumes": [{"name": "db", "secret": {"secretName": "db"}}],
                    "containers": [{"name": "app", "volumeMounts": [{"name": "db", "mountPath": "/db"}]}],
                },
            },
        },
    });
    review["request"]["dryRun"] = serde_json::from_str(dry_run).unwrap();
    let review = Review::parse(review.to_string().as_bytes()).unwrap();
    for webhook in [Webhook::Mutating, Webhook::Validating] {
        let (answer, _) = admission.review(webhook, review.clone(), &Turns::of(1)).await.unwrap();
        assert_eq!(json!(answer.into_document())["response"]["allowed"], false);
    }
    drop(admission);
    work.await;
}

fn owner() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "name": "report", "uid": UID, "controller": true})
}

#[tokio::test]
async fn the_event_is_about_the_controller_and_as_long_as_the_api_server_takes_it() {
    let setting = Setting::of(ApiServer::prompt());
    let mut another = owner();
    another["controller"] = false.into();
    let mut long = owner();
    long["name"] = "n".repeat(253).into();
    review(&setting, &json!([another, long]), "false").await;
    let [(_, path, event)] = setting.server.writes().try_into().unwrap();
    assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/shop/events");
    let about = &event["regarding"];
    assert_eq!((&about["kind"], &about["apiVersion"], &about["uid"]), (&json!("Job"), &json!("batch/v1"), &json!(UID)));
    assert_eq!((&about["namespace"], &about["name"]), (&json!("shop"), &long["name"]));
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("AlcoveRefused")));
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("Pod \"web-*\" is refused:\n") && note.len() <= 1_024, "{note}");
    assert!(event["metadata"]["name"].as_str().unwrap().len() <= 253, "{event}");
}

#[tokio::test]
async fn a_dry_run_tells_nothing() {
    let setting = Setting::of(ApiServer::prompt());
    review(&setting, &json!([owner()]), "true").await;
    assert!(setting.server.writes().is_empty());
    review(&setting, &json!([owner()]), "null").await;
    assert_eq!(setting.server.writes().len(), 1, "without a dry run it is told");
}

#[tokio::test]
async fn nobody_is_told_of_a_namespace_that_nobody_knows() {
    let setting = Setting::of(ApiServer::prompt());
    setting.server.remove("/api/v1/namespaces/shop");
    review(&setting, &json!([owner()]), "false").await;
    assert!(setting.server.writes().is_empty());
}

#[tokio::test]
async fn what_is_no_controller_makes_no_event() {
    let setting = Setting::of(ApiServer::prompt());
    let with = |field: &str, value: Value| {
        let mut owner = owner();
        owner[field] = value;
        json!([owner])
    };
    for owners in [
        Value::Null,
        json!({}),
        json!([]),
        json!([7, null]),
        with("controller", json!(false)),
        with("controller", json!("true")),
        with("uid", json!("")),
        with("uid", json!("../../../../../../../api/v1/namespaces/x")),
        with("uid", json!(7)),
        with("name", json!("n".repeat(254))),
        with("kind", Value::Null),
    ] {
        review(&setting, &owners, "false").await;
        assert!(setting.server.writes().is_empty(), "{owners}");
    }
}
