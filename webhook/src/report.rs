//! Errors in one line: an error's own text never repeats its cause, so the chain is told once, here.

use std::error::Error;

/// The error and its causes, from the outside in.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = own(error);
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = own(inner);
        // Some libraries do repeat the cause.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// What an error says of itself. Where the API server has refused something, its own words are enough.
fn own(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] kube::Error);

    #[test]
    fn every_cause_is_told_once_and_a_refusal_of_the_api_server_in_its_own_words() {
        let status = kube::core::Status::failure("secrets is forbidden", "Forbidden").with_code(403).boxed();
        assert_eq!(chain(&Outer(kube::Error::Api(status))), "outer: secrets is forbidden");
    }
}
