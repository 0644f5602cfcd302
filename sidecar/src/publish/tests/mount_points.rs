//! Directories that other volumes are mounted on: they come first and never go.

use super::events::Watcher;
use super::interruption::Interrupted;
use super::model::{Model, files, found, to_payload};
use super::*;
use proptest::prelude::*;

fn paths(texts: &[&str]) -> Vec<RelativePath> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The writer of a volume that others are mounted in.
fn opened(volume: &Volume, mount_points: &[RelativePath]) -> Publisher {
    let publisher = volume.publisher();
    publisher.make_mount_points(mount_points).unwrap();
    publisher
}

fn inode(volume: &Volume, path: &str) -> u64 {
    let metadata = fs::symlink_metadata(volume.path().join(path)).unwrap();
    assert!(metadata.is_dir(), "{path}");
    metadata.ino()
}

#[test]
fn every_directory_on_the_way_is_made_with_the_kubelets_mode() {
    for (root, mode) in [(0o1777, 0o755), (0o3777, 0o2755)] {
        let volume = Volume::new();
        fs::set_permissions(volume.path(), fs::Permissions::from_mode(root)).unwrap();
        opened(&volume, &paths(&["conf.d", "kubernetes.io/serviceaccount", "conf.d"]));
        for path in ["conf.d", "kubernetes.io", "kubernetes.io/serviceaccount"] {
            assert_eq!(volume.mode(path), mode, "{path}");
        }
        assert_eq!(volume.names(), ["conf.d", "kubernetes.io"].map(str::to_owned).into());
    }
}

#[test]
fn of_a_file_and_a_mount_point_with_one_name_the_mount_point_is_seen() {
    let volume = Volume::new();
    let mount_points = paths(&["conf", "deep/er"]);
    let mut publisher = opened(&volume, &mount_points);
    for files in [&[("conf", "1"), ("deep/file", "1"), ("a", "1")][..], &[("a", "2")], &[("conf/x", "3"), ("a", "3")]] {
        let files = payload(files);
        publisher.publish(&files, now()).unwrap();
        assert_eq!(volume.mode("conf"), 0o755);
        assert_eq!(fs::read_dir(volume.path().join("conf")).unwrap().count(), 0);
        assert!(volume.path().join("a").exists());
    }
    assert_eq!(payload(&[("conf/x", ""), ("conf", ""), ("deeper", "")]).hidden_by(&mount_points), ["conf"].into());
}

#[test]
fn what_is_in_the_way_is_neither_followed_nor_replaced() {
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    for (path, way) in [("link", "link"), ("link/inner", "link"), ("file", "file"), ("file/inner", "file")] {
        let volume = Volume::new();
        symlink(elsewhere.path(), volume.path().join("link")).unwrap();
        fs::copy("/proc/self/comm", volume.path().join("file")).unwrap();
        let error = volume.publisher().make_mount_points(&paths(&[path])).unwrap_err();
        let place = volume.path().join(path).display().to_string();
        assert!(error.to_string().starts_with(&format!("write to {place}: ")), "{way}: {error}");
        assert!(error.may_pass());
        assert!(!fs::symlink_metadata(volume.path().join(way)).unwrap().is_dir(), "{way}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "{way}");
    }
}

#[test]
fn after_an_interruption_at_any_step_the_next_start_makes_them_all() {
    let mount_points = paths(&["a", "b/c"]);
    for steps in 0.. {
        let volume = Volume::new();
        let interrupted = Publisher { changes: Box::new(Interrupted::after(steps)), ..volume.publisher() };
        let done = interrupted.make_mount_points(&mount_points).is_ok();
        opened(&volume, &mount_points);
        for path in ["a", "b", "b/c"] {
            assert_eq!(volume.mode(path), 0o755, "{path} after {steps} steps");
        }
        if done {
            assert_eq!(steps, 6, "three directories and their modes");
            return;
        }
    }
}

#[test]
fn a_restart_is_no_event_for_whoever_watches() {
    let volume = Volume::new();
    let (mount_points, files) = (paths(&["conf.d", "b/c"]), payload(&[("a", "1")]));
    opened(&volume, &mount_points).publish(&files, now()).unwrap();
    let watcher = Watcher::new(&volume, &[".", "conf.d", "b", "b/c"]);
    assert_eq!(opened(&volume, &mount_points).publish(&files, now()).unwrap(), Outcome::Unchanged);
    assert_eq!(watcher.events(), Vec::<String>::new());
}

proptest! {
    #[test]
    fn no_publication_and_no_restart_touches_a_mount_point(
        mount_points in prop::collection::btree_set("[abc](/[ab]){0,2}", 1..4),
        sequence in prop::collection::vec((files(), any::<bool>()), 1..8),
    ) {
        let volume = Volume::new();
        let mount_points: Vec<&str> = mount_points.iter().map(String::as_str).collect();
        let parsed = paths(&mount_points);
        let mut publisher = opened(&volume, &parsed);
        let inodes: Vec<u64> = mount_points.iter().map(|path| inode(&volume, path)).collect();
        let mut expected = Model::new();
        for (files, restart) in sequence {
            if restart {
                publisher = opened(&volume, &parsed);
            }
            let files_now = to_payload(&files);
            if publisher.publish(&files_now, now()).is_ok() {
                let hidden = files_now.hidden_by(&parsed);
                let name = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
                expected = files.iter().filter(|(path, _)| !hidden.contains(name(path).as_str()))
                    .map(|(path, file)| (path.clone(), file.clone())).collect();
            }
            prop_assert_eq!(found(&volume), expected.clone());
            let inodes_now: Vec<u64> = mount_points.iter().map(|path| inode(&volume, path)).collect();
            prop_assert_eq!(&inodes_now, &inodes);
        }
    }
}
