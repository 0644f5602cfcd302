//! Every text that the author of a Pod can be told stands in a folder of `cases`, where people find it.
//!
//! The texts are taken from the sources: each literal of several words, with anything for what is between braces. Whoever
//! writes a new one writes a folder for it, or says in [`EXEMPT`] why there is none.

mod exempt;
mod literals;

use exempt::{EXEMPT, Why};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that say something about a Pod.
const CRATES: [&str; 3] = ["contract", "resources", "injection"];

#[test]
fn every_text_that_an_author_can_be_told_stands_in_a_case() {
    let told = told();
    let mut untold = texts();
    assert!(untold.len() > 300, "only {} texts: are the sources read at all?", untold.len());
    untold.retain(|text| !text.is_exempt() && !text.stands_in(&told));
    let list: Vec<String> = untold.iter().map(Text::to_string).collect();
    assert!(list.is_empty(), "{} texts stand in no case:\n{}", list.len(), list.join("\n"));
}

#[test]
fn what_is_exempt_is_a_text_that_stands_in_no_case_and_in_the_test_that_is_named() {
    let (texts, told) = (texts(), told());
    for (file, beginnings, why) in EXEMPT {
        for beginning in *beginnings {
            let meant: Vec<&Text> = texts.iter().filter(|text| text.begins(file, beginning)).collect();
            assert!(!meant.is_empty(), "{file} says {beginning:?} no more");
            // Of a whole file, some texts may be somebody else's as well.
            for text in meant.into_iter().filter(|_| !beginning.is_empty()) {
                let (Why::NoRefusal(reason) | Why::TestedIn(_, reason)) = why;
                assert!(!text.stands_in(&told), "{text} stands in a case, and is exempt: {reason}");
                if let Why::TestedIn(test, _) = why {
                    let literals = literals::all_of(&fs::read_to_string(root().join(test)).unwrap());
                    assert!(text.stands_in(&literals), "{text} is not in {test}, and is exempt: {reason}");
                }
            }
        }
    }
}

/// One text of the sources.
struct Text {
    file: String,
    literal: String,
}

/// All that have several words, line by line.
fn texts() -> Vec<Text> {
    let mut texts = Vec::new();
    for path in CRATES.iter().flat_map(|name| sources(&root().join(name).join("src"))) {
        let source = fs::read_to_string(&path).unwrap();
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        let literals = literals::of(&source);
        let lines = literals.iter().flat_map(|literal| literal.lines()).filter(|line| is_of_words(line));
        texts.extend(lines.map(|line| Text { file: file.clone(), literal: line.to_owned() }));
    }
    texts
}

/// Whether a line has several words, apart from what is between braces.
fn is_of_words(line: &str) -> bool {
    let fragments = fragments(line).join(" ");
    let is_word = |word: &&str| word.chars().filter(|letter| letter.is_alphabetic()).count() > 1;
    line.trim().contains(' ') && fragments.split_whitespace().filter(is_word).count() > 1
}

impl Text {
    fn begins(&self, file: &str, beginning: &str) -> bool {
        self.file == file && self.literal.starts_with(beginning)
    }

    fn is_exempt(&self) -> bool {
        EXEMPT.iter().any(|(file, beginnings, _)| beginnings.iter().any(|beginning| self.begins(file, beginning)))
    }

    /// Whether one of the lines holds it; braces may be only braces, too.
    fn stands_in(&self, lines: &[String]) -> bool {
        let fragments = fragments(&self.literal);
        lines.iter().any(|line| line.contains(&self.literal) || in_order(&fragments, line))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: \"{}\"", self.file, self.literal.escape_debug())
    }
}

/// What a format says around its arguments.
fn fragments(literal: &str) -> Vec<String> {
    let is_argument = |inner: &str| inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:?#".contains(&byte));
    let (mut fragments, mut rest) = (vec![String::new()], literal.chars());
    while let Some(letter) = rest.next() {
        let argument = rest.as_str().split_once('}').filter(|(inner, _)| letter == '{' && is_argument(inner));
        if let Some((_, behind)) = argument {
            fragments.push(String::new());
            rest = behind.chars();
            continue;
        }
        fragments.last_mut().unwrap().push(letter);
        if matches!(letter, '{' | '}') && rest.as_str().starts_with(letter) {
            rest.next();
        }
    }
    fragments
}

fn in_order(fragments: &[String], line: &str) -> bool {
    let mut rest = line;
    fragments.iter().all(|fragment| match rest.split_once(fragment.as_str()) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// Every line that the cases tell somebody.
fn told() -> Vec<String> {
    let cases = root().join("injection/tests/cases");
    let files = fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = files.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    texts.flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The Rust files below a directory that are no tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn a_text_is_found_whatever_stands_between_its_braces() {
    let stands = |literal: &str, line: &str| {
        let (file, literal) = (String::new(), literal.to_owned());
        Text { file, literal }.stands_in(&[line.to_owned()])
    };
    assert!(stands("has {count} {what}, more than {}", "spec: has 7 keys, more than 5; remove two"));
    assert!(stands("name the file: {{data: {{<file>: \"{reference}\"}}}}", "name the file: {data: {<file>: \"a:b\"}}"));
    assert!(stands("write {requests: {cpu: 5m}}", "x; write {requests: {cpu: 5m}}"));
    assert!(!stands("has {count} {what}, more than {}", "more than 5 has 7 keys"));
    assert!(!is_of_words("{} of {kind_of_store}") && is_of_words("is empty") && !is_of_words("spec.allow"));
}
