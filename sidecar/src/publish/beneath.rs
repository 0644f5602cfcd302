//! Opens what lies beneath a directory handle: never above it, and never through a symbolic link.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `f_type` of a tmpfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Whether `directory` is on a tmpfs.
pub(super) fn is_in_memory(directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let statistics = rustix::fs::fstatfs(directory)?;
    Ok(i128::from(statistics.f_type) == i128::from(TMPFS_MAGIC))
}

/// Opens `path` beneath `directory`.
///
/// # Errors
///
/// Also a path that would leave `directory`, or whose way leads through a symbolic link.
pub(super) fn open(directory: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        // A kernel before 5.6 does not know the call, and the seccomp profile of an old runtime forbids it.
        Err(Errno::NOSYS | Errno::PERM) => open_step_by_step(directory, path, flags),
        opened => opened,
    }
}

/// The same, with one call for each element of the path.
fn open_step_by_step(directory: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    if path.starts_with('/') || path.split('/').any(|element| element == "..") {
        return Err(Errno::XDEV);
    }
    let (parents, name) = path.rsplit_once('/').unwrap_or((".", path));
    let mut parent = step(directory, ".", OFlags::PATH | OFlags::DIRECTORY)?;
    for element in parents.split('/') {
        parent = step(parent.as_fd(), element, OFlags::PATH | OFlags::DIRECTORY)?;
    }
    step(parent.as_fd(), name, flags)
}

fn step(directory: BorrowedFd<'_>, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    type Open = fn(BorrowedFd<'_>, &str, OFlags) -> rustix::io::Result<OwnedFd>;

    /// Both ways to open, which must agree.
    const WAYS: [Open; 2] = [open, open_step_by_step];

    #[test]
    fn files_beneath_the_directory_are_opened_with_and_without_openat2() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::copy("/proc/self/comm", root.path().join("a/b/c")).unwrap();
        let handle = File::open(root.path()).unwrap();
        for open in WAYS {
            let mut text = String::new();
            let file = open(handle.as_fd(), "a/b/c", OFlags::RDONLY).unwrap();
            File::from(file).read_to_string(&mut text).unwrap();
            assert!(!text.is_empty());
            assert!(open(handle.as_fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY).is_ok());
        }
    }

    #[test]
    fn nothing_above_the_directory_and_nothing_behind_a_link_is_opened() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("inner/real")).unwrap();
        symlink("/etc", root.path().join("inner/etc")).unwrap();
        symlink("real", root.path().join("inner/alias")).unwrap();
        let handle = File::open(root.path().join("inner")).unwrap();
        for open in WAYS {
            for escape in ["..", "../inner", "real/../../inner", "/etc/passwd", "etc/passwd", "etc", "alias"] {
                assert!(open(handle.as_fd(), escape, OFlags::RDONLY).is_err(), "{escape}");
            }
        }
    }

    #[test]
    fn only_a_tmpfs_counts_as_memory() {
        assert_eq!(is_in_memory(File::open("/dev/shm").unwrap().as_fd()), Ok(true));
        assert_eq!(is_in_memory(File::open("/proc").unwrap().as_fd()), Ok(false));
    }
}
