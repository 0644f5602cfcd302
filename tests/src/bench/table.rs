//! The table that is printed: what was measured, how much, and the target beside it.

use std::fmt;

const HEAD: [&str; 3] = ["measured", "result", "target"];

/// The rows so far.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<[String; 3]>);

impl Table {
    /// Adds a row and shows it at once; `target` is what the design asks for, or empty.
    pub(super) fn row(&mut self, what: impl Into<String>, result: impl Into<String>, target: &str) {
        let (what, result) = (what.into(), result.into());
        eprintln!("           {what}: {result}");
        self.0.push([what, result, target.to_owned()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = HEAD.map(str::to_owned);
        let mut widths = [0; 3];
        for row in self.0.iter().chain([&head]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let [first, second, third] = widths;
        let rule = widths.map(|width| "-".repeat(width));
        for [what, result, target] in [&head, &rule].into_iter().chain(&self.0) {
            writeln!(formatter, "| {what:first$} | {result:second$} | {target:third$} |")?;
        }
        Ok(())
    }
}
