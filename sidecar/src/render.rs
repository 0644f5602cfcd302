//! Turns what the stores hold into what a Secret of Kubernetes would hold, and that into files and env files.
//!
//! The rules are Kubernetes' own: those that the API server has for a Secret, then those that the kubelet has for a
//! volume or an environment variable. All problems come at once; none of them shows a value.

mod answer;
mod encoding;
mod environment;
mod rules;
mod secret;
#[cfg(test)]
mod tests;
mod volume;

pub use answer::{Answer, Refusal, Selection, Wanted};
pub use environment::environment;
pub use secret::{Secret, SecretValue};
pub use volume::volume;
