//! File descriptors: each connection takes one, and a port at which none is left cannot even turn somebody away.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors are for everything but the two ports: connections to the API server, files, the runtime's own.
const OTHERS: u64 = 128;

/// How many connections each of the two ports can have open, if `wanted` are wanted.
///
/// It asks the system for all the descriptors that it gives: the limit that a process begins with is for programs of old.
pub(super) fn connections(wanted: u32) -> usize {
    let possible = raised().map_or(u64::MAX, |limit| limit.saturating_sub(OTHERS) / 2);
    if possible < u64::from(wanted) {
        tracing::warn!(wanted, possible, "the limit of open files allows fewer connections than --max-connections");
    }
    usize::try_from(possible.min(wanted.into())).unwrap_or(usize::MAX)
}

/// Raises the limit as far as it goes, and says how far that is; nothing if there is none.
fn raised() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if raised.is_ok() { limit.maximum } else { limit.current }
}
