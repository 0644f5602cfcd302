//! Fetches, publishes and renews the secrets of one Pod.

pub mod publish;
