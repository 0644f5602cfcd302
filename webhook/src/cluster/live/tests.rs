use serde_json::{Value, json};

use super::super::mock::ApiServer;
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::super::PAGE;
use super::bounds::PACE;
use super::reader::{LOOKS, READS};
use super::*;
use crate::objects::{Item, Kind};

/// How many kinds the reads of a namespace are of, without those of the cluster.
const OF_NAMESPACE: usize = 6;
/// How many kinds of the cluster there are.
const OF_CLUSTER: usize = Kind::ALL.len() - OF_NAMESPACE;

/// Reads, of a cluster in which the namespace `shop` exists.
fn live(server: &Arc<ApiServer>) -> Arc<Live> {
    server.put("/api/v1/namespaces", namespace("shop"));
    Arc::new(Live::new(server.client(), Objects::default(), Duration::from_secs(2), Arc::default()))
}

fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "7"}})
}

/// Has a watch deliver a namespace, which exists.
fn deliver(live: &Live, server: &ApiServer, name: &str) {
    server.put("/api/v1/namespaces", namespace(name));
    let item = Item::delivered(Kind::Namespace, &namespace(name)).unwrap();
    live.reader.objects().write().unwrap().watched(item, 7);
}

/// A review of a namespace that waits.
fn read(live: &Arc<Live>, namespace: &str) -> JoinHandle<Outcome> {
    let (live, namespace) = (Arc::clone(live), namespace.to_owned());
    tokio::spawn(async move { live.read(&namespace).await })
}

async fn outcomes(reviews: Vec<JoinHandle<Outcome>>) -> Vec<Outcome> {
    join_all(reviews).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_was_not_known_is_a_change_once() {
    let server = ApiServer::prompt();
    let account = json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}});
    server.put("/api/v1/namespaces/shop/serviceaccounts", account);
    let live = live(&server);
    assert_eq!(live.read("shop").await, Outcome::Changed);
    assert!(live.reader.objects().read().unwrap().catalog().service_account("shop", "web").is_some());
    assert_eq!(live.read("other").await, Outcome::Unchanged);
}

#[tokio::test]
async fn a_namespace_of_many_objects_is_read_to_its_end() {
    let server = ApiServer::prompt();
    let count = 3 * PAGE + 1;
    for number in 0..count {
        let account =
            json!({"metadata": {"name": format!("a-{number:03}"), "namespace": "shop", "resourceVersion": "7"}});
        server.put("/api/v1/namespaces/shop/serviceaccounts", account);
    }
    let live = live(&server);
    assert_eq!(live.read("shop").await, Outcome::Changed);
    let objects = live.reader.objects().read().unwrap();
    let is_known = |number: &u32| objects.catalog().service_account("shop", &format!("a-{number:03}")).is_some();
    assert!((0..count).all(|number| is_known(&number)));
    assert_eq!(server.lists(), 1 + Kind::ALL.len() + 3, "a look for the namespace, and then page by page");
}

#[tokio::test]
async fn what_is_gone_is_a_change_too() {
    let server = ApiServer::prompt();
    let account = json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}});
    server.put("/api/v1/namespaces/shop/serviceaccounts", account);
    let live = live(&server);
    live.read("shop").await;
    server.remove("/api/v1/namespaces/shop/serviceaccounts/web");
    assert_eq!(live.read("shop").await, Outcome::Changed);
    assert!(live.reader.objects().read().unwrap().catalog().service_account("shop", "web").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_in_time_has_not_said_that_something_is_absent() {
    let server = ApiServer::silent();
    assert_eq!(live(&server).read("shop").await, Outcome::Failed);
}

#[tokio::test(start_paused = true)]
async fn reviews_that_wait_share_a_read_and_none_believes_one_that_began_before_it() {
    let server = ApiServer::silent();
    let live = live(&server);
    deliver(&live, &server, "shop");
    let first = read(&live, "shop");
    while server.lists() < Kind::ALL.len() {
        tokio::task::yield_now().await;
    }
    // What these wait for was made after the first read had begun.
    let account = json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "9"}});
    server.put("/api/v1/namespaces/shop/serviceaccounts", account);
    let late: Vec<_> = (0..5).map(|_| read(&live, "shop")).collect();
    sleep(Duration::from_millis(1)).await;
    server.answer();
    assert_eq!(first.await.unwrap(), Outcome::Unchanged);
    assert_eq!(outcomes(late).await, [Outcome::Changed; 5]);
    assert_eq!(server.lists(), 2 * Kind::ALL.len());
    assert!(live.reader.is_idle(), "nothing is kept for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_does_not_exist_costs_one_look_and_there_are_few_at_once() {
    let server = ApiServer::prompt();
    let live = live(&server);
    let begin = Instant::now();
    let reviews = (0..100).map(|number| read(&live, &format!("invented-{number}"))).collect();
    assert_eq!(outcomes(reviews).await, [Outcome::Unchanged; 100]);
    assert_eq!(server.lists(), 100);
    assert!(server.most_at_once() <= LOOKS, "{}", server.most_at_once());
    let rounds = u32::try_from(100 / LOOKS).unwrap();
    assert!(begin.elapsed() >= PACE * (rounds - 1), "{:?}", begin.elapsed());
    for impossible in ["Shop", "shop,metadata.name=other", "a/b", &"a".repeat(64)] {
        assert_eq!(live.read(impossible).await, Outcome::Unchanged, "{impossible}");
    }
    assert_eq!(server.lists(), 100, "a name that no namespace can have");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_no_watch_has_delivered_is_found_and_read() {
    let server = ApiServer::prompt();
    let account = json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}});
    server.put("/api/v1/namespaces/shop/serviceaccounts", account);
    let live = live(&server);
    // Others ask for what there is not, all the while.
    let others: Vec<_> = (0..50).map(|number| read(&live, &format!("invented-{number}"))).collect();
    assert_eq!(read(&live, "shop").await.unwrap(), Outcome::Changed);
    assert!(live.reader.knows("shop"));
    outcomes(others).await;
}

