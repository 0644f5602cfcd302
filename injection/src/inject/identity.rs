//! What the sidecar logs in with, as the sources of a projected volume.

use crate::store::{Audience, Identity};
use serde_json::{Value, json};

/// The life of a token, in seconds; the kubelet renews it at four fifths.
const TOKEN_SECONDS: u32 = 3600;

/// The sources of the identity volume.
pub(super) fn sources(identity: &Identity) -> Vec<Value> {
    let tokens = identity.tokens().map(|(audience, path)| match audience {
        Audience::ApiServer => json!({"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": path}}),
        Audience::Store(audience) => json!({
            "serviceAccountToken": {"audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": path},
        }),
    });
    let secrets = identity
        .secrets()
        .map(|(secret, key, path)| json!({"secret": {"name": secret, "items": [{"key": key, "path": path}]}}));
    let config_maps = identity
        .config_maps()
        .map(|(name, key, path)| json!({"configMap": {"name": name, "items": [{"key": key, "path": path}]}}));
    tokens.chain(secrets).chain(config_maps).collect()
}
