//! Versions of Kubernetes as they are typed and as servers and nodes report them.

use std::fmt;
use std::str::FromStr;

/// The minor version of a Kubernetes server or node: `1.37`, also written `v1.37.0` or `v1.35.2-gke.100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubernetesVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl KubernetesVersion {
    /// What is assumed where there is no cluster to ask.
    pub const ASSUMED: Self = Self { major: 1, minor: 37 };
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A text is no version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a version of Kubernetes: write it as 1.37")]
pub struct NotAVersion;

impl FromStr for KubernetesVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.');
        let major = numbers.next().and_then(|text| text.parse().ok()).ok_or(NotAVersion)?;
        // Some distributions report a minor version of "35+".
        let minor = numbers.next().map(|text| text.trim_end_matches('+')).ok_or(NotAVersion)?;
        let minor = minor.parse().ok().ok_or(NotAVersion)?;
        Ok(Self { major, minor })
    }
}
