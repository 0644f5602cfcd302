//! What users write, and what the webhook hands to the sidecar.
//!
//! Everything here is pure: text in, typed values or [`Problems`] out. The webhook and the sidecar meet in this crate
//! and nowhere else, so that each can be replaced without the other.

pub mod annotations;
pub mod binding;
pub mod configuration;
pub mod interval;
pub mod layout;
pub mod mode;
pub mod name;
pub mod path;
pub mod problem;
pub mod provider;
pub mod quantity;
pub mod reference;
mod spelling;
mod yaml;

pub use problem::{Problem, Problems};
pub use spelling::{listed, nearest};
