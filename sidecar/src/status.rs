//! Whether the Pod's containers may start, as a file that the startup probe looks for.
//!
//! The probe is a process of its own: it answers at once, also while the sidecar is busy. The file counts only while the
//! process that made it holds it locked: the directory outlives a sidecar that was killed, and a probe may come before
//! its successor has done anything.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file that is there once everything has been published.
const READY: &str = "ready";
/// The file that says what is waited for until then.
const WAITING: &str = "waiting";

/// The word of a sidecar that everything has been published: it counts as long as this is kept.
#[derive(Debug)]
#[must_use]
pub struct Ready {
    /// Held by its lock, which the kernel releases with the process.
    _locked: File,
}

/// The place where the sidecar says that it is ready, or why it is not.
#[derive(Clone, Debug)]
pub struct Status {
    directory: PathBuf,
}

impl Status {
    /// The status that is kept in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether the sidecar that runs now has published everything.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let locked = File::open(self.directory.join(READY)).map(|file| file.try_lock_shared());
        matches!(locked, Ok(Err(TryLockError::WouldBlock)))
    }

    /// What is waited for, as far as anything is known: the kubelet shows it in the event of a failed probe.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        std::fs::read_to_string(self.directory.join(WAITING)).ok()
    }

    /// Says that everything has been published.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    pub fn set_ready(&self) -> io::Result<Ready> {
        self.remove(WAITING)?;
        let file = File::create(self.directory.join(READY))?;
        file.lock()?;
        Ok(Ready { _locked: file })
    }

    /// Says what is waited for: a text for people, which holds no value.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    pub fn set_waiting(&self, reason: &str) -> io::Result<()> {
        File::create(self.directory.join(WAITING))?.write_all(reason.as_bytes())
    }

    /// Says that nothing is known yet: the directory outlives the process that was ready.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    pub fn reset(&self) -> io::Result<()> {
        self.remove(READY)?;
        self.remove(WAITING)
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        match std::fs::remove_file(self.directory.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_process_is_not_ready_because_its_predecessor_was() {
        let directory = tempfile::tempdir().unwrap();
        let status = Status::in_directory(directory.path());
        status.reset().unwrap();
        assert!(!status.is_ready());
        let ready = status.set_ready().unwrap();
        assert!(status.is_ready());
        assert!(status.is_ready(), "one probe does not spoil the next");
        // Killed, which leaves the file: not even a probe before the next process has begun takes it for an answer.
        drop(ready);
        assert!(directory.path().join(READY).exists() && !status.is_ready());
        status.reset().unwrap();
        let _ready = status.set_ready().unwrap();
        assert!(status.is_ready());
    }

    #[test]
    fn what_is_waited_for_is_told_until_everything_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let status = Status::in_directory(directory.path());
        assert_eq!(status.waiting(), None);
        status.set_waiting("store vault: sealed").unwrap();
        assert_eq!(status.waiting().as_deref(), Some("store vault: sealed"));
        let _ready = status.set_ready().unwrap();
        assert_eq!(status.waiting(), None);
        status.set_waiting("left behind").unwrap();
        status.reset().unwrap();
        assert_eq!(status.waiting(), None);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(Status::in_directory(Path::new("/nowhere")).set_ready().is_err());
    }
}
