use alcove_injection::settings::{KubernetesVersion, Settings};
use axum::http::Request;
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::objects::View;

fn context(reviews: u32) -> Arc<Context> {
    let settings = Settings::new("sidecar", KubernetesVersion::new(1, 37));
    let admission = Admission::from_files(View::default(), settings);
    Arc::new(Context::new(admission, Arc::default(), Readiness::default(), reviews))
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", "application/json; charset=utf-8").body(body.into()).unwrap()
}

async fn send(router: Router, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    let response = router.oneshot(request).await.unwrap();
    (response.status(), response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "object": {
                "metadata": {"annotations": {"secret.alcove.dev/a": "store:key"}},
                "spec": {"volumes": [{"name": "a", "secret": {"secretName": "a"}}], "containers": [{"name": "app"}]},
            },
        },
    })
}

/// Whether this is what an API server can work with: a refusal of the request, or an answer to the question.
fn is_clean(status: StatusCode, body: &[u8], uid: Option<&Value>) -> bool {
    if status.is_client_error() {
        return !body.is_empty();
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return false };
    let response = &answer["response"];
    status == StatusCode::OK
        && answer["kind"] == "AdmissionReview"
        && Some(&response["uid"]) == uid
        && response["allowed"].is_boolean()
        && response.get("patch").is_some() == response.get("patchType").is_some()
        && (response["allowed"] == true || response["status"]["code"].as_u64().is_some_and(|code| code >= 400))
}

#[tokio::test]
async fn reviews_in_excess_are_sent_away_with_the_advice_to_come_back() {
    let (status, body) = send(reviews(context(0)), post("/mutate", review().to_string())).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(String::from_utf8(body).unwrap().contains("again in a second"));
    let response = reviews(context(0)).oneshot(post("/mutate", review().to_string())).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (status, text) = send(reviews(context(1)), post("/mutate", body)).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert!(String::from_utf8(text).unwrap().contains("10 seconds"));
}

#[tokio::test]
async fn bodies_that_are_too_large_together_are_sent_away_and_the_memory_comes_back() {
    let memory = Memory::new(10);
    let held = memory.read(Body::from("123456"), 8, BODY_TIMEOUT).await.unwrap();
    assert_eq!(memory.read(Body::from("12345"), 8, BODY_TIMEOUT).await.unwrap_err(), BodyError::NoMemory);
    assert_eq!(memory.read(Body::from("123456789"), 8, BODY_TIMEOUT).await.unwrap_err(), BodyError::TooLong);
    drop(held);
    assert_eq!(&*memory.read(Body::from("12345678"), 8, BODY_TIMEOUT).await.unwrap(), b"12345678");
}

#[tokio::test]
async fn a_body_of_countless_values_is_refused_before_any_of_them_takes_memory() {
    let zeros = format!("[{}0]", "0,".repeat(LONGEST_BODY / 2 - 2));
    let (status, body) = send(reviews(context(1)), post("/mutate", zeros)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(String::from_utf8(body).unwrap(), "the body holds more than 300000 values\n");
}

#[tokio::test]
async fn the_document_of_a_body_counts_and_the_most_expensive_one_that_is_allowed_finds_room() {
    let memory = Memory::new(2000);
    let objects = format!("[{}]", ["{}"; 4].join(","));
    assert_eq!(memory.read(Body::from(objects), 100, BODY_TIMEOUT).await.unwrap_err(), BodyError::NoMemory);
    let string = format!("\"{}\"", "{".repeat(1000));
    assert!(memory.read(Body::from(string), 1002, BODY_TIMEOUT).await.is_ok());

    let dearest = format!("[{}{{}}]", "{},".repeat(MOST_VALUES / 2 - 1));
    let whole = format!("{dearest}{}", " ".repeat(LONGEST_BODY - dearest.len()));
    assert!(Memory::new(BODIES).read(Body::from(whole), LONGEST_BODY, BODY_TIMEOUT).await.is_ok());
}

#[tokio::test]
async fn a_replica_that_does_not_know_every_policy_yet_answers_no_review() {
    let context = context(1);
    let condition = context.readiness.condition("SecretPolicy");
    let ask = || send(reviews(Arc::clone(&context)), post("/mutate", review().to_string()));
    assert_eq!(ask().await.0, StatusCode::SERVICE_UNAVAILABLE);
    condition.met();
    assert_eq!(ask().await.0, StatusCode::OK);
    context.readiness.leave();
    assert_eq!(ask().await.0, StatusCode::OK, "one that leaves serves on");
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let context = context(1);
    let condition = context.readiness.condition("SecretPolicy");
    let get = || Request::get("/readyz").body(Body::empty()).unwrap();
    let (status, body) = send(observation(Arc::clone(&context)), get()).await;
    assert_eq!((status, body), (StatusCode::SERVICE_UNAVAILABLE, b"SecretPolicy: not yet\n".to_vec()));
    condition.met();
    assert_eq!(send(observation(context), get()).await.0, StatusCode::OK);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Places of the review that something else is put into.
const PLACES: [&str; 12] = [
    "/request",
    "/request/uid",
    "/request/operation",
    "/request/resource",
    "/request/namespace",
    "/request/object",
    "/request/object/metadata",
    "/request/object/metadata/annotations",
    "/request/object/metadata/annotations/secret.alcove.dev~1a",
    "/request/object/spec",
    "/request/object/spec/volumes",
    "/request/object/spec/containers/0",
];

proptest! {
    #[test]
    fn whatever_bytes_are_sent_the_answer_is_clean(body in prop::collection::vec(any::<u8>(), 0..300), validate: bool) {
        let path = if validate { "/validate" } else { "/mutate" };
        let (status, answer) = block_on(send(reviews(context(1)), post(path, body)));
        prop_assert!(is_clean(status, &answer, None));
    }

    #[test]
    fn whatever_stands_in_a_review_the_answer_is_clean(
        changes in prop::collection::vec((prop::sample::select(&PLACES[..]), anything()), 1..4),
        validate: bool,
        update: bool,
    ) {
        let mut review = review();
        if update {
            review["request"]["operation"] = json!("UPDATE");
            review["request"]["oldObject"] = review["request"]["object"].clone();
        }
        for (place, value) in changes {
            if let Some(target) = review.pointer_mut(place) {
                *target = value;
            }
        }
        let path = if validate { "/validate" } else { "/mutate" };
        let (status, answer) = block_on(send(reviews(context(1)), post(path, review.to_string())));
        prop_assert!(is_clean(status, &answer, review.pointer("/request/uid")), "{status} {review}");
    }
}
