//! What Kubernetes says of names that break its rules: one text for each rule that is broken.

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                         and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
                         validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                   'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENVIRONMENT: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation \
                         is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// The name of a volume (`IsDNS1123Label`).
pub(super) fn label(name: &str) -> Vec<String> {
    let mut said = longer_than(63, name, "characters");
    if !is_label(name.as_bytes()) {
        said.push(if is_subdomain(name.as_bytes()) { "must not contain dots" } else { LABEL }.to_owned());
    }
    said
}

/// The name of an object (`IsDNS1123Subdomain`).
pub(super) fn subdomain(name: &str) -> Vec<String> {
    subdomain_in(name.as_bytes(), "characters")
}

/// The name of an object to which something may be appended (`NameIsDNSSubdomain` with `prefix`).
pub(super) fn subdomain_prefix(name: &str) -> Vec<String> {
    match name.as_bytes() {
        // Kubernetes drops two characters here, not one; the rule is its.
        [kept @ .., _, b'-'] => subdomain_in(&[kept, b"a"].concat(), "characters"),
        other => subdomain_in(other, "characters"),
    }
}

/// A key of a Secret or ConfigMap (`IsConfigMapKey`).
pub(super) fn key(key: &str) -> Vec<String> {
    let mut said = longer_than(253, key, "characters");
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        said.push(KEY.to_owned());
    }
    match key {
        "." => said.push("must not be '.'".to_owned()),
        ".." => said.push("must not be '..'".to_owned()),
        other if other.starts_with("..") => said.push("must not start with '..'".to_owned()),
        _ => {}
    }
    said
}

/// The name of an environment variable, or the beginning of one (`IsRelaxedEnvVarName`).
pub(super) fn environment(name: &str) -> Vec<String> {
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    if name.bytes().all(allowed) { Vec::new() } else { vec![ENVIRONMENT.to_owned()] }
}

/// The key of a label or an annotation (`IsQualifiedName`).
pub(super) fn qualified(name: &str) -> Vec<String> {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [name] => qualified_name(name),
        [prefix, name] => [qualified_prefix(prefix), qualified_name(name)].concat(),
        _ => vec![format!(
            "a valid label key {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. \
                           'example.com/MyName')"
        )],
    }
}

fn qualified_prefix(prefix: &str) -> Vec<String> {
    if prefix.is_empty() {
        return vec!["prefix part must be non-empty".to_owned()];
    }
    let said = subdomain_in(prefix.as_bytes(), "bytes");
    said.into_iter().map(|detail| format!("prefix part {detail}")).collect()
}

fn qualified_name(name: &str) -> Vec<String> {
    let mut said = Vec::new();
    if name.is_empty() {
        said.push("name part must be non-empty".to_owned());
    }
    said.extend(longer_than(63, name, "bytes").into_iter().map(|detail| format!("name part {detail}")));
    if !is_qualified(name.as_bytes()) {
        said.push(format!("name part {QUALIFIED}"));
    }
    said
}

fn subdomain_in(name: &[u8], unit: &str) -> Vec<String> {
    let mut said = longer_than(253, name, unit);
    if !is_subdomain(name) {
        said.push(SUBDOMAIN.to_owned());
    }
    said
}

fn longer_than(limit: usize, name: impl AsRef<[u8]>, unit: &str) -> Vec<String> {
    if name.as_ref().len() > limit { vec![format!("must be no more than {limit} {unit}")] } else { Vec::new() }
}

fn is_subdomain(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'.').all(is_label)
}

fn is_label(name: &[u8]) -> bool {
    let end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.first().is_some_and(end) && name.last().is_some_and(end) && name.iter().all(|byte| end(byte) || *byte == b'-')
}

fn is_qualified(name: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.last().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_are_not_objected_to() {
        assert!(label("my-name").is_empty());
        assert!(subdomain("example.com").is_empty());
        assert!(key("tls.key").is_empty() && key(".dockercfg").is_empty());
        assert!(environment("A b.c-1~").is_empty());
        assert!(qualified("MyName").is_empty() && qualified("example.com/my.name_1").is_empty());
    }

    #[test]
    fn a_dot_in_a_label_is_said_to_be_one() {
        assert_eq!(label("a.b"), ["must not contain dots"]);
        assert_eq!(label("a_b"), [LABEL]);
        assert_eq!(label(""), [LABEL]);
    }

    #[test]
    fn too_long_and_malformed_are_two_problems() {
        let long = "A".repeat(254);
        assert_eq!(label(&long), ["must be no more than 63 characters", LABEL]);
        assert_eq!(subdomain(&long), ["must be no more than 253 characters", SUBDOMAIN]);
        assert_eq!(key(&long), ["must be no more than 253 characters"]);
    }

    #[test]
    fn a_prefix_may_end_with_a_dash_and_hides_the_character_before_it() {
        assert!(subdomain_prefix("web-").is_empty());
        assert!(subdomain_prefix("we_-").is_empty());
        assert_eq!(subdomain_prefix("-"), [SUBDOMAIN]);
        assert_eq!(subdomain_prefix("é-"), [SUBDOMAIN]);
    }

    #[test]
    fn keys_do_not_walk_upwards() {
        assert_eq!(key("."), ["must not be '.'"]);
        assert_eq!(key(".."), ["must not be '..'"]);
        assert_eq!(key("..data"), ["must not start with '..'"]);
        assert_eq!(key("../x"), [KEY, "must not start with '..'"]);
    }

    #[test]
    fn environment_names_are_printable_ascii_without_an_equals_sign() {
        for name in ["a=b", "a\tb", "é", "\u{7f}"] {
            assert_eq!(environment(name), [ENVIRONMENT], "{name}");
        }
    }

    #[test]
    fn both_parts_of_a_qualified_name_are_told_apart() {
        assert_eq!(qualified("/x"), ["prefix part must be non-empty"]);
        assert_eq!(qualified("a_/x"), [format!("prefix part {SUBDOMAIN}")]);
        let empty = ["name part must be non-empty".to_owned(), format!("name part {QUALIFIED}")];
        assert_eq!(qualified("a/"), empty);
        assert_eq!(qualified(&"x".repeat(64)), ["name part must be no more than 63 bytes"]);
        assert!(
            qualified("a/b/c")
                .concat()
                .ends_with("with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")
        );
    }
}
