//! What the administrator decided, for all Pods: the flags of the webhook.

use alcove_contract::annotations::{ResourceList, SidecarResources};
use alcove_contract::quantity::Quantity;
use alcove_contract::{Problem, Problems};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What the administrator decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The sidecar's image, by digest where the administrator says so.
    pub sidecar_image: String,
    /// Other images that a created Pod's sidecar may have: those of the versions that inject at the same time, while one
    /// takes the place of the other.
    pub tolerated_images: BTreeSet<String>,
    /// When the kubelet pulls that image; without it, Kubernetes' default for the image's tag.
    pub sidecar_image_pull_policy: Option<PullPolicy>,
    /// The oldest version among the API server and the nodes.
    pub kubernetes_version: KubernetesVersion,
    /// The API server's address as Pods reach it, for stores that are Kubernetes.
    pub api_server: String,
    /// The audiences that the API server itself accepts: a tenant's store is never sent a token with one of them.
    pub api_audiences: BTreeSet<String>,
    /// What becomes of a request that no policy speaks of.
    pub default_policy: DefaultPolicy,
    /// Whether sidecars may run as uid 0.
    pub root_user: RootUser,
    /// What a sidecar asks for, and how far a Pod may change it.
    pub resources: ResourceSettings,
    /// The version of the webhook, which injected Pods carry.
    pub version: String,
}

