use super::*;
use crate::configuration::{EntryConfiguration, SidecarConfiguration};
use crate::mode::Mode;
use serde_json::{Value, json};

fn item(key: &str) -> ItemConfiguration {
    ItemConfiguration { key: key.to_owned(), path: "f".to_owned(), mode: None }
}

fn volume(sources: Vec<SourceConfiguration>) -> SidecarConfiguration {
    let volume = VolumeConfiguration {
        name: "creds".parse().unwrap(),
        path: "/v".to_owned(),
        default_mode: Mode::DEFAULT,
        group_access: super::super::GroupAccess::default(),
        sources,
        mount_points: Vec::new(),
    };
    SidecarConfiguration { volumes: vec![volume], ..SidecarConfiguration::default() }
}

fn source(items: Vec<ItemConfiguration>) -> SourceConfiguration {
    SourceConfiguration::Secret(SecretSource { name: "s".parse().unwrap(), items: Some(items), optional: true })
}

fn environment(keys: Vec<&str>) -> SidecarConfiguration {
    let entry = |secret_key: &str| EntryConfiguration {
        key: "K".to_owned(),
        variable: "V".to_owned(),
        secret: "s".parse().unwrap(),
        secret_key: secret_key.to_owned(),
        optional: false,
    };
    let entries = keys.into_iter().map(entry).collect();
    let environment = EnvironmentConfiguration { container: "app".parse().unwrap(), path: "/e".to_owned(), entries };
    SidecarConfiguration { environments: vec![environment], ..SidecarConfiguration::default() }
}

/// The variables that a writer without limits would write.
fn forged(configuration: &SidecarConfiguration) -> Vec<(String, String)> {
    let versioned = |mut thing: Value| {
        thing["version"] = json!(1);
        thing.to_string()
    };
    let volumes = configuration.volumes.iter().map(|volume| ("ALCOVE_VOLUME_0", json!(volume)));
    let environments = configuration.environments.iter().map(|environment| ("ALCOVE_ENV_0", json!(environment)));
    let general = ("ALCOVE_SIDECAR", json!({"logLevel": "info"}));
    let all = volumes.chain(environments).chain([general]);
    all.map(|(name, thing)| (name.to_owned(), versioned(thing))).collect()
}

/// A volume without files and with this many mount points.
fn mounted_on(count: usize) -> SidecarConfiguration {
    let mut configuration = volume(Vec::new());
    configuration.volumes[0].mount_points = vec!["m".parse().unwrap(); count];
    configuration
}

#[test]
fn what_exceeds_a_limit_is_neither_written_nor_read() {
    let long = "k".repeat(254);
    let mirrors = vec![source(Vec::new()); MOST + 1];
    let cases = [
        (volume(vec![source(vec![item("k"), item(&long)])]), "VOLUME_0.sources[0].secret.items[1].key: has 254 bytes"),
        (volume(vec![source(vec![item("k"); MOST + 1])]), "VOLUME_0.sources[0].secret.items: has 4097 items"),
        (volume(mirrors), "VOLUME_0.sources: has 4097 items"),
        (mounted_on(MOST + 1), "VOLUME_0.mountPoints: has 4097 items"),
        (environment(vec!["k", &long]), "ENV_0.entries[1].secretKey: "),
        (environment(vec!["a/b"]), "ENV_0.entries[0].secretKey: "),
        (environment(vec!["k"; MOST + 1]), "ENV_0.entries: has 4097 items"),
    ];
    for (configuration, expected) in cases {
        let written = configuration.to_variables().unwrap_err().to_string();
        assert!(written.starts_with(&format!("ALCOVE_{expected}")), "{written}");
        let read = SidecarConfiguration::from_variables(forged(&configuration)).unwrap_err().to_string();
        assert!(read.starts_with("ALCOVE_"), "{read}");
        // Four thousand sources do not fit into a variable either, and that is found first.
        assert!(read.contains(expected) || read.contains("more than the kernel's 128 KiB"), "{read}");
    }
}

#[test]
fn what_is_just_within_the_limits_is_written_and_read_back() {
    let longest = "k".repeat(253);
    let odd = "a/b";
    let items = volume(vec![source(vec![item(&longest), item(odd)])]);
    for configuration in [items, mounted_on(MOST), environment(vec![&longest, ".k"])] {
        let written = configuration.to_variables().unwrap();
        assert_eq!(SidecarConfiguration::from_variables(written), Ok(configuration));
    }
}

#[test]
fn a_variable_that_the_kernel_would_not_take_is_not_read() {
    let text = format!("{{\"version\":1,\"logLevel\":\"info\"{}}}", " ".repeat(128 * 1024));
    let length = text.len();
    let problems = SidecarConfiguration::from_variables([("ALCOVE_SIDECAR".to_owned(), text)]).unwrap_err();
    let expected = format!("ALCOVE_SIDECAR: is {length} bytes long, more than the kernel's 128 KiB");
    assert_eq!(problems.to_string(), expected);
}
