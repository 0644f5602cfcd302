//! Many requests over a few connections, and how long each took.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use reqwest::Client;

/// What a load found.
#[derive(Debug)]
pub(super) struct Outcome {
    took: Duration,
    times: Vec<Duration>,
}

impl Outcome {
    /// Answers a second.
    pub(super) fn throughput(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }

    /// The time within which this share of the requests was answered.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.times.get(index).copied().unwrap_or_default()
    }

    /// Throughput and latencies in one line.
    pub(super) fn summary(&self) -> String {
        let milliseconds = |share| self.quantile(share).as_secs_f64() * 1000.0;
        format!("{:.0}/s, p50 {:.2} ms, p99 {:.2} ms", self.throughput(), milliseconds(0.5), milliseconds(0.99))
    }
}

/// Posts `body` to `url` over `connections` connections for `duration`, each without a pause.
pub(super) async fn apply(client: &Client, url: &str, body: &str, connections: usize, duration: Duration) -> Result<Outcome> {
    let began = Instant::now();
    let end = began + duration;
    let times = try_join_all((0..connections).map(|_| one(client, url, body, end))).await?;
    let mut times: Vec<Duration> = times.into_iter().flatten().collect();
    times.sort_unstable();
    Ok(Outcome { took: began.elapsed(), times })
}

async fn one(client: &Client, url: &str, body: &str, end: Instant) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        let request = client.post(url).header("Content-Type", "application/json").body(body.to_owned());
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        times.push(began.elapsed());
        ensure!(status.is_success() && text.contains("\"patch\""), "{url} answered {status}: {text}");
    }
    Ok(times)
}
