//! Patterns of policies, beside keys that whoever may create Pods writes.

use alcove_contract::Problem;
use alcove_injection::effort::Effort;
use alcove_injection::pattern::Pattern;
use anyhow::{Context as _, Result, ensure};

/// The steps that it may take to look at a pattern at all.
const STEPS_TO_BEGIN: usize = 8;

/// What a pattern is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Keys,
    Names,
}

/// What a pattern consists of, for the obvious matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Letter(char),
    WithinSegment,
    Anything,
}

/// Holds of a pattern, as one of keys and as one of names, unless it is refused: it agrees with the obvious matcher, in
/// steps that grow with the text and not with the ways to match it, and it is the same when it is printed and read again.
pub fn hold(pattern: &str, text: &str) -> Result<()> {
    for subject in [Subject::Keys, Subject::Names] {
        let Ok(read) = subject.read(pattern) else { continue };
        let most = STEPS_TO_BEGIN + (pattern.len() + 1) * text.len();
        let matched = read.matches(text, &mut Effort::of(most)).ok();
        let matched = matched.with_context(|| format!("{pattern} takes more than {most} steps on {text}"))?;
        ensure!(matched == subject.obvious(pattern, text), "{pattern} on {text} is {matched} for {subject:?}");
        let printed = read.to_string();
        ensure!(subject.read(&printed).as_ref() == Ok(&read), "{pattern} is printed as another pattern, {printed}");
    }
    Ok(())
}

impl Subject {
    fn read(self, pattern: &str) -> Result<Pattern, Problem> {
        match self {
            Self::Keys => Pattern::of_keys(pattern),
            Self::Names => Pattern::of_names(pattern),
        }
    }

    /// The obvious matcher: piece by piece, which beginnings of the text match what stands before.
    fn obvious(self, pattern: &str, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        let nothing: Vec<bool> = (0..=letters.len()).map(|end| end == 0).collect();
        let ends = self.pieces(pattern).into_iter().fold(nothing, |before, piece| ends(piece, &before, &letters));
        ends.last() == Some(&true)
    }

    fn pieces(self, pattern: &str) -> Vec<Piece> {
        let runs = pattern.split_inclusive(|letter| letter != '*');
        let pieces = runs.flat_map(|run| {
            let stars = run.len() - run.trim_start_matches('*').len();
            let wildcard = match (stars, self) {
                (0, _) => None,
                (1, Self::Keys) => Some(Piece::WithinSegment),
                _ => Some(Piece::Anything),
            };
            wildcard.into_iter().chain(run.trim_start_matches('*').chars().map(Piece::Letter)).collect::<Vec<_>>()
        });
        pieces.collect()
    }
}

/// The beginnings that match with this piece, by their length, of those that match without it.
fn ends(piece: Piece, before: &[bool], letters: &[char]) -> Vec<bool> {
    let mut ends = Vec::with_capacity(before.len());
    for (end, was_end) in before.iter().enumerate() {
        let last = end.checked_sub(1);
        let taken = last.and_then(|last| letters.get(last));
        let is_end = match piece {
            Piece::Letter(letter) => taken == Some(&letter) && last.and_then(|last| before.get(last)) == Some(&true),
            Piece::WithinSegment => *was_end || (ends.last() == Some(&true) && taken != Some(&'/')),
            Piece::Anything => *was_end || ends.last() == Some(&true),
        };
        ends.push(is_end);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_obvious_matcher_is_right_where_everybody_knows_the_answer() {
        for (pattern, text, of_keys, of_names) in [
            ("kv/*/db", "kv/app/db", true, true),
            ("kv/*/db", "kv/app/x/db", false, true),
            ("kv/**/db", "kv/app/x/db", true, true),
            ("kv/app", "kv/app/db", false, false),
            ("a***b", "a/x/b", true, true),
            ("*", "", true, true),
            ("*ä*", "xäy", true, true),
            ("*a", "b", false, false),
        ] {
            assert_eq!(Subject::Keys.obvious(pattern, text), of_keys, "{pattern} on {text}");
            assert_eq!(Subject::Names.obvious(pattern, text), of_names, "{pattern} on {text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_matcher_agrees_with_the_obvious_one(
            start in prop::sample::select(vec!["", "kv/", "a/", "*/", "**/"]),
            pattern in "(a|b|ä|/|\\*|\\*\\*){1,9}",
            text in "[abä/]{0,12}",
            is_inside in any::<bool>(),
        ) {
            let text = if is_inside { format!("{}{text}", start.replace('*', "b")) } else { text };
            let held = hold(&format!("{start}{pattern}"), &text);
            prop_assert!(held.is_ok(), "{:#}", held.unwrap_err());
        }

        #[test]
        fn a_pattern_of_any_letters_holds(pattern in "\\PC{1,12}", text in "\\PC{0,24}") {
            for text in [&text, &pattern] {
                let held = hold(&pattern, text);
                prop_assert!(held.is_ok(), "{:#}", held.unwrap_err());
            }
        }
    }

    #[test]
    fn a_pattern_that_was_made_to_be_slow_is_not() {
        let text = format!("kv/{}", "a".repeat(4000));
        for unit in ["*a", "**a", "*a**a", "*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            let wildcards = unit.split('a').filter(|stars| !stars.is_empty()).count();
            hold(&format!("kv/{}b", unit.repeat(10 / wildcards)), &text).unwrap();
        }
    }
}
