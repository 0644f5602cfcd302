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
mod generated;
mod hostile;
mod identity;
mod inotify;
mod invalid;
mod leak;
mod load;
mod manifests;
mod operations;
mod outage;
mod policy;
mod quota;
mod rotation;
mod setting;
mod smoke;

use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [
        architecture::tests(),
        documentation::tests(),
        smoke::tests(),
        delivery::tests(),
        rotation::tests(),
        differential::tests(),
        inotify::tests(),
        outage::tests(),
        policy::tests(),
        identity::tests(),
        leak::tests(),
        invalid::tests(),
        generated::tests(),
        manifests::tests(),
        operations::tests(),
        hostile::tests(),
        quota::tests(),
        load::tests(),
    ];
    alcove_tests::suite::run(trials.into_iter().flatten().collect())
}
