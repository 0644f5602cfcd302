//! Files that stand alone: env files, and the sidecar's own status.

use super::changes::{Changes as _, Kernel};
use super::{Outcome, PayloadFile, PublishError, beneath, generation, open_in_memory};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

/// Makes `path` hold exactly this file, from one moment to the next.
///
/// It is a plain file and no link into a generation, because its reader (the kubelet, which resolves links by itself
/// before it opens the file) would otherwise find that the generation has just gone.
///
/// # Errors
///
/// A directory that is not on a tmpfs, and what the file system refuses. The file from before stays.
pub fn replace_file(path: &Path, file: PayloadFile<'_>) -> Result<Outcome, PublishError> {
    let (directory, name) = split(path)?;
    let root = open_in_memory(directory)?;
    replace(root.as_fd(), name, file).map_err(|error| PublishError::new(path, error))
}

/// Makes sure that there is no file `path`.
///
/// # Errors
///
/// What the file system refuses.
pub fn remove_file(path: &Path) -> Result<(), PublishError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PublishError::new(path, error)),
        _ => Ok(()),
    }
}

fn split(path: &Path) -> Result<(&Path, &str), PublishError> {
    let name = path.file_name().and_then(|name| name.to_str());
    path.parent().zip(name).ok_or_else(|| PublishError::new(path, io::ErrorKind::InvalidFilename.into()))
}

fn replace(root: BorrowedFd<'_>, name: &str, file: PayloadFile<'_>) -> io::Result<Outcome> {
    if holds(root, name, &file)? {
        return Ok(Outcome::Unchanged);
    }
    let next = format!(".{name}.next");
    match Kernel.remove_file(root, &next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = Kernel.create_file(root, &next)?;
    Kernel.write(written.as_fd(), file.content)?;
    Kernel.set_mode(written.as_fd(), Mode::from_raw_mode(file.mode.bits()))?;
    Kernel.rename(root, &next, name)?;
    Ok(Outcome::Replaced)
}

fn holds(root: BorrowedFd<'_>, name: &str, expected: &PayloadFile<'_>) -> io::Result<bool> {
    match beneath::open(root, name, OFlags::RDONLY) {
        Ok(file) => generation::is_file(file, expected),
        Err(Errno::NOENT | Errno::LOOP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
