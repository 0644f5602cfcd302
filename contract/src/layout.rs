//! Where things are inside the sidecar's container, and what the injected objects are called.
//!
//! The webhook writes these paths into the Pod and into the configuration; the sidecar reads them from the
//! configuration only.

/// The name of the injected container.
pub const CONTAINER: &str = "alcove-sidecar";

/// Below this directory of the sidecar stands whatever is mounted in it for its work.
pub const ROOT: &str = "/alcove";

/// What every volume that Alcove adds begins with; a Pod may not bring such a volume itself.
pub const VOLUME_PREFIX: &str = "alcove-";

/// The volume with the tokens and credentials that stores are logged in with, mounted in the sidecar alone.
pub const IDENTITY_VOLUME: &str = "alcove-identity";
/// Where [`IDENTITY_VOLUME`] is mounted.
pub const IDENTITY: &str = "/alcove/identity";

/// The volume with one env file for each container.
pub const ENVIRONMENT_VOLUME: &str = "alcove-env";
/// Where [`ENVIRONMENT_VOLUME`] is mounted.
pub const ENVIRONMENT: &str = "/alcove/env";

/// The volume that holds the sidecar's own state: whether it is ready.
pub const STATUS_VOLUME: &str = "alcove-status";
/// Where [`STATUS_VOLUME`] is mounted.
pub const STATUS: &str = "/alcove/status";

/// The empty volume that covers the default API token.
pub const EMPTY_VOLUME: &str = "alcove-empty";

/// Below this directory every replaced volume is mounted, under its own name.
pub const VOLUMES: &str = "/alcove/volumes";

/// Below this directory the other sources of a replaced projected volume are mounted, `<volume>/<number>`.
pub const MIRRORS: &str = "/alcove/mirrors";

/// What the volumes that carry a projected volume's other sources begin with: `alcove-mirror-<number>`.
pub const MIRROR_VOLUME_PREFIX: &str = "alcove-mirror-";

/// Where the API server's token is mounted by default.
pub const DEFAULT_API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
