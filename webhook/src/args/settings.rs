//! What administrators decide about injection, from flags to [`Settings`].

use std::str::FromStr;

use alcove_contract::Problem;
use alcove_injection::settings::{KubernetesVersion, Settings};

use super::SettingsArgs;

/// What is assumed where there is no cluster to ask.
const ASSUMED: KubernetesVersion = KubernetesVersion::new(1, 37);

impl SettingsArgs {
    /// The settings; the version of Kubernetes is the one that was typed, or a guess to be corrected by the cluster.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.sidecar_image.as_str(), self.kubernetes_version.unwrap_or(ASSUMED));
        settings.tolerated_images = self.also_accept_sidecar_image.iter().map(ToString::to_string).collect();
        settings.sidecar_image_pull_policy = self.sidecar_image_pull_policy;
        settings.api_server = self.api_server();
        if !self.api_audiences.is_empty() {
            settings.api_audiences = self.api_audiences.iter().cloned().collect();
        }
        settings.default_policy = self.default_policy;
        settings.root_user = self.root_user;
        if let Some(resources) = &self.sidecar_resources {
            settings.resources.defaults = resources.clone();
        }
        if let Some(bounds) = &self.sidecar_resource_bounds {
            settings.resources.least = bounds.requests.clone();
            settings.resources.most = bounds.limits.clone();
        }
        settings
    }

    /// The address of the API server as Pods reach it.
    fn api_server(&self) -> String {
        if let Some(address) = &self.kubernetes_api_server {
            return address.clone();
        }
        let port = self.service_port.as_deref().unwrap_or("443");
        match self.service_host.as_deref() {
            // An IPv6 address in a URL stands in brackets.
            Some(host) if host.contains(':') => format!("https://[{host}]:{port}"),
            Some(host) => format!("https://{host}:{port}"),
            None => "https://kubernetes.default.svc".to_owned(),
        }
    }
}

/// Reads a word of a flag; the command line shows the word itself.
pub(super) fn word<T: FromStr<Err = Problem>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|problem: Problem| match problem.remedy {
        Some(remedy) => format!("{}; {remedy}", problem.reason),
        None => problem.reason,
    })
}
