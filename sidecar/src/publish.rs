//! Publishes the files of a volume as the kubelet does: a new generation is written aside and becomes visible in one
//! step, so that a reader sees all of it or nothing.
//!
//! ```text
//! /etc/creds/password   -> ..data/password
//! /etc/creds/..data     -> ..2026_11_25_01_48_13.123456789
//! /etc/creds/..2026_11_25_01_48_13.123456789/password
//! ```
//!
//! Names, links, order of operations and inotify events are the kubelet's (`AtomicWriter`), since reloaders are written
//! against exactly these. Its weak spots are left out: what a crash leaves behind is swept away, a mode that changed
//! alone is applied, and nothing is written to anything but a tmpfs.

mod beneath;
mod changes;
mod generation;
mod payload;
mod room;
mod single;
#[cfg(test)]
mod tests;

use alcove_contract::path::RelativePath;
use changes::{Changes, Kernel};
use generation::Generation;
use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use payload::{Conflict, Payload, PayloadFile};
pub use room::Room;
pub use single::{remove_file, replace_file};

/// The link that every visible name goes through.
const DATA: &str = "..data";
/// The link that becomes [`DATA`].
const NEXT_DATA: &str = "..data_tmp";
/// How many names are tried for a new generation, as Go's `MkdirTemp` does it.
const NAME_ATTEMPTS: u32 = 10_000;
/// What a directory allows: everybody enters and lists, the owner changes.
const DIRECTORY_MODE: u32 = 0o755;
/// The bit by which new files take over the group of their directory.
const SETGID: u32 = 0o2000;

/// Why files could not be published. What was there before is still there.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The volume is not in memory.
    #[error("refuse to write to {}: it is not a tmpfs, and secrets never go to a disk", .path.display())]
    NotInMemory {
        /// The volume.
        path: PathBuf,
    },
    /// A path is a file and a directory at once.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The volume is full, or would be at the first change.
    #[error(
        "write to {}: the volume is too small: {room}; bind fewer keys to one Secret name, or mount only some with items",
        .path.display()
    )]
    TooSmall {
        /// The volume.
        path: PathBuf,
        /// What it holds, and what its files take.
        room: Room,
    },
    /// The file system refused.
    #[error("write to {}: {source}", .path.display())]
    Io {
        /// The volume.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl PublishError {
    fn new(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// Whether the same files may be accepted later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::TooSmall { .. } | Self::Io { .. })
    }
}

/// What a publication did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The volume already held these files: nobody who watches it saw an event.
    Unchanged,
    /// A new generation is visible.
    Replaced,
}

/// The one writer of a volume.
pub struct Publisher {
    path: PathBuf,
    root: OwnedFd,
    /// The mode of the directories it makes.
    directory_mode: Mode,
    changes: Box<dyn Changes>,
    /// Whether something may lie around that belongs to no generation: after a start, and after an error.
    littered: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Publisher").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Publisher {
    /// The writer of the volume that is mounted at `path`.
    ///
    /// # Errors
    ///
    /// A directory that cannot be opened, or that is not on a tmpfs.
    pub fn open(path: &Path) -> Result<Self, PublishError> {
        let root = open_in_memory(path)?;
        let stat = rustix::fs::fstat(&root).map_err(|error| PublishError::new(path, error.into()))?;
        // With an fsGroup the volume's root carries the bit, and so does every directory that the kubelet makes in it.
        let directory_mode = Mode::from_raw_mode(DIRECTORY_MODE | (stat.st_mode & SETGID));
        Ok(Self { path: path.to_owned(), root, directory_mode, changes: Box::new(Kernel), littered: true })
    }

    /// Makes sure that there are directories that other volumes can be mounted on.
    ///
    /// Like the kubelet, this comes before the first publication: of a file and a mount point with one name the mount
    /// point is seen. No publication touches them, and what is there already is no event for anybody who watches.
    ///
    /// # Errors
    ///
    /// What the file system refuses, and anything but a directory that has the name.
    pub fn make_mount_points(&self, paths: &[RelativePath]) -> Result<(), PublishError> {
        paths.iter().try_for_each(|path| {
            self.make_mount_point(path).map_err(|error| PublishError::new(&self.path.join(path.as_str()), error))
        })
    }

