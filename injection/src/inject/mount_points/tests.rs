//! The kubelet's own cases, and its algorithm beside ours.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use std::collections::BTreeSet;

type Mounts<'a> = &'a [(&'a str, &'a str)];

fn container(mounts: Mounts<'_>) -> Value {
    let mount = |(path, volume): &(&str, &str)| json!({"mountPath": path, "name": volume});
    json!({"volumeMounts": mounts.iter().map(mount).collect::<Vec<_>>()})
}

/// The mount points that `volume` needs, by the function under test.
fn ours(container: &Value, volume: &str) -> BTreeSet<String> {
    let nested = for_kubelet(container).into_iter().filter(|nested| text(nested.outer, "name") == volume);
    nested.map(|nested| nested.path).collect()
}

/// `getNestedMountpoints` of the kubelet, line by line, for one container.
fn kubelets(container: &Value, volume: &str) -> BTreeSet<String> {
    let cleaned = |mount: &Value| lexically_clean(text(mount, "mountPath"));
    let mounts = items(container, "volumeMounts");
    let mut all: Vec<String> = mounts.iter().map(cleaned).collect();
    all.sort();
    let mut found = BTreeSet::new();
    for mine in mounts.iter().filter(|mount| text(mount, "name") == volume).map(cleaned) {
        let mine = format!("{mine}/");
        let mut previous: Vec<String> = Vec::new();
        for (path, inner) in all.iter().filter_map(|path| Some((path, path.strip_prefix(&mine)?))) {
            if previous.iter().any(|previous| path.starts_with(previous)) {
                continue;
            }
            previous.push(format!("{path}/"));
            found.insert(inner.to_owned());
        }
    }
    found
}

#[test]
fn the_cases_of_the_kubelets_own_test_come_out_the_same() {
    let cases: [(Mounts<'_>, &[&str]); 6] = [
        (&[("/dir", "vol1")], &[]),
        (&[("/dir", "vol1"), ("/dir/nested", "vol2")], &["nested"]),
        (
            &[
                ("/dir/nested/double", "vol3"),
                ("/ignore", "vol4"),
                ("/dir/nested", "vol2"),
                ("/ignore2", "vol5"),
                ("/dir", "vol1"),
                ("/dir/nested-vol", "vol6"),
                ("/dir/nested.vol", "vol7"),
                ("/dir/nested2/double", "vol8"),
                ("/dir/nested2", "vol3"),
            ],
            &["nested", "nested2", "nested-vol", "nested.vol"],
        ),
        (
            &[
                ("/dir", "vol1"),
                ("/dir/nested", "vol2"),
                ("/ignore", "vol4"),
                ("/other", "vol1"),
                ("/other/nested2", "vol3"),
            ],
            &["nested", "nested2"],
        ),
        (
            &[
                ("/mnt", "vol1"),
                ("/ignore", "vol2"),
                ("/mnt/sub1/sub2/sub3", "vol3"),
                ("/mnt/sub1/sub2/sub4", "vol4"),
                ("/mnt/sub1/sub2/sub4/skip", "vol5"),
                ("/mnt/sub1/sub2/sub4/skip2", "vol5a"),
                ("/mnt/sub1/sub2/sub6", "vol6"),
                ("/mnt7", "vol7"),
            ],
            &["sub1/sub2/sub3", "sub1/sub2/sub4", "sub1/sub2/sub6"],
        ),
        (
            &[("/mnt/dir", "vol1"), ("/mnt/dir_ignore", "vol8"), ("/ignore", "vol9"), ("/mnt/dir/sub", "vol11")],
            &["sub"],
        ),
    ];
    for (mounts, expected) in cases {
        let container = container(mounts);
        assert_eq!(ours(&container, "vol1"), expected.iter().map(|path| (*path).to_owned()).collect());
        assert_eq!(kubelets(&container, "vol1"), ours(&container, "vol1"));
    }
}

#[test]
fn the_kubelet_sees_paths_as_they_are_written_and_the_container_from_its_root() {
    let mixed = container(&[("etc/app", "v"), ("/etc/app/conf.d", "w"), ("etc//app/x/../tls/", "w"), ("/", "v")]);
    assert_eq!(ours(&mixed, "v"), ["tls".to_owned()].into());
    let seen: Vec<_> = for_runtime(&mixed).into_iter().map(|nested| (nested.index, nested.path)).collect();
    assert_eq!(seen, [(1, "conf.d".to_owned()), (2, "tls".to_owned())]);
}

#[test]
fn of_two_mounts_at_one_place_the_last_has_the_mount_points() {
    let covered = container(&[("/a", "first"), ("/a/", "last"), ("/a/b", "w"), ("/a//b", "w")]);
    assert_eq!(ours(&covered, "first"), BTreeSet::new());
    assert_eq!(ours(&covered, "last"), ["b".to_owned()].into());
}

proptest! {
    #[test]
    fn any_mounts_need_what_the_kubelet_makes(
        mounts in prop::collection::vec((r"\.?/?(a|b|a-|a\.|\.\.)?(/(a|b|a-|\.|\.\.|)){0,3}/?", select(vec!["v", "w", "x"])), 0..8)
    ) {
        let mut seen = BTreeSet::new();
        let distinct: Vec<_> = mounts.iter()
            .filter(|(path, _)| seen.insert(lexically_clean(path)))
            .map(|(path, volume)| (path.as_str(), *volume))
            .collect();
        let container = container(&distinct);
        for volume in ["v", "w", "x"] {
            prop_assert_eq!(ours(&container, volume), kubelets(&container, volume), "{}", container);
        }
    }
}
