//! Kubernetes quantities, as far as containers ask for cpu, memory and ephemeral storage.

use crate::Problem;
use std::fmt;
use std::str::FromStr;

/// An amount of a resource: its text, and its size for comparison.
#[derive(Clone, Debug)]
pub struct Quantity {
    text: String,
    /// In thousandths of the unit, rounded up as Kubernetes does.
    thousandths: u128,
}

impl Quantity {
    /// A number of bytes, written in mebibytes.
    #[must_use]
    pub fn mebibytes(count: u32) -> Self {
        Self { text: format!("{count}Mi"), thousandths: u128::from(count) * 1024 * 1024 * 1000 }
    }

    /// The whole units, rounded up: bytes of memory.
    #[must_use]
    pub const fn units(&self) -> u128 {
        self.thousandths.div_ceil(1000)
    }

    /// The quantity as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Quantities are equal when they mean the same amount: `1` and `1000m`.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.thousandths == other.thousandths
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.thousandths.cmp(&other.thousandths)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Suffixes and how many thousandths one of them has; binary ones first, since `Mi` ends in neither `M` nor `m`.
const SUFFIXES: &[(&str, u128)] = &[
    ("Ki", 1000 << 10),
    ("Mi", 1000 << 20),
    ("Gi", 1000 << 30),
    ("Ti", 1000 << 40),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("", 1000),
];

impl FromStr for Quantity {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        thousandths(text).map(|thousandths| Self { text: text.to_owned(), thousandths }).ok_or_else(|| {
            Problem::new("", "is not a quantity")
                .with_value(text)
                .with_remedy("write a number with a unit, such as 50m or 64Mi")
        })
    }
}

fn thousandths(text: &str) -> Option<u128> {
    let (digits, scale) = SUFFIXES.iter().find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale)))?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || digits.ends_with('.') || fraction.len() > 9 {
        return None;
    }
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    Some(value.checked_mul(scale)?.div_ceil(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|problem| panic!("{problem}"))
    }

    #[test]
    fn quantities_compare_by_amount_and_print_as_written() {
        assert_eq!(quantity("1"), quantity("1000m"));
        assert_eq!(quantity("1Mi"), quantity("1048576"));
        assert_eq!(quantity("1.5Gi").units(), 1_610_612_736);
        assert!(quantity("64Mi") > quantity("67M") && quantity("64Mi") < quantity("68M"));
        assert_eq!(quantity("0.1").to_string(), "0.1");
        assert_eq!(Quantity::mebibytes(32), quantity("32Mi"));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for wrong in
            ["", "m", "-1", "1 Gi", "1GB", ".5", "5.", "1e3x", "64mi", "999999999999999999999999999999999999999"]
        {
            assert!(wrong.parse::<Quantity>().is_err(), "{wrong}");
        }
    }
}
