//! Which namespaces this installation serves: in the others nobody expects a sidecar of it.

use alcove_injection::Catalog;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::Api;
use kube::core::{Selector, SelectorExt as _};
use kube::{Client, Error};

/// Where Alcove is in the cluster.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// Its own namespace.
    pub namespace: String,
    /// The name of its webhook configurations.
    pub configuration: String,
}

impl Whereabouts {
    /// In `namespace`, with webhook configurations of the name `configuration`.
    #[must_use]
    pub fn of(namespace: &str, configuration: &str) -> Self {
        Self { namespace: namespace.to_owned(), configuration: configuration.to_owned() }
    }
}

/// The namespaces that this installation serves.
#[derive(Debug)]
pub(super) enum Served {
    /// Those that its configuration selects.
    Selected(Vec<Selector>),
    /// While there is no configuration, which is when Pods come past the webhook: all that no installation serves are left
    /// out.
    AllBut([String; 3]),
}

impl Served {
    /// Reads the configuration by which API servers call the webhook.
    pub(super) async fn of(client: &Client, whereabouts: &Whereabouts) -> Result<Self, Error> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let configuration = configurations.get_opt(&whereabouts.configuration).await?;
        let webhooks = configuration.and_then(|configuration| configuration.webhooks).unwrap_or_default();
        if webhooks.is_empty() {
            let never = ["kube-system", "kube-node-lease", whereabouts.namespace.as_str()];
            return Ok(Self::AllBut(never.map(str::to_owned)));
        }
        let selectors = webhooks.into_iter().map(|webhook| webhook.namespace_selector.unwrap_or_default());
        // What Kubernetes itself cannot read it has not stored.
        Ok(Self::Selected(selectors.filter_map(|selector| Selector::try_from(selector).ok()).collect()))
    }

    pub(super) fn includes(&self, namespace: &str, catalog: &Catalog) -> bool {
        match self {
            Self::AllBut(never) => !never.iter().any(|name| name == namespace),
            Self::Selected(selectors) => {
                // A namespace that is not known yet is known at the next sweep.
                let labels = catalog.namespace_labels(namespace);
                labels.is_some_and(|labels| selectors.iter().any(|selector| selector.matches(labels)))
            }
        }
    }
}
