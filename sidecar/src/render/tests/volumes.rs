//! The rules that the kubelet has for a volume.

use super::*;
use crate::mirror::Mirror;
use crate::publish::{Payload, Publisher};
use alcove_contract::configuration::{
    GroupAccess, ItemConfiguration, MirrorSource, SecretSource, SourceConfiguration, VolumeConfiguration,
};

fn source(items: Option<Vec<ItemConfiguration>>, optional: bool) -> SourceConfiguration {
    SourceConfiguration::Secret(SecretSource { name: "db-creds".parse().unwrap(), items, optional })
}

fn item(key: &str, path: &str, mode: Option<u32>) -> ItemConfiguration {
    ItemConfiguration { key: key.to_owned(), path: path.to_owned(), mode: mode.map(super::mode) }
}

fn creds(sources: Vec<SourceConfiguration>) -> VolumeConfiguration {
    VolumeConfiguration {
        name: "creds".parse().unwrap(),
        path: "/alcove/volumes/creds".to_owned(),
        default_mode: Mode::DEFAULT,
        group_access: GroupAccess::AsRequested,
        sources,
        mount_points: Vec::new(),
    }
}

fn render<'a>(volume: &VolumeConfiguration, secret: &'a Secret) -> Result<Payload<'a>, String> {
    super::volume(volume, named(secret), |_| None).map_err(|problems| problems.to_string())
}

fn files(payload: &Payload<'_>) -> Vec<(String, String, u32)> {
    let text = |content: &[u8]| String::from_utf8(content.to_vec()).unwrap();
    payload.into_iter().map(|(path, file)| (path.to_string(), text(file.content), file.mode.bits())).collect()
}

fn file(path: &str, content: &str, mode: u32) -> (String, String, u32) {
    (path.to_owned(), content.to_owned(), mode)
}

