//! What no honest Pod exceeds, checked where a configuration is written and where it is read: nobody is told at runtime
//! what could have been said at admission, and a forged configuration costs its reader little.

use super::variables::General;
use super::{
    EnvironmentConfiguration, ItemConfiguration, SecretConfiguration, SecretSource, SourceConfiguration,
    StoreConfiguration, VolumeConfiguration,
};
use crate::name::FileName;
use crate::{Problem, Problems};

/// The most sources and mount points of a volume, items of a source, and entries of an env file: each.
const MOST: usize = 4096;
/// The longest key of a Secret, in bytes.
const LONGEST_KEY: usize = 253;

/// What one variable carries.
pub(super) trait Limited {
    /// Everything in it that exceeds a limit.
    fn excesses(&self) -> Problems {
        Problems::none()
    }
}

impl Limited for General {}

impl Limited for StoreConfiguration {}

impl Limited for SecretConfiguration {}

impl Limited for VolumeConfiguration {
    fn excesses(&self) -> Problems {
        let mut problems = counted("sources", self.sources.len());
        problems.append(counted("mountPoints", self.mount_points.len()));
        for (index, source) in self.sources.iter().take(MOST).enumerate() {
            if let SourceConfiguration::Secret(secret) = source {
                problems.append(secret.excesses().below(&format!("sources[{index}].secret")));
            }
        }
        problems
    }
}

impl Limited for SecretSource {
    fn excesses(&self) -> Problems {
        let items = self.items.as_deref().unwrap_or_default();
        let mut problems = counted("items", items.len());
        let keys = items.iter().take(MOST).enumerate();
        problems.extend(keys.filter_map(|(index, item)| Some(item.excess()?.below(&format!("items[{index}]")))));
        problems
    }
}

impl ItemConfiguration {
    /// Kubernetes takes any text for the key of an item, and the key that no Secret can have is one that is missing.
    fn excess(&self) -> Option<Problem> {
        let length = self.key.len();
        (length > LONGEST_KEY).then(|| Problem::new("key", format!("has {length} bytes, more than {LONGEST_KEY}")))
    }
}

impl Limited for EnvironmentConfiguration {
    fn excesses(&self) -> Problems {
        let mut problems = counted("entries", self.entries.len());
        for (index, entry) in self.entries.iter().take(MOST).enumerate() {
            let place = format!("entries[{index}].secretKey");
            problems.collect(entry.secret_key.parse::<FileName>().map_err(|problem| problem.below(&place)));
        }
        problems
    }
}

fn counted(list: &str, length: usize) -> Problems {
    if length <= MOST {
        return Problems::none();
    }
    Problem::new(list, format!("has {length} items, more than {MOST}")).into()
}

#[cfg(test)]
mod tests;
