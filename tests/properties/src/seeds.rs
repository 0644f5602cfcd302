//! What inputs begin with: the golden cases of `alcove-injection`, which are there anyhow.

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

use crate::annotations;
use crate::cluster::documents;
use crate::reviews::{change, creation};

/// What stands in one folder of the cases.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name of the folder, which is a claim.
    pub name: String,
    /// The Pod as its author wrote it.
    pub pod: Value,
    /// The Pod that came out, if it was to be changed.
    pub patched: Option<Value>,
    /// What stands in the cluster beside what all cases have.
    pub resources: String,
}

impl Case {
    fn open(folder: &Path) -> Result<Self> {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let document = |name: &str| Some(documents(&text(name)?)?.into_iter().next().unwrap_or_default());
        Ok(Self {
            name: folder.file_name().unwrap_or_default().display().to_string(),
            pod: document("pod.yaml").with_context(|| format!("{} has no pod.yaml", folder.display()))?,
            patched: document("patched.yaml"),
            resources: text("resources.yaml").unwrap_or_default(),
        })
    }

    /// What an API server asks about these Pods.
    pub fn reviews(&self) -> Result<Vec<Vec<u8>>> {
        let after = self.patched.as_ref();
        let creations = std::iter::once(&self.pod).chain(after).map(creation);
        let changes = after.into_iter().map(|patched| change(patched, &self.pod));
        creations.chain(changes).map(|review| Ok(serde_json::to_vec(&review)?)).collect()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../injection/tests/cases")
}

/// All cases, in the order of their names.
pub fn cases() -> Result<Vec<Case>> {
    let entries = std::fs::read_dir(folder())?.map(|entry| Ok(entry?.path()));
    let mut folders: Vec<PathBuf> = entries.collect::<Result<_>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders.iter().map(|folder| Case::open(folder)).collect()
}

/// The manifests of what all cases find in the cluster.
pub fn base() -> Result<String> {
    Ok(std::fs::read_to_string(folder().join("base.yaml"))?)
}

/// Bodies of reviews.
pub fn reviews() -> Result<Vec<Vec<u8>>> {
    let reviews: Vec<Vec<Vec<u8>>> = cases()?.iter().map(Case::reviews).collect::<Result<_>>()?;
    Ok(reviews.concat())
}

/// Manifests.
pub fn resources() -> Result<Vec<Vec<u8>>> {
    let own = cases()?.into_iter().map(|case| case.resources).filter(|yaml| !yaml.is_empty());
    Ok(own.chain([base()?]).map(String::into_bytes).collect())
}

/// Annotations of Pods.
pub fn annotations() -> Result<Vec<Vec<u8>>> {
    let written = cases()?.into_iter().filter_map(|case| {
        let annotations = case.pod.pointer("/metadata/annotations")?.as_object()?;
        let pairs = annotations.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        Some(annotations::joined(pairs).into_bytes())
    });
    Ok(written.collect())
}

/// Patterns of policies, each with a key that it may match.
#[must_use]
pub fn globs() -> Vec<Vec<u8>> {
    let pairs = [
        ("kv/app/**", "kv/app/x/y"),
        ("kv/*/db", "kv/app/db"),
        ("**/db", "a/b/db"),
        ("kv/*-*/**a*b", "kv/a-b/x/aab"),
        ("batch-*", "batch-7"),
        ("*ä*", "xäy"),
        ("db-creds", "db-creds"),
    ];
    pairs.map(|(pattern, text)| format!("{pattern}\n{text}").into_bytes()).into()
}
