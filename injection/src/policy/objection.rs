//! What is held against a Pod in the status of a policy.

use alcove_contract::name::SecretName;
use alcove_resources::ObjectName;

/// What a policy has against a Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Objection {
    /// The policy.
    pub policy: ObjectName,
    /// The Secret name that it denies; none where a condition forbids the Pod all that it gets.
    pub secret: Option<SecretName>,
    /// Which rule denies which key, or which condition forbids what.
    pub reason: String,
}
