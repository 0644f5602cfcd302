//! File modes.

use crate::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The permission bits of a file, 0000 to 0777.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(with = "u32")]
pub struct Mode(u32);

impl Mode {
    /// What a Secret volume has unless it says otherwise.
    pub const DEFAULT: Self = Self(0o644);
    /// What `ssh` accepts for a private key: nobody but the owner.
    pub const OWNER_READ: Self = Self(0o400);

    /// The permission bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether somebody who is neither owner nor group may not read.
    #[must_use]
    pub const fn shuts_others_out(self) -> bool {
        self.0 & 0o004 == 0
    }

    /// Reads a number, or a string of octal digits such as `"0400"`.
    ///
    /// # Errors
    ///
    /// Anything else, and what lies outside 0000 to 0777.
    pub fn from_value(value: &Value) -> Result<Self, Problem> {
        let bits = match value {
            Value::Number(number) => number.as_u64().and_then(|bits| u32::try_from(bits).ok()),
            Value::String(digits) => u32::from_str_radix(digits.trim_start_matches("0o"), 8).ok(),
            _ => None,
        };
        bits.and_then(|bits| Self::try_from(bits).ok()).ok_or_else(|| {
            Problem::new("", "must be a number between 0 and 0777 (octal), both inclusive")
                .with_value(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .with_remedy("write 0400 in YAML, or \"0400\"")
        })
    }
}

impl TryFrom<u32> for Mode {
    type Error = String;

    fn try_from(bits: u32) -> Result<Self, Self::Error> {
        if bits <= 0o777 {
            Ok(Self(bits))
        } else {
            Err("must be a number between 0 and 0777 (octal), both inclusive".to_owned())
        }
    }
}

impl From<Mode> for u32 {
    fn from(mode: Mode) -> Self {
        mode.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_octal_strings_are_modes_and_nothing_else_is() {
        assert_eq!(Mode::from_value(&json!(256)), Ok(Mode::OWNER_READ));
        assert_eq!(Mode::from_value(&json!("0400")), Ok(Mode::OWNER_READ));
        assert_eq!(Mode::from_value(&json!("0o400")), Ok(Mode::OWNER_READ));
        for wrong in [json!(512), json!(-1), json!(1.5), json!("rw"), json!("0800"), json!(null), json!([])] {
            assert!(Mode::from_value(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mode_prints_as_people_write_it() {
        assert_eq!(Mode::DEFAULT.to_string(), "0644");
    }
}
