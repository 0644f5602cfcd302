//! Field paths and error texts, as Kubernetes writes them.

use std::fmt;

use alcove_contract::{Problem, Problems};

/// As many problems are told one by one, of the hundred that a refusal shows; a Pod can have hundreds of thousands of them.
const TOLD: usize = 99;

/// Where something stands in the Pod. It borrows its parent and becomes text only when there is something to say.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root(&'static str),
    Child(&'a Self, &'a str),
    /// A struct of Go whose fields stand in its parent's object; only Go's decoder names it.
    Embedded(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl Path<'_> {
    pub(super) const fn child<'a>(&'a self, name: &'a str) -> Path<'a> {
        Path::Child(self, name)
    }

    pub(super) const fn embedded<'a>(&'a self, name: &'a str) -> Path<'a> {
        Path::Embedded(self, name)
    }

    pub(super) const fn item(&self, index: usize) -> Path<'_> {
        Path::Item(self, index)
    }

    /// The same path as Go's decoder names it: without the positions in lists.
    pub(super) fn in_go(&self) -> String {
        match self {
            Self::Root(name) => (*name).to_owned(),
            Self::Child(parent, name) | Self::Embedded(parent, name) => format!("{}.{name}", parent.in_go()),
            Self::Item(parent, _) => parent.in_go(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => formatter.write_str(name),
            Self::Child(parent, name) => write!(formatter, "{parent}.{name}"),
            Self::Embedded(parent, _) => parent.fmt(formatter),
            Self::Item(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

/// What was found so far. The same words about the same field are said once.
#[derive(Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    found: usize,
    untold: usize,
}

impl Report {
    /// A field that must be there is not.
    pub(super) fn required(&mut self, at: &Path<'_>, detail: &str) {
        self.add(at, || with_detail("Required value", detail));
    }

    /// A text that can never be right.
    pub(super) fn invalid(&mut self, at: &Path<'_>, value: &str, detail: &str) {
        self.add(at, || with_detail(&format!("Invalid value: {}", quoted(value)), detail));
    }

    /// A number that can never be right.
    pub(super) fn invalid_number(&mut self, at: &Path<'_>, value: i64, detail: &str) {
        self.add(at, || with_detail(&format!("Invalid value: {value}"), detail));
    }

    /// A value with several things wrong, each said by itself.
    pub(super) fn invalid_each(&mut self, at: &Path<'_>, value: &str, details: &[String]) {
        for detail in details {
            self.invalid(at, value, detail);
        }
    }

    /// A value outside of a closed set.
    pub(super) fn unsupported(&mut self, at: &Path<'_>, value: &str, supported: &[&str]) {
        self.add(at, || {
            let supported: Vec<_> = supported.iter().map(|value| quoted(value)).collect();
            format!("Unsupported value: {}: supported values: {}", quoted(value), supported.join(", "))
        });
    }

    /// A value that another one of the same list has.
    pub(super) fn duplicate(&mut self, at: &Path<'_>, value: &str) {
        self.add(at, || format!("Duplicate value: {}", quoted(value)));
    }

    /// A value that could be right under other circumstances.
    pub(super) fn forbidden(&mut self, at: &Path<'_>, detail: &str) {
        self.add(at, || with_detail("Forbidden", detail));
    }

    /// A value of the wrong JSON type.
    pub(super) fn undecodable(&mut self, at: &Path<'_>, reason: String) {
        self.add(at, || reason);
    }

    /// How often something was found, told or not.
    pub(super) const fn found(&self) -> usize {
        self.found
    }

    pub(super) fn into_problems(mut self) -> Problems {
        if self.untold > 0 {
            self.problems.push(Problem::new("spec", format!("{} more problems like these", self.untold)));
        }
        self.problems.into_iter().collect()
    }

    fn add(&mut self, at: &Path<'_>, reason: impl FnOnce() -> String) {
        self.found += 1;
        if self.problems.len() == TOLD {
            self.untold += 1;
            return;
        }
        let problem = Problem::new(at.to_string(), reason());
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn with_detail(kind: &str, detail: &str) -> String {
    if detail.is_empty() { kind.to_owned() } else { format!("{kind}: {detail}") }
}

/// The text in quotes, escaped as Go's `%q` does it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        push_escaped(&mut quoted, character);
    }
    quoted.push('"');
    quoted
}

fn push_escaped(quoted: &mut String, character: char) {
    match character {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        '\u{7}' => quoted.push_str("\\a"),
        '\u{8}' => quoted.push_str("\\b"),
        '\u{c}' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\u{b}' => quoted.push_str("\\v"),
        printable if is_printable(printable) => quoted.push(printable),
        other => quoted.push_str(&code_point(u32::from(other))),
    }
}

/// Whether Go would show the character as it is. Rust's own escaping has the same opinion of all characters but the
/// single quote, and of marks if there is something before them to be put on.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~') || format!("a{character}").escape_debug().count() == 2
}

fn code_point(code: u32) -> String {
    match code {
        0..=0x7f => format!("\\x{code:02x}"),
        0x80..=0xffff => format!("\\u{code:04x}"),
        _ => format!("\\U{code:08x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_one_of_kubernetes() {
        let spec = Path::Root("spec");
        let volumes = spec.child("volumes");
        let volume = volumes.item(3);
        let source = volume.embedded("VolumeSource");

        assert_eq!(source.child("secret").to_string(), "spec.volumes[3].secret");
        assert_eq!(source.child("secret").in_go(), "spec.volumes.VolumeSource.secret");
    }

    #[test]
    fn text_is_quoted_as_go_does_it() {
        let cases = [
            ("it's", r#""it's""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\u{7}\u{8}\u{b}\u{c}\n\r\t\0\u{7f}", r#""\a\b\v\f\n\r\t\x00\x7f""#),
            ("grün ∀ 😀 e\u{301}", "\"grün ∀ 😀 e\u{301}\""),
            ("\u{85}\u{a0}\u{200b}\u{e0001}", r#""\u0085\u00a0\u200b\U000e0001""#),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn the_same_words_about_the_same_field_are_said_once() {
        let mut report = Report::default();
        report.required(&Path::Root("spec"), "");
        report.required(&Path::Root("spec"), "");

        assert_eq!(report.into_problems().to_string(), "spec: Required value");
    }

    #[test]
    fn more_problems_than_anyone_reads_are_counted() {
        let mut report = Report::default();
        for index in 0..TOLD + 7 {
            report.required(&Path::Root("spec").item(index), "");
        }

        assert_eq!(report.found(), TOLD + 7);
        let problems = report.into_problems();
        assert_eq!(problems.iter().count(), TOLD + 1);
        assert!(problems.to_string().ends_with("\nspec: 7 more problems like these"));
    }
}
