//! The Pods of the cluster, page by page, in bounded memory.
//!
//! A page has so many Pods that the API server is asked seldom, and Pods can be large: whoever may create them must not be
//! able to fill the memory of the webhook. So a page that becomes too large is left unread and asked for in smaller parts.

use std::pin::pin;
use std::time::Duration;

use futures::AsyncReadExt as _;
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{error::Elapsed, timeout};

/// How many Pods are asked for at once.
const PAGE: u32 = 500;
/// How many bytes are read of one answer: several times what a page of usual Pods takes, and of the largest Pod there is.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// By how much fewer Pods are asked for where an answer was too large.
const SMALLER: u32 = 4;
/// How long one page may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What stands in every Pod that has an annotation or a container of ours; API servers write it as it is.
const MARK: &str = "alcove";

/// The Pods, as far as they have not been read yet.
pub(super) struct Pages {
    client: Client,
    limit: u32,
    /// What the API server goes on by: empty at the beginning.
    rest: Option<String>,
}

/// Some Pods.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// How many there are.
    pub(super) total: usize,
    /// Those that may concern us, as the API server wrote them.
    pub(super) pods: Vec<Box<RawValue>>,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The API server refused or did not answer.
    #[error(transparent)]
    Api(#[from] Box<kube::Error>),
    /// It took too long.
    #[error("the API server took too long")]
    Late(#[from] Elapsed),
    /// The connection broke.
    #[error("the answer was cut off")]
    Cut(#[from] std::io::Error),
    /// It cannot be asked for.
    #[error("it cannot be asked for")]
    Request(#[from] http::Error),
    /// What came is no list.
    #[error("the answer is no list of Pods")]
    Foreign(#[from] serde_json::Error),
    /// Even a single Pod is too much.
    #[error("a single Pod takes more than {MOST_BYTES} bytes")]
    TooLarge,
    /// A fault of ours.
    #[error("the answer could not be taken apart")]
    Broken(#[from] JoinError),
}

/// A list of Pods, in which each is left as it is.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    r#continue: String,
}

impl Pages {
    /// All Pods of the cluster.
    pub(super) fn of(client: Client) -> Self {
        Self { client, limit: PAGE, rest: Some(String::new()) }
    }

    /// The next page; nothing after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, PageError> {
        let Some(rest) = self.rest.take() else { return Ok(None) };
        loop {
            if let Some(body) = timeout(PATIENCE, self.read(&rest)).await?? {
                let (page, rest) = spawn_blocking(move || take_apart(&body)).await??;
                self.rest = rest;
                self.limit = PAGE.min(self.limit.saturating_mul(2));
                return Ok(Some(page));
            }
            if self.limit == 1 {
                return Err(PageError::TooLarge);
            }
            self.limit = (self.limit / SMALLER).max(1);
        }
    }

    /// Reads one answer, unless it is too large.
    async fn read(&self, rest: &str) -> Result<Option<Vec<u8>>, PageError> {
        let path = format!("/api/v1/pods?limit={}{rest}", self.limit);
        let answer = self.client.request_stream(http::Request::get(path).body(Vec::new())?).await.map_err(Box::new)?;
        let mut body = Vec::new();
        let length = pin!(answer).take(MOST_BYTES + 1).read_to_end(&mut body).await?;
        Ok(u64::try_from(length).is_ok_and(|length| length <= MOST_BYTES).then_some(body))
    }
}

/// The page, and what the API server goes on by.
fn take_apart(body: &[u8]) -> Result<(Page, Option<String>), serde_json::Error> {
    let List { metadata, items } = serde_json::from_slice(body)?;
    let total = items.len();
    let pods = items.into_iter().filter(|pod| pod.get().contains(MARK)).collect();
    let rest = (!metadata.r#continue.is_empty()).then(|| format!("&continue={}", metadata.r#continue));
    Ok((Page { total, pods }, rest))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::cluster::mock::ApiServer;

    const PODS: &str = "/api/v1/pods";

    async fn read_all(server: &Arc<ApiServer>) -> (usize, Vec<usize>) {
        let mut pages = Pages::of(server.client());
        let (mut concerning, mut totals) = (0, Vec::new());
        while let Some(page) = pages.next().await.unwrap() {
            concerning += page.pods.len();
            totals.push(page.total);
        }
        (concerning, totals)
    }

    #[tokio::test]
    async fn every_pod_is_read_once_and_only_those_that_may_concern_us_are_kept() {
        let server = ApiServer::prompt();
        for index in 0..1_203 {
            let annotations = if index % 3 == 0 { json!({"alcove.dev/inject": "true"}) } else { json!({}) };
            server.put(PODS, json!({"metadata": {"name": format!("p{index:05}"), "annotations": annotations}}));
        }
        assert_eq!(read_all(&server).await, (401, vec![500, 500, 203]));
        assert_eq!(server.lists(), 3);
    }

    #[tokio::test]
    async fn pods_too_large_for_one_answer_are_read_in_smaller_parts() {
        let server = ApiServer::prompt();
        for index in 0..40 {
            let annotations = json!({"alcove.dev/inject": "true", "ballast": "x".repeat(1_000_000)});
            server.put(PODS, json!({"metadata": {"name": format!("p{index:05}"), "annotations": annotations}}));
        }
        let (concerning, totals) = read_all(&server).await;
        assert_eq!(concerning, 40);
        assert!(totals.iter().all(|total| *total <= 8), "{totals:?}");
    }

    #[tokio::test]
    async fn a_pod_that_no_api_server_could_have_ends_the_sweep() {
        let server = ApiServer::prompt();
        server.put(PODS, json!({"metadata": {"name": "p", "ballast": "x".repeat(9_000_000)}}));
        let error = Pages::of(server.client()).next().await.unwrap_err();
        assert!(matches!(error, PageError::TooLarge), "{error}");
    }

    #[tokio::test]
    async fn an_api_server_that_refuses_has_not_said_that_there_are_no_pods() {
        let server = ApiServer::prompt();
        server.forbid("list");
        assert!(matches!(Pages::of(server.client()).next().await, Err(PageError::Api(_))));
    }
}
