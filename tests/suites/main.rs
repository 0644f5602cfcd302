//! What Alcove promises, by quality; `--list` is the table of contents. `../README.md` tells how to add to it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    reason = "these are tests"
)]

mod architecture;
mod delivery;
mod differential;
mod documentation;
mod hostile;
mod invalid;
mod leak;
mod load;
mod manifests;
mod outage;
mod policy;
mod setting;
mod smoke;

use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [
        architecture::tests(),
        documentation::tests(),
        smoke::tests(),
        delivery::tests(),
        differential::tests(),
        outage::tests(),
        policy::tests(),
        leak::tests(),
        invalid::tests(),
        manifests::tests(),
        hostile::tests(),
        load::tests(),
    ];
    alcove_tests::suite::run(trials.into_iter().flatten().collect())
}
