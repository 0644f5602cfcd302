//! Replacing a replica under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;

use super::process::{Stage, Webhook, send};
use super::reviews::{creation, pod};

/// How many API servers ask at once.
const CLIENTS: usize = 8;
/// How many reviews must be answered before each replacement, and after the last.
const REVIEWS: usize = 200;

/// Where reviews go: what a Service's endpoints are in a cluster.
#[derive(Default)]
struct Endpoint(Mutex<String>);

impl Endpoint {
    fn set(&self, webhook: &Webhook) {
        *self.0.lock().unwrap() = webhook.url("/mutate");
    }

    fn get(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_review_fails_while_replicas_are_replaced_under_load() {
    let stage = Stage::new();
    // As long as in a cluster: it must outlast what a busy machine takes for the reviews that come meanwhile.
    let start = || stage.serve_with(&["--drain-delay=5s"]);
    let mut serving = start();
    let endpoint = Arc::new(Endpoint::default());
    endpoint.set(&serving);
    let (answered, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            // Half of them over HTTP/1.1, as API servers do; half over HTTP/2.
            let builder = if number % 2 == 0 { stage.client() } else { stage.client().http1_only() };
            let client = builder.build().unwrap();
            let (endpoint, answered, done) = (Arc::clone(&endpoint), Arc::clone(&answered), Arc::clone(&done));
            tokio::spawn(async move {
                let review = creation(&pod("kv/app/db")).to_string();
                while !done.load(Ordering::SeqCst) {
                    let response = send(&client, &endpoint.get(), review.clone()).await.expect("an answer");
                    assert_eq!(response.status(), StatusCode::OK);
                    assert!(response.text().await.expect("a whole answer").contains("\"allowed\":true"));
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();

    for _ in 0..3 {
        under_load(&answered, &clients).await;
        let next = start();
        serving.terminate();
        // As in a cluster, readiness goes first, and the endpoints follow while the old replica serves on.
        unready(&serving).await;
        under_load(&answered, &clients).await;
        endpoint.set(&next);
        let ended = tokio::task::spawn_blocking(move || serving.wait()).await.unwrap();
        assert!(ended.success(), "{ended}");
        serving = next;
    }
    under_load(&answered, &clients).await;
    done.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
}

async fn unready(webhook: &Webhook) {
    loop {
        let response = reqwest::get(webhook.observation("/readyz")).await.unwrap();
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            return;
        }
    }
}

async fn under_load(answered: &AtomicUsize, clients: &[tokio::task::JoinHandle<()>]) {
    let target = answered.load(Ordering::SeqCst) + REVIEWS;
    while answered.load(Ordering::SeqCst) < target && clients.iter().all(|client| !client.is_finished()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
