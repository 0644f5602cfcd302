//! From answers to files.

use super::*;
use crate::agent::Plan;
use crate::publish::{Payload, PayloadFile, Publisher};
use alcove_contract::binding::SecretType;
use alcove_contract::configuration::{
    EntryConfiguration, EnvironmentConfiguration, GroupAccess, LogLevel, MirrorSource, SecretConfiguration,
    SecretSource, SourceConfiguration, StoreConfiguration, VolumeConfiguration,
};
use alcove_contract::interval::RefreshInterval;
use alcove_contract::mode::Mode;
use alcove_contract::provider::ProviderConfiguration;
use alcove_contract::provider::vault::{EngineVersion, VaultConfiguration, VaultLogin};
use alcove_stores::{Document, ErrorClass};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use tempfile::TempDir;

/// The volumes of a Pod with Secrets `a` (key `kv/a`) and `b` (key `kv/b`).
struct Pod {
    directory: TempDir,
    content: Content,
    sources: Sources,
}

impl Pod {
    fn new(configure: impl FnOnce(&TempDir) -> SidecarConfiguration) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        for name in ["one", "two", "mirror"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let configuration = configure(&directory);
        let (_, sources) = Plan::new(&configuration).unwrap();
        Self { directory, content: Content::new(configuration, sources.clone()), sources }
    }

    fn answer(&mut self, key: &str, json: &str) {
        let document = Document::json(key, json.as_bytes().to_vec().into()).unwrap();
        let id = self.id(key);
        self.content.accept(id, Ok(Fetched { document, version: None })).unwrap();
    }

    fn lose(&mut self, key: &str) {
        let id = self.id(key);
        let error = StoreError::new(ErrorClass::NotFound, "it was deleted");
        assert!(self.content.accept(id, Err(error)).is_err());
    }

    fn id(&self, key: &str) -> SourceId {
        self.sources.serving(&format!("vault:{key}").parse().unwrap()).unwrap()
    }

    fn publish(&mut self, secrets: &[usize]) -> Vec<String> {
        let secrets: Vec<SecretId> = secrets.iter().copied().map(SecretId).collect();
        let setbacks = self.content.publish(&secrets, "2026-11-25T01:48:13Z".parse().unwrap());
        setbacks.into_iter().map(|setback| setback.reason).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }
}

fn configuration(volumes: Vec<VolumeConfiguration>) -> SidecarConfiguration {
    let login = VaultLogin::Token { token_file: "/alcove/identity/token".to_owned() };
    let vault = VaultConfiguration {
        server: "https://vault:8200".to_owned(),
        namespace: None,
        version: Some(EngineVersion::V2),
        ca_bundle: None,
        server_name: None,
        client_certificate: None,
        login,
    };
    SidecarConfiguration {
        log_level: LogLevel::Info,
        stores: vec![StoreConfiguration {
            prefix: String::new(),
            name: "vault".parse().unwrap(),
            provider: ProviderConfiguration::Vault(vault),
        }],
        secrets: vec![secret("a"), secret("b")],
        volumes,
        environments: Vec::new(),
    }
}

fn secret(name: &str) -> SecretConfiguration {
    SecretConfiguration {
        name: name.parse().unwrap(),
        secret_type: SecretType::Opaque,
        data: [].into(),
        data_from: vec![format!("vault:kv/{name}").parse().unwrap()],
        refresh_interval: RefreshInterval::DEFAULT,
        optional: false,
        immutable: false,
    }
}

fn volume(directory: &TempDir, name: &str, sources: Vec<SourceConfiguration>) -> VolumeConfiguration {
    VolumeConfiguration {
        name: name.parse().unwrap(),
        path: directory.path().join(name).to_str().unwrap().to_owned(),
        default_mode: Mode::DEFAULT,
        group_access: GroupAccess::AsRequested,
        sources,
        mount_points: Vec::new(),
    }
}

fn source(name: &str, optional: bool) -> SourceConfiguration {
    SourceConfiguration::Secret(SecretSource { name: name.parse().unwrap(), items: None, optional })
}

fn two_volumes(directory: &TempDir) -> SidecarConfiguration {
    configuration(vec![
        volume(directory, "one", vec![source("a", false)]),
        volume(directory, "two", vec![source("b", false)]),
    ])
}

