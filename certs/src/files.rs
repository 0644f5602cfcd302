//! Certificates that somebody else puts on disk, such as cert-manager's in a mounted Secret.
//!
//! The directory is polled and its contents compared. A watch would be bound to an inode: the kubelet publishes a new
//! version by swapping the `..data` link, after which a watch on the old file never hears anything again.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::certificate::CertificateError;
use crate::identity::{Identity, IdentityError};
use crate::trust::Trust;

/// The largest file that is read; a chain with its key is a few KiB.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// How often a version is read anew because the next one was published meanwhile.
const ATTEMPTS: usize = 3;

/// A directory with a certificate, its key and perhaps `ca.crt`.
#[derive(Debug)]
pub struct Watched {
    directory: PathBuf,
    /// The certificate and its key: names in the directory, or paths from the root for files that are elsewhere.
    pair: [PathBuf; 2],
    accepted: Option<Contents>,
}

impl Watched {
    /// Will look for `tls.crt` and `tls.key` in `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let pair = ["tls.crt", "tls.key"].map(PathBuf::from);
        Self { directory: directory.into(), pair, accepted: None }
    }

    /// Will look for a certificate and a key of any names, which need not exist yet. Of two files in one directory, as
    /// the kubelet mounts them, both are always read from the same version.
    #[must_use]
    pub fn of_files(certificate: &Path, key: &Path) -> Self {
        let directory = certificate.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let within = |file: &Path| match (file.parent(), file.file_name()) {
            (Some(parent), Some(name)) if parent == directory => PathBuf::from(name),
            _ => std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
        };
        let pair = [within(certificate), within(key)];
        Self { directory, pair, accepted: None }
    }

    /// Looks once. The first usable version counts as a change.
    ///
    /// What is broken is reported by every poll until it is mended, and nothing of it is kept: the version accepted
    /// before remains the one to compare with.
    pub fn poll(&mut self, now: Timestamp) -> Poll {
        match self.changed(now) {
            Ok(None) => Poll::Unchanged,
            Ok(Some(version)) => Poll::Changed(Box::new(version)),
            Err(error) => Poll::Broken(error),
        }
    }

    fn changed(&mut self, now: Timestamp) -> Result<Option<Version>, FilesError> {
        let contents = read(&self.directory, &self.pair)?;
        if self.accepted.as_ref() == Some(&contents) {
            return Ok(None);
        }
        let version = contents.parse(now)?;
        self.accepted = Some(contents);
        Ok(Some(version))
    }
}

/// What a look into the directory found.
#[derive(Debug)]
pub enum Poll {
    /// The files are those that were accepted last.
    Unchanged,
    /// There is a new version, complete and usable.
    Changed(Box<Version>),
    /// The files cannot be used; what was accepted last should go on serving.
    Broken(FilesError),
}

/// A usable version of the files.
#[derive(Debug)]
pub struct Version {
    /// What to serve.
    pub identity: Identity,
    /// The authorities of `ca.crt`, if there is such a file.
    pub trust: Option<Trust>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file or the directory is absent or unreadable.
    #[error("{} cannot be read", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is far larger than any certificate.
    #[error("{} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The directory was replaced again and again while it was read.
    #[error("{} changed {ATTEMPTS} times while it was read", directory.display())]
    Unsteady {
        /// The directory.
        directory: PathBuf,
    },
    /// `tls.crt` and `tls.key` are unreadable or do not belong together, as between the writing of one and the other.
    #[error("tls.crt and tls.key are no pair")]
    Identity(#[source] IdentityError),
    /// `ca.crt` is there but cannot be read.
    #[error("ca.crt is unusable")]
    Trust(#[source] CertificateError),
    /// The certificate is readable but no client would accept it.
    #[error("the certificate in tls.crt expired at {not_after}")]
    Expired {
        /// The end of its validity.
        not_after: Timestamp,
    },
}

/// The files as they were read, compared byte by byte.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    authorities: Option<Zeroizing<Vec<u8>>>,
}

impl Contents {
    fn parse(&self, now: Timestamp) -> Result<Version, FilesError> {
        let identity = Identity::parse(&self.certificate, &self.key).map_err(FilesError::Identity)?;
        let window = identity.certificate().window();
        if window.has_ended(now) {
            return Err(FilesError::Expired { not_after: window.not_after });
        }
        let trust = self.authorities.as_ref().map(|pem| Trust::parse(pem)).transpose().map_err(FilesError::Trust)?;
        Ok(Version { identity, trust })
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents(redacted)")
    }
}

/// Reads all files from one version of the directory: what `..data` points to at the start, if it still does at the end.
fn read(directory: &Path, pair: &[PathBuf; 2]) -> Result<Contents, FilesError> {
    for _ in 0..ATTEMPTS {
        let version = current_version(directory)?;
        let contents = read_version(&version, pair);
        if current_version(directory)? == version {
            return contents;
        }
    }
    Err(FilesError::Unsteady { directory: directory.to_owned() })
}

/// The directory that holds the current version: what `..data` names, or the directory itself where there is no such link.
///
/// The link is read and not followed: one whose target has just been removed still says that there are versions.
fn current_version(directory: &Path) -> Result<PathBuf, FilesError> {
    let link = directory.join("..data");
    match link.read_link() {
        Ok(target) => Ok(directory.join(target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(directory.to_owned()),
        Err(source) => Err(FilesError::Read { path: link, source }),
    }
}

fn read_version(version: &Path, [certificate, key]: &[PathBuf; 2]) -> Result<Contents, FilesError> {
    let authorities = match read_file(version.join("ca.crt")) {
        Err(FilesError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        read => Some(read?),
    };
    let (certificate, key) = (read_file(version.join(certificate))?, read_file(version.join(key))?);
    Ok(Contents { certificate, key, authorities })
}

fn read_file(path: PathBuf) -> Result<Zeroizing<Vec<u8>>, FilesError> {
    let mut content = Zeroizing::new(Vec::new());
    let read = File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content));
    match read {
        Err(source) => Err(FilesError::Read { path, source }),
        Ok(_) if u64::try_from(content.len()).is_ok_and(|length| length > MAX_FILE_BYTES) => {
            Err(FilesError::TooLarge { path })
        }
        Ok(_) => Ok(content),
    }
}

#[cfg(test)]
mod tests;