#[test]
fn every_key_becomes_a_file_of_its_name() {
    let secret = secret(r#"{"user":"u",".hidden":"h"}"#);
    let payload = render(&creds(vec![source(None, false)]), &secret).unwrap();
    assert_eq!(files(&payload), [file(".hidden", "h", 0o644), file("user", "u", 0o644)]);
}

#[test]
fn items_choose_keys_paths_and_modes_and_the_last_of_two_equal_paths_wins() {
    let secret = secret(r#"{"user":"u","password":"p","unused":"x"}"#);
    let items = vec![item("user", "a/user", None), item("user", "same", None), item("password", "same", Some(0o400))];
    let payload = render(&creds(vec![source(Some(items), false)]), &secret).unwrap();
    assert_eq!(files(&payload), [file("a/user", "u", 0o644), file("same", "p", 0o400)]);
}

#[test]
fn an_empty_list_of_items_means_all_keys() {
    let secret = secret(r#"{"user":"u"}"#);
    let payload = render(&creds(vec![source(Some(Vec::new()), false)]), &secret).unwrap();
    assert_eq!(files(&payload), [file("user", "u", 0o644)]);
}

#[test]
fn an_item_that_is_missing_fails_the_whole_volume_unless_it_is_optional() {
    let secret = secret(r#"{"user":"u"}"#);
    let items = || Some(vec![item("user", "user", None), item("no", "a", None), item("nor", "b", None)]);
    let problems = render(&creds(vec![source(items(), false)]), &secret).unwrap_err();
    assert_eq!(
        problems,
        "volume creds, Secret db-creds: references non-existent secret key: no\n\
         volume creds, Secret db-creds: references non-existent secret key: nor"
    );
    let payload = render(&creds(vec![source(items(), true)]), &secret).unwrap();
    assert_eq!(files(&payload), [file("user", "u", 0o644)]);
}

#[test]
fn a_volume_that_may_be_empty_is_empty_where_the_secret_is_missing() {
    let stores = Stores::default().without("kv/app/db");
    let missing = stores.render(&opaque(&[], &["vault:kv/app/db"])).unwrap();
    assert!(render(&creds(vec![source(None, true)]), &missing).unwrap().is_empty());
    let problems = render(&creds(vec![source(None, false)]), &missing).unwrap_err();
    assert!(problems.contains("there is no \"kv/app/db\""), "{problems}");
}

#[test]
fn paths_that_leave_the_volume_or_exclude_each_other_are_refused() {
    let secret = secret(r#"{"user":"u"}"#);
    let items = vec![item("user", "../user", None), item("user", "..data", None)];
    let problems = render(&creds(vec![source(Some(items), false)]), &secret).unwrap_err();
    assert!(problems.contains("must not contain '..'") && problems.contains("must not start with '..'"), "{problems}");
    let items = vec![item("user", "a", None), item("user", "a/b", None)];
    let problems = render(&creds(vec![source(Some(items), false)]), &secret).unwrap_err();
    assert!(problems.contains("cannot be both a file and a directory: a (for a/b)"), "{problems}");
}

#[test]
fn the_most_specific_mode_wins() {
    let stores = Stores::default().with("kv/ssh", r#"{"key":"k","host":"h"}"#);
    let data = [("ssh-privatekey", "vault:kv/ssh#key"), ("known_hosts", "vault:kv/ssh#host")];
    let mut configuration = configuration(SecretType::SshAuth, &data, &[]);
    configuration.data.get_mut("known_hosts").unwrap().mode = Some(mode(0o444));
    let secret = stores.render(&configuration).unwrap();
    let modes = |volume: &VolumeConfiguration| {
        files(&render(volume, &secret).unwrap()).into_iter().map(|(_, _, mode)| mode).collect::<Vec<_>>()
    };
    let plain = creds(vec![source(None, false)]);
    assert_eq!(modes(&plain), [0o444, 0o400], "the binding, then the type");
    assert_eq!(
        modes(&VolumeConfiguration { default_mode: mode(0o440), ..plain }),
        [0o444, 0o440],
        "the Pod's defaultMode"
    );
    let items = vec![item("known_hosts", "known_hosts", Some(0o600)), item("ssh-privatekey", "key", None)];
    assert_eq!(modes(&creds(vec![source(Some(items), false)])), [0o400, 0o600], "the Pod's item");
}

#[test]
fn the_group_reads_with_an_fs_group_and_stays_out_where_the_owner_is_the_reader() {
    let secret = secret(r#"{"key":"k"}"#);
    for (access, requested, granted) in [
        (GroupAccess::AsRequested, 0o400, 0o400),
        (GroupAccess::GroupReads, 0o400, 0o440),
        (GroupAccess::GroupReads, 0o000, 0o440),
        (GroupAccess::GroupReads, 0o644, 0o644),
        (GroupAccess::OwnerReads, 0o440, 0o400),
        (GroupAccess::OwnerReads, 0o644, 0o644),
    ] {
        let items = vec![item("key", "key", Some(requested))];
        let volume = VolumeConfiguration { group_access: access, ..creds(vec![source(Some(items), false)]) };
        assert_eq!(files(&render(&volume, &secret).unwrap()), [file("key", "k", granted)], "{access:?} {requested:o}");
    }
}

#[test]
fn mirrored_files_keep_their_modes_and_the_later_source_wins() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let other = Stores::default().with("kv/other", r#"{"token":"t","user":"kubelet"}"#);
    let projected = other.render(&opaque(&[], &["vault:kv/other"])).unwrap();
    let items = vec![item("token", "tokens/token", Some(0o600)), item("user", "user", None)];
    let payload = render(&creds(vec![source(Some(items), false)]), &projected).unwrap();
    Publisher::open(directory.path()).unwrap().publish(&payload, "2026-11-25T01:48:13Z".parse().unwrap()).unwrap();
    let mirror = Mirror::read(directory.path()).unwrap();

    let secret = secret(r#"{"user":"u"}"#);
    let path = directory.path().to_str().unwrap().to_owned();
    let mirrored = || SourceConfiguration::Mirror(MirrorSource { path: path.clone() });
    let render = |sources| {
        let volume = VolumeConfiguration { group_access: GroupAccess::GroupReads, ..creds(sources) };
        files(&super::super::volume(&volume, named(&secret), |_| Some(&mirror)).unwrap())
    };
    let token = || file("tokens/token", "t", 0o600);
    assert_eq!(render(vec![mirrored(), source(None, false)]), [token(), file("user", "u", 0o644)]);
    assert_eq!(render(vec![source(None, false), mirrored()]), [token(), file("user", "kubelet", 0o644)]);
}
