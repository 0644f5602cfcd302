use super::*;
use crate::effort::{Effort, MOST_STEPS};
use crate::pattern::Pattern;
use proptest::prelude::*;

fn refused(pattern: &str) -> String {
    Pattern::of_keys(pattern).unwrap_err().to_string()
}

#[test]
fn a_pattern_that_no_canonical_key_can_match_is_refused_with_the_right_spelling() {
    for (wrong, right) in [
        ("/kv/app/**", "write \"kv/app/**\""),
        ("kv/app/", "write \"kv/app\""),
        ("kv//**", "write \"kv/**\""),
        ("**/", "write \"**\""),
        (" kv/app/** ", "write \"kv/app/**\", or * for the white space if the key really has it"),
        ("kv/app\u{3000}", "write \"kv/app\", or * for the white space if the key really has it"),
        ("KV", "write <mount>/<path>, as in kv/app/**, or the name of a Secret"),
        ("-*", "write <mount>/<path>, as in kv/app/**, or the name of a Secret"),
    ] {
        let text = refused(wrong);
        assert!(text.ends_with(&format!("; {right}")), "{wrong}: {text}");
    }
    for wrong in ["/", "kv/./app", "../kv", "kv/..", ".", "sys/**", "auth/*", "identity/x", "cubbyhole/**", "kv/a\u{7}"]
    {
        assert!(refused(wrong).contains("matches no key"), "{wrong}");
    }
    for fine in [
        "**",
        "*",
        "kv/**",
        "kv/data/app/**",
        "*uth/x",
        "sys",
        "sy*/x",
        "**/.*",
        "kv/..a",
        "db",
        "a-*.b",
        "sys**",
        "kv/a b",
    ] {
        assert!(Pattern::of_keys(fine).is_ok(), "{fine}");
    }
}

#[test]
fn a_name_that_no_object_can_have_is_refused() {
    for wrong in ["Web", "-*", "a..b", "a_b", "*.", "a/b", " web"] {
        let text = Pattern::of_names(wrong).unwrap_err().to_string();
        assert!(text.contains("matches no name: one must be a lowercase RFC 1123 subdomain"), "{text}");
    }
    for fine in ["*", "**", "web", "a-*", "*.b", "*-a"] {
        assert!(Pattern::of_names(fine).is_ok(), "{fine}");
    }
}

#[test]
fn the_kind_of_store_decides_what_a_pattern_matches() {
    let [unsaid, first, second, kubernetes] = KeySpace::ALL;
    for (pattern, reached) in [
        ("kv/data/app/**", vec![first]),
        ("*/data/*", vec![first]),
        ("kv/data", vec![unsaid, first, second]),
        ("kv/metadata/app", vec![unsaid, first, second]),
        ("**/data/app", vec![unsaid, first, second]),
        ("ns/auth/token/lookup-self", vec![unsaid, second]),
        ("db", vec![kubernetes]),
        ("kv/app", vec![unsaid, first, second]),
        ("**", vec![unsaid, first, second, kubernetes]),
    ] {
        for space in KeySpace::ALL {
            assert_eq!(KeySpaces::of(pattern).includes(space), reached.contains(&space), "{pattern} in {space:?}");
            assert_eq!(idle(pattern, space).is_none(), reached.contains(&space), "{pattern} in {space:?}");
        }
    }
    let (reason, remedy) = idle("kv/data/app/**", unsaid).unwrap();
    assert_eq!(reason, "is the API's path of a KV version 2 secret, not the secret's own");
    assert_eq!(remedy, "write \"kv/app/**\", or set version: v1 in the store if the mount is KV 1");
}

fn matches(pattern: &str, key: &str) -> bool {
    Pattern::of_unchecked_keys(pattern).matches(key, &mut Effort::of(MOST_STEPS)).unwrap()
}

/// Patterns in which everything stands that makes a key special.
fn patterns() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec![
            "*",
            "**",
            "/",
            "/",
            ".",
            "..",
            "-",
            "a",
            "kv",
            "A",
            "data",
            "auth",
            "sys",
            "token",
            "lookup-self",
            " ",
        ]),
        1..7,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_pattern_that_is_accepted_matches_a_canonical_key_of_some_store(pattern in patterns()) {
        if Pattern::of_keys(&pattern).is_ok() {
            let keys = ["x/x", "x"].map(|run| filled(&pattern, run));
            let is_canonical = |key: &str| {
                let is_key = |space: &KeySpace| space.canonical_key(&Key::new(key)).is_ok();
                KeySpace::ALL.iter().any(is_key)
            };
            prop_assert!(keys.iter().any(|key| is_canonical(key) && matches(&pattern, key)), "{pattern}");
        }
    }

    /// The other way round, from keys to patterns: nothing that a pattern can match is taken for out of its reach.
    #[test]
    fn where_a_pattern_matches_a_key_it_is_said_to(pattern in patterns(), runs in prop::collection::vec(patterns(), 7)) {
        let mut runs = runs.into_iter();
        let mut run = || runs.next().unwrap_or_default().replace('*', "");
        let across = pattern.split("**").map(|part| {
            let within: Vec<&str> = part.split('*').collect();
            within.join(&run().replace('/', ""))
        });
        let across: Vec<String> = across.collect();
        let key = across.join(&run());
        if matches(&pattern, &key) {
            for space in KeySpace::ALL {
                let is_key = space.canonical_key(&Key::new(key.as_str())).is_ok();
                prop_assert!(!is_key || KeySpaces::of(&pattern).includes(space), "{pattern} on {key} in {space:?}");
            }
        }
    }

    #[test]
    fn a_pattern_is_written_as_it_was_read(pattern in "(a|ä|/|\\*|\\*\\*a){0,9}") {
        let pattern = pattern.replace("**", "*").replace("**", "*");
        prop_assert_eq!(Pattern::of_unchecked_keys(&pattern).to_string(), pattern);
    }
}
