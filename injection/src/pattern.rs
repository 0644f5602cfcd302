//! Anchored globs, as policies write them.
//!
//! In patterns of keys `*` stands for any run of characters within a segment and `**` for any run across segments; in
//! patterns of names `*` stands for any run. Everything else stands for itself, and the whole text must match.
//!
//! A pattern that matches nothing is refused: in a deny it would be taken for a protection.

mod spaces;

use crate::effort::{Effort, Exhausted};
use crate::footprint::{Footprint, allocated, sum};
use alcove_contract::Problem;
use alcove_contract::name::SecretName;
use std::fmt;

pub(crate) use spaces::{KeySpaces, idle};

/// The longest pattern, in characters.
pub const LONGEST: usize = 1024;

/// The most wildcards of a pattern, a run of stars being one: each is one more way to match that has to be followed.
const MOST_WILDCARDS: usize = 10;

/// The steps that it takes to look at a pattern at all, and to compare what stands before and after its wildcards.
const STEPS_TO_BEGIN: usize = 4;

/// One pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands before the first wildcard. With `suffix`, it rules out most texts at once.
    prefix: String,
    /// What begins with the first wildcard and ends with the last.
    middle: Vec<Token>,
    /// What stands after the last wildcard.
    suffix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Literal(u8),
    /// Any run of bytes but `/`.
    WithinSegment,
    /// Any run of bytes.
    Anything,
}

impl Pattern {
    /// Reads a pattern of names: of ServiceAccounts or of Secrets.
    ///
    /// # Errors
    ///
    /// An empty pattern, one longer than [`LONGEST`] or with too many wildcards, and one that matches no name.
    pub fn of_names(text: &str) -> Result<Self, Problem> {
        checked(text)?;
        if let Err(problem) = spaces::filled(text, "x").parse::<SecretName>() {
            let reason = format!("matches no name: one {}", problem.reason);
            return Err(Problem::new("", reason).with_value(text));
        }
        Ok(Self::read(text, |_| Token::Anything))
    }

    /// Reads a pattern of canonical keys.
    ///
    /// # Errors
    ///
    /// An empty pattern, one longer than [`LONGEST`] or with too many wildcards, and one that matches no key of any store.
    pub fn of_keys(text: &str) -> Result<Self, Problem> {
        checked(text)?;
        spaces::check(text)?;
        Ok(Self::of_unchecked_keys(text))
    }

    fn of_unchecked_keys(text: &str) -> Self {
        Self::read(text, |stars| if stars == 1 { Token::WithinSegment } else { Token::Anything })
    }

    /// The pattern that matches everything.
    #[must_use]
    pub fn anything() -> Self {
        Self { prefix: String::new(), middle: vec![Token::Anything], suffix: String::new() }
    }

    /// Whether the whole of `text` matches, in steps of at most its length times the pattern's.
    ///
    /// # Errors
    ///
    /// `effort` had fewer steps left.
    pub fn matches(&self, text: &str, effort: &mut Effort) -> Result<bool, Exhausted> {
        let mut steps = STEPS_TO_BEGIN;
        let is_match = self.run(text, || steps += 1);
        effort.spend(steps)?;
        Ok(is_match)
    }

    /// Whether a text can match that begins with `beginning`.
    ///
    /// # Errors
    ///
    /// As [`matches`](Self::matches).
    pub(crate) fn may_begin_with(&self, beginning: &str, effort: &mut Effort) -> Result<bool, Exhausted> {
        let before = self.prefix.bytes().map(Token::Literal);
        let tokens = before.chain(self.middle.iter().copied()).chain(self.suffix.bytes().map(Token::Literal));
        let whole = Self { prefix: String::new(), middle: tokens.collect(), suffix: String::new() };
        effort.spend(STEPS_TO_BEGIN.saturating_add(whole.middle.len()))?;
        let mut steps = 0;
        let active = whole.walk(beginning, || steps += 1);
        effort.spend(steps)?;
        Ok(!active.is_empty())
    }

