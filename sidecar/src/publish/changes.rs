//! The changes that a publication makes, one call each, so that a test can stop between any two of them.

use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};

/// What changes a volume. Every name is a single path element below an open directory.
pub(super) trait Changes {
    /// Makes a directory that only its owner enters.
    fn make_directory(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()>;
    /// Makes a file that only its owner opens and that was not there before.
    fn create_file(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd>;
    /// Appends all of `content`.
    fn write(&self, file: BorrowedFd<'_>, content: &[u8]) -> io::Result<()>;
    /// Sets the mode, whatever the process's umask says.
    fn set_mode(&self, file: BorrowedFd<'_>, mode: Mode) -> io::Result<()>;
    /// Makes the symbolic link `name` that points to `target`.
    fn link(&self, target: &str, parent: BorrowedFd<'_>, name: &str) -> io::Result<()>;
    /// Renames within one directory; what had the new name is replaced in the same moment.
    fn rename(&self, parent: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file or link.
    fn remove_file(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_directory(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()>;
}

/// The kernel's own calls.
pub(super) struct Kernel;

impl Changes for Kernel {
    fn make_directory(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(parent, name, Mode::RWXU)?)
    }

    fn create_file(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?)
    }

    fn write(&self, file: BorrowedFd<'_>, content: &[u8]) -> io::Result<()> {
        File::from(file.try_clone_to_owned()?).write_all(content)
    }

    fn set_mode(&self, file: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
        Ok(rustix::fs::fchmod(file, mode)?)
    }

    fn link(&self, target: &str, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, parent, name)?)
    }

    fn rename(&self, parent: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(parent, from, parent, to)?)
    }

    fn remove_file(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
    }

    fn remove_directory(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }
}
