//! What Alcove promises, by quality; `--list` is the table of contents. `../README.md` tells how to add to it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    reason = "these are tests"
)]

mod architecture;
mod smoke;

use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [architecture::tests(), smoke::tests()];
    alcove_tests::suite::run(trials.into_iter().flatten().collect())
}
