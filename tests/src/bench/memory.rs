//! What a process uses, as the kernel counts it.

use anyhow::{Context as _, Result};

/// Memory that belongs to one process alone, in bytes.
pub(super) fn private(process: u32) -> Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))
        .with_context(|| format!("reading the memory of process {process}"))?;
    let kibibytes = rollup.lines().filter(|line| line.starts_with("Private_")).filter_map(|line| {
        let number = line.split_whitespace().nth(1)?;
        number.parse::<u64>().ok()
    });
    Ok(kibibytes.sum::<u64>() * 1024)
}

/// Processor time that a process has used, in ticks of 10 ms.
pub(super) fn ticks(process: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("reading the times of process {process}"))?;
    // The name in parentheses may hold blanks: the fields that follow it count from 3.
    let (_, fields) = stat.rsplit_once(')').context("the kernel's answer has no name")?;
    let used = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    Ok(used.sum())
}

/// Bytes as mebibytes.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
