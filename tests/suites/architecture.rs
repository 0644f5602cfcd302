//! The direction of dependencies, read from what cargo resolves.

use std::collections::{BTreeMap, BTreeSet};

use alcove_tests::suite::Trial;
use alcove_tests::{facts, state};
use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

pub(crate) fn tests() -> Vec<Trial> {
    facts![
        every_crate_knows_only_the_crates_below_it,
        pure_crates_link_no_runtime_no_client_and_no_clock_source,
        the_webhook_links_no_store_client,
        the_sidecar_links_no_kubernetes_client_and_nothing_of_admission,
        one_crypto_stack_is_linked,
        only_their_owners_link_the_libraries_with_a_rough_interface,
    ]
}

/// The whole direction: a crate and the crates of ours that it may name.
const DIRECTION: [(&str, &[&str]); 7] = [
    ("alcove-contract", &[]),
    ("alcove-resources", &["alcove-contract"]),
    ("alcove-injection", &["alcove-contract", "alcove-resources"]),
    ("alcove-certs", &[]),
    ("alcove-webhook", &["alcove-contract", "alcove-resources", "alcove-injection", "alcove-certs"]),
    ("alcove-stores", &["alcove-contract"]),
    ("alcove-sidecar", &["alcove-contract", "alcove-stores"]),
];

/// What does I/O, or asks for the time or for randomness.
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
    let graph = Graph::read()?;
    let known: BTreeMap<&str, &[&str]> = DIRECTION.into_iter().collect();
    for package in graph.metadata.workspace_packages() {
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

fn pure_crates_link_no_runtime_no_client_and_no_clock_source() -> Result<()> {
    let graph = Graph::read()?;
    for pure in ["alcove-contract", "alcove-resources", "alcove-injection"] {
        graph.links_none(pure, &IMPURE)?;
    }
    Ok(())
}

fn the_webhook_links_no_store_client() -> Result<()> {
    let stores = ["alcove-stores", "vaultrs", "aws-config", "azure_identity", "tokio-postgres", "mysql_async"];
    Graph::read()?.links_none("alcove-webhook", &stores)
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
    Graph::read()?.links_none("alcove-sidecar", &foreign)
}

fn one_crypto_stack_is_linked() -> Result<()> {
    let graph = Graph::read()?;
    for program in ["alcove-webhook", "alcove-sidecar"] {
        graph.links_none(program, &["ring", "openssl", "openssl-sys", "native-tls", "rustls-pemfile"])?;
        ensure!(
            graph.linked(program)?.contains("aws-lc-rs"),
            "{program} links no crypto at all: is the graph complete?"
        );
    }
    Ok(())
}

fn only_their_owners_link_the_libraries_with_a_rough_interface() -> Result<()> {
    let owners = [
        ("rcgen", ["alcove-certs"].as_slice()),
        ("axum-server", &["alcove-webhook"]),
        ("vaultrs", &["alcove-stores"]),
        ("minijinja", &["alcove-sidecar"]),
    ];
    let graph = Graph::read()?;
    for (library, owners) in owners {
        for package in graph.metadata.workspace_packages().into_iter().filter(|one| one.name != "alcove-tests") {
            let names =
                package.dependencies.iter().any(|one| one.name == library && one.kind == DependencyKind::Normal);
            ensure!(!names || owners.contains(&package.name.as_str()), "{} depends on {library}", package.name);
        }
    }
    Ok(())
}

/// What cargo resolves for this machine.
struct Graph {
    metadata: Metadata,
}

impl Graph {
    fn read() -> Result<Self> {
        let mut command = MetadataCommand::new();
        command.current_dir(state::checkout());
        let platform = format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH);
        command.other_options(["--locked".to_owned(), platform]);
        Ok(Self { metadata: command.exec().context("running cargo metadata")? })
    }

    /// The names of all packages that end up in `name`, tests and build scripts apart.
    fn linked(&self, name: &str) -> Result<BTreeSet<&str>> {
        let resolve = self.metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
        let members = self.metadata.workspace_packages();
        let root = members.iter().find(|one| one.name == name).with_context(|| format!("no crate {name}"))?;
        let mut found: BTreeSet<&PackageId> = BTreeSet::new();
        let mut next = vec![&root.id];
        while let Some(id) = next.pop() {
            if !found.insert(id) {
                continue;
            }
            let node = resolve.nodes.iter().find(|node| &node.id == id).context("the graph is incomplete")?;
            let normal =
                node.deps.iter().filter(|one| one.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
            next.extend(normal.map(|dependency| &dependency.pkg));
        }
        Ok(found.into_iter().map(|id| self.metadata[id].name.as_str()).collect())
    }

    fn links_none(&self, name: &str, banned: &[&str]) -> Result<()> {
        let linked = self.linked(name)?;
        let wrong: Vec<&str> = banned.iter().copied().filter(|one| linked.contains(one)).collect();
        ensure!(wrong.is_empty(), "{name} links {}", wrong.join(", "));
        Ok(())
    }
}
