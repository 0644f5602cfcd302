//! A small certificate authority: issue, rotate, reload.
//!
//! The API servers call the webhook over TLS and trust what `caBundle` says. This crate keeps those two in step without
//! a certificate manager: it issues an authority and a serving certificate ([`authority`]), holds both in the content of
//! one Kubernetes Secret that all replicas share ([`bundle`]), decides when to renew what ([`schedule`]) and swaps
//! certificates under a running server ([`resolver`]). Whoever has certificates from elsewhere reads them from a
//! directory instead ([`files`]).
//!
//! Nothing here talks to Kubernetes or asks for the time: the caller brings the Secret's content and `now`. The one
//! thing it must measure itself is how long `caBundle` has been in place, see [`schedule::Publication`].
//!
//! ```
//! use alcove_certs::bundle::{Bundle, Profile};
//! use alcove_certs::names::Names;
//! use alcove_certs::schedule::{self, Lifetimes, Publication, Step};
//!
//! let now: jiff::Timestamp = "2026-11-25T10:00:00Z".parse()?;
//! let profile = Profile { names: Names::of_service("alcove-webhook", "alcove")?, lifetimes: Lifetimes::default() };
//! let mut bundle = Bundle::issue(&profile, now)?;
//!
//! // One pass of the replica that holds the Lease: store the bundle after each step that changed it.
//! loop {
//!     match schedule::next(&bundle.validity(&profile, Publication::Absent), now) {
//!         Step::Keep { until } => break println!("nothing to do before {until}"),
//!         Step::Publish => break println!("caBundle: {}", bundle.trusted()),
//!         step => bundle.advance(step, &profile, now)?,
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod authority;
pub mod bundle;
pub mod certificate;
pub mod files;
pub mod identity;
pub mod names;
pub mod provider;
pub mod resolver;
pub mod schedule;
pub mod trust;

#[cfg(test)]
mod simulation;
