//! What can be counted. Every label has a bounded set of values, and none is a name that users choose.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The metrics of this program.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    admissions: Family<Admission, Counter>,
    durations: Family<Endpoint, Histogram, fn() -> Histogram>,
    rejections: Family<Rejection, Counter>,
    handshake_failures: Counter,
    connections: Family<Connection, Gauge>,
    evictions: Family<Eviction, Counter>,
    certificate_expiry: Gauge,
    certificate_failures: Counter,
    leading: Gauge,
    watch_synced: Family<Watch, Gauge>,
    watch_failures: Family<Watch, Counter>,
    live_reads: Family<LiveRead, Counter>,
    swept_pods: Gauge,
    sweep_findings: Family<Sweep, Gauge>,
    last_sweep: Gauge,
    sweep_failures: Counter,
    refusal_events: Family<RefusalEvent, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Admission {
    webhook: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    webhook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejection {
    reason: &'static str,
}

/// The ports of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// The one for reviews.
    Reviews,
    /// The one for metrics.
    Observation,
}

impl Port {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Reviews => "reviews",
            Self::Observation => "observation",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connection {
    port: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Eviction {
    port: &'static str,
    reviews: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watch {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LiveRead {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sweep {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalEvent {
    outcome: &'static str,
}

/// What one sweep has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many Pods it looked at.
    pub pods: usize,
    /// How many it tells of, by what it tells.
    pub findings: BTreeMap<&'static str, usize>,
}

impl Default for Swept {
    /// Nothing of all that may be found.
    fn default() -> Self {
        let kinds = ["not-injected", "no-longer-granted", "undecided"];
        Self { pods: 0, findings: kinds.map(|kind| (kind, 0)).into() }
    }
}

/// From a tenth of a millisecond to the time after which an API server gives up.
const BUCKETS: [f64; 13] = [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5, 5.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("alcove_webhook"),
            admissions: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            rejections: Family::default(),
            handshake_failures: Counter::default(),
            connections: Family::default(),
            evictions: Family::default(),
            certificate_expiry: Gauge::default(),
            certificate_failures: Counter::default(),
            leading: Gauge::default(),
            watch_synced: Family::default(),
            watch_failures: Family::default(),
            live_reads: Family::default(),
            swept_pods: Gauge::default(),
            sweep_findings: Family::default(),
            last_sweep: Gauge::default(),
            sweep_failures: Counter::default(),
            refusal_events: Family::default(),
        };
        metrics.register_admissions();
        metrics.register_upkeep();
        metrics.register_sweeps();
        metrics
    }
}

impl Metrics {
    fn register_admissions(&mut self) {
        let registry = &mut self.registry;
        registry.register("admissions", "Reviews answered, by outcome and reason", self.admissions.clone());
        registry.register_with_unit(
            "admission_duration",
            "Time from the first byte of a review to its answer",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "refusal_events",
            "Events about what made a refused Pod, by what became of them",
            self.refusal_events.clone(),
        );
        registry.register("rejections", "Requests that were no review or came in excess", self.rejections.clone());
        registry.register(
            "tls_handshake_failures",
            "TLS handshakes that failed or took too long",
            self.handshake_failures.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connection_evictions",
            "Connections ended because all places were taken, by whether they had brought reviews",
            self.evictions.clone(),
        );
    }

    fn register_upkeep(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the serving certificate expires, in Unix time",
            self.certificate_expiry.clone(),
        );
        registry.register(
            "certificate_failures",
            "Attempts to load, rotate or publish certificates that failed",
            self.certificate_failures.clone(),
        );
        registry.register("leading", "1 if this replica holds the Lease", self.leading.clone());
        registry.register("watch_synced", "1 if every object of the kind is known", self.watch_synced.clone());
        registry.register("watch_failures", "Failures of the watch of a kind", self.watch_failures.clone());
        registry.register("live_reads", "Reads past the watches, by outcome", self.live_reads.clone());
    }

    fn register_sweeps(&mut self) {
        let registry = &mut self.registry;
        registry.register("swept_pods", "Pods that the last sweep looked at", self.swept_pods.clone());
        registry.register(
            "sweep_findings",
            "Pods that the last sweep found to run without their sidecar, or to have what is granted no longer",
            self.sweep_findings.clone(),
        );
        registry.register(
            "last_sweep_timestamp_seconds",
            "When the last sweep ended, in Unix time; 0 where another replica sweeps",
            self.last_sweep.clone(),
        );
        registry.register("sweep_failures", "Sweeps that could not be ended", self.sweep_failures.clone());
    }

    /// Everything in the text format of Prometheus.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _infallible = text::encode(&mut text, &self.registry);
        text
    }

    /// A review was answered.
    pub fn admission(&self, webhook: &'static str, outcome: &'static str, reason: &'static str) {
        self.admissions.get_or_create(&Admission { webhook, outcome, reason }).inc();
    }

    /// A review took this long.
    pub fn duration(&self, webhook: &'static str, duration: Duration) {
        self.durations.get_or_create(&Endpoint { webhook }).observe(duration.as_secs_f64());
    }

    /// What made a refused Pod was told, or could not be.
    pub fn refusal_event(&self, outcome: &'static str) {
        self.refusal_events.get_or_create(&RefusalEvent { outcome }).inc();
    }

    /// A request was turned away before it was a review.
    pub fn rejection(&self, reason: &'static str) {
        self.rejections.get_or_create(&Rejection { reason }).inc();
    }

    /// A TLS handshake failed.
    pub fn handshake_failure(&self) {
        self.handshake_failures.inc();
    }

    /// So many connections are open at a port.
    pub fn connections(&self, port: Port, open: usize) {
        self.connections
            .get_or_create(&Connection { port: port.as_str() })
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// A connection made way for another one.
    pub fn eviction(&self, port: Port, had_brought_reviews: bool) {
        let reviews = if had_brought_reviews { "some" } else { "none" };
        self.evictions.get_or_create(&Eviction { port: port.as_str(), reviews }).inc();
    }

    /// A certificate that expires then is served now.
    pub fn serving_until(&self, expiry: jiff::Timestamp) {
        self.certificate_expiry.set(expiry.as_second());
    }

    /// Certificates could not be loaded, rotated or published.
    pub fn certificate_failure(&self) {
        self.certificate_failures.inc();
    }

    /// Whether this replica holds the Lease.
    pub fn leading(&self, leads: bool) {
        self.leading.set(leads.into());
    }

    /// Whether every object of a kind is known.
    pub fn watch_synced(&self, kind: &'static str, synced: bool) {
        self.watch_synced.get_or_create(&Watch { kind }).set(synced.into());
    }

    /// The watch of a kind failed.
    pub fn watch_failure(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&Watch { kind }).inc();
    }

    /// Objects were read past the watches.
    pub fn live_read(&self, outcome: &'static str) {
        self.live_reads.get_or_create(&LiveRead { outcome }).inc();
    }

    /// A sweep has ended.
    pub fn swept(&self, swept: &Swept, now: jiff::Timestamp) {
        self.swept_pods.set(i64::try_from(swept.pods).unwrap_or(i64::MAX));
        for (kind, count) in &swept.findings {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.sweep_findings.get_or_create(&Sweep { kind }).set(count);
        }
        self.last_sweep.set(now.as_second());
    }

    /// This replica sweeps no more, and its numbers would only be outdated.
    pub fn sweeps_no_more(&self) {
        self.swept_pods.set(0);
        self.sweep_findings.clear();
        self.last_sweep.set(0);
    }

    /// A sweep could not be ended.
    pub fn sweep_failure(&self) {
        self.sweep_failures.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.admission("mutating", "denied", "policy");
        metrics.duration("mutating", Duration::from_millis(1));
        metrics.serving_until(jiff::Timestamp::from_second(1_800_000_000).unwrap());
        let text = metrics.encode();
        for line in [
            r#"alcove_webhook_admissions_total{webhook="mutating",outcome="denied",reason="policy"} 1"#,
            r#"alcove_webhook_admission_duration_seconds_count{webhook="mutating"} 1"#,
            "alcove_webhook_certificate_expiry_timestamp_seconds 1800000000",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\nis not in\n{text}");
        }
    }
}
