//! The table that is printed: what was measured, how much, and the target beside it.

use std::fmt;

/// The rows so far.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<[String; 3]>);

impl Table {
    /// Adds a row; `target` is what the design asks for, or empty.
    pub(super) fn row(&mut self, what: impl Into<String>, measured: impl Into<String>, target: &str) {
        let row = [what.into(), measured.into(), target.to_owned()];
        eprintln!("           {}: {}", row[0], row[1]);
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["measured", "result", "target"].map(str::to_owned);
        let width = |column: usize| {
            self.0.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths = [width(0), width(1), width(2)];
        let rule = widths.map(|width| "-".repeat(width));
        for row in [&head, &rule].into_iter().chain(&self.0) {
            writeln!(formatter, "| {:3$} | {:4$} | {:5$} |", row[0], row[1], row[2], widths[0], widths[1], widths[2])?;
        }
        Ok(())
    }
}
