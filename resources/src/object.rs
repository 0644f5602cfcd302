//! One object of ours, whatever its kind: what a watch delivers and what a file holds.

use crate::{
    ClusterExternalStore, ClusterSecretBinding, ClusterSecretPolicy, ExternalStore, SecretBinding, SecretPolicy,
};
use alcove_contract::{Problem, nearest};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One object of ours.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the kind of its name")]
pub enum Object {
    ExternalStore(ExternalStore),
    ClusterExternalStore(ClusterExternalStore),
    SecretBinding(SecretBinding),
    ClusterSecretBinding(ClusterSecretBinding),
    SecretPolicy(SecretPolicy),
    ClusterSecretPolicy(ClusterSecretPolicy),
}

/// The kinds, for messages.
const KINDS: &[&str] = &[
    "ExternalStore",
    "ClusterExternalStore",
    "SecretBinding",
    "ClusterSecretBinding",
    "SecretPolicy",
    "ClusterSecretPolicy",
];

impl Object {
    /// Reads an object of our group; gives nothing for an object of another group.
    ///
    /// # Errors
    ///
    /// A kind or version of our group that does not exist, or an object that does not fit its kind.
    pub fn from_value(value: &Value) -> Result<Option<Self>, Problem> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let Some(version) = api_version.strip_prefix("alcove.dev/") else { return Ok(None) };
        if version != "v1alpha1" {
            return Err(Problem::new("apiVersion", "is not a version of alcove.dev")
                .with_value(api_version)
                .with_remedy("write alcove.dev/v1alpha1"));
        }
        let object = match kind {
            "ExternalStore" => Self::ExternalStore(typed(value)?),
            "ClusterExternalStore" => Self::ClusterExternalStore(typed(value)?),
            "SecretBinding" => Self::SecretBinding(typed(value)?),
            "ClusterSecretBinding" => Self::ClusterSecretBinding(typed(value)?),
            "SecretPolicy" => Self::SecretPolicy(typed(value)?),
            "ClusterSecretPolicy" => Self::ClusterSecretPolicy(typed(value)?),
            other => {
                let remedy = nearest(other, KINDS.iter().copied())
                    .map_or_else(|| format!("known: {}", KINDS.join(", ")), |kind| format!("did you mean \"{kind}\"?"));
                return Err(Problem::new("kind", "is not a kind of alcove.dev").with_value(other).with_remedy(remedy));
            }
        };
        Ok(Some(object))
    }
}

fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    serde_json::from_value(value.clone()).map_err(|error| Problem::new("", format!("does not fit its kind: {error}")))
}
