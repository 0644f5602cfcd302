//! Takes out of a text whatever may be a credential, before anybody prints it.
//!
//! Servers repeat in their errors what they were sent, and libraries print URLs. So a text is scrubbed by what
//! credentials look like, and [`without`] takes out those that were really sent.

use crate::secret::SecretBytes;
use std::borrow::Cow;

/// The longest text of an error, in characters: it ends in logs, events and the termination message.
const LONGEST_TEXT: usize = 1024;

/// What stands where a credential stood.
const SCRUBBED: &str = "[scrubbed]";

/// A shorter credential is not searched for: it would be found in ordinary words.
const SHORTEST_CREDENTIAL: usize = 4;

/// `text` without tokens, the user and query of URLs, and control characters, and no longer than a log line should be.
pub(crate) fn scrub(text: &str) -> String {
    let mut scrubbed = String::with_capacity(text.len());
    for (index, word) in text.split(|character: char| character.is_whitespace() || character.is_control()).enumerate() {
        if index > 0 {
            scrubbed.push(' ');
        }
        scrubbed.push_str(&scrubbed_word(word));
    }
    match scrubbed.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", scrubbed.get(..end).unwrap_or_default()),
        None => scrubbed,
    }
}

/// `text` without the credentials that were sent, as the server may repeat them.
pub(crate) fn without(text: &str, sent: &[SecretBytes]) -> String {
    let credentials = sent.iter().filter_map(|secret| std::str::from_utf8(secret.as_bytes()).ok());
    credentials
        .filter(|credential| credential.len() >= SHORTEST_CREDENTIAL)
        .fold(text.to_owned(), |text, credential| text.replace(credential, SCRUBBED))
}

fn scrubbed_word(word: &str) -> Cow<'_, str> {
    let word = url_parts(word).map_or(Cow::Borrowed(word), Cow::Owned);
    let parts = || word.split_inclusive(|character: char| !is_token_character(character));
    let token = |part: &str| is_credential(part.trim_end_matches(|character| !is_token_character(character)));
    if !parts().any(token) {
        return word;
    }
    let without_tokens = parts().map(|part| {
        if token(part) {
            let rest = part.trim_start_matches(is_token_character);
            format!("{SCRUBBED}{rest}")
        } else {
            part.to_owned()
        }
    });
    Cow::Owned(without_tokens.collect())
}

const fn is_token_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

/// Vault's service, batch and recovery tokens with their old forms, and JSON web tokens.
fn is_credential(word: &str) -> bool {
    let after = |prefix: &str, shortest: usize| word.strip_prefix(prefix).filter(|rest| rest.len() >= shortest);
    // The old forms are short words: what is not alphanumeric there is rather a host's name.
    let old = |rest: &str| {
        rest.split('.').next().is_some_and(|id| id.len() >= 24 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    ["hvs.", "hvb.", "hvr."].iter().any(|prefix| after(prefix, 20).is_some())
        || ["s.", "r."].iter().any(|prefix| after(prefix, 24).is_some_and(old))
        || after("b.", 64).is_some()
        || (word.starts_with("eyJ") && word.matches('.').count() >= 2)
}

/// A URL in `word` without user information and query; nothing, where there is none to take out.
fn url_parts(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    let end = rest.find(['/', '?', '#', '"', '\'', ')']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    if query.is_none() && host.len() == authority.len() {
        return None;
    }
    // What closes a quoted URL belongs to the sentence around it.
    let closing = query.map_or("", |query| query.find(['"', '\'', ')']).and_then(|end| query.get(end..)).unwrap_or(""));
    Some(format!("{scheme}://{host}{path}{closing}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
    const TOKEN: &str = "hvs.CAESIJlU02LQZq2Vd3Kq5zJ0mGfHb3pC";

    #[test]
    fn ordinary_sentences_stay_as_they_are() {
        for text in [
            "permission denied",
            "has no property \"tls.crt\"; did you mean \"tls.key\"?",
            "cannot reach https://vault.example.com:8200/v1/kv/data/app (os error 111)",
            "cannot reach https://s.a-rather-long-company-name.example.com:8200",
            "no handler for route \"kv/app\". route entry not found.",
        ] {
            assert_eq!(scrub(text), text);
        }
    }

    #[test]
    fn what_a_server_repeats_is_taken_out() {
        assert_eq!(scrub(&format!("bad token \"{TOKEN}\".")), "bad token \"[scrubbed]\".");
        assert_eq!(scrub(&format!("jwt={JWT},x")), "jwt=[scrubbed],x");
        assert_eq!(
            scrub("(see \"https://u:p@host:1/a?token=abc\") and http://h/?q"),
            "(see \"https://host:1/a\") and http://h/"
        );
        assert_eq!(without("no user pass1234 here", &[b"pass1234".to_vec().into()]), "no user [scrubbed] here");
    }

    #[test]
    fn control_characters_cannot_forge_a_log_line() {
        assert_eq!(scrub("a\nb\u{1b}[31mc"), "a b [31mc");
    }

    #[test]
    fn a_text_has_an_end() {
        assert_eq!(scrub(&"é".repeat(5000)).chars().count(), LONGEST_TEXT + 1);
    }

    proptest! {
        #[test]
        fn no_surrounding_text_hides_a_credential(
            before in "[ -~\\n\\t]{0,20}[ \"'(:,/=]", after in "([ \"'):,/][ -~]{0,20})?", jwt: bool
        ) {
            let credential = if jwt { JWT } else { TOKEN };
            let scrubbed = scrub(&format!("{before}{credential}{after}"));
            prop_assert!(!scrubbed.contains(credential), "{}", scrubbed);
        }
    }
}
