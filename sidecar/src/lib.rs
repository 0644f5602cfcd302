//! Fetches, publishes and renews the secrets of one Pod.
//!
//! What happens when is decided by [`agent`], which is pure. [`render`] turns what the stores hold into files by
//! Kubernetes' rules, [`publish`] makes them visible as the kubelet does it, and [`run`] connects the three with signals,
//! sockets and the clock.

pub mod agent;
pub mod hardening;
pub mod logging;
pub mod mirror;
pub mod publish;
pub mod render;
pub mod run;
pub mod status;
