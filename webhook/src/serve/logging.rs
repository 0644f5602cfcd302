//! The log: one JSON object a line, on standard error.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Logs what `filter` lets through.
pub(super) fn install(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log: \"{filter}\" is not a log filter"))?;
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter);
    let installed = subscriber.with_writer(std::io::stderr).try_init();
    installed.map_err(|error| anyhow::anyhow!("the log cannot be opened: {error}"))
}
