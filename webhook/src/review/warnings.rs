//! Warnings as long as the API server passes on.
//!
//! It sends 4,096 characters uncut; beyond that, each is cut to 256 and the rest is dropped. So nothing is longer than
//! 256, a long warning goes on in the next one, and what does not fit is counted instead of lost.

/// How long one warning may be.
const LONGEST: usize = 256;
/// How long all may be together.
const TOTAL: usize = 4096;
/// What stands where a warning goes on.
const CONTINUED: &str = "…";
/// Set aside for saying that there was more.
const RESERVED: usize = 80;

/// The warnings in pieces that fit; what does not fit is counted in the last one.
pub(super) fn fitted(warnings: &[String]) -> Vec<String> {
    let mut fitted = Vec::new();
    let mut room = TOTAL - RESERVED;
    for (index, warning) in warnings.iter().enumerate() {
        let pieces = pieces(warning);
        let length: usize = pieces.iter().map(|piece| piece.chars().count()).sum();
        if length > room {
            let left = warnings.len() - index;
            fitted.push(format!("{left} more warnings do not fit here: see the log of alcove-webhook"));
            break;
        }
        room -= length;
        fitted.extend(pieces);
    }
    fitted
}

/// One warning in pieces, broken between words where there are any.
fn pieces(warning: &str) -> Vec<String> {
    let clean: String = warning.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    let mut pieces: Vec<String> = Vec::new();
    let mut rest: &str = clean.trim();
    while rest.chars().count() > LONGEST - CONTINUED.chars().count() * usize::from(!pieces.is_empty()) {
        let (piece, after) = broken(rest);
        pieces.push(continued(&pieces, &format!("{piece}{CONTINUED}")));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(continued(&pieces, rest));
    }
    pieces
}

fn continued(before: &[String], piece: &str) -> String {
    if before.is_empty() { piece.to_owned() } else { format!("{CONTINUED}{piece}") }
}

/// Breaks a text that is too long for one warning.
fn broken(text: &str) -> (&str, &str) {
    // Room for the mark on both sides.
    let limit = LONGEST - 2 * CONTINUED.chars().count();
    let end = text.char_indices().nth(limit).map_or(text.len(), |(position, _)| position);
    let (head, _) = text.split_at_checked(end).unwrap_or((text, ""));
    // A piece that is mostly empty is worse than a broken word.
    let space = head.rfind(' ').filter(|position| *position > end / 2);
    let (piece, rest) = text.split_at_checked(space.unwrap_or(end)).unwrap_or((text, ""));
    (piece, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_warning_stays_what_it_is() {
        assert_eq!(fitted(&["the volume is kept".to_owned()]), ["the volume is kept"]);
        assert_eq!(fitted(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_long_warning_goes_on_in_the_next_one_and_no_word_is_lost() {
        let words: Vec<String> = (0..120).map(|number| format!("word{number}")).collect();
        let fitted = fitted(&[words.join(" ")]);
        assert!(fitted.len() > 1);
        let joined: Vec<&str> = fitted.iter().map(|piece| piece.trim_matches('…')).collect();
        assert_eq!(joined.join(" "), words.join(" "));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let warnings: Vec<String> = (0..40).map(|number| format!("{number} {}", "x".repeat(150))).collect();
        let fitted = fitted(&warnings);
        let shown = fitted.len() - 1;
        assert!(fitted[shown].starts_with(&format!("{} more warnings", warnings.len() - shown)), "{}", fitted[shown]);
    }

    proptest! {
        #[test]
        fn the_api_server_never_has_to_cut(warnings in prop::collection::vec("\\PC{0,900}", 0..12)) {
            let fitted = fitted(&warnings);
            prop_assert!(fitted.iter().all(|warning| warning.chars().count() <= 256));
            prop_assert!(fitted.iter().map(|warning| warning.chars().count()).sum::<usize>() <= 4096);
            prop_assert!(fitted.iter().all(|warning| !warning.chars().any(char::is_control)));
        }
    }
}
