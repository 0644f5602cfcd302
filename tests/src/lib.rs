//! The testkit: a real Kubernetes node, a real Vault and Alcove on them, started from nothing and thrown away.
//!
//! `README.md` beside this crate tells how to write a test with it.

#![expect(clippy::print_stderr, reason = "a person waits at a terminal; nothing else reads this output")]
#![expect(missing_debug_implementations, reason = "kube::Client, which most of this crate holds, has none")]
#![expect(clippy::missing_errors_doc, reason = "every failure is a failed test, and its text says what failed")]

pub mod alcove;
pub mod builds;
pub mod cgroups;
pub mod generated;
pub mod image;
pub mod janitor;
pub mod kubectl;
pub mod namespace;
pub mod network;
pub mod node;
pub mod other_webhook;
pub mod pki;
pub mod process;
pub mod stage;
pub mod state;
pub mod suite;
pub mod sweep;
pub mod tools;
pub mod vault;
pub mod wait;
