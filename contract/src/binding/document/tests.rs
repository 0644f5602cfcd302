//! Bindings read as people write them, and print as they read.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Binding, Problems> {
    text.parse()
}

#[test]
fn a_single_reference_means_all_properties() {
    let binding = read("vault:kv/app/db").unwrap();
    assert_eq!(binding.data_from, ["vault:kv/app/db".parse().unwrap()]);
    assert!(!binding.knows_all_keys());
}

#[test]
fn a_single_property_becomes_a_file_of_its_name() {
    let binding = read("vault:kv/app/db#password").unwrap();
    assert_eq!(binding.known_keys().map(FileName::as_str).collect::<Vec<_>>(), ["password"]);
    assert!(read("vault:kv/app/db#/a/b").unwrap_err().to_string().contains("name the file"));
}

#[test]
fn the_long_form_is_read_with_octal_modes_as_kubectl_reads_them() {
    let binding = read(
        "type: kubernetes.io/tls\n\
         data:\n\
         \x20 tls.crt: vault:kv/web/tls#certificate\n\
         \x20 tls.key: {ref: \"vault:kv/web/tls#private_key\", mode: 0400, encoding: base64}\n\
         dataFrom: [\"vault:kv/web/extra\"]\n\
         keys: [user, password]\n\
         refreshInterval: 0\n\
         optional: true\n",
    )
    .unwrap();
    assert_eq!(binding.secret_type, SecretType::Tls);
    assert_eq!(binding.data["tls.key"].mode, Some(Mode::OWNER_READ));
    assert_eq!(binding.data["tls.key"].encoding, Encoding::Base64);
    assert_eq!(binding.refresh_interval, RefreshInterval::Once);
    assert!(binding.optional && binding.knows_all_keys());
}

#[test]
fn every_problem_is_reported_with_its_place_and_what_to_write() {
    let problems = read(
        "typ: Opaque\n\
         data: {\"a/b\": vault:kv/a#b, ok: {ref: vault, mod: 1, encoding: bas64}}\n\
         dataFrom: [\"vault:kv/x#y\", 3]\n\
         keys: user\n\
         refreshInterval: 5\n\
         optional: \"yes\"\n\
         template: {a: b}\n",
    )
    .unwrap_err()
    .to_string();
    for expected in [
        "typ: is not a field; did you mean \"type\"?",
        "data[a/b]: \"a/b\" must consist of",
        "data[ok].mod: is not a field; did you mean \"mode\"?",
        "data[ok].ref: \"vault\" names no store",
        "data[ok].encoding: \"bas64\" is not an encoding; did you mean \"base64\"?",
        "dataFrom[0]: \"vault:kv/x#y\" names one property",
        "dataFrom[1]: \"3\" must be a string",
        "keys: must be a list",
        "refreshInterval: \"5\" has no unit; write \"5s\" or \"5m\"",
        "optional: \"yes\" must be true or false",
        "template: is not supported",
    ] {
        assert!(problems.contains(expected), "{expected}\nis not in\n{problems}");
    }
}

#[test]
fn a_value_that_is_no_binding_is_refused() {
    for wrong in [
        "",
        "{}",
        "[a]\n",
        "- a: b\n",
        "{data: {}}",
        "{data: null}",
        "a: b: c\n",
        "{type: kubernetes.io/service-account-token}",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

fn reference() -> impl Strategy<Value = String> {
    ("[a-z]{1,5}", "[a-zA-Z0-9/ %?#]{1,12}", proptest::option::of("[a-z.\\[\\]/]{1,8}")).prop_map(
        |(store, path, property)| {
            let property = property.map(|text| text.parse().unwrap());
            Reference { store: store.parse().unwrap(), key: crate::reference::Key::new(path), property }.to_string()
        },
    )
}

prop_compose! {
    fn binding()(
        data in prop::collection::btree_map("[a-zA-Z0-9_-]{1,8}", (reference(), proptest::option::of(0_u32..=0o777), 0..4_usize), 1..4),
        data_from in prop::collection::vec(reference(), 0..3),
        keys in prop::collection::vec("[a-z]{1,5}", 0..3),
        seconds in 0_u64..100_000,
        flags in any::<(bool, bool)>(),
    ) -> Binding {
        let encodings = [Encoding::Raw, Encoding::Base64, Encoding::Base64url, Encoding::Hex];
        Binding {
            secret_type: SecretType::Opaque,
            data: data.into_iter().map(|(name, (text, mode, encoding))| {
                let mode = mode.map(|bits| Mode::try_from(bits).unwrap());
                (name.parse().unwrap(), Entry { reference: text.parse().unwrap(), mode, encoding: encodings[encoding] })
            }).collect(),
            data_from: data_from.into_iter().map(|text| {
                let mut reference: Reference = text.parse().unwrap();
                reference.property = None;
                reference
            }).collect(),
            keys: keys.into_iter().map(|text| text.parse().unwrap()).collect(),
            refresh_interval: if seconds == 0 { RefreshInterval::Once } else { RefreshInterval::Every(std::time::Duration::from_secs(seconds)) },
            optional: flags.0,
            immutable: flags.1,
        }
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(binding in binding()) {
        let document = binding.to_document();
        prop_assert_eq!(Binding::from_document(&document), Ok(binding.clone()));
        // The same through an annotation, whose value is text.
        let text = serde_json::to_string_pretty(&document).unwrap();
        prop_assert_eq!(text.parse::<Binding>(), Ok(binding.clone()));
        // And through an object of Kubernetes.
        let stored: BindingDocument = serde_json::from_value(document).unwrap();
        prop_assert_eq!(stored.read(), Ok(binding));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        if let Err(problems) = text.parse::<Binding>() {
            prop_assert!(!problems.is_empty());
        }
    }
}
