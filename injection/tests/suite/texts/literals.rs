//! The string literals of a Rust source, without its comments, its attributes and its tests.

use std::iter::Peekable;
use std::str::Chars;

/// Where the tests of a file begin.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

/// Every string literal in front of the tests of `source`, with its escapes undone.
pub(super) fn of(source: &str) -> Vec<String> {
    all_of(source.split(TESTS).next().unwrap())
}

/// Every string literal of `source`.
pub(super) fn all_of(source: &str) -> Vec<String> {
    let mut scanner = Scanner { rest: source.chars().peekable() };
    let mut literals = Vec::new();
    while let Some(letter) = scanner.rest.next() {
        match letter {
            '/' => scanner.skip_comment(),
            '#' if scanner.rest.next_if(|letter| "![".contains(*letter)).is_some() => scanner.skip_attribute(),
            '#' if scanner.rest.next_if_eq(&'"').is_some() => literals.push(scanner.raw_literal()),
            '\'' => scanner.skip_character(),
            '"' => literals.push(scanner.literal()),
            _ => {}
        }
    }
    literals
}

struct Scanner<'a> {
    /// What comes after the letter that was looked at.
    rest: Peekable<Chars<'a>>,
}

impl Scanner<'_> {
    fn skip_comment(&mut self) {
        if self.rest.peek() == Some(&'/') {
            self.rest.by_ref().find(|letter| *letter == '\n');
        }
    }

    /// An attribute may hold texts for programmers and for the API server, none of which is ours to say.
    fn skip_attribute(&mut self) {
        self.rest.next_if_eq(&'[');
        let mut open = 1;
        while open > 0 {
            match self.rest.next().expect("an attribute ends") {
                '[' => open += 1,
                ']' => open -= 1,
                '"' => drop(self.literal()),
                _ => {}
            }
        }
    }

    /// What stands between `#"` and `"#`.
    fn raw_literal(&mut self) -> String {
        let mut literal = String::new();
        while !literal.ends_with("\"#") {
            literal.push(self.rest.next().expect("a literal ends"));
        }
        literal.truncate(literal.len() - 2);
        literal
    }

    /// A character, or a lifetime, which no quote ends.
    fn skip_character(&mut self) {
        match self.rest.next() {
            Some('\\') => {
                self.rest.next();
                self.rest.by_ref().find(|letter| *letter == '\'');
            }
            _ => drop(self.rest.next_if_eq(&'\'')),
        }
    }

    fn literal(&mut self) -> String {
        let mut literal = String::new();
        loop {
            match self.rest.next().expect("a literal ends") {
                '"' => return literal,
                '\\' => literal.extend(self.escape()),
                letter => literal.push(letter),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        match self.rest.next()? {
            'n' => Some('\n'),
            't' => Some('\t'),
            'u' => {
                let digits: String = self.rest.by_ref().skip(1).take_while(|letter| *letter != '}').collect();
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
            }
            '\n' => {
                while self.rest.next_if(|letter| letter.is_whitespace()).is_some() {}
                None
            }
            letter => Some(letter),
        }
    }
}

#[test]
fn literals_are_found_and_nothing_else_is_taken_for_one() {
    let source = r##"
        //! "A comment."
        #[expect(lint, reason = "an attribute with [brackets]")]
        fn name<'a>(text: &'a str) -> char { // another "comment"
            let _ = ("plain", "an \"escaped\" \
                one", '"', '\'', b'"');
            write!("{text}: {}", "\u{e4}", r#"a "raw" \n one"#)
        }
#[cfg(test)]
mod tests { "of a test" }
    "##;
    assert_eq!(of(source), ["plain", "an \"escaped\" one", "{text}: {}", "\u{e4}", "a \"raw\" \\n one"]);
}
