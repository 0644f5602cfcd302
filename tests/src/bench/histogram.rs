//! The webhook's own histogram of how long its reviews took.

use anyhow::{Context as _, Result};
use reqwest::Client;

const BUCKET: &str = "alcove_webhook_admission_duration_seconds_bucket{";

/// How many reviews were answered within which time, in seconds, in the order of the times.
#[derive(Debug, Default, Clone)]
pub(super) struct Histogram(Vec<(f64, u64)>);

impl Histogram {
    /// Asks the webhook for what it has counted since its start, which is nothing before the first review.
    pub(super) async fn read(metrics: &str) -> Result<Self> {
        let client = Client::builder().tls_certs_only([]).no_proxy().build().context("building a client")?;
        Ok(Self::parse(&client.get(metrics).send().await?.error_for_status()?.text().await?))
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(|line| line.strip_prefix(BUCKET)).filter_map(bucket).collect())
    }

    /// What was counted since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let counted_before =
            |limit: f64| earlier.0.iter().find(|(known, _)| *known >= limit).map_or(0, |(_, count)| *count);
        Self(self.0.iter().map(|(limit, count)| (*limit, count - counted_before(*limit))).collect())
    }

    /// The least bucket that holds this many of a thousand reviews, as milliseconds: the quantile is not above it.
    pub(super) fn at_most(&self, per_mille: u64) -> Option<f64> {
        let (_, all) = self.0.last()?;
        let (limit, _) = self.0.iter().find(|(_, count)| count * 1000 >= all * per_mille)?;
        Some(limit * 1000.0)
    }
}

fn bucket(line: &str) -> Option<(f64, u64)> {
    let (labels, count) = line.split_once("} ")?;
    let (_, limit) = labels.split_once("le=\"")?;
    let limit = limit.split('"').next()?;
    let limit = if limit == "+Inf" { f64::INFINITY } else { limit.parse().ok()? };
    Some((limit, count.split_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: [u64; 3]) -> Histogram {
        let [first, second, all] = counts;
        let line = |limit: &str, count: u64| format!("{BUCKET}le=\"{limit}\",webhook=\"mutating\"}} {count}\n");
        Histogram::parse(&[line("0.001", first), line("0.0025", second), line("+Inf", all)].concat())
    }

    #[test]
    fn a_quantile_is_the_least_bucket_that_holds_enough() {
        let counted = histogram([990, 1000, 1000]);
        assert_eq!((counted.at_most(990), counted.at_most(991)), (Some(1.0), Some(2.5)));
    }

    #[test]
    fn what_was_counted_before_does_not_count() {
        let since = histogram([1000, 2000, 2010]).since(&histogram([1000, 1000, 1000]));
        assert_eq!(since.at_most(500), Some(2.5));
    }
}
