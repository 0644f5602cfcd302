//! What becomes of a Pod: one pure question, one answer.
//!
//! [`decide`] is asked when a Pod is created, and again when another webhook has changed it; [`validate()`] judges the final
//! Pod and every later change of it. Both look at the [`Catalog`] of what is known of the cluster and at the
//! [`Settings`] of the administrator, and at nothing else: no clock, no network, no file.

pub mod audiences;
mod bindings;
pub mod catalog;
pub mod decision;
pub mod effort;
pub mod footprint;
mod inject;
pub mod kubernetes;
pub mod mountable;
pub mod pattern;
pub mod places;
pub mod pod;
pub mod policy;
mod requests;
pub mod settings;
pub mod store;
pub mod sweep;
pub mod validate;

pub use catalog::Catalog;
pub use decision::{Context, Decision, Plan, Reason, Refusal, RefusalReason, Skip, decide};
pub use pod::Pod;
pub use requests::{Denied, Grant};
pub use settings::Settings;
pub use validate::{Allowance, Verdict, validate};
