//! The sidecar beside `vault agent`: time to the first file, memory and processor time while idle, change to file.

use std::path::Path;
use std::time::{Duration, Instant};

use alcove_tests::process::Process;
use alcove_tests::stage::Stage;
use anyhow::{Context as _, Result};

use super::table::Table;
use super::usage;
use super::vault::{self, Vault};

/// How many times a start is measured; the median counts.
const STARTS: usize = 11;
/// How many changes are measured; the slowest counts.
const CHANGES: usize = 10;
/// The secrets of the larger sidecar.
const MANY: usize = 50;
/// How long a process may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// A refresh interval that no measurement sees the end of.
const NEVER: &str = "1h";

pub(super) async fn measure(program: &Path, idle: Duration, table: &mut Table) -> Result<()> {
    let vault = Vault::start().await?;
    for key in 0..MANY {
        vault.put(key, "first").await?;
    }
    starts(&vault, program, table).await?;
    change(&vault, program, table).await?;
    rest(&vault, program, idle, table).await
}

async fn starts(vault: &Vault, program: &Path, table: &mut Table) -> Result<()> {
    let stage = Stage::begin(format!("sidecar and vault agent: {STARTS} starts each"));
    let ours = median(vault, |directory| vault.sidecar(program, directory, 1, NEVER)).await?;
    let theirs = median(vault, |directory| vault.agent(directory, 1)).await?;
    let result = format!("{}; vault agent {}", milliseconds(ours), milliseconds(theirs));
    table.row("sidecar: process start → first file", result, "≤ 1/5 of vault agent, ≤ 60 ms");
    stage.done();
    Ok(())
}

async fn median(vault: &Vault, start: impl Fn(&Path) -> Result<Process>) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let directory = vault.subdirectory("start")?;
        let began = Instant::now();
        let mut process = start(&directory)?;
        vault::written(&mut process, &directory, 0, "first").await?;
        times.push(began.elapsed());
        process.stop(GRACE).await?;
        std::fs::remove_dir_all(&directory)?;
    }
    times.sort_unstable();
    times.get(STARTS / 2).copied().context("nothing was measured")
}

/// From a change in Vault to the change in the file, with a refresh interval of one second.
async fn change(vault: &Vault, program: &Path, table: &mut Table) -> Result<()> {
    let stage = Stage::begin(format!("sidecar: {CHANGES} changes in Vault"));
    let directory = vault.subdirectory("change")?;
    let mut process = vault.sidecar(program, &directory, 1, "1s")?;
    vault::written(&mut process, &directory, 0, "first").await?;
    let mut slowest = Duration::ZERO;
    // The last one restores what others wait for.
    for value in (1..CHANGES).map(|round| format!("round-{round}")).chain(["first".to_owned()]) {
        vault.put(0, &value).await?;
        let written = Instant::now();
        vault::written(&mut process, &directory, 0, &value).await?;
        slowest = slowest.max(written.elapsed());
    }
    let what = format!("sidecar: change → file, slowest of {CHANGES}, interval 1 s");
    table.row(what, milliseconds(slowest), "≤ 2000 ms");
    stage.done();
    Ok(())
}

/// Two idle sidecars and two idle agents, so that the pages of each program count as shared, as on a node.
async fn rest(vault: &Vault, program: &Path, idle: Duration, table: &mut Table) -> Result<()> {
    let stage = Stage::begin(format!("sidecars and vault agents: {} s of idleness", idle.as_secs()));
    let sidecar = |directory: &Path, secrets| vault.sidecar(program, directory, secrets, NEVER);
    let agent = |directory: &Path, secrets| vault.agent(directory, secrets);
    let one = Idle::settle(vault, "one", 1, sidecar).await?;
    let many = Idle::settle(vault, "many", MANY, sidecar).await?;
    let agent_of_one = Idle::settle(vault, "agent-of-one", 1, agent).await?;
    let agent_of_many = Idle::settle(vault, "agent-of-many", MANY, agent).await?;
    #[expect(clippy::disallowed_methods, reason = "what is measured is what happens while nothing happens")]
    tokio::time::sleep(idle).await;
    let spent = format!("{} and {}", one.spent()?, many.spent()?);
    let spent = format!("{spent}; vault agent {} and {}", agent_of_one.spent()?, agent_of_many.spent()?);
    let memory = format!("{}; vault agent {}", one.memory()?, agent_of_one.memory()?);
    table.row("sidecar: private memory, idle, 1 secret", memory, "≤ 1/8 of vault agent, ≤ 4 MiB");
    let memory = format!("{}; vault agent {}", many.memory()?, agent_of_many.memory()?);
    table.row(format!("sidecar: private memory, idle, {MANY} secrets"), memory, "linear in secrets");
    let what = format!("sidecar: processor time of {} idle seconds, 1 and {MANY} secrets", idle.as_secs());
    table.row(what, spent, "not measurable");
    stage.done();
    Ok(())
}

/// A process that has written its files and now waits.
struct Idle {
    process: Process,
    before: Duration,
}

impl Idle {
    async fn settle(
        vault: &Vault,
        name: &str,
        secrets: usize,
        start: impl Fn(&Path, usize) -> Result<Process>,
    ) -> Result<Self> {
        let directory = vault.subdirectory(name)?;
        let mut process = start(&directory, secrets)?;
        vault::written(&mut process, &directory, secrets - 1, "first").await?;
        let before = usage::processor_time(process.id())?;
        Ok(Self { process, before })
    }

    fn memory(&self) -> Result<String> {
        usage::private_memory(self.process.id()).map(usage::mebibytes)
    }

    fn spent(&self) -> Result<String> {
        Ok(milliseconds(usage::processor_time(self.process.id())?.saturating_sub(self.before)))
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
