//! What Alcove promises, by quality; `--list` is the table of contents. `../README.md` tells how to add to it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    reason = "these are tests"
)]

mod accounts;
mod architecture;
mod beside;
mod bypass;
mod debugging;
mod delivery;
mod differential;
mod documentation;
mod enforced;
mod generated;
mod gitops;
mod hostile;
mod identity;
mod inotify;
mod invalid;
mod isolation;
mod leak;
mod leaving;
mod load;
mod manifests;
mod naming;
mod nested;
mod objects;
mod operations;
mod outage;
mod policy;
mod policy_conditions;
mod quota;
mod refused;
mod registration;
mod remedies;
mod restarts;
mod rotation;
mod setting;
mod smoke;
mod ssh;
mod sweep;
mod together;
mod tokens;
mod variables;
mod waiting;
mod windows;

use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [
        architecture::tests(),
        documentation::tests(),
        smoke::tests(),
        delivery::tests(),
        isolation::tests(),
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
        policy_conditions::tests(),
        enforced::tests(),
        accounts::tests(),
        remedies::tests(),
        refused::tests(),
        debugging::tests(),
        identity::tests(),
        tokens::tests(),
        leak::tests(),
        invalid::tests(),
        objects::tests(),
        generated::tests(),
        manifests::tests(),
        gitops::tests(),
        registration::tests(),
        operations::tests(),
        together::tests(),
        leaving::tests(),
        windows::tests(),
        hostile::tests(),
        bypass::tests(),
        sweep::tests(),
        quota::tests(),
        load::tests(),
    ];
    alcove_tests::suite::run(trials.into_iter().flatten().collect())
}
