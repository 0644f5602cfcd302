//! Log lines for operators: JSON on stderr, one for each change, none for each repetition.

use alcove_contract::configuration::LogLevel;
use tracing::Level;

/// Sends log lines to stderr, from `level` up, and keeps panics from printing what they hold.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_current_span(false);
    let started = lines.with_span_list(false).with_max_level(level).with_writer(std::io::stderr).try_init();
    if started.is_err() {
        tracing::debug!("log lines go where they went before");
    }
    // The message of a panic may quote the value that caused it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "this is a bug in the sidecar: it panicked");
    }));
}