    fn read(text: &str, wildcard: impl Fn(usize) -> Token) -> Self {
        let suffix = text.rsplit('*').next().unwrap_or_default();
        let prefix = text.split('*').next().unwrap_or_default();
        let middle = text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)).unwrap_or_default();
        // Each piece is the stars before one letter, and that letter; the last piece is stars alone.
        let pieces = middle.split_inclusive(|letter| letter != '*');
        let middle = pieces.flat_map(|piece| {
            let letter = piece.trim_start_matches('*');
            let stars = piece.len() - letter.len();
            let wildcard = (stars > 0).then(|| wildcard(stars));
            wildcard.into_iter().chain(letter.bytes().map(Token::Literal)).collect::<Vec<_>>()
        });
        let middle: Vec<Token> = middle.collect();
        // Without a wildcard, all of it stands before the first.
        let suffix = if middle.is_empty() { "" } else { suffix };
        Self { prefix: prefix.to_owned(), middle, suffix: suffix.to_owned() }
    }

    /// Follows all ways to match side by side, so that no text makes it go back. `step` is called for each way and byte.
    fn run(&self, text: &str, step: impl FnMut()) -> bool {
        let rest = text.strip_prefix(&self.prefix).and_then(|rest| rest.strip_suffix(&self.suffix));
        let Some(text) = rest else { return false };
        // What most patterns are needs no walk.
        match self.middle.as_slice() {
            [] => return text.is_empty(),
            [Token::Anything] => return true,
            [Token::WithinSegment] => return !text.contains('/'),
            _ => {}
        }
        self.walk(text, step).last() == Some(&self.middle.len())
    }

    /// The positions behind which the rest of a text may match that begins with this one.
    fn walk(&self, text: &str, mut step: impl FnMut()) -> Vec<usize> {
        let (mut active, mut next) = (Vec::new(), Vec::new());
        self.enter(0, &mut active);
        for byte in text.bytes() {
            next.clear();
            for position in active.iter().copied() {
                step();
                match self.middle.get(position) {
                    Some(Token::Literal(literal)) if *literal == byte => self.enter(position + 1, &mut next),
                    Some(Token::WithinSegment) if byte != b'/' => self.enter(position, &mut next),
                    Some(Token::Anything) => self.enter(position, &mut next),
                    Some(Token::Literal(_) | Token::WithinSegment) | None => {}
                }
            }
            std::mem::swap(&mut active, &mut next);
            if active.is_empty() {
                break;
            }
        }
        active
    }

    /// Adds `position` to `active`, which ascends, and the position after it where a wildcard may stand for nothing.
    fn enter(&self, position: usize, active: &mut Vec<usize>) {
        if active.last().is_some_and(|last| *last >= position) {
            return;
        }
        match self.middle.get(position) {
            Some(Token::Anything) => {
                // Whatever an earlier position could still match, this one can match, too.
                active.clear();
                active.extend([position, position + 1]);
            }
            Some(Token::WithinSegment) => active.extend([position, position + 1]),
            Some(Token::Literal(_)) | None => active.push(position),
        }
    }
}

impl Footprint for Pattern {
    fn heap(&self) -> usize {
        let Self { prefix, middle, suffix } = self;
        sum([prefix.heap(), allocated(middle.capacity().saturating_mul(size_of::<Token>())), suffix.heap()])
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut middle = Vec::new();
        for token in &self.middle {
            match token {
                Token::Literal(byte) => middle.push(*byte),
                Token::WithinSegment => middle.push(b'*'),
                Token::Anything => middle.extend(b"**"),
            }
        }
        write!(formatter, "{}{}{}", self.prefix, String::from_utf8_lossy(&middle), self.suffix)
    }
}

