//! Objects from YAML files: for tests, for benchmarks, and for trying out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use alcove_contract::{Problem, Problems};
use serde_json::Value;

use crate::objects::{Item, Key, View};

/// What the names of files end in that are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads every YAML file of a directory, in the order of their names; what reviews do not depend on is left out.
///
/// # Errors
///
/// Everything that is wrong in any file, with the file and the number of the document.
pub fn load(directory: &Path) -> Result<View, Problems> {
    let mut loading = Loading::default();
    let paths = loading.problems.collect(paths(directory)).unwrap_or_default();
    for path in paths {
        loading.file(&path);
    }
    loading.problems.or(loading.view)
}

fn paths(directory: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |error: io::Error| unreadable(directory, &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if EXTENSIONS.contains(&extension) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What was read so far.
#[derive(Default)]
struct Loading {
    view: View,
    places: BTreeMap<Key, String>,
    problems: Problems,
}

impl Loading {
    fn file(&mut self, path: &Path) {
        let documents =
            fs::read_to_string(path).map_err(|error| unreadable(path, &error)).and_then(|text| parse(path, &text));
        for (index, document) in self.problems.collect(documents).unwrap_or_default().iter().enumerate() {
            self.document(&format!("{} document {}", path.display(), index + 1), document);
        }
    }

    fn document(&mut self, place: &str, document: &Value) {
        let kind = document.get("kind").and_then(Value::as_str);
        match document.get("items").and_then(Value::as_array) {
            Some(items) if kind == Some("List") => {
                for (index, item) in items.iter().enumerate() {
                    self.object(&format!("{place} items[{index}]"), item);
                }
            }
            _ => self.object(place, document),
        }
    }

    fn object(&mut self, place: &str, document: &Value) {
        let read = Item::from_document(document).map_err(|problem| at(place, &problem));
        let Some(item) = self.problems.collect(read).flatten() else { return };
        if let Some(first) = self.places.insert(item.key.clone(), place.to_owned()) {
            let reason = format!("the {} is already in {first}", item.key);
            self.problems.push(Problem::new(place, reason).with_remedy("leave one of them away"));
        }
        self.view.apply(item);
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Value>, Problem> {
    // `0400` is octal, as it is for kubectl.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        Problem::new(path.display().to_string(), format!("is not valid YAML: {first}"))
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(path.display().to_string(), format!("cannot be read: {error}"))
}

/// A place in a document is shown after the document's own.
fn at(place: &str, problem: &Problem) -> Problem {
    let place = if problem.place.is_empty() { place.to_owned() } else { format!("{place}: {}", problem.place) };
    Problem { place, ..problem.clone() }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let mut file = fs::File::create(directory.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        directory
    }

    #[test]
    fn every_problem_of_every_file_is_named_with_its_file_and_document() {
        let policy = "apiVersion: alcove.dev/v1alpha1\nkind: SecretPolicy\nmetadata: {name: web}\nspec: {serviceAccounts: [web]}\n";
        let directory = directory(&[
            ("a.yaml", &format!("{policy}---\napiVersion: alcove.dev/v1\nkind: SecretPolicy\n")),
            ("b.yaml", "a: [\n"),
            ("c.yml", &format!("---\n{policy}---\nkind: Pod\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{}}\n")),
            ("d.txt", "not looked at: ["),
        ]);
        let problems = load(directory.path()).unwrap_err();
        let shown = problems.to_string().replace(&format!("{}/", directory.path().display()), "");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 4, "{shown}");
        assert!(lines[0].starts_with("a.yaml document 2: apiVersion: \"alcove.dev/v1\" is not a version"), "{shown}");
        assert!(lines[1].starts_with("b.yaml: is not valid YAML: "), "{shown}");
        assert!(lines[2].contains("the SecretPolicy default/web is already in"), "{shown}");
        assert!(lines[3].contains("c.yml document 3: metadata.name: is missing"), "{shown}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let problems = load(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(problems.starts_with("/nowhere/at/all: cannot be read: "), "{problems}");
    }
}
