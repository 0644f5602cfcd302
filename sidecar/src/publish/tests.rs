//! What the publisher promises, on a real tmpfs.

mod events;
mod interruption;
mod model;
mod mount_points;
mod room;

use super::*;
use alcove_contract::mode::Mode as FileMode;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use tempfile::TempDir;

/// A volume in memory.
struct Volume {
    directory: TempDir,
}

impl Volume {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn publisher(&self) -> Publisher {
        Publisher::open(self.path()).unwrap()
    }

    fn publish(&self, payload: &Payload<'_>) -> Outcome {
        self.publisher().publish(payload, now()).unwrap()
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.path().join(path)).unwrap().mode() & 0o7777
    }
}

fn now() -> Timestamp {
    "2026-11-25T01:48:13.000123456Z".parse().unwrap()
}

fn payload<'a>(files: &[(&str, &'a str)]) -> Payload<'a> {
    let mut payload = Payload::default();
    for (path, content) in files {
        payload.insert(path.parse().unwrap(), file(content, 0o644));
    }
    payload
}

fn file(content: &str, mode: u32) -> PayloadFile<'_> {
    PayloadFile { content: content.as_bytes(), mode: FileMode::try_from(mode).unwrap() }
}

#[test]
fn names_links_and_modes_are_the_kubelets() {
    let volume = Volume::new();
    let mut files = payload(&[("password", "p"), (".hidden", "h")]);
    files.insert("conf/db/user".parse().unwrap(), file("u", 0o400));
    assert_eq!(volume.publish(&files), Outcome::Replaced);

    let generation = "..2026_11_25_01_48_13.123456";
    assert_eq!(volume.names(), [".hidden", "..data", generation, "conf", "password"].map(str::to_owned).into());
    for (link, target) in [("..data", generation), ("password", "..data/password"), ("conf", "..data/conf")] {
        assert_eq!(fs::read_link(volume.path().join(link)).unwrap(), Path::new(target));
    }
    assert_eq!(fs::read(volume.path().join("conf/db/user")).unwrap(), b"u");
    for (path, mode) in
        [("", 0o755), ("/password", 0o644), ("/conf", 0o755), ("/conf/db", 0o755), ("/conf/db/user", 0o400)]
    {
        assert_eq!(volume.mode(&format!("{generation}{path}")), mode, "{path}");
    }
}

#[test]
fn an_empty_payload_is_an_empty_directory() {
    let volume = Volume::new();
    assert_eq!(volume.publish(&Payload::default()), Outcome::Replaced);
    assert_eq!(fs::read_dir(volume.path().join("..data")).unwrap().count(), 0);
    assert_eq!(volume.publish(&Payload::default()), Outcome::Unchanged);
}

#[test]
fn a_mode_that_changes_alone_is_applied() {
    let volume = Volume::new();
    volume.publish(&payload(&[("key", "k")]));
    let mut stricter = Payload::default();
    stricter.insert("key".parse().unwrap(), file("k", 0o400));
    assert_eq!(volume.publish(&stricter), Outcome::Replaced);
    assert_eq!(volume.mode("..data/key"), 0o400);
}

#[test]
fn a_setgid_root_hands_its_group_and_the_bit_to_every_directory() {
    let volume = Volume::new();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(volume.path(), None, Some(2000)).unwrap();
    }
    fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o3777)).unwrap();
    let group = fs::metadata(volume.path()).unwrap().gid();
    volume.publish(&payload(&[("conf/user", "u")]));
    for path in ["..data/.", "conf/.", "conf/user"] {
        assert_eq!(fs::metadata(volume.path().join(path)).unwrap().gid(), group, "{path}");
    }
    for (path, mode) in [("..data/.", 0o2755), ("conf/.", 0o2755), ("conf/user", 0o644)] {
        assert_eq!(volume.mode(path), mode, "{path}");
    }
}

#[test]
fn anything_but_a_tmpfs_is_refused() {
    let error = Publisher::open(Path::new("/proc")).unwrap_err();
    assert_eq!(error.to_string(), "refuse to write to /proc: it is not a tmpfs, and secrets never go to a disk");
    assert!(replace_file(Path::new("/proc/ready"), file("", 0o644)).is_err());
}

#[test]
fn paths_that_exclude_each_other_are_refused_and_nothing_changes() {
    let volume = Volume::new();
    volume.publish(&payload(&[("a", "1")]));
    let before = volume.names();
    let error = volume.publisher().publish(&payload(&[("a", "2"), ("a/b", "3")]), now()).unwrap_err();
    assert_eq!(error.to_string(), "cannot be both a file and a directory: a (for a/b)");
    assert_eq!(volume.names(), before);
    assert_eq!(fs::read(volume.path().join("a")).unwrap(), b"1");
}

#[test]
fn a_file_may_become_a_directory_and_back() {
    let volume = Volume::new();
    for files in [payload(&[("a", "1")]), payload(&[("a/b", "2")]), payload(&[("a", "3")])] {
        assert_eq!(volume.publish(&files), Outcome::Replaced);
    }
    assert_eq!(fs::read(volume.path().join("a")).unwrap(), b"3");
}

#[test]
fn what_a_crash_left_behind_is_swept_away() {
    let volume = Volume::new();
    volume.publish(&payload(&[("a", "1")]));
    fs::create_dir_all(volume.path().join("..2026_01_01_00_00_00.7/deep/er")).unwrap();
    fs::copy("/proc/self/comm", volume.path().join("..2026_01_01_00_00_00.7/deep/er/secret")).unwrap();
    symlink("..2026_01_01_00_00_00.7", volume.path().join("..data_tmp")).unwrap();
    symlink("..data/gone", volume.path().join("gone")).unwrap();
    assert_eq!(volume.publish(&payload(&[("a", "1")])), Outcome::Unchanged);
    assert_eq!(volume.names(), ["..2026_11_25_01_48_13.123456", "..data", "a"].map(str::to_owned).into());
}

#[test]
fn what_strangers_put_there_is_neither_followed_nor_removed() {
    let volume = Volume::new();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::copy("/proc/self/comm", elsewhere.path().join("kept")).unwrap();
    symlink(elsewhere.path(), volume.path().join("..data")).unwrap();
    symlink(elsewhere.path(), volume.path().join("..2026_link")).unwrap();
    fs::create_dir(volume.path().join("mine")).unwrap();
    volume.publish(&payload(&[("a", "1"), ("mine", "2")]));
    assert_eq!(fs::read(volume.path().join("a")).unwrap(), b"1");
    assert!(elsewhere.path().join("kept").exists());
    assert!(volume.path().join("mine").is_dir(), "the kubelet, too, leaves alone what has the name");
}

#[test]
fn a_single_file_is_replaced_whole_and_an_equal_one_is_left_alone() {
    let volume = Volume::new();
    let path = volume.path().join("env");
    assert_eq!(replace_file(&path, file("A='1'\n", 0o400)).unwrap(), Outcome::Replaced);
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(replace_file(&path, file("A='1'\n", 0o400)).unwrap(), Outcome::Unchanged);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);

    fs::copy("/proc/self/comm", volume.path().join(".env.next")).unwrap();
    assert_eq!(replace_file(&path, file("A='2'\n", 0o400)).unwrap(), Outcome::Replaced);
    assert_eq!(fs::read(&path).unwrap(), b"A='2'\n");
    assert_eq!(volume.mode("env"), 0o400);
    assert_eq!(volume.names(), ["env"].map(str::to_owned).into());

    remove_file(&path).unwrap();
    remove_file(&path).unwrap();
    assert!(!path.exists());
}
