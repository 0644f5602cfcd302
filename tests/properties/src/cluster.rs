//! What the reviews are judged by: one small cluster in which there is something of everything.

use alcove_injection::Settings;
use alcove_injection::settings::KubernetesVersion;
use alcove_webhook::admission::{Admission, Turns};
use alcove_webhook::args::Webhook;
pub use alcove_webhook::objects::Item;
use alcove_webhook::objects::{Kind, View};
use alcove_webhook::review::{Answer, Review};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fmt;
use tokio::runtime::{Builder, Runtime};

/// The image that is injected.
const IMAGE: &str = "registry.example/alcove-sidecar:1";

/// A webhook that knows everything it will ever know.
pub struct Cluster {
    admission: Admission,
    runtime: Runtime,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// The one with these objects.
    pub fn of(items: impl IntoIterator<Item = Item>) -> Result<Self> {
        let mut view = View::default();
        items.into_iter().for_each(|item| view.apply(item));
        let admission = Admission::from_files(view, Settings::new(IMAGE, KubernetesVersion::new(1, 37)));
        Ok(Self { admission, runtime: Builder::new_current_thread().build()? })
    }

    #[expect(clippy::expect_used, reason = "the only review there is finds a turn")]
    pub(crate) fn answer(&self, webhook: Webhook, review: Review) -> Answer {
        let answered = self.runtime.block_on(self.admission.review(webhook, review, &Turns::of(1)));
        answered.expect("there is a turn").0
    }
}

/// What is in `cluster.yaml`: namespaces of which one is under enforcement, and in them stores, bindings, policies,
/// accounts and limits.
pub fn items() -> Result<Vec<Item>> {
    let documents = documents(include_str!("cluster.yaml")).context("cluster.yaml is no YAML")?;
    let items: Vec<Item> = documents.iter().filter_map(item).collect();
    anyhow::ensure!(items.len() == documents.len(), "cluster.yaml holds what no review depends on");
    Ok(items)
}

/// The documents of a manifest, unless it is none.
#[must_use]
pub fn documents(yaml: &str) -> Option<Vec<Value>> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(yaml, options).ok()
}

/// The object that a watch would make of a document; nothing if no review depends on it.
#[must_use]
pub fn item(document: &Value) -> Option<Item> {
    let stated = document.get("kind")?.as_str()?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == stated)?;
    Item::delivered(kind, document).ok()
}
