//! How often a secret is read again.

use crate::Problem;
use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How often a secret is read again: once, or in a regular interval.
///
/// The wording is a number and a unit, `30s`, `5m`, `1.5h`, `1d`, or several of them, `1h30m`; `0` in any spelling
/// means once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RefreshInterval {
    /// Read at the start and never again.
    Once,
    /// Read again after this time.
    Every(Duration),
}

impl RefreshInterval {
    /// What holds where nothing is said: five minutes.
    pub const DEFAULT: Self = Self::Every(Duration::from_mins(5));
    /// The shortest interval: a store is protected from its users.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// The longest interval, one year: beyond it a value is not refreshed but forgotten.
    pub const LONGEST: Duration = Duration::from_hours(366 * 24);
}

impl Default for RefreshInterval {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for RefreshInterval {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = |reason: &str, remedy: String| Err(Problem::new("", reason).with_value(text).with_remedy(remedy));
        if matches!(text, "0") {
            return Ok(Self::Once);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return wrong("has no unit", format!("write \"{text}s\" or \"{text}m\""));
        }
        if matches!(text.to_lowercase().as_str(), "never" | "once" | "none" | "off") {
            return wrong("is not an interval", "write \"0s\" to read once and never again".to_owned());
        }
        let Some(duration) = parse(text) else {
            return wrong(
                "is not an interval",
                "write a number and a unit: 30s, 5m, 1.5h, 1d, or 0s for once".to_owned(),
            );
        };
        match duration {
            Duration::ZERO => Ok(Self::Once),
            short if short < Self::SHORTEST => {
                wrong("is shorter than 1s, the shortest interval", "write \"1s\"".to_owned())
            }
            long if long > Self::LONGEST => wrong(
                "is longer than 366d, the longest interval",
                "write \"0s\" to read once and never again".to_owned(),
            ),
            duration => Ok(Self::Every(duration)),
        }
    }
}

/// Reads numbers with units, days included; no sign, no calendar units, no ISO 8601.
fn parse(text: &str) -> Option<Duration> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) => (days.parse::<u32>().ok()?, rest),
        None => (0, text),
    };
    let rest = if rest.is_empty() { SignedDuration::ZERO } else { rest.parse().ok()? };
    let whole = SignedDuration::from_hours(i64::from(days) * 24).checked_add(rest)?;
    Duration::try_from(whole).ok()
}

impl TryFrom<String> for RefreshInterval {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl fmt::Display for RefreshInterval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Every(duration) = self else { return formatter.write_str("0s") };
        let seconds = duration.as_secs();
        for (unit, length, rest) in [("h", 3600, u64::MAX), ("m", 60, 3600), ("s", 1, 60)] {
            let count = seconds % rest / length;
            if count > 0 {
                write!(formatter, "{count}{unit}")?;
            }
        }
        match duration.subsec_millis() {
            0 => Ok(()),
            millis => write!(formatter, "{millis}ms"),
        }
    }
}

impl From<RefreshInterval> for String {
    fn from(interval: RefreshInterval) -> Self {
        interval.to_string()
    }
}

impl JsonSchema for RefreshInterval {
    fn schema_name() -> Cow<'static, str> {
        "RefreshInterval".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Each unit once, the longest first, and a fraction in the last one alone.
        let units = "^(0|([0-9]{1,3}d)?(([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,11}ms)?|\
                     [0-9]{1,4}[.][0-9]{1,9}h|([0-9]{1,4}h)?[0-9]{1,6}[.][0-9]{1,9}m|\
                     ([0-9]{1,4}h)?([0-9]{1,6}m)?[0-9]{1,8}[.][0-9]{1,9}s))$";
        let bounds = "self in ['0', '0d', '366d'] || !self.matches('^([0-9]+d)?([0-9]+([.][0-9]+)?(h|m|s|ms))*$') || \
                      (self.contains('d') ? int(self.substring(0, self.indexOf('d'))) > 0 && \
                      int(self.substring(0, self.indexOf('d'))) * 86400 + \
                      duration('0s' + self.substring(self.indexOf('d') + 1)).getSeconds() < 31622400 : \
                      duration(self) == duration('0s') || \
                      (duration(self) >= duration('1s') && duration(self) <= duration('8784h')))";
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 32,
            "x-kubernetes-validations": [
                {
                    "rule": format!("self.matches('{units}')"),
                    "message": "is not an interval: write a number and a unit, as in 30s, 5m, 1.5h or 1d, or 0s to read once",
                },
                {"rule": bounds, "message": "must be from 1s to 366d, or 0s to read once and never again"},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every(seconds: u64) -> RefreshInterval {
        RefreshInterval::Every(Duration::from_secs(seconds))
    }

    #[test]
    fn spellings_from_the_field_are_read_or_refused_with_a_remedy() {
        for zero in ["0", "0s", "0m", "0h", "0d"] {
            assert_eq!(zero.parse(), Ok(RefreshInterval::Once), "{zero}");
        }
        for (text, seconds) in [("5m", 300), ("1d", 86_400), ("1.5h", 5_400), ("1h30m", 5_400), ("1d12h", 129_600)] {
            assert_eq!(text.parse::<RefreshInterval>(), Ok(every(seconds)), "{text}");
        }
        for wrong in ["", "5", "never", "-5m", "1ms", "PT5M", "99999h", "5 fortnights", "m", "1e9s", "1.5d"] {
            let problem = wrong.parse::<RefreshInterval>().expect_err(wrong);
            assert!(problem.remedy.is_some(), "{wrong}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in 1_000_u64..=31_622_400_000) {
            let interval = RefreshInterval::Every(Duration::from_millis(millis));
            prop_assert_eq!(interval.to_string().parse::<RefreshInterval>(), Ok(interval));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            if let Err(problem) = text.parse::<RefreshInterval>() {
                prop_assert_eq!(problem.value, Some(text));
            }
        }
    }
}
