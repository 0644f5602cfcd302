//! A second process that removes the node when the first one ends, however that happens.
//!
//! SIGKILL, a crash or Ctrl-C give the testkit no chance to clean up. So it keeps a janitor: its own program, started with
//! a pipe that nobody writes to. When the pipe closes, the testkit is gone and the janitor sweeps the slot.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::network::Slot;
use crate::sweep;
use crate::wait::{self, Seen};

/// The first argument that makes a program of the testkit a janitor.
const ARGUMENT: &str = "__janitor";
/// What the testkit writes into the pipe when it has removed the node itself.
const DISMISSED: &[u8] = b"dismissed";
/// How long the lock of a dead process may last.
const RELEASE: Duration = Duration::from_secs(5);

/// A running janitor, which waits for the end of this process.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
}

impl Janitor {
    /// Starts the janitor of a slot: this same program, which must begin with [`dispatch`].
    pub fn start(slot: u8) -> Result<Self> {
        let program = std::env::current_exe().context("finding the own program")?;
        let mut command = Command::new(program);
        command.arg(ARGUMENT).arg(slot.to_string());
        // Not in our process group: Ctrl-C in a terminal must not reach it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        Ok(Self { child: command.spawn().context("starting the janitor")? })
    }

    /// Sends the janitor home: the slot was swept, there is nothing left to do.
    pub fn dismiss(mut self) -> Result<()> {
        if let Some(mut pipe) = self.child.stdin.take() {
            pipe.write_all(DISMISSED).context("dismissing the janitor")?;
        }
        self.child.wait().context("waiting for the janitor")?;
        Ok(())
    }
}

/// Acts as a janitor if this process was started as one. To be called first in `main`.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let slot = arguments.next()?.parse().ok()?;
    Some(match serve(slot) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to remove the node in slot {slot}: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn serve(number: u8) -> Result<()> {
    let mut said = Vec::new();
    std::io::stdin().read_to_end(&mut said).context("waiting for the testkit to end")?;
    if said == DISMISSED {
        return Ok(());
    }
    // The kernel closes the pipe of a dying process a moment before or after it releases the slot. A new run may be faster
    // and hold it for long: then that run has swept.
    let claimed = wait::until_blocking(RELEASE, "the slot to be released", || {
        let Some(mut slot) = Slot::try_claim(number)? else { return Ok(Seen::NotYet("in use".to_owned())) };
        let directory = slot.directory()?;
        sweep::sweep(number, &directory).map(Seen::Met)
    });
    if let Err(error) = claimed {
        eprintln!("the janitor leaves slot {number} to its holder: {error:#}");
    }
    Ok(())
}
