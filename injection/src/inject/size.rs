//! Sizes, written as the API server writes them back.

/// A number of mebibytes as a quantity in canonical form: a second call finds what the first one wrote.
pub(crate) fn mebibytes(count: u32) -> String {
    match (count / 1024, count % 1024) {
        (gibibytes, 0) if gibibytes > 0 => format!("{gibibytes}Gi"),
        _ => format!("{count}Mi"),
    }
}
