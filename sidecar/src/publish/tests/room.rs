//! Volumes of a size, as the kubelet makes them: a real tmpfs each, which only root can mount.

use super::*;
use proptest::prelude::*;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;

/// A volume with a size limit.
struct Limited(Volume);

impl Limited {
    /// None for somebody who may not mount anything.
    fn new(kibibytes: u64) -> Option<Self> {
        let volume = Volume::new();
        let options = CString::new(format!("size={kibibytes}k")).unwrap();
        rustix::mount::mount("tmpfs", volume.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).ok()?;
        Some(Self(volume))
    }

    fn publish(&self, files: &[(String, String)]) -> Result<Outcome, PublishError> {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
        self.0.publisher().publish(&payload(&files), now())
    }

    fn room(&self, files: &[(String, String)]) -> Room {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
        Room::of(self.0.publisher().root.as_fd(), &payload(&files)).unwrap()
    }

    /// How many bytes are taken, in the kernel's own words.
    fn used(&self) -> u64 {
        let statistics = rustix::fs::statvfs(self.0.path()).unwrap();
        (statistics.f_blocks - statistics.f_bfree) * statistics.f_frsize
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

/// So many files of `size` bytes.
fn files(count: usize, size: usize, letter: &str) -> Vec<(String, String)> {
    (0..count).map(|index| (format!("key-{index}"), letter.repeat(size))).collect()
}

proptest! {
    #[test]
    fn what_is_counted_is_what_the_kernel_counts(
        files in prop::collection::btree_map("[a-z]{1,3}|[a-z]{119,123}|d/[a-z]{1,130}/[a-z]", 0..9000_usize, 1..40),
    ) {
        let Some(volume) = Limited::new(4096) else { return Ok(()) };
        let files: Vec<_> = files.into_iter().map(|(name, size)| (name, "x".repeat(size))).collect();
        let room = volume.room(&files);
        prop_assume!(room.suffices());
        // Of two paths that exclude each other nothing is written.
        prop_assume!(!matches!(volume.publish(&files), Err(PublishError::Conflict(_))));
        prop_assert_eq!(volume.used(), room.generation);
    }

    #[test]
    fn whatever_is_accepted_can_be_replaced_by_as_much_again_and_again(count in 1..300_usize, size in 0..9000_usize) {
        let Some(volume) = Limited::new(1024) else { return Ok(()) };
        if volume.publish(&files(count, size, "a")).is_ok() {
            for letter in ["b", "c"] {
                let published = volume.publish(&files(count, size, letter));
                prop_assert!(published.is_ok(), "{}", published.unwrap_err());
            }
        }
    }
}

#[test]
fn a_volume_of_the_size_that_the_webhook_gives_holds_a_full_secret_twice() {
    // 1024 keys that are not known at admission, and all of a mebibyte in them.
    let Some(volume) = Limited::new(10 * 1024) else { return };
    for letter in ["a", "b", "c"] {
        volume.publish(&files(1024, 1024, letter)).unwrap();
    }
    assert_eq!(fs::read(volume.0.path().join("key-1023")).unwrap(), "c".repeat(1024).as_bytes());
}

#[test]
fn files_that_could_never_be_replaced_are_refused_before_anybody_sees_them() {
    let Some(volume) = Limited::new(3 * 1024) else { return };
    let error = volume.publish(&files(200, 5100, "a")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("its 200 files take 1600Ki in pages of 4Ki") && text.contains("is 3072Ki;"), "{text}");
    assert!(text.contains("mount only some with items"), "{text}");
    assert_eq!(volume.0.names(), BTreeSet::new());
    volume.publish(&files(190, 5100, "a")).unwrap();
}

#[test]
fn a_secret_that_outgrows_its_volume_leaves_the_old_files_and_is_followed_again_once_it_fits() {
    let Some(volume) = Limited::new(1024) else { return };
    volume.publish(&files(1, 400 * 1024, "a")).unwrap();
    let error = volume.publish(&files(1, 700 * 1024, "b")).unwrap_err();
    assert!(matches!(error, PublishError::TooSmall { .. }) && error.may_pass(), "{error}");
    assert!(error.to_string().contains("its file takes 700Ki"), "{error}");
    assert_eq!(fs::read(volume.0.path().join("key-0")).unwrap(), "a".repeat(400 * 1024).as_bytes());
    assert_eq!(volume.0.names().len(), 3, "the half-written generation is gone");
    volume.publish(&files(1, 5, "c")).unwrap();
    assert_eq!(fs::read(volume.0.path().join("key-0")).unwrap(), b"ccccc");
}

#[test]
fn files_that_are_there_are_not_refused_to_a_sidecar_that_starts_again() {
    let Some(volume) = Limited::new(1024) else { return };
    volume.publish(&files(1, 400 * 1024, "a")).unwrap();
    // It has grown since, which fits beside the old files but not beside its like.
    volume.publish(&files(1, 600 * 1024, "b")).unwrap();
    assert_eq!(volume.publish(&files(1, 600 * 1024, "b")).unwrap(), Outcome::Unchanged);
}
