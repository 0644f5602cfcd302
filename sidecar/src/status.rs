//! Whether the Pod's containers may start, as a file that the startup probe looks for.
//!
//! The probe is a process of its own: it answers at once, also while the sidecar is busy.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file in the status directory.
const FILE: &str = "ready";

/// The place where the sidecar says that it is ready.
#[derive(Clone, Debug)]
pub struct Status {
    path: PathBuf,
}

impl Status {
    /// The status that is kept in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join(FILE) }
    }

    /// Whether everything has been published since the sidecar started.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.path.exists()
    }

    /// Says that everything has been published.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    pub fn set_ready(&self) -> io::Result<()> {
        File::create(&self.path).map(drop)
    }

    /// Says that nothing is known yet: the directory outlives the process that was ready.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    pub fn reset(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
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
        status.set_ready().unwrap();
        assert!(status.is_ready());
        status.reset().unwrap();
        assert!(!status.is_ready());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(Status::in_directory(Path::new("/nowhere")).set_ready().is_err());
    }
}
