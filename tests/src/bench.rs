//! The task `bench`: the performance targets of the design, measured beside what a user would pick instead.
//!
//! Only ratios of one run mean anything: both sides run on the same machine, one after the other, under the same load.

mod admission;
mod fixtures;
mod histogram;
mod injector;
mod load;
mod server;
mod sidecar;
mod table;
mod usage;
mod vault;

use std::time::Duration;

use alcove_tests::builds::Products;
use anyhow::{Context as _, Result};
use clap::Args;

use self::table::Table;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How long each load lasts, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long the idle sidecars are watched, in seconds.
    #[arg(long, default_value_t = 300)]
    idle: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let products = Products::build()?;
    let runtime = tokio::runtime::Runtime::new().context("starting the tokio runtime")?;
    let (load, idle) = (Duration::from_secs(arguments.seconds), Duration::from_secs(arguments.idle));
    let mut table = Table::default();
    runtime.block_on(async {
        admission::measure(&products.webhook, load, &mut table).await?;
        injector::compare(&products.webhook, load, &mut table).await?;
        sidecar::measure(&products.sidecar, idle, &mut table).await
    })?;
    print!("{table}");
    Ok(())
}
