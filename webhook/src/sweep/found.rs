//! What is found, and by what knowledge.

use std::sync::Arc;

use alcove_injection::settings::Settings;
use alcove_injection::sweep::{Finding, inspect};
use alcove_injection::{Catalog, Context, Pod};
use serde_json::Value;

use super::pages::Page;

/// How many steps policies may take for one Pod, some milliseconds: there are many Pods, and nobody waits for the answer.
const MOST_STEPS: usize = 5_000_000;

/// What Pods are judged by.
#[derive(Debug)]
pub(super) struct Knowledge {
    pub(super) catalog: Arc<Catalog>,
    pub(super) settings: Arc<Settings>,
}

/// A Pod of which there is something to tell.
#[derive(Debug)]
pub(super) struct Found {
    /// Its place on its page.
    pub(super) index: usize,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) finding: Finding,
}

impl Knowledge {
    /// What is found among these Pods of a page.
    pub(super) fn inspect(&self, page: &Page, which: &[usize]) -> Vec<Found> {
        let context = Context { catalog: &self.catalog, settings: &self.settings, most_steps: MOST_STEPS };
        which.iter().filter_map(|&index| Found::on(page, index, &context)).collect()
    }
}

impl Found {
    fn on(page: &Page, index: usize, context: &Context<'_>) -> Option<Self> {
        let document: Value = serde_json::from_str(page.pods.get(index)?.get()).ok()?;
        let metadata = |field: &str| document.get("metadata")?.get(field)?.as_str().map(str::to_owned);
        let (namespace, pod, uid) = (metadata("namespace")?, metadata("name")?, metadata("uid")?);
        let finding = inspect(&Pod::new(document, &namespace).ok()?, context)?;
        Some(Self { index, namespace, pod, uid, finding })
    }
}
