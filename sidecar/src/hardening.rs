//! Keeps the values in this process's memory to itself: no core dump, no tracer, no new privilege, no swap.
//!
//! Nothing here can stop the sidecar from working; what the node does not allow is said at debug level.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

/// Hardens this process.
pub fn apply() {
    report("forbid core dumps and tracers", set_dumpable_behavior(DumpableBehavior::NotDumpable));
    report("limit core dumps to nothing", setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }));
    report("forbid new privileges", set_no_new_privs(true));
    lock_memory();
}

/// Keeps pages out of swap. Only pages that are used count, so that locking costs no memory.
///
/// A finite limit is not used: once memory is locked, an allocation beyond the limit would fail and end the process.
fn lock_memory() {
    let limit = getrlimit(Resource::Memlock);
    if limit.maximum.is_some() {
        tracing::debug!(
            limit = limit.maximum,
            "memory is not locked: the limit is finite; memory volumes are mounted noswap"
        );
        return;
    }
    let raised = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    report("lock memory", raised.and_then(|()| mlockall(flags)));
}

fn report(what: &str, result: rustix::io::Result<()>) {
    match result {
        Ok(()) => tracing::debug!("hardening: {what}: done"),
        Err(error) => tracing::debug!(%error, "hardening: {what}: not possible here"),
    }
}
