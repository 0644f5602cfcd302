//! Many reviews over a few connections, and how long each took.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use reqwest::Client;

use super::server::Server;
use super::usage;

/// What is asked over and over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question<'a> {
    /// An AdmissionReview, which both webhooks answer with a patch.
    Review(&'a str),
    /// Whether the server lives, which costs it TLS and HTTP and nothing else.
    Health,
}

/// What a load found.
#[derive(Debug)]
pub(super) struct Outcome {
    took: Duration,
    times: Vec<Duration>,
    processor: Duration,
}

impl Outcome {
    /// Reviews a second.
    pub(super) fn throughput(&self) -> f64 {
        f64::from(self.count()) / self.took.as_secs_f64()
    }

    /// Processor time that the server used for each review.
    pub(super) fn processor_time(&self) -> Duration {
        self.processor / self.count().max(1)
    }

    /// The time within which 99 of a hundred reviews were answered.
    pub(super) fn p99(&self) -> Duration {
        self.quantile(990)
    }

    /// Throughput, latencies and cost in one line.
    pub(super) fn summary(&self) -> String {
        let milliseconds = |per_mille| self.quantile(per_mille).as_secs_f64() * 1000.0;
        format!(
            "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {} µs CPU each",
            self.throughput(),
            milliseconds(500),
            milliseconds(990),
            self.processor_time().as_micros(),
        )
    }

    fn count(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX)
    }

    /// The time within which this many of a thousand reviews were answered.
    fn quantile(&self, per_mille: usize) -> Duration {
        let last = self.times.len().saturating_sub(1);
        self.times.get(last * per_mille / 1000).copied().unwrap_or_default()
    }
}

/// Asks `question` over `connections` connections for `duration`, on each without a pause.
pub(super) async fn apply(
    server: &Server,
    question: Question<'_>,
    connections: usize,
    duration: Duration,
) -> Result<Outcome> {
    let clients = (0..connections).map(|_| server.connection()).collect::<Result<Vec<_>>>()?;
    // Connecting is not what is measured.
    try_join_all(clients.iter().map(|client| ask(client, server, question))).await?;
    let (began, before) = (Instant::now(), usage::processor_time(server.process())?);
    let times = try_join_all(clients.iter().map(|client| repeat(client, server, question, began + duration))).await?;
    let (took, after) = (began.elapsed(), usage::processor_time(server.process())?);
    let mut times: Vec<Duration> = times.into_iter().flatten().collect();
    times.sort_unstable();
    Ok(Outcome { took, times, processor: after.saturating_sub(before) })
}

async fn repeat(client: &Client, server: &Server, question: Question<'_>, end: Instant) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < end {
        times.push(ask(client, server, question).await?);
    }
    Ok(times)
}

async fn ask(client: &Client, server: &Server, question: Question<'_>) -> Result<Duration> {
    let (url, expected) = match question {
        Question::Review(_) => (server.url("/mutate"), "\"patch\""),
        Question::Health => (server.url("/healthz"), "ok"),
    };
    let began = Instant::now();
    let request = match question {
        Question::Review(review) => {
            client.post(&url).header("Content-Type", "application/json").body(review.to_owned())
        }
        Question::Health => client.get(&url),
    };
    let answer = request.send().await.context("asking the webhook")?;
    let (status, text) = (answer.status(), answer.text().await?);
    let took = began.elapsed();
    ensure!(status.is_success() && text.contains(expected), "{url} answered {status}: {text}");
    Ok(took)
}
