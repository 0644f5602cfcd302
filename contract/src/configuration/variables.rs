//! The environment variables that carry a [`SidecarConfiguration`].

use super::limits::Limited;
use super::{
    EnvironmentConfiguration, LogLevel, SecretConfiguration, SidecarConfiguration, StoreConfiguration,
    VolumeConfiguration,
};
use crate::{Problem, Problems};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version that this code writes, and the newest it reads.
const VERSION: u64 = 1;

/// What the name of every variable begins with.
const PREFIX: &str = "ALCOVE_";

/// The longest variable that is written: the kernel takes 128 KiB for name, `=`, value and the final NUL.
const LONGEST: usize = 128 * 1024 - 64;

/// What is not about one store, Secret, volume or container.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct General {
    log_level: LogLevel,
}

impl SidecarConfiguration {
    /// The variables, in the order in which they are written into the container.
    ///
    /// # Errors
    ///
    /// A variable that would be longer than the kernel takes.
    pub fn to_variables(&self) -> Result<Vec<(String, String)>, Problems> {
        let mut writer = Writer::default();
        writer.write("SIDECAR", &General { log_level: self.log_level });
        writer.write_all("STORE", &self.stores);
        writer.write_all("SECRET", &self.secrets);
        writer.write_all("VOLUME", &self.volumes);
        writer.write_all("ENV", &self.environments);
        writer.problems.or(writer.variables)
    }

    /// Reads the variables of a process. Those that do not begin with `ALCOVE_` are none of ours and are not looked at.
    ///
    /// # Errors
    ///
    /// Every variable that is missing, unknown, malformed or of a newer version.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let mut reader = Reader {
            variables: variables
                .into_iter()
                .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value)))
                .collect(),
            problems: Problems::none(),
        };
        let general = reader.take::<General>("SIDECAR");
        let configuration = Self {
            log_level: general.map(|general| general.log_level).unwrap_or_default(),
            stores: reader.take_all::<StoreConfiguration>("STORE"),
            secrets: reader.take_all::<SecretConfiguration>("SECRET"),
            volumes: reader.take_all::<VolumeConfiguration>("VOLUME"),
            environments: reader.take_all::<EnvironmentConfiguration>("ENV"),
        };
        reader.finish().or(configuration)
    }
}

#[derive(Default)]
struct Writer {
    variables: Vec<(String, String)>,
    problems: Problems,
}

impl Writer {
    fn write_all(&mut self, kind: &str, things: &[impl Serialize + Limited]) {
        for (index, thing) in things.iter().enumerate() {
            self.write(&format!("{kind}_{index}"), thing);
        }
    }

    fn write(&mut self, name: &str, thing: &(impl Serialize + Limited)) {
        let name = format!("{PREFIX}{name}");
        let excesses = thing.excesses();
        if !excesses.is_empty() {
            return self.problems.append(excesses.below(&name));
        }
        match versioned(thing) {
            Ok(text) if text.len() + name.len() > LONGEST => self.problems.push(
                Problem::new(name, format!("would be {} bytes long, more than the kernel's 128 KiB", text.len()))
                    .with_remedy("split the Secret, or name fewer keys"),
            ),
            Ok(text) => self.variables.push((name, text)),
            Err(error) => self.problems.push(Problem::new(name, format!("cannot be written: {error}"))),
        }
    }
}

fn versioned(thing: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Versioned { version: VERSION, thing })
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u64,
    #[serde(flatten)]
    thing: &'a T,
}

struct Reader {
    variables: BTreeMap<String, String>,
    problems: Problems,
}

impl Reader {
    fn take<T: DeserializeOwned + Limited>(&mut self, name: &str) -> Option<T> {
        let place = format!("{PREFIX}{name}");
        let Some(text) = self.variables.remove(name) else {
            self.problems.push(Problem::new(place, "is not set").with_remedy(
                "this program is configured by the Alcove webhook and is not meant to be started by hand",
            ));
            return None;
        };
        self.problems.collect(read(&text).map_err(|problems: Problems| problems.below(&place)))
    }

    fn take_all<T: DeserializeOwned + Limited>(&mut self, kind: &str) -> Vec<T> {
        let names = (0..self.variables.len()).map(|index| format!("{kind}_{index}"));
        let present: Vec<String> = names.take_while(|name| self.variables.contains_key(name)).collect();
        present.iter().filter_map(|name| self.take(name)).collect()
    }

    fn finish(mut self) -> Problems {
        for name in self.variables.keys() {
            self.problems.push(
                Problem::new(format!("{PREFIX}{name}"), "is not a variable that this version of the sidecar knows")
                    .with_remedy("use the sidecar image that belongs to the webhook"),
            );
        }
        self.problems
    }
}

fn read<T: DeserializeOwned + Limited>(text: &str) -> Result<T, Problems> {
    let invalid = |error: serde_json::Error| Problem::new("", format!("is not a configuration: {error}"));
    if text.len() > LONGEST {
        return Err(Problem::new("", format!("is {} bytes long, more than the kernel's 128 KiB", text.len())).into());
    }
    let mut fields: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(invalid)?;
    match fields.remove("version").and_then(|version| version.as_u64()) {
        Some(1..=VERSION) => {
            let thing: T = serde_json::from_value(Value::Object(fields)).map_err(invalid)?;
            thing.excesses().or(thing)
        }
        Some(newer) => Err(Problem::new("", format!("has version {newer}, and this sidecar reads up to {VERSION}"))
            .with_remedy("use the sidecar image that belongs to the webhook")
            .into()),
        None => Err(Problem::new("", "has no version").into()),
    }
}
