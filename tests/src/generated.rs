//! The files of the checkout that come from the code: what they must hold, and how they are written.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// One file that comes from the code.
#[derive(Debug)]
pub struct Generated {
    /// Its path in the checkout.
    pub path: String,
    /// What it must hold.
    pub content: String,
}

/// Every generated file.
///
/// # Errors
///
/// A definition that cannot be written as YAML.
pub fn all() -> anyhow::Result<Vec<Generated>> {
    let mut files = vec![Generated {
        path: "docs/annotations.md".to_owned(),
        content: alcove_contract::annotations::reference_page(),
    }];
    for definition in alcove_resources::definitions::all() {
        let mut content = String::from("# Generated from resources/src: change it there, then run `make generate`.\n");
        writeln!(content, "{}", serde_saphyr::to_string(&definition)?.trim_end())?;
        files.push(Generated { path: format!("manifests/crds/{}.yaml", definition.spec.names.plural), content });
    }
    Ok(files)
}

/// Writes every generated file below the checkout at `root`.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write(root: &Path) -> anyhow::Result<()> {
    for file in all()? {
        let path = root.join(&file.path);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        io::Write::write_all(&mut std::fs::File::create(&path)?, file.content.as_bytes())?;
    }
    Ok(())
}

/// The generated files that do not hold what they must.
///
/// # Errors
///
/// A definition that cannot be written as YAML.
pub fn stale(root: &Path) -> anyhow::Result<Vec<String>> {
    let holds =
        |file: &Generated| std::fs::read_to_string(root.join(&file.path)).is_ok_and(|text| text == file.content);
    Ok(all()?.into_iter().filter(|file| !holds(file)).map(|file| file.path).collect())
}
