//! Texts that others read: errors in one line, and nothing longer than it may be.
//!
//! An error's own text never repeats its cause, so the chain is told once, here.

use std::error::Error;

/// The error and its causes, from the outside in.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |&error| error.source()) {
        // Where the API server has refused something, its own words are enough.
        if let Some(kube::Error::Api(status)) = cause.downcast_ref() {
            append(&mut text, &status.message);
            break;
        }
        append(&mut text, &cause.to_string());
    }
    text
}

/// Some libraries repeat the cause in the error; it is not repeated here.
fn append(text: &mut String, cause: &str) {
    if text.is_empty() {
        text.push_str(cause);
    } else if !text.ends_with(cause) {
        text.push_str(": ");
        text.push_str(cause);
    }
}

/// The text, or its beginning where it has more bytes than `most`.
pub(crate) fn shortened(text: String, most: usize) -> String {
    const END: &str = " …";
    if text.len() <= most {
        return text;
    }
    let mut length = most.saturating_sub(END.len());
    while !text.is_char_boundary(length) {
        length = length.saturating_sub(1);
    }
    let mut text = text;
    text.truncate(length);
    text + END
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] kube::Error);

    #[test]
    fn every_cause_is_told_once_and_a_refusal_of_the_api_server_in_its_own_words() {
        let status = kube::core::Status::failure("secrets is forbidden", "Forbidden").with_code(403).boxed();
        assert_eq!(chain(&Outer(kube::Error::Api(status))), "outer: secrets is forbidden");
    }

    proptest! {
        #[test]
        fn a_text_is_shortened_to_no_more_than_it_may_have(text in "\\PC{0,40}", most in 4usize..60) {
            let short = shortened(text.clone(), most);
            prop_assert!(short.len() <= most);
            prop_assert!(short == text || text.starts_with(short.strip_suffix(" …").unwrap()));
        }
    }
}
