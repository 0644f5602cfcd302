//! The documents: what they name is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use alcove_tests::suite::Trial;
use alcove_tests::{claims, facts, state};
use anyhow::{Context as _, Result, ensure};

use self::readme::{
    a_stranger_who_follows_the_readme_gets_a_pod_with_its_secret, every_text_that_the_readme_explains_is_said,
};

mod readme;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = facts![
        every_test_that_a_document_names_exists,
        every_link_leads_to_a_file_and_a_section_that_are_there,
        every_text_that_the_readme_explains_is_said,
    ];
    tests.extend(claims![a_stranger_who_follows_the_readme_gets_a_pod_with_its_secret]);
    tests
}

const DOCUMENTS: [&str; 11] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/annotations.md",
    "docs/incidents.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/threat-model.md",
    "tests/README.md",
];

/// The crates, whose sources hold the tests.
const CRATES: [&str; 8] = ["certs", "contract", "injection", "resources", "sidecar", "stores", "tests", "webhook"];

fn every_test_that_a_document_names_exists() -> Result<()> {
    let known = functions()?;
    let cases = state::checkout().join("injection/tests/cases");
    let mut named = 0;
    for document in DOCUMENTS {
        for name in code_spans(&read(document)?).filter(|span| is_claim(span)) {
            named += 1;
            ensure!(known.contains(name) || cases.join(name).is_dir(), "{document} names `{name}`, which is no test");
        }
    }
    ensure!(named >= 60, "only {named} tests are named: are the documents read at all?");
    Ok(())
}

fn every_link_leads_to_a_file_and_a_section_that_are_there() -> Result<()> {
    for document in DOCUMENTS {
        let text = read(document)?;
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, section) = target.split_once('#').unwrap_or((target, ""));
            let folder = state::checkout().join(document);
            let beside = folder.parent().context("a document is in a folder")?.join(file);
            let path = if file.is_empty() { folder } else { beside };
            ensure!(path.exists(), "{document} links to {target}, which is not there");
            let is_there =
                section.is_empty() || anchors(&std::fs::read_to_string(&path)?).any(|anchor| anchor == section);
            ensure!(is_there, "{document} links to {target}, and {file} has no such section");
        }
    }
    Ok(())
}

/// What the sections of a document are called in links.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles.map(|title| {
        let kept = title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
    })
}

/// What stands between backticks, on one line.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Tests are sentences: several words of lower case. Metrics are, too, and begin with the program's name.
fn is_claim(span: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    span.split('_').count() > 3 && span.split('_').all(is_word) && !span.starts_with("alcove_")
}

/// The names of all functions in the sources.
fn functions() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for directory in CRATES {
        for source in sources(&state::checkout().join(directory))? {
            let text = std::fs::read_to_string(&source)?;
            let declared = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            names.extend(declared.map(str::to_owned));
        }
    }
    Ok(names)
}

/// The Rust files below a directory.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = files(directory)?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    Ok(found)
}

/// All files below a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(document: &str) -> Result<String> {
    std::fs::read_to_string(state::checkout().join(document)).with_context(|| format!("reading {document}"))
}
