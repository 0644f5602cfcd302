//! An API server in memory, as far as this program talks to one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body as Answer;
use futures::stream::pending;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Collections of which single objects are read and written.
const BY_NAME: [&str; 3] = ["secrets", "leases", "mutatingwebhookconfigurations"];

/// Objects by their paths, and what was asked.
#[derive(Debug)]
pub(crate) struct ApiServer {
    objects: Mutex<BTreeMap<String, Value>>,
    writes: Mutex<Vec<(Method, String, Value)>>,
    forbidden: Mutex<BTreeSet<&'static str>>,
    lists: AtomicUsize,
    /// How many are being answered, and how many were at most.
    under_way: Mutex<(usize, usize)>,
    version: AtomicUsize,
    /// Answers are given as long as there are permits.
    answers: Semaphore,
}

impl ApiServer {
    /// It answers at once.
    pub(crate) fn prompt() -> Arc<Self> {
        Self::with_answers(Semaphore::MAX_PERMITS)
    }

    /// It answers nothing until [`ApiServer::answer`].
    pub(crate) fn silent() -> Arc<Self> {
        Self::with_answers(0)
    }

    fn with_answers(count: usize) -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::default(),
            writes: Mutex::default(),
            forbidden: Mutex::default(),
            lists: AtomicUsize::new(0),
            under_way: Mutex::default(),
            version: AtomicUsize::new(100),
            answers: Semaphore::new(count),
        })
    }

    /// Answers everything from now on.
    pub(crate) fn answer(&self) {
        self.answers.add_permits(1_000);
    }

    /// Answers nothing from now on.
    pub(crate) fn fall_silent(&self) {
        self.answers.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Refuses from now on a verb, which is list, watch, get or write, or whatever is done at a path.
    pub(crate) fn forbid(&self, verb: &'static str) {
        self.forbidden.lock().unwrap().insert(verb);
    }

    fn forbids(&self, verb: &str, path: &str) -> bool {
        let forbidden = self.forbidden.lock().unwrap();
        forbidden.contains(verb) || forbidden.contains(path)
    }

    /// Takes that back.
    pub(crate) fn permit(&self, verb: &'static str) {
        self.forbidden.lock().unwrap().remove(verb);
    }

    /// Puts an object into a collection.
    pub(crate) fn put(&self, collection: &str, object: Value) {
        let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap());
        self.objects.lock().unwrap().insert(path, object);
    }

    /// Takes an object out of its collection.
    pub(crate) fn remove(&self, path: &str) {
        self.objects.lock().unwrap().remove(path);
    }

    /// The object at a path.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap().get(path).cloned()
    }

    /// How many lists were asked for.
    pub(crate) fn lists(&self) -> usize {
        self.lists.load(Ordering::SeqCst)
    }

    /// How many requests were being answered at once, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.under_way.lock().unwrap().1
    }

    /// What was written since the last call: method, path and body.
    pub(crate) fn writes(&self) -> Vec<(Method, String, Value)> {
        std::mem::take(&mut self.writes.lock().unwrap())
    }

    pub(crate) fn client(self: &Arc<Self>) -> Client {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let _under_way = UnderWay::begin(&server);
                server.respond(request).await
            }
        });
        Client::new(service, "default")
    }

    async fn respond(&self, request: Request<Body>) -> Result<Response<Answer>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path();
        let verb = verb(&head);
        let (status, answer) = match verb {
            _ if self.forbids(verb, path) => failure(StatusCode::FORBIDDEN),
            // Watches deliver nothing, not even an end.
            "watch" => {
                self.answers.acquire().await.unwrap().forget();
                return Ok(Response::new(Answer::from_stream(pending::<Result<Vec<u8>, std::io::Error>>())));
            }
            "write" => self.write(&head.method, path, serde_json::from_slice(&body).unwrap()),
            _ => self.read(path, head.uri.query().unwrap_or_default()),
        };
        self.answers.acquire().await.unwrap().forget();
        Ok(Response::builder().status(status).body(Answer::from(answer.to_string())).unwrap())
    }

    fn read(&self, path: &str, query: &str) -> (StatusCode, Value) {
        let objects = self.objects.lock().unwrap();
        if is_by_name(path) {
            return objects
                .get(path)
                .map_or_else(|| failure(StatusCode::NOT_FOUND), |object| (StatusCode::OK, object.clone()));
        }
        self.lists.fetch_add(1, Ordering::SeqCst);
        let parent = |object: &str| object.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        let named = query.split('&').find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"));
        let is_named =
            |object: &str| named.is_none_or(|name| object.rsplit_once('/').is_some_and(|(_, own)| own == name));
        let items = objects.iter().filter(|(object, _)| parent(object).as_deref() == Some(path) && is_named(object));
        let items: Vec<Value> = items.map(|(_, object)| object.clone()).collect();
        // Tokens are opaque to clients; here they are how many have been read.
        let number = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.parse::<usize>().ok());
        let begin = number("continue=").unwrap_or(0);
        let end = number("limit=").map_or(items.len(), |limit| items.len().min(begin + limit));
        let next = if end < items.len() { end.to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": "100", "continue": next});
        (StatusCode::OK, json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items[begin..end]}))
    }

    fn write(&self, method: &Method, path: &str, mut object: Value) -> (StatusCode, Value) {
        self.writes.lock().unwrap().push((method.clone(), path.to_owned(), object.clone()));
        let path = match *method {
            Method::POST => format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()),
            _ => path.to_owned(),
        };
        let mut objects = self.objects.lock().unwrap();
        if let Some(parent) = path.strip_suffix("/status") {
            let Some(whole) = objects.get_mut(parent) else { return failure(StatusCode::NOT_FOUND) };
            whole["status"] = object["status"].take();
            return (StatusCode::OK, whole.clone());
        }
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if *method != Method::PATCH && objects.get(&path).map(version).unwrap_or_default() != version(&object) {
            return failure(StatusCode::CONFLICT);
        }
        let next = self.version.fetch_add(1, Ordering::SeqCst);
        object["metadata"]["resourceVersion"] = json!(next.to_string());
        objects.insert(path, object.clone());
        (StatusCode::OK, object)
    }
}

/// A request that is being answered, or that its client has given up.
struct UnderWay<'a>(&'a ApiServer);

impl<'a> UnderWay<'a> {
    fn begin(server: &'a ApiServer) -> Self {
        let mut under_way = server.under_way.lock().unwrap();
        under_way.0 += 1;
        under_way.1 = under_way.1.max(under_way.0);
        Self(server)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.lock().unwrap().0 -= 1;
    }
}

fn verb(head: &Parts) -> &'static str {
    match head.method {
        Method::GET if head.uri.query().unwrap_or_default().contains("watch=true") => "watch",
        Method::GET if is_by_name(head.uri.path()) => "get",
        Method::GET => "list",
        _ => "write",
    }
}

fn is_by_name(path: &str) -> bool {
    BY_NAME.iter().any(|collection| path.contains(&format!("/{collection}/")))
}

fn failure(status: StatusCode) -> (StatusCode, Value) {
    // As Kubernetes writes it, which clients go by.
    let reason = status.canonical_reason().unwrap_or_default().replace(' ', "");
    (
        status,
        json!({"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": status.as_u16()}),
    )
}
