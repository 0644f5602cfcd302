//! The sidecar's container and the volumes of its own.

use super::document::{set, text};
use super::path::{clean, is_within};
use super::size;
use super::user::User;
use super::volumes::{Replaced, Volumes};
use crate::settings::{PullPolicy, Settings};
use alcove_contract::configuration::{EnvironmentConfiguration, SidecarConfiguration};
use alcove_contract::{Problems, layout};
use serde_json::{Value, json};

/// The program in the sidecar's image.
const PROGRAM: &str = "/alcove-sidecar";
/// How often the kubelet asks whether the files are there. A sidecar that waits for its store is never killed for it: a
/// year of one-second periods.
const MOST_PERIODS: u32 = 365 * 24 * 60 * 60;
/// How long the kubelet waits for that answer on a node without a processor to spare.
const PROBE_TIMEOUT_SECONDS: u32 = 5;
/// Room for the longest line of an env file, twice: the old file and the new one.
const KIBIBYTES_PER_ENTRY: u32 = 2 * 64;
const MEBIBYTES_OF_STATUS: u32 = 1;

/// Everything that the sidecar is made from.
#[derive(Debug)]
pub(crate) struct Sidecar<'a> {
    pub settings: &'a Settings,
    pub configuration: SidecarConfiguration,
    pub volumes: &'a Volumes,
    /// The sources of the identity volume: tokens, credentials, certificate authorities.
    pub identity: Vec<Value>,
    pub user: User,
    pub resources: Value,
    /// The container as an earlier call left it, and others have changed it since.
    pub found: &'a Value,
}

