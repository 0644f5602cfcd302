//! The rules that the API server has for a Secret.

use super::*;

#[test]
fn data_wins_over_data_from_and_later_over_earlier() {
    let stores = Stores::default()
        .with("first", r#"{"a":"1","b":"1","c":"1"}"#)
        .with("second", r#"{"b":"2","c":"2"}"#)
        .with("own", r#"{"x":"3"}"#);
    let secret = stores.render(&opaque(&[("c", "vault:own#x")], &["vault:first", "vault:second"])).unwrap();
    assert_eq!(
        texts(&secret),
        [("a", "1"), ("b", "2"), ("c", "3")].map(|(key, text)| (key.to_owned(), text.to_owned()))
    );
}

#[test]
fn bytes_are_those_of_the_store() {
    let secret = secret(
        r#"{"empty":"","newline":"\n","crlf":"a\r\nb","bom":"\ufeffx","object":{"b":1.0, "a":[]},"number":1.50}"#,
    );
    let expected = [("bom", "\u{feff}x"), ("crlf", "a\r\nb"), ("empty", ""), ("newline", "\n"), ("number", "1.50")];
    let mut texts = texts(&secret);
    texts.retain(|(key, _)| key != "object");
    assert_eq!(texts, expected.map(|(key, text)| (key.to_owned(), text.to_owned())));
}

#[test]
fn an_empty_secret_is_a_secret() {
    let empty = secret("{}");
    assert!(empty.values().is_empty());
    assert!(empty.check_complete().is_ok());
}

#[test]
fn properties_that_are_no_file_names_are_all_named_and_nothing_is_rendered() {
    let stores = Stores::default().with("kv/app/db", r#"{"":"1","a/b":"2","~":"3","ok":"4","..x":"5"}"#);
    let problems = stores.render(&opaque(&[], &["vault:kv/app/db"])).unwrap_err();
    assert_eq!(problems.lines().count(), 4, "{problems}");
    for name in [r#""""#, r#""a/b""#, r#""~""#, r#""..x""#] {
        assert!(problems.contains(&format!("Secret db-creds.dataFrom[0] (vault:kv/app/db): {name}")), "{problems}");
    }
}

#[test]
fn more_than_a_mebibyte_is_refused_with_the_sizes() {
    let (half, rest) = ("x".repeat(1024 * 512), "y".repeat(1024 * 512));
    let fits = format!(r#"{{"a":"{half}","b":"{rest}"}}"#);
    assert_eq!(secret(&fits).values().len(), 2);
    let stores = Stores::default().with("kv/app/db", &format!(r#"{{"a":"{half}","b":"{rest}z"}}"#));
    let problems = stores.render(&opaque(&[], &["vault:kv/app/db"])).unwrap_err();
    let expected =
        "Secret db-creds.data: holds 1048577 bytes, more than the 1048576 of a Secret (b: 524289, a: 524288)";
    assert!(problems.starts_with(expected), "{problems}");
}

#[test]
fn what_is_missing_is_said_to_those_who_cannot_do_without() {
    let stores = Stores::default().with("kv/app/db", r#"{"username":"u"}"#);
    let data = [("password", "vault:kv/app/db#password"), ("user", "vault:kv/app/db#username")];
    let secret = stores.render(&opaque(&data, &[])).unwrap();
    assert!(secret.value("user").is_some());
    let missing = secret.check_complete().unwrap_err().to_string();
    assert!(missing.contains("data[password]") && missing.contains("no property"), "{missing}");

    let optional = SecretConfiguration { optional: true, ..opaque(&data, &[]) };
    let secret = stores.render(&optional).unwrap();
    assert!(secret.check_complete().is_ok());
    assert_eq!(secret.values().len(), 1);
}

#[test]
fn a_key_that_the_store_does_not_have_makes_all_its_values_missing() {
    let stores = Stores::default().without("kv/app/db").with("other", r#"{"x":"1"}"#);
    let secret = stores.render(&opaque(&[("x", "vault:other#x")], &["vault:kv/app/db"])).unwrap();
    assert_eq!(texts(&secret), [("x".to_owned(), "1".to_owned())]);
    let missing = secret.check_complete().unwrap_err().to_string();
    assert!(missing.contains("there is no \"kv/app/db\""), "{missing}");
}

#[test]
fn data_that_finds_nothing_does_not_fall_back_to_data_from() {
    let stores = Stores::default().with("all", r#"{"password":"old"}"#).with("own", "{}");
    let optional =
        SecretConfiguration { optional: true, ..opaque(&[("password", "vault:own#password")], &["vault:all"]) };
    assert!(stores.render(&optional).unwrap().values().is_empty());
}

#[test]
fn all_problems_come_at_once_and_show_no_value() {
    let stores = Stores::default().with("kv/app/db", r#"{"a":"top-secret!","b":"x"}"#);
    let mut configuration =
        opaque(&[("a", "vault:kv/app/db#a"), ("b", "vault:kv/app/db#b"), ("c", "vault:kv/app/db")], &[]);
    for entry in configuration.data.values_mut() {
        entry.encoding = Encoding::Hex;
    }
    let problems = stores.render(&configuration).unwrap_err();
    assert_eq!(problems.lines().count(), 3, "{problems}");
    assert!(!problems.contains("top-secret"), "{problems}");
    assert!(problems.contains("data[a]: is not hexadecimal: the byte at offset 0 is no digit"), "{problems}");
}

#[test]
fn built_in_types_are_checked_as_the_api_server_checks_them() {
    let all = &["vault:kv/app/db"];
    let accepted = [
        (SecretType::DockerCfg, r#"{".dockercfg":"{\"registry\":1}"}"#),
        (SecretType::DockerConfigJson, r#"{".dockerconfigjson":"{\"auths\":{}}"}"#),
        (SecretType::DockerConfigJson, r#"{".dockerconfigjson":"null"}"#),
        (SecretType::BasicAuth, r#"{"username":""}"#),
        (SecretType::BasicAuth, r#"{"password":"p"}"#),
        (SecretType::SshAuth, r#"{"ssh-privatekey":"k"}"#),
        (SecretType::Tls, r#"{"tls.crt":"","tls.key":""}"#),
        (SecretType::Custom("example.com/any".to_owned()), "{}"),
    ];
    for (secret_type, json) in accepted {
        let stores = Stores::default().with("kv/app/db", json);
        stores.render(&configuration(secret_type, &[], all)).unwrap();
    }
    let refused = [
        (SecretType::DockerCfg, "{}", 1),
        (SecretType::DockerConfigJson, r#"{".dockerconfigjson":"[\"hidden\"]"}"#, 1),
        (SecretType::DockerConfigJson, r#"{".dockerconfigjson":"{\"hidden\""}"#, 1),
        (SecretType::BasicAuth, r#"{"user":"u"}"#, 2),
        (SecretType::SshAuth, r#"{"ssh-privatekey":""}"#, 1),
        (SecretType::Tls, r#"{"tls.pem":"c"}"#, 2),
    ];
    for (secret_type, json, count) in refused {
        let stores = Stores::default().with("kv/app/db", json);
        let problems = stores.render(&configuration(secret_type, &[], all)).unwrap_err();
        assert_eq!(problems.lines().count(), count, "{problems}");
        assert!(!problems.contains("hidden"), "{problems}");
    }
}

#[test]
fn a_typed_secret_whose_required_key_is_missing_does_not_exist_at_all() {
    let stores = Stores::default().with("kv/web", r#"{"certificate":"c"}"#);
    let data = [("tls.crt", "vault:kv/web#certificate"), ("tls.key", "vault:kv/web#private_key")];
    let secret = stores.render(&configuration(SecretType::Tls, &data, &[])).unwrap();
    assert!(secret.values().is_empty());
    assert!(secret.check_complete().is_err());
}
