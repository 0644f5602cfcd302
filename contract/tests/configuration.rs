//! The promise between webhook and sidecar: what version 1 wrote is read for ever, and what is written today is byte for
//! byte what version 1 wrote. A change that breaks one of these files needs a new version, not a new file. A new file is
//! for what is left out where it is empty: an old sidecar knows nothing of it and refuses it by name.

use alcove_contract::configuration::SidecarConfiguration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configuration/v1")
}

/// A golden file holds one variable a line, `NAME=value`, in the order in which they are written.
#[cfg(test)]
fn variables(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
    text.lines().map(pair).collect()
}

#[cfg(test)]
fn golden_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn version_1_is_read_and_written_to_the_byte() {
    let files = golden_files();
    assert!(files.len() >= 5, "{files:?}");
    for path in files {
        let golden = variables(&path);
        let configuration = SidecarConfiguration::from_variables(golden.clone())
            .unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
        assert_eq!(configuration.to_variables().unwrap(), golden, "{}", path.display());
    }
}

#[test]
fn variables_of_others_are_not_looked_at() {
    let mut all = variables(&folder().join("vault.env"));
    let expected = SidecarConfiguration::from_variables(all.clone()).unwrap();
    all.push(("HTTPS_PROXY".to_owned(), "http://127.0.0.1:9999".to_owned()));
    all.push(("VAULT_TOKEN".to_owned(), "root".to_owned()));
    assert_eq!(SidecarConfiguration::from_variables(all).unwrap(), expected);
}

/// Reads the Vault golden file with one variable changed.
#[cfg(test)]
fn refused(name: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let mut all: BTreeMap<String, String> = variables(&folder().join("vault.env")).into_iter().collect();
    let changed = change(all.get(name).map(String::as_str).unwrap_or_default());
    all.remove(name);
    all.extend(changed.map(|value| (name.to_owned(), value)));
    SidecarConfiguration::from_variables(all).unwrap_err().to_string()
}

#[test]
fn what_a_sidecar_does_not_understand_it_refuses_by_name() {
    let newer = |text: &str| Some(text.replace("\"version\":1", "\"version\":2"));
    assert!(refused("ALCOVE_STORE_0", newer).contains("ALCOVE_STORE_0: has version 2, and this sidecar reads up to 1"));
    let unversioned = |text: &str| Some(text.replace("\"version\":1,", ""));
    assert!(refused("ALCOVE_SECRET_0", unversioned).contains("ALCOVE_SECRET_0: has no version"));
    let unknown = |text: &str| Some(text.replace("{\"version\":1", "{\"version\":1,\"surprise\":true"));
    for name in ["ALCOVE_SIDECAR", "ALCOVE_STORE_0", "ALCOVE_SECRET_0", "ALCOVE_VOLUME_0", "ALCOVE_ENV_0"] {
        let text = refused(name, unknown);
        assert!(text.contains(name) && text.contains("surprise"), "{text}");
    }
    assert!(refused("ALCOVE_SIDECAR", |_| None).contains("ALCOVE_SIDECAR: is not set"));
    assert!(refused("ALCOVE_SECRET_7", |_| Some("{}".to_owned())).contains("ALCOVE_SECRET_7: is not a variable"));
    assert!(refused("ALCOVE_VOLUME_0", |_| Some("{".to_owned())).contains("ALCOVE_VOLUME_0: is not a configuration"));
}

#[test]
fn a_mount_point_outside_of_its_volume_is_refused() {
    let nested = variables(&folder().join("nested.env"));
    for (path, reason) in [("../etc", "must not contain '..'"), ("/etc", "relative"), ("..data", "must not start")] {
        let forged =
            nested.iter().map(|(name, value)| (name.clone(), value.replace("\"conf.d\"", &format!("\"{path}\""))));
        let problems = SidecarConfiguration::from_variables(forged).unwrap_err().to_string();
        assert!(problems.starts_with("ALCOVE_VOLUME_0: ") && problems.contains(reason), "{problems}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let mut all = variables(&folder().join("vault.env"));
    for (_, value) in &mut all {
        value.push('}');
    }
    let count = SidecarConfiguration::from_variables(all.clone()).unwrap_err().iter().count();
    assert_eq!(count, all.len());
}

#[test]
fn a_variable_longer_than_the_kernel_takes_is_refused_when_it_is_written() {
    let mut configuration = SidecarConfiguration::from_variables(variables(&folder().join("vault.env"))).unwrap();
    let reference = configuration.secrets[0].data_from[0].clone();
    configuration.secrets[0].data_from = vec![reference; 10_000];
    let problems = configuration.to_variables().unwrap_err().to_string();
    assert!(problems.contains("ALCOVE_SECRET_0") && problems.contains("128 KiB"), "{problems}");
}