#[test]
fn at_first_everything_is_published_or_nothing() {
    let mut pod = Pod::new(two_volumes);
    pod.answer("kv/a", r#"{"x":"1"}"#);
    pod.answer("kv/b", r#"{"no/file/name":"1"}"#);
    assert_eq!(pod.publish(&[0, 1]).len(), 1);
    assert_eq!(fs::read_dir(pod.path("one")).unwrap().count(), 0);

    pod.answer("kv/b", r#"{"y":"2"}"#);
    assert_eq!(pod.publish(&[0, 1]), Vec::<String>::new());
    assert_eq!((pod.read("one/x"), pod.read("two/y")), (Some("1".to_owned()), Some("2".to_owned())));
}

#[test]
fn later_a_broken_secret_keeps_its_own_files_and_nobody_elses() {
    let mut pod = Pod::new(two_volumes);
    pod.answer("kv/a", r#"{"x":"1"}"#);
    pod.answer("kv/b", r#"{"y":"1"}"#);
    pod.publish(&[0, 1]);
    pod.answer("kv/a", r#"{"x":"2"}"#);
    pod.answer("kv/b", r#"{"y":"2","no/file/name":"2"}"#);
    assert_eq!(pod.publish(&[0, 1]).len(), 1);
    assert_eq!((pod.read("one/x"), pod.read("two/y")), (Some("2".to_owned()), Some("1".to_owned())));
    assert_eq!(pod.publish(&[]).len(), 1, "it is still behind");
    pod.answer("kv/b", r#"{"y":"3"}"#);
    assert_eq!(pod.publish(&[1]), Vec::<String>::new());
    assert_eq!(pod.read("two/y"), Some("3".to_owned()));
}

#[test]
fn equal_values_are_not_even_compared_with_the_files() {
    let mut pod = Pod::new(two_volumes);
    pod.answer("kv/a", r#"{"x":"1"}"#);
    pod.answer("kv/b", r#"{"y":"1"}"#);
    pod.publish(&[0, 1]);
    let generation = fs::read_link(pod.path("one/..data")).unwrap();
    // Had the publisher been asked, it would have put this right.
    fs::remove_file(pod.path("one/x")).unwrap();
    pod.answer("kv/a", r#"{ "x" : "1" }"#);
    assert_eq!(pod.publish(&[0]), Vec::<String>::new());
    assert_eq!(fs::read_link(pod.path("one/..data")).unwrap(), generation);
    assert_eq!(pod.read("one/x"), None);
}

#[test]
fn a_value_that_vanishes_takes_an_optional_file_with_it_and_leaves_a_required_one() {
    let mut pod = Pod::new(|directory| {
        configuration(vec![
            volume(directory, "one", vec![source("a", true)]),
            volume(directory, "two", vec![source("b", false)]),
        ])
    });
    pod.answer("kv/a", r#"{"x":"1"}"#);
    pod.answer("kv/b", r#"{"y":"1"}"#);
    pod.publish(&[0, 1]);
    pod.lose("kv/a");
    pod.lose("kv/b");
    let setbacks = pod.publish(&[0, 1]);
    assert_eq!(setbacks.len(), 1, "{setbacks:?}");
    assert!(setbacks[0].contains("it was deleted") && setbacks[0].contains("vault:kv/b"), "{setbacks:?}");
    assert_eq!(pod.read("one/x"), None);
    assert!(pod.path("one/..data").exists(), "an empty volume");
    assert_eq!(pod.read("two/y"), Some("1".to_owned()));
}

#[test]
fn no_file_is_there_before_the_mount_points_of_its_volume() {
    let mut pod = Pod::new(|directory| {
        let mut configuration = two_volumes(directory);
        configuration.volumes[0].mount_points = vec!["x".parse().unwrap(), "deep/er".parse().unwrap()];
        configuration
    });
    pod.answer("kv/a", r#"{"x":"hidden","y":"1"}"#);
    pod.answer("kv/b", r#"{"y":"1"}"#);
    let in_the_way = pod.path("one/deep");
    fs::File::create(&in_the_way).unwrap();
    let setbacks = pod.publish(&[0, 1]);
    assert_eq!(setbacks.len(), 1, "{setbacks:?}");
    assert!(setbacks[0].contains("volume one: write to") && setbacks[0].contains("one/deep/er"), "{setbacks:?}");
    assert_eq!(pod.read("one/y"), None);

    fs::remove_file(in_the_way).unwrap();
    assert_eq!(pod.publish(&[]), Vec::<String>::new());
    assert!(pod.path("one/x").is_dir() && pod.path("one/deep/er").is_dir());
    assert_eq!((pod.read("one/y"), pod.read("one/..data/x")), (Some("1".to_owned()), Some("hidden".to_owned())));
}

#[test]
fn env_files_are_for_the_kubelet_alone_and_follow_their_secret() {
    let mut pod = Pod::new(|directory| {
        let entry = EntryConfiguration {
            key: "E0".to_owned(),
            variable: "X".to_owned(),
            secret: "a".parse().unwrap(),
            secret_key: "x".to_owned(),
            optional: false,
        };
        let path = directory.path().join("env").to_str().unwrap().to_owned();
        let environment = EnvironmentConfiguration { container: "app".parse().unwrap(), path, entries: vec![entry] };
        SidecarConfiguration { environments: vec![environment], ..configuration(Vec::new()) }
    });
    for value in ["1", "2"] {
        pod.answer("kv/a", &format!(r#"{{"x":"{value}"}}"#));
        pod.answer("kv/b", "{}");
        assert_eq!(pod.publish(&[0, 1]), Vec::<String>::new());
        assert_eq!(pod.read("env"), Some(format!("E0='{value}'\n")));
        assert_eq!(fs::metadata(pod.path("env")).unwrap().mode() & 0o7777, 0o400);
    }
    pod.answer("kv/a", r#"{"x":"it's"}"#);
    assert_eq!(pod.publish(&[0]).len(), 1);
    assert_eq!(pod.read("env"), Some("E0='2'\n".to_owned()), "a container that restarts still starts");
}

#[test]
fn mirrored_files_are_read_again_when_they_have_moved_and_only_then() {
    let mut pod = Pod::new(|directory| {
        let path = directory.path().join("mirror").to_str().unwrap().to_owned();
        let mirror = SourceConfiguration::Mirror(MirrorSource { path });
        configuration(vec![volume(directory, "one", vec![source("a", false), mirror])])
    });
    project(&pod, "t1");
    pod.answer("kv/a", r#"{"x":"1"}"#);
    pod.answer("kv/b", "{}");
    assert_eq!(pod.publish(&[0, 1]), Vec::<String>::new());
    assert_eq!((pod.read("one/x"), pod.read("one/token")), (Some("1".to_owned()), Some("t1".to_owned())));
    project(&pod, "t2");
    pod.publish(&[]);
    assert_eq!(pod.read("one/token"), Some("t1".to_owned()));
    pod.content.expect_new_mirrors();
    pod.publish(&[]);
    assert_eq!(pod.read("one/token"), Some("t2".to_owned()));
    assert_eq!(fs::metadata(pod.path("one/token")).unwrap().mode() & 0o7777, 0o600);
}

/// What the kubelet does.
fn project(pod: &Pod, token: &str) {
    let mut payload = Payload::default();
    let mode = Mode::try_from(0o600).unwrap();
    payload.insert("token".parse().unwrap(), PayloadFile { content: token.as_bytes(), mode });
    let mut kubelet = Publisher::open(&pod.path("mirror")).unwrap();
    kubelet.publish(&payload, "2026-11-25T01:48:13Z".parse().unwrap()).unwrap();
}

#[test]
fn a_mirrored_volume_that_cannot_be_read_is_a_setback_that_may_pass() {
    let mut pod = Pod::new(|directory| {
        let path = directory.path().join("mirror").to_str().unwrap().to_owned();
        let mirror = SourceConfiguration::Mirror(MirrorSource { path });
        configuration(vec![volume(directory, "one", vec![source("a", false), mirror])])
    });
    pod.answer("kv/a", r#"{"x":"1"}"#);
    pod.answer("kv/b", "{}");
    let setbacks = pod.content.publish(&[SecretId(0), SecretId(1)], "2026-11-25T01:48:13Z".parse().unwrap());
    assert_eq!(setbacks.len(), 1);
    assert!(setbacks[0].may_pass && setbacks[0].reason.contains("/mirror/..data: "), "{setbacks:?}");
    project(&pod, "t1");
    assert_eq!(pod.publish(&[]), Vec::<String>::new());
    assert_eq!(pod.read("one/token"), Some("t1".to_owned()));
}
