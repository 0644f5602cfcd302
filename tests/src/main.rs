//! `alcove-testkit`: a node to work with, and what the Makefile needs.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a command line program talks to its terminal")]

mod bench;
mod cluster;
mod demo;

use std::process::{Command, ExitCode};

use alcove_tests::stage::Stage;
use alcove_tests::{alcove, generated, image, janitor, state, tools};
use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

/// A real Kubernetes node for the tests, on this machine, thrown away afterwards.
#[derive(Debug, Parser)]
#[command(name = "alcove-testkit", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Starts a node and keeps it until Ctrl-C.
    Cluster(cluster::Arguments),
    /// Shows on a node how a workload gets Secrets that do not exist.
    Demo(demo::Arguments),
    /// Measures what the design promises, beside what a user would pick instead, and prints a table.
    Bench(bench::Arguments),
    /// Writes the files of the checkout that come from the code.
    Generate,
    /// Builds the programs and packs all images into the state directory.
    BuildImages,
    /// Checks that everything the tests need is here; as root, installs what is missing.
    Doctor,
}

fn main() -> ExitCode {
    if let Some(code) = janitor::dispatch() {
        return code;
    }
    let outcome = match Arguments::parse().task {
        Task::Cluster(arguments) => cluster::run(&arguments),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Generate => generated::write(state::checkout()),
        Task::BuildImages => build_images(),
        Task::Doctor => examine(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build_images() -> Result<()> {
    for image in alcove::images()?.into_iter().chain([image::pause()?, image::busybox()?]) {
        println!("{} {}", image.reference, image.archive.display());
    }
    Ok(())
}

fn examine() -> Result<()> {
    let stage = Stage::begin("Debian packages");
    let script = state::checkout().join("tests/tools/install.sh");
    let status = Command::new(&script).status().with_context(|| format!("starting {}", script.display()))?;
    ensure!(status.success(), "the list of what is missing is above");
    stage.done();
    let stage = Stage::begin("Kubernetes, containerd, runc and Vault");
    tools::Tools::find()?;
    tools::vault()?;
    stage.done();
    Ok(())
}