impl Sidecar<'_> {
    /// The container.
    ///
    /// Every field that the API server would fill in is written out, so that a second call finds what the first wrote.
    ///
    /// # Errors
    ///
    /// A configuration that does not fit into environment variables.
    pub(crate) fn container(&self) -> Result<Value, Problems> {
        let mut container = json!({
            "name": layout::CONTAINER,
            "image": self.settings.sidecar_image,
            "imagePullPolicy": self.pull_policy().as_str(),
            "args": ["run"],
            "env": self.variables()?,
            "resources": self.resources,
            "volumeMounts": self.mounts(),
            "startupProbe": {
                "exec": {"command": [PROGRAM, "ready"]},
                "periodSeconds": 1,
                "timeoutSeconds": PROBE_TIMEOUT_SECONDS,
                "successThreshold": 1,
                "failureThreshold": MOST_PERIODS,
            },
            "restartPolicy": "Always",
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": self.security_context(),
        });
        // Some API servers fill this in.
        if let Some(policy) = self.found.get("resizePolicy") {
            set(&mut container, "resizePolicy", policy.clone());
        }
        Ok(container)
    }

    /// The volumes that only the sidecar mounts, in their order.
    pub(crate) fn own_volumes(&self) -> Vec<Value> {
        let mirrors = self.volumes.mirrors.iter().map(|mirror| {
            let projected = json!({"sources": mirror.sources, "defaultMode": mirror.default_mode.bits()});
            json!({"name": mirror.name, "projected": projected})
        });
        let identity = (!self.identity.is_empty()).then(|| {
            // Readable whoever the sidecar runs as; the volume is mounted nowhere else.
            json!({"name": layout::IDENTITY_VOLUME, "projected": {"sources": self.identity, "defaultMode": 0o444}})
        });
        let environment = self
            .has_environment()
            .then(|| memory(layout::ENVIRONMENT_VOLUME, mebibytes_of_environments(&self.configuration.environments)));
        let status = memory(layout::STATUS_VOLUME, MEBIBYTES_OF_STATUS);
        let empty = memory(layout::EMPTY_VOLUME, 1);
        mirrors.chain(identity).chain(environment).chain([status, empty]).collect()
    }

    fn has_environment(&self) -> bool {
        !self.configuration.environments.is_empty()
    }

    fn variables(&self) -> Result<Vec<Value>, Problems> {
        let place = format!("spec.initContainers[{}].env", layout::CONTAINER);
        let variables = self.configuration.to_variables().map_err(|problems| problems.below(&place))?;
        // Kubernetes expands `$(NAME)` in values: written as JSON's own escape, a dollar sign is only ever read by the
        // sidecar.
        let variable = |(name, value): (String, String)| json!({"name": name, "value": value.replace('$', "\\u0024")});
        Ok(variables.into_iter().map(variable).collect())
    }

    fn mounts(&self) -> Vec<Value> {
        let replaced = self.configuration.volumes.iter().map(|volume| writable(volume.name.as_str(), &volume.path));
        let mirrors = self.volumes.mirrors.iter().map(|mirror| read_only(&mirror.name, &mirror.path));
        let identity = (!self.identity.is_empty()).then(|| read_only(layout::IDENTITY_VOLUME, layout::IDENTITY));
        let environment = self.has_environment().then(|| writable(layout::ENVIRONMENT_VOLUME, layout::ENVIRONMENT));
        let status = writable(layout::STATUS_VOLUME, layout::STATUS);
        // The ServiceAccount admission mounts the API's token at this path, unless something is there already.
        let empty = read_only(layout::EMPTY_VOLUME, layout::DEFAULT_API_TOKEN);
        replaced.chain(mirrors).chain(identity).chain(environment).chain([status, empty]).collect()
    }

    /// The administrator's policy, or the one that Kubernetes would choose, unless others want the image pulled at every
    /// start: the admission plugin AlwaysPullImages refuses a Pod that does not obey it.
    fn pull_policy(&self) -> PullPolicy {
        if text(self.found, "imagePullPolicy") == PullPolicy::Always.as_str() {
            return PullPolicy::Always;
        }
        self.settings.sidecar_image_pull_policy.unwrap_or_else(|| {
            let name = self.settings.sidecar_image.rsplit('/').next().unwrap_or_default();
            let is_pinned = name.contains('@') || name.split_once(':').is_some_and(|(_, tag)| tag != "latest");
            if is_pinned { PullPolicy::IfNotPresent } else { PullPolicy::Always }
        })
    }

    fn security_context(&self) -> Value {
        let mut context = json!({
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsUser": self.user.id,
            "runAsNonRoot": self.user.id != 0,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        if self.user.id == 0 {
            // Files of the kubelet belong to root and its group, whatever group the Pod runs with.
            set(&mut context, "runAsGroup", 0.into());
        }
        context
    }
}

/// How much the volumes hold that the sidecar fills.
pub(crate) fn mebibytes_of_files(volumes: &Volumes, environments: &[EnvironmentConfiguration]) -> u32 {
    let environments = if environments.is_empty() { 0 } else { mebibytes_of_environments(environments) };
    let replaced = volumes.iter().map(Replaced::mebibytes);
    replaced.fold(environments.saturating_add(MEBIBYTES_OF_STATUS), u32::saturating_add)
}

fn mebibytes_of_environments(environments: &[EnvironmentConfiguration]) -> u32 {
    let entries: usize = environments.iter().map(|environment| environment.entries.len()).sum();
    let kibibytes = u32::try_from(entries).unwrap_or(u32::MAX).saturating_mul(KIBIBYTES_PER_ENTRY);
    kibibytes.div_ceil(1024).saturating_add(1)
}

/// Whether a volume is one that the autoscaler would count as holding local data.
pub(crate) fn is_memory(volume: &Value) -> bool {
    volume.get("emptyDir").is_some_and(|source| text(source, "medium") == "Memory")
}

/// Whether a mount at this path would change what the sidecar is or sees of its own.
pub(crate) fn is_own_path(path: &str) -> bool {
    let path = clean(path);
    let own = [PROGRAM, layout::ROOT, layout::DEFAULT_API_TOKEN, "/etc", "/proc", "/sys", "/dev"];
    own.iter().any(|own| is_within(&path, own) || is_within(own, &path))
}

fn memory(name: &str, mebibytes: u32) -> Value {
    json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size::mebibytes(mebibytes)}})
}

fn writable(name: &str, path: &str) -> Value {
    json!({"name": name, "mountPath": path})
}

fn read_only(name: &str, path: &str) -> Value {
    json!({"name": name, "mountPath": path, "readOnly": true})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sidecars_own_paths_are_known_in_every_spelling() {
        let own = [
            "alcove-sidecar",
            "//alcove/identity",
            "/x/../alcove/identity",
            "/",
            ".",
            "/var/run",
            "/etc/ssl/",
            "/./proc",
        ];
        for path in own {
            assert!(is_own_path(path), "{path}");
        }
        for other in ["/opt/proxy", "/alcove-proxy", "/var/run/secrets/tokens", "/etcd", "/alcove/../opt"] {
            assert!(!is_own_path(other), "{other}");
        }
    }
}
