//! The nearest known spelling of a word that is not known.

use crate::{Problem, Problems};
use serde_json::{Map, Value};

/// The longest word that an offer is sought for, in bytes: Kubernetes has no longer names.
const LONGEST: usize = 253;
/// How much comparing one word may cost, in pairs of letters: 1000 names of 20 letters, or 6 of 253.
const MOST_PAIRS: usize = 400_000;
/// How many known words a remedy lists.
const LISTED: usize = 10;

/// The candidate that `word` most probably meant, if any is near enough to be worth offering.
///
/// Ties go to the candidate that comes first, so that the same typo always gets the same answer. However long the word
/// and the list are, the answer takes a bounded time: what is too long is not compared, and of too many candidates
/// only the first are.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let letters = word.chars().count();
    // A third of the letters may differ: beyond that an offer is noise.
    let tolerance = letters.max(3) / 3;
    let mut pairs = 0_usize;
    candidates
        .into_iter()
        .filter(|candidate| length_up_to(candidate, letters + tolerance + 1).abs_diff(letters) <= tolerance)
        .take_while(|candidate| {
            pairs = pairs.saturating_add(letters.saturating_mul(candidate.len()));
            pairs <= MOST_PAIRS
        })
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The letters of `text`, of which no more than `most` are looked at.
fn length_up_to(text: &str, most: usize) -> usize {
    text.chars().take(most).count()
}

/// The remedy for an unknown word: the nearest candidate, or the list, as far as anybody reads it, where none is near.
pub(crate) fn remedy(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean \"{candidate}\"?"),
        None => format!("known: {}", listed(candidates)),
    }
}

/// The first of `words`, and how many more there are.
#[must_use]
pub fn listed(words: &[&str]) -> String {
    let shown: Vec<&str> = words.iter().copied().take(LISTED).collect();
    match words.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A problem for every field that is not among `known`, each with the field that was probably meant.
pub(crate) fn unknown_fields(fields: &Map<String, Value>, known: &[&str]) -> Problems {
    fields
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| Problem::new(name.as_str(), "is not a field").with_remedy(remedy(name, known)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    #[test]
    fn a_typo_finds_its_word_and_a_stranger_finds_none() {
        let known = ["alcove.dev/inject", "alcove.dev/after"];
        assert_eq!(nearest("alcove.dev/injct", known), Some("alcove.dev/inject"));
        assert_eq!(nearest("Alcove.dev/Inject", known), Some("alcove.dev/inject"));
        assert_eq!(nearest("prometheus.io/scrape", known), None);
    }

    #[test]
    fn no_offer_is_sought_for_a_word_that_no_name_can_be() {
        let longest = "a".repeat(LONGEST);
        assert_eq!(nearest(&longest, [longest.as_str()]), Some(longest.as_str()));
        let longer = "a".repeat(LONGEST + 1);
        let never = std::iter::from_fn(|| -> Option<&str> { panic!("nothing is compared") });
        assert_eq!(nearest(&longer, never), None);
    }

    #[test]
    fn of_a_list_without_end_only_a_beginning_is_compared() {
        for word in ["a".repeat(3), "a".repeat(20), "a".repeat(LONGEST)] {
            let other = "b".repeat(word.len());
            let seen = Cell::new(0_usize);
            let endless = std::iter::repeat_with(|| {
                seen.set(seen.get() + 1);
                other.as_str()
            });
            assert_eq!(nearest(&word, endless), None);
            assert!(seen.get() <= MOST_PAIRS / word.len().pow(2) + 1, "{}", seen.get());
        }
    }

    #[test]
    fn a_remedy_lists_ten_words_at_most() {
        let words: Vec<String> = (0..12).map(|number| format!("word-{number}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ten = "word-0, word-1, word-2, word-3, word-4, word-5, word-6, word-7, word-8, word-9";
        assert_eq!(remedy("unlike", &words), format!("known: {ten} and 2 more"));
        assert_eq!(remedy("unlike", &words[..10]), format!("known: {ten}"));
    }

    proptest! {
        #[test]
        fn what_is_skipped_for_its_length_was_not_near(
            word in "[a-cA-C]{0,9}", known in prop::collection::vec("[a-cA-C]{0,12}", 0..6),
        ) {
            let distance = |candidate: &str| strsim::osa_distance(&word.to_lowercase(), &candidate.to_lowercase());
            let near = known.iter().map(String::as_str).filter(|candidate| distance(candidate) <= word.len().max(3) / 3);
            let expected = near.min_by_key(|candidate| distance(candidate));
            prop_assert_eq!(nearest(&word, known.iter().map(String::as_str)), expected);
        }
    }
}
