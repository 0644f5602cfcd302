//! The task `cluster`: a node for people.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alcove_tests::alcove::Alcove;
use alcove_tests::node::Node;
use alcove_tests::stage::Stage;
use alcove_tests::vault::Vault;
use alcove_tests::wait::{self, Seen};
use alcove_tests::{process, state};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

/// How long a detached node may take: on a fresh machine it builds Kubernetes first.
const START: Duration = Duration::from_hours(1);
/// How long a node may take to end.
const END: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Returns when the node is Ready and leaves it running; `cluster stop` ends it.
    #[arg(long)]
    detach: bool,
    /// What else to start on the node.
    #[arg(long, value_delimiter = ',')]
    with: Vec<Extra>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Extra {
    /// A Vault that knows the node's tokens.
    Vault,
    /// Alcove, built from this checkout.
    Alcove,
}

impl Extra {
    fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Alcove => "alcove",
        }
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Ends the node of this checkout that was left running.
    Stop,
}

/// The note that a running node leaves for `cluster stop`.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    process: i32,
    text: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match (&arguments.action, arguments.detach) {
        (Some(Action::Stop), _) => stop(),
        (None, true) => detach(arguments),
        (None, false) => serve(arguments),
    }
}

/// Keeps a node until a signal comes. A signal during the start leaves the removal to the janitor.
fn serve(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting the tokio runtime")?;
    runtime.block_on(async {
        let node = Node::start().await?;
        let vault =
            if arguments.with.contains(&Extra::Vault) { Some(Vault::start(&node, "cluster").await?) } else { None };
        if arguments.with.contains(&Extra::Alcove) {
            Alcove::install(&node).await?;
        }
        let left =
            Note { process: Pid::as_raw(Some(rustix::process::getpid())), text: describe(&node, vault.as_ref()) };
        process::write(&note_path(), serde_json::to_string(&left)?)?;
        println!("{}", left.text);
        println!("Ctrl-C ends the node.");
        wait_for_signal().await?;
        let stage = Stage::begin("the node is removed");
        std::fs::remove_file(note_path()).context("removing the note about the node")?;
        node.stop_and_forget()?;
        stage.done();
        Ok(())
    })
}

async fn wait_for_signal() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// What a person needs to use the node.
fn describe(node: &Node, vault: Option<&Vault>) -> String {
    let kubectl = node.kubectl();
    let mut lines = vec![
        format!("export KUBECONFIG={}", kubectl.kubeconfig().display()),
        format!("export PATH={}:$PATH   # kubectl of the same version", parent(kubectl.program())),
        format!("# logs: {}", node.logs().display()),
    ];
    if let Some(vault) = vault {
        lines.push(format!("# Vault for Pods: {}, root token {}", vault.address(), vault.root_token()));
        lines.push(format!("# its certificate authority: {}", node.authority().certificate().display()));
    }
    lines.join("\n")
}

/// Starts this program again in the background, and returns when its node is there.
fn detach(arguments: &Arguments) -> Result<()> {
    if let Some(note) = running()? {
        eprintln!("a node of this checkout is already running; `cluster stop` ends it");
        println!("{}", note.text);
        return Ok(());
    }
    let stage = Stage::begin("a node in the background");
    let log = state::directory().join("cluster.log");
    let mut background = spawn(arguments, &log)?;
    let note = wait::until_blocking(START, "the node in the background", || {
        if let Some(status) = background.try_wait()? {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("it has ended ({status}); {}:\n{said}", log.display());
        }
        Ok(running()?.map_or_else(|| Seen::NotYet(format!("see {}", log.display())), Seen::Met))
    })?;
    stage.done();
    println!("{}", note.text);
    Ok(())
}

fn spawn(arguments: &Arguments, log: &Path) -> Result<Child> {
    process::write(log, "")?;
    let output = std::fs::File::options().append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe().context("finding the own program")?);
    command.arg("cluster").stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    for extra in &arguments.with {
        command.arg("--with").arg(extra.as_str());
    }
    // A process group of its own, so that Ctrl-C in this terminal does not reach it later.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().context("starting the node in the background")
}

fn stop() -> Result<()> {
    let Some(note) = running()? else {
        eprintln!("no node of this checkout is running");
        return Ok(());
    };
    let process = Pid::from_raw(note.process).context("the note about the node holds no process")?;
    let stage = Stage::begin("the node is removed");
    rustix::process::kill_process(process, Signal::TERM).context("sending SIGTERM to the node's testkit")?;
    wait::until_blocking(END, "the node to end", || {
        Ok(running()?.map_or_else(|| Seen::Met(()), |_| Seen::NotYet("it runs".to_owned())))
    })?;
    stage.done();
    Ok(())
}

/// The note of a node whose testkit is alive; what a crashed one left does not count.
fn running() -> Result<Option<Note>> {
    let Ok(text) = std::fs::read_to_string(note_path()) else { return Ok(None) };
    let note: Note = serde_json::from_str(&text).context("reading the note about the node")?;
    let command = std::fs::read(format!("/proc/{}/cmdline", note.process)).unwrap_or_default();
    let alive = String::from_utf8_lossy(&command).contains("alcove-testkit");
    Ok(alive.then_some(note))
}

fn note_path() -> PathBuf {
    state::directory().join("cluster.json")
}

fn parent(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}
