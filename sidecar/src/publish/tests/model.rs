//! Random sequences of payloads against a model: a map from path to file.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) type Model = BTreeMap<String, (String, u32)>;

pub(super) fn files() -> impl Strategy<Value = Model> {
    let path = "[ab](/[ab]){0,2}";
    let content = ("[xy]{0,2}", prop_oneof![Just(0o644), Just(0o400), Just(0o440)]);
    prop::collection::btree_map(path, content, 0..5)
}

pub(super) fn to_payload(model: &Model) -> Payload<'_> {
    let mut payload = Payload::default();
    for (path, (content, mode)) in model {
        payload.insert(path.parse().unwrap(), file(content, *mode));
    }
    payload
}

/// What a user of the volume finds: every file that can be reached through a visible name.
pub(super) fn found(volume: &Volume) -> Model {
    let mut model = Model::new();
    let names = volume.names().into_iter().filter(|name| !name.starts_with(".."));
    let mut pending: Vec<String> = names.collect();
    while let Some(path) = pending.pop() {
        let place = volume.path().join(&path);
        let metadata = fs::metadata(&place).unwrap();
        if metadata.is_dir() {
            let entries = fs::read_dir(place).unwrap();
            pending.extend(entries.map(|entry| format!("{path}/{}", entry.unwrap().file_name().to_str().unwrap())));
        } else {
            model.insert(path, (fs::read_to_string(place).unwrap(), metadata.mode() & 0o7777));
        }
    }
    model
}

proptest! {
    #[test]
    fn the_volume_holds_exactly_the_last_accepted_payload(sequence in prop::collection::vec((files(), any::<bool>()), 1..12)) {
        let volume = Volume::new();
        let mut publisher = volume.publisher();
        let mut model = None;
        for (files, restart) in sequence {
            if restart {
                publisher = volume.publisher();
            }
            match publisher.publish(&to_payload(&files), now()) {
                Ok(outcome) => {
                    prop_assert_eq!(outcome == Outcome::Unchanged, model.as_ref() == Some(&files));
                    model = Some(files);
                }
                Err(error) => {
                    prop_assert!(matches!(error, PublishError::Conflict(_)), "{}", error);
                }
            }
            prop_assert_eq!(found(&volume), model.clone().unwrap_or_default());
            let hidden = volume.names().iter().filter(|name| name.starts_with("..")).count();
            prop_assert_eq!(hidden, if model.is_some() { 2 } else { 0 }, "one link, one generation, no litter");
        }
    }
}
