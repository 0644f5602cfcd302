//! What a Secret of Kubernetes would have done, case by case.

mod environments;
mod secrets;
mod volumes;

use super::*;
use alcove_contract::binding::{Encoding, SecretType};
use alcove_contract::configuration::{DataConfiguration, SecretConfiguration};
use alcove_contract::interval::RefreshInterval;
use alcove_contract::mode::Mode;
use alcove_contract::name::SecretName;
use alcove_contract::reference::Reference;
use alcove_stores::{Document, ErrorClass, StoreError};
use std::collections::BTreeMap;

/// What the stores hold, by reference without property.
#[derive(Default)]
struct Stores(BTreeMap<String, Result<Document, StoreError>>);

impl Stores {
    fn with(mut self, key: &str, json: &str) -> Self {
        let document = Document::json(key, json.as_bytes().to_vec().into()).unwrap();
        self.0.insert(key.to_owned(), Ok(document));
        self
    }

    fn without(mut self, key: &str) -> Self {
        let error = StoreError::new(ErrorClass::NotFound, format!("there is no \"{key}\""));
        self.0.insert(key.to_owned(), Err(error));
        self
    }

    fn render(&self, configuration: &SecretConfiguration) -> Result<Secret, String> {
        let mut wanted = BTreeMap::new();
        Wanted::add(&mut wanted, configuration, |reference| Some(reference.key.path.as_str()));
        let answer = |key: &String, stored: &Result<Document, StoreError>| match stored {
            Ok(document) => {
                let selected = wanted.get(key.as_str()).map(|wanted| wanted.select(document));
                Answer::Present(selected.unwrap_or_default())
            }
            Err(error) => Answer::Absent(error.clone()),
        };
        let answers: BTreeMap<_, _> = self.0.iter().map(|(key, stored)| (key, answer(key, stored))).collect();
        Secret::render(configuration, |reference| answers.get(&reference.key.path))
            .map_err(|problems| problems.to_string())
    }
}

/// A Secret `db-creds` of `secret_type` with `data` (key, reference) and `data_from`.
fn configuration(secret_type: SecretType, data: &[(&str, &str)], data_from: &[&str]) -> SecretConfiguration {
    let entry = |(key, reference): &(&str, &str)| {
        (
            key.parse().unwrap(),
            DataConfiguration { reference: reference.parse().unwrap(), mode: None, encoding: Encoding::Raw },
        )
    };
    SecretConfiguration {
        name: "db-creds".parse().unwrap(),
        secret_type,
        data: data.iter().map(entry).collect(),
        data_from: data_from.iter().map(|reference| reference.parse::<Reference>().unwrap()).collect(),
        refresh_interval: RefreshInterval::DEFAULT,
        optional: false,
        immutable: false,
    }
}

fn opaque(data: &[(&str, &str)], data_from: &[&str]) -> SecretConfiguration {
    configuration(SecretType::Opaque, data, data_from)
}

fn texts(secret: &Secret) -> Vec<(String, String)> {
    let text = |value: &SecretValue| String::from_utf8(value.bytes.as_bytes().to_vec()).unwrap();
    secret.values().iter().map(|(key, value)| (key.to_string(), text(value))).collect()
}

/// The Secret `db-creds` with these values.
fn secret(json: &str) -> Secret {
    Stores::default().with("kv/app/db", json).render(&opaque(&[], &["vault:kv/app/db"])).unwrap()
}

fn named<'a>(secret: &'a Secret) -> impl Fn(&SecretName) -> Option<&'a Secret> {
    move |name| (name.as_str() == "db-creds").then_some(secret)
}

fn mode(bits: u32) -> Mode {
    Mode::try_from(bits).unwrap()
}
