//! The kubelet's env-file parser, and what it cannot read.

use super::*;
use alcove_contract::configuration::{EntryConfiguration, EnvironmentConfiguration};
use alcove_contract::name::LabelName;
use proptest::prelude::*;

fn entry(key: &str, secret_key: &str, optional: bool) -> EntryConfiguration {
    EntryConfiguration {
        key: key.to_owned(),
        variable: secret_key.to_uppercase(),
        secret: "db-creds".parse().unwrap(),
        secret_key: secret_key.to_owned(),
        optional,
    }
}

fn container() -> LabelName {
    "app".parse().unwrap()
}

fn render(entries: Vec<EntryConfiguration>, secret: &Secret) -> Result<String, String> {
    let configuration =
        EnvironmentConfiguration { container: container(), path: "/alcove/env/app".to_owned(), entries };
    let text = environment(&configuration, named(secret)).map_err(|problems| problems.to_string())?;
    Ok(String::from_utf8_lossy(text.as_bytes()).into_owned())
}

/// `ParseEnv` of the kubelet (1.35 to 1.37), after Go's `bufio.Scanner`: line by line, the first match wins, and an
/// empty string means that there is none.
fn kubelet_parse(text: &str, key: &str) -> Result<String, &'static str> {
    let mut lines = text.split_inclusive('\n').map(|line| {
        let line = line.strip_suffix('\n').unwrap_or(line);
        line.strip_suffix('\r').unwrap_or(line)
    });
    if text.split('\n').any(|line| line.len() >= 64 * 1024) {
        return Err("token too long");
    }
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or("missing '='")?;
        let mut rest = value.strip_prefix('\'').ok_or("value must be enclosed in single quotes")?;
        let mut parsed = String::new();
        loop {
            if let Some((before, after)) = rest.split_once('\'') {
                parsed.push_str(before);
                let after = after.trim_start_matches([' ', '\t']);
                if !after.is_empty() && !after.starts_with('#') {
                    return Err("unexpected content after closing quote");
                }
                break;
            }
            parsed.push_str(rest);
            parsed.push('\n');
            rest = lines.next().ok_or("unclosed single quote")?;
        }
        if name == key {
            return Ok(parsed);
        }
    }
    Ok(String::new())
}

#[test]
fn an_entry_is_a_quoted_line_in_the_pods_order() {
    let secret = secret(r#"{"user":"u","password":"p w$(X)#\"\\"}"#);
    let text = render(vec![entry("E1", "user", false), entry("E0", "password", false)], &secret).unwrap();
    assert_eq!(text, "E1='u'\nE0='p w$(X)#\"\\'\n");
}

#[test]
fn a_missing_optional_entry_is_left_out_and_the_file_is_there_all_the_same() {
    let secret = secret(r#"{"user":"u"}"#);
    assert_eq!(render(vec![entry("E0", "password", true)], &secret).unwrap(), "");
    assert_eq!(
        render(vec![entry("E0", "password", false)], &secret).unwrap_err(),
        "container app, env PASSWORD: couldn't find key password in Secret db-creds"
    );
}

#[test]
fn what_an_env_file_cannot_carry_is_refused_with_place_reason_and_remedy_but_without_the_value() {
    let long = "x".repeat(64 * 1024);
    for (value, reason) in [
        ("", "is empty"),
        ("it's", "holds a single quote (')"),
        ("a\\r\\nb", "holds a carriage return"),
        ("a\\u0000b", "holds a NUL byte"),
        (long.as_str(), "has a line of more than 64 KiB"),
    ] {
        let secret = secret(&format!(r#"{{"password":"{value}"}}"#));
        for optional in [false, true] {
            assert_eq!(
                render(vec![entry("E0", "password", optional)], &secret).unwrap_err(),
                format!(
                    "container app, env PASSWORD: key password of Secret db-creds {reason}, which an env file cannot \
                     carry; mount the Secret as a volume, which carries any bytes; alcove.dev/env: exec will, once Alcove has it"
                )
            );
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let stores = Stores::default().with("kv/app/db", r#"{"password":"ff00"}"#);
    let mut configuration = opaque(&[("password", "vault:kv/app/db#password")], &[]);
    configuration.data.get_mut("password").unwrap().encoding = Encoding::Hex;
    let secret = stores.render(&SecretConfiguration { ..configuration.clone() }).unwrap();
    assert!(render(vec![entry("E0", "password", false)], &secret).unwrap_err().contains("holds a NUL byte"));
    let stores = Stores::default().with("kv/app/db", r#"{"password":"ff"}"#);
    let secret = stores.render(&configuration).unwrap();
    assert!(render(vec![entry("E0", "password", false)], &secret).unwrap_err().contains("is not UTF-8"));
}

#[test]
fn the_longest_line_is_the_kubelets() {
    for (length, fits) in [(64 * 1024 - 1, true), (64 * 1024, false)] {
        // `E0='` before and `'` after the value.
        let text = "x".repeat(length - 5);
        let secret = secret(&format!(r#"{{"password":"{text}"}}"#));
        let rendered = render(vec![entry("E0", "password", false)], &secret);
        assert_eq!(rendered.is_ok(), fits, "{length}");
        assert_eq!(kubelet_parse(&format!("E0='{text}'\n"), "E0").is_ok(), fits, "{length}");
    }
}

proptest! {
    #[test]
    fn the_kubelet_reads_back_what_is_accepted(values in prop::collection::vec("[ -~\\n\\r='#ä\\t]{0,12}", 1..5)) {
        let keys: Vec<String> = (0..values.len()).map(|index| format!("key{index}")).collect();
        let json: BTreeMap<&String, &String> = keys.iter().zip(&values).collect();
        let secret = secret(&serde_json::to_string(&json).unwrap());
        let entries = keys.iter().enumerate().map(|(index, key)| entry(&format!("E{index}"), key, false)).collect();
        match render(entries, &secret) {
            Ok(text) => {
                for (index, value) in values.iter().enumerate() {
                    let parsed = kubelet_parse(&text, &format!("E{index}"));
                    prop_assert_eq!(parsed.as_ref(), Ok(value), "{}", text);
                }
            }
            Err(_) => prop_assert!(values.iter().any(|value| value.is_empty() || value.contains(['\'', '\r']))),
        }
    }
}
