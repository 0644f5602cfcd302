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

    /// An amount of processors, written as the API server writes it back: `50m`, `2`.
    #[must_use]
    pub fn processors(thousandths: u128) -> Self {
        Self { text: shortest(thousandths, 1000, &["m", "", "k", "M", "G", "T", "P", "E"]), thousandths }
    }

    /// A number of bytes, written as the API server writes it back: `100`, `64Mi`, `2Gi`.
    #[must_use]
    pub fn bytes(count: u128) -> Self {
        let suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        Self { text: shortest(count, 1024, &suffixes), thousandths: count.saturating_mul(1000) }
    }

    /// The whole units, rounded up: bytes of memory.
    #[must_use]
    pub const fn units(&self) -> u128 {
        self.thousandths.div_ceil(1000)
    }

    /// Thousandths of the unit, rounded up: of a processor.
    #[must_use]
    pub const fn thousandths(&self) -> u128 {
        self.thousandths
    }

    /// The quantity as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A number with the last suffix that leaves it whole, where each stands for `step` times the one before.
fn shortest(mut number: u128, step: u128, suffixes: &[&str]) -> String {
    let mut suffix = 0;
    while number > 0 && number.is_multiple_of(step) && suffix + 1 < suffixes.len() {
        number /= step;
        suffix += 1;
    }
    let zero = number == 0;
    let suffix = suffixes.get(suffix).filter(|_| !zero).copied().unwrap_or_default();
    format!("{number}{suffix}")
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

/// Suffixes and how many billionths one of them has; binary ones first, since `Mi` ends in neither `M` nor `m`.
const SUFFIXES: &[(&str, u128)] = &[
    ("Ki", BILLION << 10),
    ("Mi", BILLION << 20),
    ("Gi", BILLION << 30),
    ("Ti", BILLION << 40),
    ("Pi", BILLION << 50),
    ("Ei", BILLION << 60),
    ("n", 1),
    ("u", 1000),
    ("m", 1_000_000),
    ("k", 1000 * BILLION),
    ("M", 1_000_000 * BILLION),
    ("G", BILLION * BILLION),
    ("T", 1000 * BILLION * BILLION),
    ("P", 1_000_000 * BILLION * BILLION),
    ("E", BILLION * BILLION * BILLION),
    ("", BILLION),
];

const BILLION: u128 = 1_000_000_000;

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
    let suffixed = || SUFFIXES.iter().find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale)));
    let (digits, scale) = exponential(text).or_else(suffixed)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || digits.ends_with('.') || fraction.len() > 9 {
        return None;
    }
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    Some(value.checked_mul(scale)?.div_ceil(divisor).div_ceil(BILLION / 1000))
}

/// The digits of `1e3` and how many billionths one has, if a number is written so.
fn exponential(text: &str) -> Option<(&str, u128)> {
    let (digits, exponent) = text.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    Some((digits, 10_u128.checked_pow(exponent.checked_add(9)?.try_into().ok()?)?))
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
    fn every_way_to_write_a_number_is_read() {
        for (text, thousandths) in [("1e3", 1_000_000), ("12E-1", 1200), ("1n", 1), ("1500u", 2), ("0.5k", 500_000)] {
            assert_eq!(quantity(text).thousandths(), thousandths, "{text}");
        }
        assert_eq!(quantity("1Ei").units(), 1 << 60);
        assert_eq!(quantity("1E"), quantity("1000P"));
    }

    #[test]
    fn an_amount_is_written_as_the_api_server_writes_it_back() {
        for (amount, text) in [(0, "0"), (50, "50m"), (1000, "1"), (1500, "1500m"), (2_000_000, "2k")] {
            assert_eq!(Quantity::processors(amount).as_str(), text);
            assert_eq!(quantity(text), Quantity::processors(amount));
        }
        for (bytes, text) in [(0, "0"), (100, "100"), (1024, "1Ki"), (64 << 20, "64Mi"), (3 << 29, "1536Mi")] {
            assert_eq!(Quantity::bytes(bytes).as_str(), text);
            assert_eq!(quantity(text), Quantity::bytes(bytes));
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for wrong in [
            "",
            "m",
            "-1",
            "1 Gi",
            "1GB",
            ".5",
            "5.",
            "1e3x",
            "1e99",
            "1e",
            "64mi",
            "999999999999999999999999999999999999999",
        ] {
            assert!(wrong.parse::<Quantity>().is_err(), "{wrong}");
        }
    }
}
