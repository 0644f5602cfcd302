//! What the kubelet projects into a volume that only the sidecar mounts: the other sources of a projected volume, whose
//! files are copied beside the secrets.

use alcove_contract::mode::Mode;
use alcove_contract::path::{RelativePath, RelativePathError};
use alcove_stores::SecretBytes;
use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The link through which the kubelet makes files visible.
const DATA: &str = "..data";
/// How often reading starts again because the kubelet has just replaced the files.
const ATTEMPTS: usize = 10;

/// One generation of a mirrored volume's files.
#[derive(Default, PartialEq, Eq)]
pub struct Mirror {
    files: BTreeMap<RelativePath, MirrorFile>,
}

/// One mirrored file.
#[derive(PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "a secret has no printable form")]
pub struct MirrorFile {
    /// Its bytes: as likely as not a token.
    pub content: SecretBytes,
    /// Its mode.
    pub mode: Mode,
}

/// Why a mirrored volume could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The file system refused.
    #[error("read {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A name that no volume has.
    #[error(transparent)]
    Path(#[from] RelativePathError),
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.files.keys()).finish()
    }
}

impl Mirror {
    /// Reads the generation that is visible below `root` now, and no file of another one.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    pub fn read(root: &Path) -> Result<Self, MirrorError> {
        let mut attempts = 1;
        loop {
            match Self::read_once(root) {
                // The kubelet removed the generation under our hands: the next one is there already.
                Err(MirrorError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS =>
                {
                    attempts += 1;
                }
                read => return read,
            }
        }
    }

    /// The files by path.
    pub fn files(&self) -> impl Iterator<Item = (&RelativePath, &MirrorFile)> {
        self.files.iter()
    }

    fn read_once(root: &Path) -> Result<Self, MirrorError> {
        let data = root.join(DATA);
        let failed = |path: PathBuf, error: Errno| MirrorError::Io { path, source: error.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(&data, flags, rustix::fs::Mode::empty()).map_err(|error| failed(data.clone(), error))?;
        let mut mirror = Self::default();
        let mut pending = vec![(directory, String::new())];
        while let Some((directory, prefix)) = pending.pop() {
            for name in names(directory.as_fd()).map_err(|error| failed(data.join(&prefix), error))? {
                let path = format!("{prefix}{name}");
                match read_entry(directory.as_fd(), &name)
                    .map_err(|source| MirrorError::Io { path: data.join(&path), source })?
                {
                    Entry::File(file) => {
                        mirror.files.insert(path.parse()?, file);
                    }
                    Entry::Directory(directory) => pending.push((directory, format!("{path}/"))),
                    Entry::Other => {}
                }
            }
        }
        Ok(mirror)
    }
}

enum Entry {
    File(MirrorFile),
    Directory(OwnedFd),
    Other,
}

fn names(directory: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if !matches!(name.as_ref(), "." | "..") {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}

fn read_entry(parent: BorrowedFd<'_>, name: &str) -> io::Result<Entry> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let open = |flags: OFlags| {
        rustix::fs::openat(parent, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, rustix::fs::Mode::empty())
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(Entry::Directory(open(OFlags::RDONLY | OFlags::DIRECTORY)?)),
        FileType::RegularFile => {
            let mode = Mode::try_from(stat.st_mode & 0o777).unwrap_or(Mode::DEFAULT);
            let length = usize::try_from(stat.st_size).unwrap_or_default();
            Ok(Entry::File(MirrorFile { content: read_all(open(OFlags::RDONLY)?, length)?, mode }))
        }
        _ => Ok(Entry::Other),
    }
}

/// Reads a file whose length is known; the kubelet never changes one after it is visible.
fn read_all(file: OwnedFd, length: usize) -> io::Result<SecretBytes> {
    let mut content = Zeroizing::new(vec![0; length]);
    File::from(file).read_exact(&mut content)?;
    Ok(std::mem::take(&mut *content).into())
}
