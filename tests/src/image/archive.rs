//! The format of `docker save`: a configuration, one layer, and a manifest that names them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use tar::{Builder, EntryType, Header};

/// What an image consists of.
#[derive(Debug, Clone)]
pub struct Recipe {
    entrypoint: Vec<String>,
    user: String,
    entries: BTreeMap<PathBuf, Entry>,
}

/// One entry of the root file system; everything belongs to root.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A directory with its mode.
    Directory(u32),
    /// A file with its content and mode.
    File(Vec<u8>, u32),
    /// A symbolic link with its target.
    Link(PathBuf),
}

impl Recipe {
    /// An empty root file system; `user` as in a Dockerfile, empty for root.
    pub fn new(entrypoint: impl IntoIterator<Item = String>, user: &str) -> Self {
        Self { entrypoint: entrypoint.into_iter().collect(), user: user.to_owned(), entries: BTreeMap::new() }
    }

    /// Adds a file; `path` has no leading slash.
    pub fn file(&mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>, mode: u32) {
        self.entries.insert(path.into(), Entry::File(content.into(), mode));
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: impl Into<PathBuf>, target: impl Into<PathBuf>) {
        self.entries.insert(path.into(), Entry::Link(target.into()));
    }

    /// Adds a directory whose mode matters; others are made with mode 0755.
    pub fn directory(&mut self, path: impl Into<PathBuf>, mode: u32) {
        self.entries.insert(path.into(), Entry::Directory(mode));
    }

    pub(super) fn archive(&self, reference: &str) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": self.user, "WorkingDir": "/", "Env": ["PATH=/bin:/"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
        });
        let manifest = json!([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]);
        let mut archive = Builder::new(Vec::new());
        append(&mut archive, Path::new("manifest.json"), &Entry::File(manifest.to_string().into(), 0o644))?;
        append(&mut archive, Path::new("config.json"), &Entry::File(config.to_string().into(), 0o644))?;
        append(&mut archive, Path::new("layer.tar"), &Entry::File(layer, 0o644))?;
        Ok(archive.into_inner()?)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        let parents: BTreeSet<&Path> = self.entries.keys().flat_map(|path| path.ancestors().skip(1)).collect();
        for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
            if !self.entries.contains_key(parent) {
                append(&mut layer, parent, &Entry::Directory(0o755))?;
            }
        }
        for (path, entry) in &self.entries {
            append(&mut layer, path, entry)?;
        }
        Ok(layer.into_inner()?)
    }
}

fn append(archive: &mut Builder<Vec<u8>>, path: &Path, entry: &Entry) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    match entry {
        Entry::Directory(mode) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            header.set_size(0);
            archive.append_data(&mut header, path, std::io::empty())?;
        }
        Entry::File(content, mode) => {
            header.set_mode(*mode);
            header.set_size(u64::try_from(content.len())?);
            archive.append_data(&mut header, path, content.as_slice())?;
        }
        Entry::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            archive.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

/// The name that Go, and so every image, gives this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
