//! `alcove-webhook`: parses, runs, and says how it went.

use std::io::{self, Write as _};
use std::process::ExitCode;

use alcove_webhook::args::{Cli, Command};
use alcove_webhook::{review_once, serve};
use clap::Parser as _;
use mimalloc::MiMalloc;

// A review that makes it panic is to be refused, and everybody else served on.
#[cfg(not(panic = "unwind"))]
compile_error!("alcove-webhook catches panics: build it with panic = \"unwind\"");

/// A review is thousands of small allocations, made on one thread and freed on it: this allocator spends half the time on
/// them that the C library's does.
/// Without `no_thp` it would ask for huge pages, and a few megabytes of use would take ten of memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed, the exit code has to do.
            let _closed = writeln!(io::stderr(), "alcove-webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(arguments) => serve::runtime()?.block_on(serve::run(*arguments)),
        Command::Review(arguments) => {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(review_once::run(&arguments, &mut io::stdin().lock(), &mut io::stdout().lock()))
        }
    }
}
