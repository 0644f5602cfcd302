//! The sidecar that the Alcove webhook injects into Pods.

use alcove_contract::layout;
use alcove_sidecar::agent::Exit;
use alcove_sidecar::hardening;
use alcove_sidecar::run::{Places, run};
use alcove_sidecar::status::Status;
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::io::{self, Write as _};
use std::panic;
use std::path::PathBuf;
use std::process::{self, ExitCode};

/// Fetches the secrets of one Pod from external stores, writes them into its memory volumes and keeps them fresh.
///
/// The Alcove webhook injects this program into Pods and configures it through ALCOVE_… variables; it is not meant to be
/// started by hand. It talks to the stores it is told of and to nothing else.
#[derive(Debug, Parser)]
#[command(name = "alcove-sidecar", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Directory in which `run` notes that it is ready.
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = layout::STATUS)]
    status: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch, publish and refresh until SIGTERM.
    Run {
        /// File that receives the reason where this program cannot do its work.
        #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
        termination_log: PathBuf,
    },
    /// Exit with 0 if everything has been published since `run` started, else print what is waited for and exit with 1.
    Ready,
}

fn main() -> anyhow::Result<ExitCode> {
    end_with_any_panic();
    let Arguments { command, status } = Arguments::parse();
    let status = Status::in_directory(&status);
    let succeeded = match command {
        Command::Ready => {
            // The probe, too, is a process with a view of the tokens, and of the application's user.
            hardening::apply();
            ready(&status)?
        }
        Command::Run { termination_log } => {
            // The one place that chooses the crypto of every connection.
            let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
            debug_assert!(installed.is_ok(), "nothing chose before");
            let exit = run(&Places { status, termination_log }, variables()).context("cannot run")?;
            exit == Exit::Terminated
        }
    };
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Ends the process with the first panic, wherever it is. Half a sidecar would be worse than none: it could stop to refresh
/// and say nothing. The kubelet starts it anew, and the files stay. Nothing is unwound either, through code that holds values.
fn end_with_any_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        process::abort();
    }));
}

/// The answer to the startup probe; the kubelet shows what it prints in the Pod's events.
fn ready(status: &Status) -> io::Result<bool> {
    let is_ready = status.is_ready();
    if let Some(reason) = status.waiting().filter(|_| !is_ready) {
        writeln!(io::stdout(), "{reason}")?;
    }
    Ok(is_ready)
}

/// The process's variables. One that is not UTF-8 is read with replacements, so that it is refused with its name.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}
