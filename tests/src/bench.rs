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
use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

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
        // Whoever is interrupted ends what it has started: programs end when they are dropped, a node by its janitor.
        tokio::select! {
            measured = measure(&products, load, idle, &mut table) => measured,
            interrupted = interrupted() => interrupted,
        }
    })?;
    print!("{table}");
    Ok(())
}

async fn measure(products: &Products, load: Duration, idle: Duration, table: &mut Table) -> Result<()> {
    admission::measure(&products.webhook, load, table).await?;
    injector::compare(&products.webhook, load, table).await?;
    sidecar::measure(&products.sidecar, idle, table).await
}

async fn interrupted() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}
