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
enum Entry {
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

    /// Replaces the entrypoint.
    pub fn entrypoint(&mut self, entrypoint: impl IntoIterator<Item = String>) {
        self.entrypoint = entrypoint.into_iter().collect();
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::Value;

    use super::*;

    fn recipe() -> Recipe {
        let mut recipe = Recipe::new(["/bin/app".to_owned()], "65532:65532");
        recipe.file("bin/app", "program", 0o755);
        recipe.link("bin/alias", "app");
        recipe.directory("tmp", 0o1777);
        recipe
    }

    /// Path, mode and content of each entry.
    fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap();
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), content)
        };
        entries.map(read).collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        assert_eq!(recipe().archive("localhost/app:1").unwrap(), recipe().archive("localhost/app:1").unwrap());
    }

    #[test]
    fn a_layer_holds_every_directory_before_what_is_in_it() {
        let layer = recipe().layer().unwrap();
        let entries = entries(&layer);
        let shown: Vec<(&str, u32)> = entries.iter().map(|(path, mode, _)| (path.as_str(), *mode)).collect();
        assert_eq!(shown, [("bin", 0o755), ("bin/alias", 0o777), ("bin/app", 0o755), ("tmp", 0o1777)]);
    }

    #[test]
    fn the_configuration_names_the_digest_of_the_layer_the_user_and_the_entrypoint() {
        let entries = entries(&recipe().archive("localhost/app:1").unwrap());
        let content = |name: &str| &entries.iter().find(|(path, ..)| path == name).unwrap().2;
        let config: Value = serde_json::from_slice(content("config.json")).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(content("layer.tar"))));
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/bin/app"]));
        let manifest: Value = serde_json::from_slice(content("manifest.json")).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["localhost/app:1"]));
    }

    #[test]
    fn a_digest_is_written_as_lower_case_hexadecimal() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
