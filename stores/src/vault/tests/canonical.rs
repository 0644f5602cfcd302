//! Policy judges the canonical key, and the request is made of it: two spellings are one request exactly if they are one key.

use super::*;
use alcove_contract::reference::Reference;
use proptest::prelude::*;

/// What is judged, and what is asked, of one reference; nothing where it is refused.
fn judged_and_asked(reference: &str, version: EngineVersion) -> Option<(Key, String)> {
    let reference: Reference = reference.parse().ok()?;
    let configuration = VaultConfiguration {
        server: "https://vault:8200".to_owned(),
        namespace: None,
        version: Some(version),
        ca_bundle: None,
        server_name: None,
        client_certificate: None,
        login: VaultLogin::Token { token_file: "/token".to_owned() },
    };
    let api = Api::new(&configuration).unwrap();
    let key = ProviderConfiguration::Vault(configuration).canonical_key(&reference.key).ok()?;
    let place = Place::new(Mount::first_segment(&key.path, version), &key).ok()?;
    let url = place.url(&api, &key).to_string();
    Some((key, url))
}

fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
    let pieces = [
        "kv/a", "/", "a", "b", "data", "metadata", ".", "..", "%2F", "%2f", "%41", "A", "%2E", "%25", "%20", "+", "&",
        ";", "\\", "\u{e9}", "e\u{301}", "@", ":",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..6)
}

/// A segment of a path as a server reads it.
fn decoded(segment: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), segment.bytes());
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap();
        bytes.push(if byte == b'%' { u8::try_from(digit() * 16 + digit()).unwrap() } else { byte });
    }
    String::from_utf8(bytes).unwrap()
}

/// The same text, some of whose letters are written as escapes.
fn respelt(text: &str, escaped: &[bool]) -> String {
    let letters = text.chars().zip(escaped.iter().copied().chain(std::iter::repeat(false)));
    let mut is_escape = 0_u8;
    let spelt = letters.map(|(letter, escaped)| {
        // What is an escape already stays one.
        is_escape = if letter == '%' { 3 } else { is_escape.saturating_sub(1) };
        if !escaped || is_escape > 0 {
            return letter.to_string();
        }
        let mut bytes = [0; 4];
        let bytes = letter.encode_utf8(&mut bytes).bytes();
        bytes.map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat()
    });
    spelt.collect()
}

#[test]
fn an_escape_is_another_spelling_and_an_escaped_escape_another_key() {
    let asked = |reference: &str| judged_and_asked(reference, EngineVersion::V2).unwrap();
    assert_eq!(asked("vault:kv/app%2Fdb%41"), asked("vault:kv/app/dbA"));
    assert_ne!(asked("vault:kv/app%252Fdb").1, asked("vault:kv/app/db").1);
    assert_eq!(asked("vault:kv/app%252Fdb").1, "https://vault:8200/v1/kv/data/app%252Fdb");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_references_are_one_request_exactly_if_they_are_one_canonical_key(
        one in pieces(),
        other in pieces(),
        escaped in proptest::collection::vec(any::<bool>(), 0..24),
        is_version_1 in any::<bool>(),
    ) {
        let version = if is_version_1 { EngineVersion::V1 } else { EngineVersion::V2 };
        let one = format!("kv/{}", one.concat());
        for other in [format!("kv/{}", other.concat()), respelt(&one, &escaped), one.replace('/', "%2F"), format!("{one}?version=2")] {
            let pair = (format!("vault:{one}"), format!("vault:{other}"));
            let (Some((key, asked)), Some((other_key, other_asked))) =
                (judged_and_asked(&pair.0, version), judged_and_asked(&pair.1, version))
            else {
                continue;
            };
            prop_assert_eq!(key == other_key, asked == other_asked, "{:?}: {} and {}", pair, asked, other_asked);
        }
    }

    #[test]
    fn vault_reads_in_the_request_the_key_that_was_judged(text in pieces(), is_version_1 in any::<bool>()) {
        let version = if is_version_1 { EngineVersion::V1 } else { EngineVersion::V2 };
        if let Some((key, asked)) = judged_and_asked(&format!("vault:kv/{}", text.concat()), version) {
            let path = asked.strip_prefix("https://vault:8200/v1/kv/").unwrap();
            let path = if is_version_1 { path } else { path.strip_prefix("data/").unwrap() };
            let read: Vec<String> = path.split('/').map(decoded).collect();
            prop_assert_eq!(format!("kv/{}", read.join("/")), key.path);
        }
    }
}
