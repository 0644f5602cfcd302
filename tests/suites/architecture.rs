//! The direction of dependencies, read from the manifests and from what cargo resolves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use alcove_tests::suite::Trial;
use alcove_tests::{facts, process, state};
use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

pub(crate) fn tests() -> Vec<Trial> {
    facts![
        every_crate_knows_only_the_crates_below_it,
        pure_crates_link_no_runtime_no_client_and_no_randomness,
        pure_crates_ask_no_clock,
        the_webhook_links_no_store_client,
        the_sidecar_links_no_kubernetes_client_and_nothing_of_admission,
        one_crypto_stack_is_linked,
        only_their_owners_link_the_libraries_with_a_rough_interface,
    ]
}

/// The whole direction: a crate and the crates of ours that it may name.
const DIRECTION: [(&str, &[&str]); 8] = [
    ("alcove-contract", &[]),
    ("alcove-resources", &["alcove-contract"]),
    ("alcove-injection", &["alcove-contract", "alcove-resources"]),
    ("alcove-certs", &[]),
    ("alcove-webhook", &["alcove-contract", "alcove-resources", "alcove-injection", "alcove-certs"]),
    ("alcove-stores", &["alcove-contract"]),
    ("alcove-sidecar", &["alcove-contract", "alcove-stores"]),
    ("alcove-properties", &["alcove-contract", "alcove-resources", "alcove-injection", "alcove-webhook"]),
];

/// The crates that take everything as an argument.
const PURE: [&str; 3] = ["contract", "resources", "injection"];

/// How the clocks of std and of jiff are asked.
const CLOCKS: [&str; 4] = ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"];

/// What does I/O or gives randomness.
const IMPURE: [&str; 14] = [
    "tokio",
    "async-std",
    "smol",
    "hyper",
    "reqwest",
    "ureq",
    "axum",
    "kube-client",
    "kube-runtime",
    "rustls",
    "rand",
    "getrandom",
    "fastrand",
    "tempfile",
];

fn every_crate_knows_only_the_crates_below_it() -> Result<()> {
    let known: BTreeMap<&str, &[&str]> = DIRECTION.into_iter().collect();
    for package in members()? {
        let Some(allowed) = known.get(package.name.as_str()) else {
            ensure!(package.name == "alcove-tests", "{} is not part of the declared direction", package.name);
            continue;
        };
        for dependency in package.dependencies.iter().filter(|one| one.kind != DependencyKind::Development) {
            let ours = dependency.name.starts_with("alcove-");
            ensure!(
                !ours || allowed.contains(&dependency.name.as_str()),
                "{} depends on {}",
                package.name,
                dependency.name
            );
        }
    }
    Ok(())
}

fn pure_crates_link_no_runtime_no_client_and_no_randomness() -> Result<()> {
    PURE.into_iter().try_for_each(|pure| links_none(&format!("alcove-{pure}"), &IMPURE))
}

fn pure_crates_ask_no_clock() -> Result<()> {
    for pure in PURE {
        let sources = sources(&state::checkout().join(pure).join("src"))?;
        ensure!(!sources.is_empty(), "{pure} has no sources");
        for source in sources {
            let text = std::fs::read_to_string(&source)?;
            let asked = CLOCKS.into_iter().find(|clock| text.contains(clock));
            ensure!(asked.is_none(), "{} asks {}", source.display(), asked.unwrap_or_default());
        }
    }
    Ok(())
}

fn the_webhook_links_no_store_client() -> Result<()> {
    let stores = ["alcove-stores", "vaultrs", "aws-config", "azure_identity", "tokio-postgres", "mysql_async"];
    links_none("alcove-webhook", &stores)
}

fn the_sidecar_links_no_kubernetes_client_and_nothing_of_admission() -> Result<()> {
    let foreign = [
        "kube",
        "kube-core",
        "kube-client",
        "k8s-openapi",
        "axum",
        "alcove-injection",
        "alcove-resources",
        "alcove-certs",
    ];
    links_none("alcove-sidecar", &foreign)
}

fn one_crypto_stack_is_linked() -> Result<()> {
    for program in ["alcove-webhook", "alcove-sidecar"] {
        links_none(program, &["ring", "openssl", "openssl-sys", "native-tls", "rustls-pemfile"])?;
        ensure!(linked(program)?.contains("aws-lc-rs"), "{program} links no crypto at all: is the graph complete?");
    }
    Ok(())
}

fn only_their_owners_link_the_libraries_with_a_rough_interface() -> Result<()> {
    let owners =
        [("rcgen", ["alcove-certs"].as_slice()), ("vaultrs", &["alcove-stores"]), ("minijinja", &["alcove-sidecar"])];
    for (library, owners) in owners {
        for package in members()?.into_iter().filter(|one| one.name != "alcove-tests") {
            let names =
                package.dependencies.iter().any(|one| one.name == library && one.kind == DependencyKind::Normal);
            ensure!(!names || owners.contains(&package.name.as_str()), "{} depends on {library}", package.name);
        }
    }
    Ok(())
}

/// The names of all packages that end up in `package`, tests and build scripts apart.
///
/// `cargo metadata` unites the features of all crates of the workspace, so that a pure crate seems to link what only its
/// neighbours ask for; `cargo tree` resolves a package by itself, as a build of it does.
fn linked(package: &str) -> Result<BTreeSet<String>> {
    let mut tree = Command::new(env!("CARGO"));
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    tree.current_dir(state::checkout());
    tree.args(["tree", "--locked", "--edges=normal", "--prefix=none", "--format={p}", "--target", &target]);
    tree.args(["--package", package]);
    let printed = process::run(tree)?;
    Ok(printed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

fn links_none(package: &str, banned: &[&str]) -> Result<()> {
    let linked = linked(package)?;
    ensure!(linked.contains(package), "cargo tree does not show {package} itself");
    let wrong: Vec<&str> = banned.iter().copied().filter(|one| linked.contains(*one)).collect();
    ensure!(wrong.is_empty(), "{package} links {}", wrong.join(", "));
    Ok(())
}

/// The crates of the workspace with what their manifests name.
fn members() -> Result<Vec<Package>> {
    let mut command = MetadataCommand::new();
    let metadata = command.current_dir(state::checkout()).no_deps().exec().context("running cargo metadata")?;
    Ok(metadata.packages)
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}
