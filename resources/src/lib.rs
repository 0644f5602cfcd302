//! The Kubernetes kinds of Alcove, group `alcove.dev`, version `v1alpha1`.
//!
//! | kind | scope | says |
//! |---|---|---|
//! | [`ExternalStore`] / [`ClusterExternalStore`] | namespace / cluster | where a store is and how one logs in |
//! | [`SecretBinding`] / [`ClusterSecretBinding`] | namespace / cluster | where the content of a Secret name comes from |
//! | [`SecretPolicy`] / [`ClusterSecretPolicy`] | namespace / cluster | which ServiceAccounts may mount what |
//!
//! Structural schemas with CEL rules; every list and every string is bounded. What is wrong with an object by itself is
//! refused when it is written: by its schema, or, as far as no schema sees it, by the API server's policy
//! `alcove-bindings`. What only decoding shows is said by the webhook when a Pod is created: certificates in `caBundle`,
//! escapes in references that are no UTF-8, an option that is given twice.

pub mod binding;
pub mod definitions;
pub mod object;
pub mod policy;
pub mod store;

pub use binding::{ClusterSecretBinding, ClusterSecretBindingSpec, SecretBinding, SecretBindingSpec};
pub use object::{Kind, Object, ObjectName};
pub use policy::{ClusterSecretPolicy, ClusterSecretPolicySpec, SecretPolicy, SecretPolicySpec};
pub use store::{ClusterExternalStore, ClusterExternalStoreSpec, ExternalStore, ExternalStoreSpec};
