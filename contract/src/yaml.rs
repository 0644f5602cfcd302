//! YAML as Kubernetes users write it, read into JSON values.

use crate::Problem;
use serde_json::Value;

/// Reads one YAML document.
///
/// `0400` is octal, as it is for kubectl (YAML 1.1); a key that stands twice is refused.
pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let first = error.to_string();
        Problem::new("", format!("is not valid YAML: {}", first.lines().next().unwrap_or_default()))
    })
}
