//! The nearest known spelling of a word that is not known.

/// The candidate that `word` most probably meant, if any is near enough to be worth offering.
///
/// Ties go to the candidate that comes first, so that the same typo always gets the same answer.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may differ: beyond that an offer is noise.
    let tolerance = word.chars().count().max(3) / 3;
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The remedy for an unknown word: the nearest candidate, or the whole list where none is near.
pub(crate) fn remedy(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean \"{candidate}\"?"),
        None => format!("known: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typo_finds_its_word_and_a_stranger_finds_none() {
        let known = ["alcove.dev/inject", "alcove.dev/after"];
        assert_eq!(nearest("alcove.dev/injct", known), Some("alcove.dev/inject"));
        assert_eq!(nearest("Alcove.dev/Inject", known), Some("alcove.dev/inject"));
        assert_eq!(nearest("prometheus.io/scrape", known), None);
    }
}
