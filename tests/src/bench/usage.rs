//! What a process uses, as the kernel counts it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;

/// The kernel's unit of processor time: USER_HZ is 100 on every architecture that Rust's std supports on Linux.
const TICK: Duration = Duration::from_millis(10);
/// How often memory is looked at under load.
const SAMPLE: Duration = Duration::from_millis(100);

/// Memory that belongs to one process alone, in bytes.
pub(super) fn private_memory(process: u32) -> Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))
        .with_context(|| format!("reading the memory of process {process}"))?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kibibytes = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kibibytes.sum::<u64>() * 1024)
}

/// Lets `work` happen and returns, with what came of it, the most private memory that the process had meanwhile.
pub(super) async fn peak<T>(process: u32, work: impl Future<Output = Result<T>>) -> Result<(T, u64)> {
    let mut work = std::pin::pin!(work.fuse());
    let mut samples = tokio::time::interval(SAMPLE);
    let mut most = 0;
    loop {
        tokio::select! {
            done = &mut work => return Ok((done?, most.max(private_memory(process)?))),
            _ = samples.tick() => most = most.max(private_memory(process)?),
        }
    }
}

/// Processor time that a process has used, all its threads together.
pub(super) fn processor_time(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("reading the times of process {process}"))?;
    // The name in parentheses may hold blanks: the fields that follow it count from 3.
    let (_, fields) = stat.rsplit_once(')').context("the kernel's answer has no name")?;
    let used = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok());
    Ok(TICK * used.sum::<u32>())
}

/// Bytes as mebibytes.
pub(super) fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
