//! Programs that the testkit starts: each with a log file and a process group of its own, each ended by its id.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::wait::{self, Seen};

/// How much of a log is quoted when its program has died.
const QUOTED_LOG_BYTES: u64 = 3000;

/// A running program. Dropping it kills its process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a new process group, with stdout and stderr in `<logs>/<name>.log`.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log);
        let out = out.with_context(|| format!("opening the log file {}", log.display()))?;
        command.process_group(0).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("starting {name} ({})", line(&command)))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The id of the process, which is also that of its group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of its log if the program has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        bail!("{} has ended ({status}); the end of {}:\n{}", self.name, self.log.display(), tail(&self.log))
    }

    /// Sends `signal` to the program alone, not to its children.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(self.group(), signal)
            .with_context(|| format!("sending a signal to {}", self.name))
    }

    /// Asks the program to end with SIGTERM, and kills its group when it has not after `grace`.
    pub async fn stop(mut self, grace: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        let child = &mut self.child;
        let ended = wait::until_within(grace, "the program to end", async || {
            Ok(child.try_wait()?.map_or_else(|| Seen::NotYet("running".to_owned()), Seen::Met))
        });
        if ended.await.is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// Kills the program and everything in its process group, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        match kill_process_group(self.group(), Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("killing {}", self.name)),
        }
        self.child.wait().with_context(|| format!("waiting for the end of {}", self.name))?;
        Ok(())
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Runs `command` to its end and returns its stdout; fails with its stderr.
pub fn run(mut command: Command) -> Result<String> {
    let shown = line(&command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting `{shown}`"))?;
    completed(&shown, &output)
}

/// Runs `command` to its end with `input` on its stdin, without blocking the runtime.
pub async fn run_with_input(command: Command, input: &str) -> Result<String> {
    let output = output_with_input(command, input).await?;
    completed(&output.0, &output.1)
}

/// Like [`run_with_input`], for callers that tell one exit status from another.
pub async fn output_with_input(command: Command, input: &str) -> Result<(String, std::process::Output)> {
    use tokio::io::AsyncWriteExt as _;

    let shown = line(&command);
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("starting `{shown}`"))?;
    let stdin = child.stdin.take();
    let feed = async {
        let Some(mut stdin) = stdin else { return Ok(()) };
        match stdin.write_all(input.as_bytes()).await {
            // It did not want its input: its exit status says why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    };
    let (written, output) = tokio::join!(feed, child.wait_with_output());
    written.with_context(|| format!("writing to `{shown}`"))?;
    let output = output.with_context(|| format!("waiting for `{shown}`"))?;
    Ok((shown, output))
}

/// Writes a file and every directory above it.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let write = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        File::create(path)?.write_all(content.as_ref())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn completed(shown: &str, output: &std::process::Output) -> Result<String> {
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The end of a log file, or why it cannot be read.
fn tail(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(QUOTED_LOG_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(unreadable: {error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_has_ended_is_reported_with_the_end_of_its_log() {
        let logs = tempfile::tempdir().unwrap();
        let mut process = Process::start("doomed", shell("echo the reason; exit 3"), logs.path()).unwrap();
        let ended = wait::until_blocking(wait::PATIENCE, "its end", || {
            Ok(process
                .ensure_running()
                .map_or_else(|error| Seen::Met(format!("{error:#}")), |()| Seen::NotYet(String::new())))
        });
        let text = ended.unwrap();
        assert!(text.contains("doomed has ended (exit status: 3)") && text.ends_with("the reason\n"), "{text}");
    }

    #[test]
    fn dropping_a_process_kills_its_children_too() {
        let logs = tempfile::tempdir().unwrap();
        let log = logs.path().join("parent.log");
        let process = Process::start("parent", shell("sleep 1000 & echo $!; wait"), logs.path()).unwrap();
        let child = wait::until_blocking(wait::PATIENCE, "the child to be named", || {
            let printed = std::fs::read_to_string(&log)?;
            Ok(if printed.ends_with('\n') { Seen::Met(printed.trim().to_owned()) } else { Seen::NotYet(printed) })
        });
        let status = Path::new("/proc").join(child.unwrap()).join("status");
        drop(process);
        wait::until_blocking(wait::PATIENCE, "the child to be gone", || {
            // A zombie that its new parent has not yet asked about is as dead as one that is gone.
            let state = std::fs::read_to_string(&status).unwrap_or_default();
            let dead = state.is_empty() || state.contains("State:\tZ");
            Ok(if dead { Seen::Met(()) } else { Seen::NotYet(state) })
        })
        .unwrap();
    }

    #[tokio::test]
    async fn the_error_of_a_command_is_its_stderr() {
        let error = run_with_input(shell("cat >&2; exit 4"), "what it read").await.unwrap_err();
        assert_eq!(error.to_string(), "`sh -c cat >&2; exit 4` failed (exit status: 4): what it read");
    }
}