    /// Makes the volume hold exactly the files of `payload`, from one moment to the next.
    ///
    /// # Errors
    ///
    /// Paths that exclude each other, and what the file system refuses. The files from before stay, and the next call
    /// starts clean. The first files are refused where others of their size would not fit beside them: a volume that
    /// never follows its store is found out before anybody relies on it.
    pub fn publish(&mut self, payload: &Payload<'_>, now: Timestamp) -> Result<Outcome, PublishError> {
        payload.check()?;
        let room = Room::of(self.root.as_fd(), payload).map_err(|error| PublishError::new(&self.path, error))?;
        let published = self.check_first(&room).and_then(|()| self.replace(payload, now));
        if published.is_err() {
            // A half-written generation takes memory that the next attempt needs. If this fails as well, the next
            // attempt sweeps, too.
            self.littered = self.sweep(payload).is_err();
        }
        published.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => PublishError::TooSmall { path: self.path.clone(), room },
            _ => PublishError::new(&self.path, error),
        })
    }

    fn check_first(&self, room: &Room) -> io::Result<()> {
        if room.suffices() || self.current()?.is_some() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn replace(&mut self, payload: &Payload<'_>, now: Timestamp) -> io::Result<Outcome> {
        let old = self.current()?;
        if self.littered {
            self.sweep_beside(old.as_ref())?;
        }
        let outcome = match &old {
            Some(old) if old.holds(payload)? => Outcome::Unchanged,
            _ => {
                let new = self.write_generation(payload, now)?;
                self.switch_to(&new)?;
                Outcome::Replaced
            }
        };
        self.link_visible_names(payload)?;
        if self.littered {
            self.unlink_strays(payload)?;
            self.littered = false;
        }
        if let (Some(old), Outcome::Replaced) = (old, outcome) {
            self.unlink_names(&old.names()? - &payload.visible_names())?;
            generation::remove(self.changes.as_ref(), self.root.as_fd(), &old.into_name())?;
        }
        Ok(outcome)
    }

    fn make_mount_point(&self, path: &RelativePath) -> io::Result<()> {
        for directory in path.parents().chain([path.as_str()]) {
            let (parent, name) = open_parent(self.root.as_fd(), directory)?;
            match self.changes.make_directory(parent.as_fd(), name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            let made = open_directory(parent.as_fd(), name)?;
            // Whoever was interrupted before this has left one that nobody enters.
            if rustix::fs::fstat(&made)?.st_mode & 0o7777 != self.directory_mode.bits() {
                self.changes.set_mode(made.as_fd(), self.directory_mode)?;
            }
        }
        Ok(())
    }

    /// The generation that is visible now, if there is one.
    fn current(&self) -> io::Result<Option<Generation>> {
        let target = match rustix::fs::readlinkat(&self.root, DATA, Vec::new()) {
            Ok(target) => target,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match target.to_str() {
            Ok(name) if generation::is_name(name) => Generation::open(self.root.as_fd(), name),
            // Nobody but a stranger makes such a link; it is replaced and its target is left alone.
            _ => Ok(None),
        }
    }

    /// Writes a new generation beside the visible one, and gives its name.
    fn write_generation(&self, payload: &Payload<'_>, now: Timestamp) -> io::Result<String> {
        let name = self.make_generation(now)?;
        let directory = open_directory(self.root.as_fd(), &name)?;
        self.changes.set_mode(directory.as_fd(), self.directory_mode)?;
        let mut made = BTreeSet::new();
        for (path, file) in payload {
            for parent in path.parents() {
                if made.insert(parent) {
                    self.make_subdirectory(directory.as_fd(), parent)?;
                }
            }
            self.write_file(directory.as_fd(), path, file)?;
        }
        Ok(name)
    }

    fn make_generation(&self, now: Timestamp) -> io::Result<String> {
        let digits = now.subsec_nanosecond().unsigned_abs();
        for attempt in 0..NAME_ATTEMPTS {
            let name = generation::name(now, digits.wrapping_add(attempt));
            match self.changes.make_directory(self.root.as_fd(), &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| name),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn make_subdirectory(&self, generation: BorrowedFd<'_>, path: &str) -> io::Result<()> {
        let (parent, name) = open_parent(generation, path)?;
        self.changes.make_directory(parent.as_fd(), name)?;
        let made = open_directory(parent.as_fd(), name)?;
        self.changes.set_mode(made.as_fd(), self.directory_mode)
    }

    fn write_file(&self, generation: BorrowedFd<'_>, path: &RelativePath, file: &PayloadFile<'_>) -> io::Result<()> {
        let (parent, name) = open_parent(generation, path.as_str())?;
        let written = self.changes.create_file(parent.as_fd(), name)?;
        self.changes.write(written.as_fd(), file.content)?;
        self.changes.set_mode(written.as_fd(), Mode::from_raw_mode(file.mode.bits()))
    }

    /// The atomic point: before it the old generation is visible, after it the new one.
    fn switch_to(&self, name: &str) -> io::Result<()> {
        self.changes.link(name, self.root.as_fd(), NEXT_DATA)?;
        self.changes.rename(self.root.as_fd(), NEXT_DATA, DATA)
    }

    fn link_visible_names(&self, payload: &Payload<'_>) -> io::Result<()> {
        for name in payload.visible_names() {
            match rustix::fs::statat(&self.root, &name, AtFlags::SYMLINK_NOFOLLOW) {
                // Like the kubelet, whatever has the name is left alone.
                Ok(_) => {}
                Err(Errno::NOENT) => self.changes.link(&format!("{DATA}/{name}"), self.root.as_fd(), &name)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Removes visible names, as far as they are links of ours.
    fn unlink_names(&self, names: impl IntoIterator<Item = String>) -> io::Result<()> {
        for name in names {
            let ours = format!("{DATA}/{name}");
            let target = rustix::fs::readlinkat(&self.root, &name, Vec::new());
            if target.is_ok_and(|target| target.as_bytes() == ours.as_bytes()) {
                self.changes.remove_file(self.root.as_fd(), &name)?;
            }
        }
        Ok(())
    }

    fn sweep(&self, payload: &Payload<'_>) -> io::Result<()> {
        let current = self.current()?;
        self.sweep_beside(current.as_ref())?;
        match current {
            Some(current) if current.holds(payload)? => self.unlink_strays(payload),
            _ => Ok(()),
        }
    }

    /// Removes what an interrupted publication left behind: the link that was to become [`DATA`], and generations that
    /// nobody sees.
    fn sweep_beside(&self, current: Option<&Generation>) -> io::Result<()> {
        for (name, kind) in generation::entries(self.root.as_fd(), ".")? {
            if name == NEXT_DATA {
                self.changes.remove_file(self.root.as_fd(), &name)?;
            } else if kind == FileType::Directory
                && generation::is_name(&name)
                && current.is_none_or(|current| current.name() != name)
            {
                generation::remove(self.changes.as_ref(), self.root.as_fd(), &name)?;
            }
        }
        Ok(())
    }

    /// Removes links to names that the visible generation does not have.
    fn unlink_strays(&self, payload: &Payload<'_>) -> io::Result<()> {
        let names = payload.visible_names();
        let entries = generation::entries(self.root.as_fd(), ".")?;
        self.unlink_names(entries.into_iter().map(|(name, _)| name).filter(|name| !names.contains(name)))
    }
}

/// Opens the directory that `path` is in; with it comes the last element of `path`.
fn open_parent<'path>(directory: BorrowedFd<'_>, path: &'path str) -> io::Result<(OwnedFd, &'path str)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    Ok((open_directory(directory, parent)?, name))
}

fn open_directory(directory: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    Ok(beneath::open(directory, path, OFlags::RDONLY | OFlags::DIRECTORY)?)
}

/// Opens a directory, if it is on a tmpfs.
fn open_in_memory(path: &Path) -> Result<OwnedFd, PublishError> {
    let failed = |error: Errno| PublishError::new(path, error.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    if beneath::is_in_memory(directory.as_fd()).map_err(failed)? {
        Ok(directory)
    } else {
        Err(PublishError::NotInMemory { path: path.to_owned() })
    }
}
