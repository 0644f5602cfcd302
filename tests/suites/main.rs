//! What Alcove promises, by quality; `--list` is the table of contents. `../README.md` tells how to add to it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    reason = "these are tests"
)]

mod architecture;
mod bypass;
mod delivery;
mod differential;
mod documentation;
mod generated;
mod gitops;
mod hostile;
mod identity;
mod inotify;
mod invalid;
mod leak;
mod load;
mod manifests;
mod nested;
mod operations;
mod outage;
mod policy;
mod quota;
mod registration;
mod restarts;
mod rotation;
mod setting;
mod smoke;
mod ssh;
mod tokens;
mod variables;
mod waiting;

use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [
        architecture::tests(),
        documentation::tests(),
        smoke::tests(),
        delivery::tests(),
        rotation::tests(),
        differential::tests(),
        nested::tests(),
        inotify::tests(),
        outage::tests(),
        waiting::tests(),
        restarts::tests(),
        variables::tests(),
        ssh::tests(),
        policy::tests(),
        identity::tests(),
        tokens::tests(),
        leak::tests(),
        invalid::tests(),
        generated::tests(),
        manifests::tests(),
        gitops::tests(),
        registration::tests(),
        operations::tests(),
        hostile::tests(),
        bypass::tests(),
        quota::tests(),
        load::tests(),
    ];
    alcove_tests::suite::run(trials.into_iter().flatten().collect())
}
