//! Documents as stores send them, and the properties that people ask for.

use super::*;
use proptest::prelude::*;
use serde_json::Value as Json;

fn document(text: &str) -> Document {
    Document::json("kv/app/db", text.as_bytes().to_vec().into()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn property(text: &str, name: &str) -> Result<String, StoreError> {
    document(text).property(&named(name)).map(|value| text_of(&value))
}

fn named(name: &str) -> Property {
    name.parse().unwrap()
}

fn text_of(value: &SecretBytes) -> String {
    String::from_utf8(value.as_bytes().to_vec()).unwrap()
}

const DOTS: &str = r##"{".dockerconfigjson":"d","tls.crt":"lit","tls":{"crt":"nested"},"a.b":{"c":"x"},"a":{"b.c":"y"},
    "":"empty","a/b":"z","~":"t","b[0]":"w","b":["v",{"k":"deep"},[1,2]],"#":"hash","null":null,"x":{"y":null}}"##;

#[test]
fn the_literal_name_comes_before_every_path() {
    for (name, value) in [(".dockerconfigjson", "d"), ("tls.crt", "lit"), ("b[0]", "w"), ("#", "hash"), ("~", "t")] {
        assert_eq!(property(DOTS, name).as_deref(), Ok(value), "{name}");
    }
}

#[test]
fn nested_paths_and_pointers_reach_what_no_name_does() {
    for (name, value) in [
        ("b[1].k", "deep"),
        ("b[2][1]", "2"),
        ("/tls/crt", "nested"),
        ("/a~1b", "z"),
        ("/~0", "t"),
        ("/", "empty"),
        ("/b/1/k", "deep"),
    ] {
        assert_eq!(property(DOTS, name).as_deref(), Ok(value), "{name}");
    }
}

#[test]
fn two_nested_readings_are_refused_with_both_pointers() {
    let error = property(DOTS, "a.b.c").unwrap_err();
    assert_eq!(error.class(), ErrorClass::Misconfigured);
    assert!(error.to_string().contains("\"#/a.b/c\" or \"#/a/b.c\""), "{error}");
}

#[test]
fn a_missing_property_names_the_key_and_the_nearest_name() {
    let text = r#"{"db_url":"secret-value","nested":{"password":"secret-value"},"list":["secret-value"]}"#;
    for (wrong, hint) in [
        ("DB_URL", "did you mean \"db_url\"?"),
        ("nestd", "did you mean \"nested\"?"),
        ("nested.pasword", "it has \"db_url\", \"nested\", \"list\""),
        ("db_url.x", "did you mean \"db_url\"?"),
        ("/list/7", "it has "),
        ("list[01]", "it has "),
        ("list[", "did you mean \"list\"?"),
        ("zzzzzz", "it has \"db_url\", \"nested\", \"list\""),
    ] {
        let error = property(text, wrong).unwrap_err();
        assert_eq!(error.class(), ErrorClass::NotFound, "{wrong}");
        let message = error.to_string();
        assert!(message.contains(&format!("\"kv/app/db\" has no property \"{wrong}\"; ")), "{message}");
        assert!(message.contains(hint) && !message.contains("secret-value"), "{message}");
    }
}

#[test]
fn null_is_a_missing_value_and_never_an_empty_one() {
    for name in ["null", "x.y", "/x/y"] {
        assert_eq!(property(DOTS, name).unwrap_err().class(), ErrorClass::NotFound, "{name}");
    }
    let names: Vec<_> =
        document(r#"{"a":null,"b":""}"#).properties().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn bytes_are_delivered_as_the_store_sent_them() {
    let text = r#"{ "number": 1.50e+400, "big": 12345678901234567890123, "no": false, "empty": "", "lines": "a\r\nb\n",
        "bom": "\ufeff x", "emoji": "\ud83d\ude00\/", "object": { "z": [ 1.0 , "a b\" c" ], "a" : {} }, "list": [ ] }"#;
    let values: Vec<(String, String)> =
        document(text).properties().unwrap().into_iter().map(|(name, value)| (name, text_of(&value))).collect();
    let expected = [
        ("number", "1.50e+400"),
        ("big", "12345678901234567890123"),
        ("no", "false"),
        ("empty", ""),
        ("lines", "a\r\nb\n"),
        ("bom", "\u{feff} x"),
        ("emoji", "😀/"),
        ("object", r#"{"z":[1.0,"a b\" c"],"a":{}}"#),
        ("list", "[]"),
    ];
    assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn what_is_no_object_is_an_integrity_failure_that_repeats_nothing() {
    for wrong in
        [r#""secret-value""#, r#"["secret-value"]"#, r#"{"a":"secret-value""#, r#"{"a":1,"a":"secret-value"}"#, ""]
    {
        let error = Document::json("kv/a", wrong.as_bytes().to_vec().into()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Integrity, "{wrong}");
        assert!(!error.to_string().contains("secret-value"), "{error}");
    }
    for lone in [r#"{"a":"\ud800"}"#, r#"{"a":"\ud800\u0041"}"#, r#"{"a":"\udc00"}"#] {
        assert_eq!(property(lone, "a").unwrap_err().class(), ErrorClass::Integrity, "{lone}");
    }
}

#[test]
fn entries_are_found_by_their_literal_name_and_may_hold_any_bytes() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let entries = vec![("tls.crt".to_owned(), every_byte.clone().into())];
    let document = Document::entries("web-tls", entries);
    for name in ["tls.crt", "/tls.crt"] {
        assert_eq!(document.property(&named(name)).ok().unwrap().as_bytes(), every_byte, "{name}");
    }
    let error = document.property(&"tls.key".parse().unwrap()).err().unwrap();
    assert_eq!(error.to_string(), "\"web-tls\" has no property \"tls.key\"; it has \"tls.crt\"");
}

#[test]
fn a_printed_document_shows_names_only() {
    assert_eq!(
        format!("{:?}", document(r#"{"user":"secret-value"}"#)),
        r#"Document { key: "kv/app/db", names: ["user"], .. }"#
    );
}

#[test]
fn deep_nesting_is_not_followed_into_the_stack() {
    let depth = 100_000;
    let text = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    if let Ok(document) = Document::json("k", text.into_bytes().into()) {
        assert!(document.property(&vec!["a"; 900].join(".").parse().unwrap()).is_err());
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        "\\PC{0,8}|[\\x00-\\x1f\"\\\\/]{0,4}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-c./~\\[\\]01]{0,3}", inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// What a value is delivered as, by the JSON library's own printer.
fn delivered(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// JSON whose every name and every text says that it stands inside.
fn inside() -> impl Strategy<Value = Json> {
    let leaf = "[a-c]{0,3}".prop_map(|text| Json::from(format!("INSIDE{text}")));
    leaf.prop_recursive(3, 12, 4, |inner| {
        let named = prop::collection::btree_map("[a-c]{0,3}", inner.clone(), 1..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Json::from),
            named.prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (format!("INSIDE{name}"), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_error_tells_what_stands_inside_a_value(
        members in prop::collection::btree_map("[a-c]{0,3}", inside(), 0..6),
        // A typo of a nested name, of a top-level one, and of neither.
        wrong in "[a-c]{1,3}\\.(INSID|inside)[a-c]{0,3}|[a-c]{1,4}|/[a-c]{1,3}/INSID[a-c]{0,2}|[a-c]{1,3}\\[[0-9]\\]\\.INSID",
    ) {
        let object = Json::Object(members.into_iter().collect());
        if let Err(error) = property(&object.to_string(), &wrong) {
            let told = error.to_string();
            prop_assert!(!told.contains("INSIDE"), "{}", told);
        }
    }

    #[test]
    fn every_value_is_delivered_as_its_compact_form(
        members in prop::collection::btree_map("\\PC{0,6}", any_json(), 0..6), pretty: bool
    ) {
        let object = Json::Object(members.into_iter().collect());
        let text = if pretty { serde_json::to_string_pretty(&object).unwrap() } else { object.to_string() };
        let document = document(&text);
        let expected: Vec<(String, String)> = object.as_object().unwrap().iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), delivered(value)))
            .collect();
        let found: Vec<(String, String)> = document.properties().unwrap().into_iter()
            .map(|(name, value)| (name, text_of(&value)))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn every_place_is_reached_by_its_pointer_unless_a_name_is_in_the_way(
        members in prop::collection::btree_map("[a-c./~]{0,3}", any_json(), 1..5), choices in prop::collection::vec(any::<prop::sample::Index>(), 1..4)
    ) {
        let object = Json::Object(members.into_iter().collect());
        let (mut value, mut pointer) = (&object, String::new());
        for choice in choices {
            let steps: Vec<String> = match value {
                Json::Object(members) => members.keys().map(|name| name.replace('~', "~0").replace('/', "~1")).collect(),
                Json::Array(elements) => (0..elements.len()).map(|index| index.to_string()).collect(),
                _ => Vec::new(),
            };
            if steps.is_empty() {
                break;
            }
            pointer = format!("{pointer}/{}", choice.get(&steps));
            value = object.pointer(&pointer).unwrap();
        }
        let is_name_in_the_way = object.get(&pointer).is_some() || pointer.contains(['.', '[']);
        match property(&object.to_string(), &pointer) {
            Ok(found) => prop_assert!(found == delivered(value) || is_name_in_the_way),
            // The name in the way may stand for `null`, too.
            Err(error) if error.class() == ErrorClass::NotFound => prop_assert!(value.is_null() || is_name_in_the_way),
            Err(error) => prop_assert_eq!(error.class(), ErrorClass::Misconfigured),
        }
    }

    #[test]
    fn no_text_and_no_property_makes_it_panic(text in "\\PC{0,40}|[{}\\[\\]\":,a.\\\\u0-9 ]{0,40}", name in "[a-c./~\\[\\]0-9]{1,8}") {
        if let Ok(document) = Document::json("k", text.into_bytes().into()) {
            drop(document.properties());
            drop(document.property(&named(&name)));
        }
    }

    #[test]
    fn properties_of_any_shape_are_answered(members in prop::collection::btree_map("[a-c./~\\[\\]01]{0,3}", any_json(), 0..6), name in "[a-c./~\\[\\]01]{1,8}") {
        let object = Json::Object(members.into_iter().collect());
        if let Some(literal) = object.get(&name).filter(|value| !value.is_null()) {
            prop_assert_eq!(property(&object.to_string(), &name), Ok(delivered(literal)));
        } else if let Err(error) = property(&object.to_string(), &name) {
            prop_assert!(matches!(error.class(), ErrorClass::NotFound | ErrorClass::Misconfigured));
        }
    }
}

#[test]
fn an_object_of_more_names_than_any_secret_has_is_refused() {
    let of = |count: usize| {
        let members: Vec<String> = (0..count).map(|index| format!("\"{index}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert_eq!(property(&of(MOST_NAMES), "16383").as_deref(), Ok("1"));
    let error = Document::json("kv/app/db", of(MOST_NAMES + 1).into_bytes().into()).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Integrity);
    assert!(error.to_string().contains("has more than 16384 names"), "{error}");
}

#[test]
fn an_element_of_a_long_list_is_found() {
    let list = format!("{{\"list\":[{}7]}}", "0,".repeat(500_000));
    assert_eq!(property(&list, "list[500000]").as_deref(), Ok("7"));
    assert_eq!(property(&list, "list[500001]").unwrap_err().class(), ErrorClass::NotFound);
}