impl Settings {
    /// The settings of an administrator who decided nothing but the image and knows the cluster's version.
    #[must_use]
    pub fn new(sidecar_image: impl Into<String>, kubernetes_version: KubernetesVersion) -> Self {
        let audiences = ["https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"];
        Self {
            sidecar_image: sidecar_image.into(),
            tolerated_images: BTreeSet::new(),
            sidecar_image_pull_policy: None,
            kubernetes_version,
            api_server: "https://kubernetes.default.svc".to_owned(),
            api_audiences: audiences.map(str::to_owned).into(),
            default_policy: DefaultPolicy::Deny,
            root_user: RootUser::Allowed,
            resources: ResourceSettings::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A minor version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubernetesVersion {
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
}

impl KubernetesVersion {
    /// The version `major.minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl FromStr for KubernetesVersion {
    type Err = Problem;

    /// Reads `1.37`, and what servers and nodes say of themselves: `v1.37.2`, `1.37+`, `v1.37.2-gke.1`.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let parse = || {
            let (major, rest) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
            let minor = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse().ok_or_else(|| {
            Problem::new("", "is not a version of Kubernetes").with_value(text).with_remedy("write it as in 1.37")
        })
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Declares an enum whose values are words of a flag.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $reason:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The word of the flag.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = Problem;

            fn from_str(text: &str) -> Result<Self, Problem> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Problem::new("", $reason)
                        .with_value(text)
                        .with_remedy(format!("known: {}", [$($word),+].join(", ")))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// When the kubelet pulls an image.
    PullPolicy, "is not an image pull policy" {
        /// At every start.
        Always = "Always",
        /// Where the node does not have it yet.
        IfNotPresent = "IfNotPresent",
        /// At no time: the node has it, or the container does not start.
        Never = "Never",
    }
}

words! {
    /// What becomes of a request that no policy speaks of.
    DefaultPolicy, "is not a default policy" {
        /// It is refused.
        Deny = "deny",
        /// It is granted: for clusters with a single tenant.
        Allow = "allow",
    }
}

words! {
    /// Whether a sidecar may run as uid 0 where its files' owner has to be root.
    RootUser, "is neither allowed nor forbidden" {
        /// It may, without any capability.
        Allowed = "allowed",
        /// It may not; a warning names the files that it matters for.
        Forbidden = "forbidden",
    }
}

/// What a sidecar asks for, and how far a Pod may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceSettings {
    /// What a sidecar asks for where the Pod says nothing. The pages that it writes are added to the memory limit.
    pub defaults: SidecarResources,
    /// No request or limit may be smaller.
    pub least: ResourceList,
    /// No request or limit may be larger.
    pub most: ResourceList,
}

impl Default for ResourceSettings {
    fn default() -> Self {
        let memory = |mebibytes| Some(Quantity::mebibytes(mebibytes));
        let cpu = |text: &str| text.parse().ok();
        Self {
            defaults: SidecarResources {
                requests: ResourceList { cpu: cpu("5m"), memory: memory(16), ephemeral_storage: memory(16) },
                limits: ResourceList { cpu: cpu("100m"), memory: memory(64), ephemeral_storage: memory(64) },
            },
            least: ResourceList { cpu: None, memory: memory(8), ephemeral_storage: None },
            most: ResourceList { cpu: cpu("1"), memory: memory(1024), ephemeral_storage: memory(1024) },
        }
    }
}

impl ResourceSettings {
    /// Checks what a Pod or another webhook asks for.
    ///
    /// # Errors
    ///
    /// Every amount that is out of bounds, with its place below `resources`.
    pub fn check(&self, asked: &SidecarResources) -> Result<(), Problems> {
        let lists = [("requests", &asked.requests), ("limits", &asked.limits)];
        let problems: Problems =
            lists.into_iter().flat_map(|(list, amounts)| self.out_of_bounds(amounts, list)).collect();
        problems.or(())
    }

    fn out_of_bounds(&self, asked: &ResourceList, list: &str) -> impl Iterator<Item = Problem> {
        let amounts = [
            ("cpu", &asked.cpu, &self.least.cpu, &self.most.cpu),
            ("memory", &asked.memory, &self.least.memory, &self.most.memory),
            (
                "ephemeral-storage",
                &asked.ephemeral_storage,
                &self.least.ephemeral_storage,
                &self.most.ephemeral_storage,
            ),
        ];
        amounts.into_iter().filter_map(move |(name, amount, least, most)| {
            let amount = amount.as_ref()?;
            let below = least.as_ref().filter(|least| amount < least).map(|least| format!("is less than {least}"));
            let above = || most.as_ref().filter(|most| amount > most).map(|most| format!("is more than {most}"));
            let reason = below.or_else(above)?;
            Some(
                Problem::new(format!("{list}.{name}"), format!("{reason}, the bound that the administrator has set"))
                    .with_value(amount.as_str()),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_servers_and_nodes_say() {
        for text in ["1.37", "v1.37.2", "1.37+", "v1.37.2-gke.1"] {
            assert_eq!(text.parse(), Ok(KubernetesVersion::new(1, 37)), "{text}");
        }
        for wrong in ["", "1", "v1", "1.", "1.x", "one.two", "1.99999999999"] {
            assert!(wrong.parse::<KubernetesVersion>().is_err(), "{wrong}");
        }
        assert!(KubernetesVersion::new(1, 9) < KubernetesVersion::new(1, 35));
    }

    #[test]
    fn words_of_flags_are_read_as_they_are_printed_and_others_are_refused_with_the_list() {
        assert_eq!("allow".parse(), Ok(DefaultPolicy::Allow));
        assert_eq!(RootUser::Forbidden.to_string().parse(), Ok(RootUser::Forbidden));
        let problem = "always".parse::<PullPolicy>().unwrap_err();
        assert_eq!(problem.remedy.as_deref(), Some("known: Always, IfNotPresent, Never"));
    }

    #[test]
    fn amounts_out_of_bounds_are_all_named_and_the_bounds_themselves_are_fine() {
        let settings = ResourceSettings::default();
        assert_eq!(settings.check(&settings.defaults), Ok(()));
        let fine: SidecarResources = "{requests: {cpu: 1000m, memory: 8Mi}, limits: {memory: 1Gi}}".parse().unwrap();
        assert_eq!(settings.check(&fine), Ok(()));
        let wrong: SidecarResources = "{requests: {cpu: 1001m, memory: 7Mi}, limits: {memory: 2Gi}}".parse().unwrap();
        let problems = settings.check(&wrong).unwrap_err();
        let places: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["requests.cpu", "requests.memory", "limits.memory"]);
    }
}