fn checked(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Err(Problem::new("", "is empty"));
    }
    let letters = text.chars().count();
    if letters > LONGEST {
        return Err(Problem::new("", format!("has {letters} characters, more than {LONGEST}")));
    }
    let wildcards = text.split(|letter| letter != '*').filter(|stars| !stars.is_empty()).count();
    if wildcards > MOST_WILDCARDS {
        return Err(Problem::new("", format!("has {wildcards} wildcards, more than {MOST_WILDCARDS}"))
            .with_remedy("write several patterns"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(pattern: &str) -> Pattern {
        Pattern::of_unchecked_keys(pattern)
    }

    fn matches(pattern: &Pattern, text: &str) -> bool {
        pattern.matches(text, &mut Effort::of(crate::effort::MOST_STEPS)).unwrap()
    }

    #[test]
    fn a_star_stays_within_a_segment_of_a_key_and_two_stars_do_not() {
        for (pattern, text, expected) in [
            ("kv/app/db", "kv/app/db", true),
            ("kv/app/db", "kv/app/db2", false),
            ("kv/app/db", "xkv/app/db", false),
            ("kv/*/db", "kv/app/db", true),
            ("kv/*/db", "kv//db", true),
            ("kv/*/db", "kv/app/x/db", false),
            ("kv/app*", "kv/app-2", true),
            ("kv/app*", "kv/app/db", false),
            ("kv/app/**", "kv/app/x/y", true),
            ("kv/app/**", "kv/app/", true),
            ("kv/app/**", "kv/app", false),
            ("kv/app/**", "kv/application", false),
            ("**/db", "a/b/db", true),
            ("**/db", "db", false),
            ("**", "", true),
            ("*", "", true),
            ("*", "a/b", false),
            ("a***b", "a/x/b", true),
            ("**a*b", "a/a/axb", true),
            ("*ä*", "xäy", true),
        ] {
            assert_eq!(matches(&key(pattern), text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_pattern_may_begin_with_what_a_text_begins_with_that_it_can_match() {
        for (pattern, beginning, expected) in [
            ("kv/team-a/**", "kv/team-a/", true),
            ("kv/*/root", "kv/team-a/", true),
            ("**", "kv/team-a/", true),
            ("root/**", "kv/team-a/", false),
            ("kv/team-b/**", "kv/team-a/", false),
            ("kv/team*", "kv/team-a/", false),
            ("kv/team-a", "kv/team-a/", false),
        ] {
            let mut effort = Effort::of(1000);
            assert_eq!(key(pattern).may_begin_with(beginning, &mut effort), Ok(expected), "{pattern} on {beginning}");
        }
    }

    #[test]
    fn a_star_in_a_name_stands_for_any_run() {
        let pattern = Pattern::of_names("batch-*").unwrap();
        assert!(matches(&pattern, "batch-") && matches(&pattern, "batch-a.b"));
        assert!(!matches(&pattern, "batch") && !matches(&pattern, "a-batch-1"));
        assert!(matches(&Pattern::anything(), ""));
    }

    #[test]
    fn an_empty_or_endless_pattern_is_refused() {
        assert!(Pattern::of_keys("").is_err() && Pattern::of_names("").is_err());
        let long = format!("kv/{}", "ä".repeat(LONGEST - 3));
        assert!(Pattern::of_keys(&long).is_ok());
        assert!(Pattern::of_keys(&format!("{long}ä")).is_err());
    }

    #[test]
    fn a_hostile_pattern_takes_no_more_steps_than_its_length_for_each_byte() {
        let text = format!("{}/{}", "a".repeat(1024), "a".repeat(1023));
        for unit in ["*a", "**a", "*a**a", "a*", "*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            let wildcards = unit.split('a').filter(|stars| !stars.is_empty()).count();
            let pattern = key(&unit.repeat(MOST_WILDCARDS / wildcards));
            let mut steps = 0_usize;
            pattern.run(&text, || steps += 1);
            assert!(steps > 0 && steps <= (pattern.middle.len() + 1) * text.len(), "{unit}: {steps}");
        }
        let mut steps = 0_usize;
        assert!(!key(&format!("{}b**", "**a".repeat(MOST_WILDCARDS - 1))).run(&text, || steps += 1));
        assert!(steps > 0 && steps <= 4 * text.len(), "two stars make everything before them irrelevant: {steps}");
    }

    #[test]
    fn what_a_match_takes_is_taken_from_the_effort_and_none_is_made_without() {
        let mut effort = Effort::of(crate::effort::MOST_STEPS);
        assert_eq!(key("*a*c*").matches(&"a".repeat(100), &mut effort), Ok(false));
        let spent = crate::effort::MOST_STEPS - effort.left();
        assert!((100..=500).contains(&spent), "{spent}");
        effort.spend(effort.left() - 3).unwrap();
        assert_eq!(key("a").matches("a", &mut effort), Err(Exhausted));
        assert_eq!(effort.left(), 0);
    }

    #[test]
    fn a_pattern_of_many_wildcards_is_refused() {
        assert!(Pattern::of_keys(&"*a".repeat(MOST_WILDCARDS)).is_ok());
        let problem = Pattern::of_keys(&"*a".repeat(MOST_WILDCARDS + 1)).unwrap_err();
        assert_eq!(problem.to_string(), ": has 11 wildcards, more than 10; write several patterns");
        assert!(Pattern::of_names(&"a*".repeat(MOST_WILDCARDS + 1)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_pattern_that_matches_may_begin_with_every_beginning_of_the_text(pattern in "[ab/*]{1,8}", text in "[ab/]{0,8}") {
            let pattern = key(&pattern);
            if matches(&pattern, &text) {
                for length in 0..=text.len() {
                    let beginning: String = text.chars().take(length).collect();
                    prop_assert_eq!(pattern.may_begin_with(&beginning, &mut Effort::of(10_000)), Ok(true));
                }
            }
        }

        #[test]
        fn a_text_without_stars_matches_itself_alone(pattern in "[a-c/ä-ö]{1,8}", text in "[a-c/ä-ö]{0,8}") {
            prop_assert!(matches(&key(&pattern), &pattern));
            prop_assert_eq!(matches(&key(&pattern), &text), pattern == text);
        }

        #[test]
        fn every_text_matches_the_pattern_that_it_spells(text in "[ab/*]{1,10}") {
            prop_assert!(matches(&key(&text), &text));
        }
    }
}