#[tokio::test(start_paused = true)]
async fn the_kinds_of_the_cluster_are_read_once_for_all_namespaces_that_wait() {
    let server = ApiServer::silent();
    let live = live(&server);
    let names: Vec<String> = (0..READS).map(|number| format!("team-{number}")).collect();
    for name in &names {
        deliver(&live, &server, name);
    }
    let reviews = names.iter().map(|name| read(&live, name)).collect();
    sleep(PACE * 3).await;
    assert_eq!(server.lists(), READS * OF_NAMESPACE + OF_CLUSTER);
    server.answer();
    assert_eq!(outcomes(reviews).await, [Outcome::Unchanged; READS]);
    assert_eq!(live.read("").await, Outcome::Unchanged);
    assert_eq!(server.lists(), READS * OF_NAMESPACE + 2 * OF_CLUSTER, "a review of a store of the cluster");
}

#[tokio::test(start_paused = true)]
async fn a_few_namespaces_are_read_at_once_and_all_that_wait_have_their_turn() {
    let server = ApiServer::prompt();
    let live = live(&server);
    let names: Vec<String> = (0..30).map(|number| format!("team-{number}")).collect();
    for name in &names {
        deliver(&live, &server, name);
    }
    let begin = Instant::now();
    let reviews = names.iter().chain(&names).map(|name| read(&live, name)).collect();
    assert_eq!(outcomes(reviews).await, [Outcome::Unchanged; 60]);
    assert!(server.most_at_once() <= READS * OF_NAMESPACE + OF_CLUSTER, "{}", server.most_at_once());
    assert!(begin.elapsed() >= PACE * 3, "{:?}", begin.elapsed());
    assert!(server.lists() <= names.len() * OF_NAMESPACE + 5 * OF_CLUSTER, "{}", server.lists());
}

#[tokio::test(start_paused = true)]
async fn reviews_that_give_up_do_not_have_their_read_begun_again_and_again() {
    let server = ApiServer::silent();
    let live = live(&server);
    deliver(&live, &server, "shop");
    let mut reviews = Vec::new();
    for _ in 0..40 {
        reviews.push(read(&live, "shop"));
        sleep(PACE / 2).await;
    }
    assert_eq!(outcomes(reviews).await, [Outcome::Failed; 40]);
    assert!(server.lists() <= 3 * Kind::ALL.len(), "{}", server.lists());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_reviews_of_some_namespaces_leaves_a_seat_for_those_of_another() {
    let server = ApiServer::silent();
    let live = live(&server);
    for name in ["shop", "other"] {
        deliver(&live, &server, name);
    }
    let mut flood: Vec<_> = (0..SEATS).map(|_| read(&live, "shop")).collect();
    flood.extend((0..SEATS).map(|number| read(&live, &format!("invented-{number}"))));
    sleep(PACE).await;
    let review = read(&live, "other");
    sleep(PACE).await;
    server.answer();
    assert_eq!(review.await.unwrap(), Outcome::Unchanged);
    let outcomes = outcomes(flood).await;
    let of_shop = outcomes[..SEATS].iter().filter(|outcome| **outcome == Outcome::Crowded).count();
    assert_eq!(of_shop, SEATS / 2, "the rest of its reviews may come again");
    assert_eq!(live.read("shop").await, Outcome::Unchanged);
}

#[tokio::test(start_paused = true)]
async fn a_read_for_which_nobody_waits_any_more_does_not_begin() {
    let server = ApiServer::silent();
    let live = live(&server);
    for round in 0..5 {
        let reviews = (0..SEATS / 2).map(|number| read(&live, &format!("invented-{round}-{number}"))).collect();
        assert!(outcomes(reviews).await.iter().all(|outcome| *outcome == Outcome::Failed));
    }
    sleep(Duration::from_secs(3)).await;
    assert!(live.reader.is_idle(), "what nobody waits for piles up");
    assert!(server.lists() <= 5 * 2 * LOOKS, "{}", server.lists());
}
