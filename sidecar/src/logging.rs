//! Log lines for operators: JSON on stderr, one for each change, none for each repetition.

use alcove_contract::configuration::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The crates whose lines the level is about.
const OURS: [&str; 2] = ["alcove_sidecar", "alcove_stores"];

/// Sends log lines to stderr, from `level` up, and keeps panics from printing what they hold.
///
/// Of the libraries only warnings are shown: below that they describe requests, and nobody has promised that no token is
/// among it.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let shown = Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(OURS.map(|name| (name, level)));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(false);
    let lines = lines.with_current_span(false).with_span_list(false).with_writer(std::io::stderr);
    if tracing_subscriber::registry().with(shown).with(lines).try_init().is_err() {
        tracing::debug!("log lines go where they went before");
    }
    // The message of a panic may quote the value that caused it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "this is a bug in the sidecar: it panicked");
    }));
}
