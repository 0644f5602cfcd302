//! Reviews over HTTP.
//!
//! Nobody who can reach the port is trusted: every size, every time and every count is bounded, and whatever is sent is
//! answered with a sentence.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::time::Instant;

use crate::admission::{Admission, Excess, Record, Turns};
use crate::args::Webhook;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::review::{Answer, Malformed, Review, Status};

mod body;
pub mod connection;
pub mod listener;
mod room;

use body::{BodyError, Memory};
use room::Guest;

/// How many bytes a review may have: twice the largest request that an API server accepts, as an UPDATE carries two
/// objects, and some.
pub const LONGEST_BODY: usize = 8 * 1024 * 1024;
/// How many values the document of a review may have: several times what the largest Pods have, whose size counts twice
/// in an UPDATE.
const MOST_VALUES: usize = 300_000;
/// How much memory the bodies of all requests, and the documents that become of them, may take at once; more than any
/// single body of [`LONGEST_BODY`] with [`MOST_VALUES`], so that each is answered when it comes alone.
const BODIES: usize = 128 * 1024 * 1024;
/// How long a client may take to send a body; the API server waits no longer for the answer.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What every request needs.
#[derive(Debug)]
pub struct Context {
    admission: Admission,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    memory: Memory,
    turns: Turns,
}

impl Context {
    /// Judges at most `reviews` at once.
    #[must_use]
    pub fn new(admission: Admission, metrics: Arc<Metrics>, readiness: Readiness, reviews: u32) -> Self {
        Self { admission, metrics, readiness, memory: Memory::new(BODIES), turns: Turns::of(reviews) }
    }
}

/// What is served over TLS.
pub fn reviews(context: Arc<Context>) -> Router {
    Router::new()
        .route("/mutate", post(|context, request| review(Webhook::Mutating, context, request)))
        .route("/validate", post(|context, request| review(Webhook::Validating, context, request)))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(context)
}

/// What is served in plain HTTP: nothing that anybody should not see.
pub fn observation(context: Arc<Context>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(context)
}

async fn review(webhook: Webhook, State(context): State<Arc<Context>>, request: Request) -> Response {
    let begin = Instant::now();
    let guest = request.extensions().get::<Arc<Guest>>().cloned();
    let response = match read(&context, request).await {
        Ok(bytes) => answer(webhook, &context, guest.as_ref(), &bytes).await,
        Err(rejection) => rejection.respond(&context.metrics),
    };
    context.metrics.duration(webhook.as_str(), begin.elapsed());
    response
}

async fn read(context: &Context, request: Request) -> Result<body::Held<'_>, Rejection> {
    if !is_json(request.headers().get(header::CONTENT_TYPE)) {
        body::discard(request.into_body(), BODY_TIMEOUT).await;
        return Err(Rejection::ContentType);
    }
    context.memory.read(request.into_body(), LONGEST_BODY, BODY_TIMEOUT).await.map_err(Rejection::Body)
}

async fn answer(webhook: Webhook, context: &Context, guest: Option<&Arc<Guest>>, bytes: &[u8]) -> Response {
    let review = match Review::parse(bytes) {
        Ok(review) => review,
        Err(Malformed::Incomplete { uid, what }) => {
            Record::incomplete().note(webhook, &context.metrics);
            return sent(Answer::denied(&uid, Status::BadRequest, what.to_string()));
        }
        Err(malformed) => return Rejection::Malformed(malformed).respond(&context.metrics),
    };
    let _owed = guest.map(Guest::brings_a_review);
    // Without every deny rule, an allow rule says nothing; API servers do not ask before, but others might.
    if let Some(obstacles) = context.readiness.unmet() {
        return Rejection::NotReady(obstacles).respond(&context.metrics);
    }
    match context.admission.review(webhook, review, &context.turns).await {
        Ok((answer, record)) => {
            record.note(webhook, &context.metrics);
            sent(answer)
        }
        Err(excess) => Rejection::Excess(excess).respond(&context.metrics),
    }
}

fn sent(answer: Answer) -> Response {
    Json(answer.into_document()).into_response()
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

async fn metrics(State(context): State<Arc<Context>>) -> Response {
    let open_metrics = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, open_metrics)], context.metrics.encode()).into_response()
}

async fn health() -> &'static str {
    "ok\n"
}

async fn readiness(State(context): State<Arc<Context>>) -> Response {
    match context.readiness.obstacles() {
        None => "ok\n".into_response(),
        Some(obstacles) => (StatusCode::SERVICE_UNAVAILABLE, obstacles).into_response(),
    }
}

async fn nothing(body: Body) -> Response {
    body::discard(body, BODY_TIMEOUT).await;
    (StatusCode::NOT_FOUND, "there is nothing here: reviews go to /mutate and /validate\n").into_response()
}

async fn wrong_method(body: Body) -> Response {
    body::discard(body, BODY_TIMEOUT).await;
    (StatusCode::METHOD_NOT_ALLOWED, "send reviews with POST, read everything else with GET\n").into_response()
}

/// Why a request is turned away before it is a review.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error("the content type is not application/json")]
    ContentType,
    #[error(transparent)]
    Body(BodyError),
    #[error(transparent)]
    Malformed(Malformed),
    #[error("this replica is not ready:\n{0}")]
    NotReady(String),
    #[error(transparent)]
    Excess(Excess),
}

impl Rejection {
    fn respond(&self, metrics: &Metrics) -> Response {
        let (status, reason) = self.class();
        metrics.rejection(reason);
        let mut response = (status, format!("{self}\n")).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            // API servers repeat a call that was answered so, within the time they give it.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    fn class(&self) -> (StatusCode, &'static str) {
        match self {
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type"),
            Self::Body(BodyError::TooLong) => (StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
            Self::Body(BodyError::TooManyValues) => (StatusCode::PAYLOAD_TOO_LARGE, "too-many-values"),
            Self::Body(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, "too-slow"),
            Self::Body(BodyError::Broken) => (StatusCode::BAD_REQUEST, "broken"),
            Self::Body(BodyError::NoMemory) => (StatusCode::TOO_MANY_REQUESTS, "no-memory"),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not-ready"),
            Self::Excess(_) => (StatusCode::TOO_MANY_REQUESTS, "excess"),
        }
    }
}

#[cfg(test)]
mod tests;
