//! The admission webhook: reviews over TLS, answered from what watches or files say.
//!
//! | module | does |
//! |---|---|
//! | [`args`] | the command line |
//! | [`serve`], [`review_once`] | the two commands |
//! | [`server`] | HTTP, within limits |
//! | [`review`] | the admission protocol, pure |
//! | [`admission`] | what was asked meets what is known |
//! | [`objects`], [`files`], [`cluster`] | what is known, and where it comes from |
//! | [`refusals`] | Events about what makes Pods that are refused |
//! | [`sweep`] | a look at the Pods that are there already |
//! | [`certificates`] | what is presented to API servers, and whom they trust |
//! | [`readiness`], [`metrics`], [`outage`], [`report`], [`clock`] | telling others how it goes |
//!
//! What becomes of a Pod is decided in `alcove-injection`; nothing here knows what a Pod looks like.

pub mod admission;
pub mod args;
pub mod certificates;
pub mod clock;
pub mod cluster;
mod events;
pub mod files;
pub mod metrics;
pub mod objects;
pub mod outage;
pub mod readiness;
pub mod refusals;
pub mod report;
pub mod review;
pub mod review_once;
pub mod serve;
pub mod server;
pub mod sweep;
