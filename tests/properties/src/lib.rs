//! What holds for every input, told once: asked by property tests in `make test`, and by libFuzzer in `make fuzz`.
//!
//! | module | is about |
//! |---|---|
//! | [`reviews`] | bodies that are sent to the webhook |
//! | [`resources`] | manifests of what reviews depend on |
//! | [`annotations`] | annotations of a Pod |
//! | [`globs`] | patterns of policies |
//! | [`cluster`] | what the reviews are judged by |
//! | [`mutation`], [`seeds`] | where inputs come from |
//!
//! A property is a function `hold`: it takes an input and fails with what was broken. That nothing panics and that
//! everything ends is part of each.

#![expect(clippy::missing_errors_doc, reason = "every failure is a broken property, and its text says which")]

pub mod annotations;
pub mod cluster;
pub mod globs;
pub mod mutation;
pub mod resources;
pub mod reviews;
pub mod seeds;
