//! One generation of a volume's files: a directory whose name says when it was made.

use super::changes::Changes;
use super::payload::{Payload, PayloadFile};
use super::{beneath, open_parent};
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use zeroize::Zeroizing;

/// How much of a file is compared at a time.
const COMPARED_BYTES: usize = 8 * 1024;

/// The name of a generation made at `now`: the kubelet's pattern, in UTC.
pub(super) fn name(now: Timestamp, digits: u32) -> String {
    format!("{}.{digits}", now.strftime("..%Y_%m_%d_%H_%M_%S"))
}

/// Whether something with this name is a generation: the kubelet reserves `..` and a digit for them.
pub(super) fn is_name(name: &str) -> bool {
    let rest = name.strip_prefix("..").unwrap_or_default();
    rest.starts_with(|first: char| first.is_ascii_digit()) && !rest.contains('/')
}

/// What is in the directory `path` beneath `root`, without `.` and `..`.
pub(super) fn entries(root: BorrowedFd<'_>, path: &str) -> io::Result<Vec<(String, FileType)>> {
    let directory = beneath::open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        // A name that is not UTF-8 is none of ours.
        if let Ok(name) = name.to_str()
            && !matches!(name, "." | "..")
        {
            let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            entries.push((name.to_owned(), FileType::from_raw_mode(stat.st_mode)));
        }
    }
    Ok(entries)
}

/// Removes the directory `name` of `root` with everything in it; that it is gone already is fine.
pub(super) fn remove(changes: &dyn Changes, root: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let Some(generation) = Generation::open(root, name)? else { return Ok(()) };
    let tree = generation.tree()?;
    // Backwards, every directory comes after what is in it.
    for (path, kind) in tree.iter().rev() {
        let (parent, name) = open_parent(generation.directory.as_fd(), path)?;
        if *kind == FileType::Directory {
            changes.remove_directory(parent.as_fd(), name)?;
        } else {
            changes.remove_file(parent.as_fd(), name)?;
        }
    }
    // inotify tells the end of a directory only when nobody holds it open any more, and reloaders wait for that.
    drop(generation);
    changes.remove_directory(root, name)
}

/// A generation that is there.
pub(super) struct Generation {
    name: String,
    directory: OwnedFd,
}

impl Generation {
    /// Opens the generation `name` of `root`, if it is there.
    pub(super) fn open(root: BorrowedFd<'_>, name: &str) -> io::Result<Option<Self>> {
        match beneath::open(root, name, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(directory) => Ok(Some(Self { name: name.to_owned(), directory })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The name of its directory.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Closes it and gives its name.
    pub(super) fn into_name(self) -> String {
        self.name
    }

    /// Its top-level names.
    pub(super) fn names(&self) -> io::Result<BTreeSet<String>> {
        Ok(entries(self.directory.as_fd(), ".")?.into_iter().map(|(name, _)| name).collect())
    }

    /// Whether it holds exactly these files, with these bytes and modes.
    pub(super) fn holds(&self, payload: &Payload<'_>) -> io::Result<bool> {
        let tree = self.tree()?;
        let expected = payload.directories().map(|path| (path, FileType::Directory));
        let expected = expected.chain(payload.into_iter().map(|(path, _)| (path.as_str(), FileType::RegularFile)));
        let expected: BTreeMap<&str, FileType> = expected.collect();
        if !expected.into_iter().eq(tree.iter().map(|(path, kind)| (path.as_str(), *kind))) {
            return Ok(false);
        }
        for (path, file) in payload {
            if !self.holds_file(path.as_str(), file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn holds_file(&self, path: &str, expected: &PayloadFile<'_>) -> io::Result<bool> {
        match beneath::open(self.directory.as_fd(), path, OFlags::RDONLY) {
            Ok(file) => is_file(file, expected),
            // A mode that shuts the owner out, too: it cannot be compared, so it is written anew.
            Err(Errno::ACCESS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything in it by path, each directory before what is in it.
    fn tree(&self) -> io::Result<BTreeMap<String, FileType>> {
        let mut tree = BTreeMap::new();
        let mut directories = vec![String::from(".")];
        while let Some(directory) = directories.pop() {
            for (name, kind) in entries(self.directory.as_fd(), &directory)? {
                let path = if directory == "." { name } else { format!("{directory}/{name}") };
                if kind == FileType::Directory {
                    directories.push(path.clone());
                }
                tree.insert(path, kind);
            }
        }
        Ok(tree)
    }
}

/// Whether `file` is this file: mode, size, bytes.
pub(super) fn is_file(file: OwnedFd, expected: &PayloadFile<'_>) -> io::Result<bool> {
    let stat = rustix::fs::fstat(&file)?;
    let same_size = usize::try_from(stat.st_size).is_ok_and(|size| size == expected.content.len());
    let same_mode = stat.st_mode & 0o7777 == expected.mode.bits();
    Ok(same_size && same_mode && is_content(file, expected.content)?)
}

/// Whether `file` holds exactly `expected`.
fn is_content(file: OwnedFd, mut expected: &[u8]) -> io::Result<bool> {
    let mut file = File::from(file);
    let mut buffer = Zeroizing::new([0; COMPARED_BYTES]);
    loop {
        let count = file.read(buffer.as_mut_slice())?;
        let read = buffer.get(..count).unwrap_or_default();
        if count == 0 {
            return Ok(expected.is_empty());
        }
        match expected.strip_prefix(read) {
            Some(rest) => expected = rest,
            None => return Ok(false),
        }
    }
}
