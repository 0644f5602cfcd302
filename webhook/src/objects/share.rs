//! How much memory the objects of one namespace may take, so that whoever may write them takes it from nobody else.

use alcove_injection::catalog::{LimitRange, ServiceAccount};
use alcove_injection::mountable;
use serde_json::Value;

use super::{Content, Item, Kind};

/// What the objects of one namespace may weigh together: hundreds of times what they do where they are of use.
const MOST: usize = 16 * 1024 * 1024;
/// What a value weighs besides its text: what is made of it has a place of its own in memory.
const VALUE: usize = 96;

/// What is left for the objects of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(usize);

impl Default for Share {
    fn default() -> Self {
        Self(MOST)
    }
}

impl Share {
    /// Takes what an item weighs. Of one that weighs more than what is left, nothing is kept but that it exists: an object
    /// of ours refuses whoever depends on it, an account lets its Pods name no Secret, and a LimitRange is left to the API
    /// server, which judges by it anyhow.
    pub fn admit(&mut self, item: Item) -> Item {
        let Some(left) = self.0.checked_sub(item.weight) else {
            let content = match item.key.kind {
                Kind::Ours(kind) => Content::LeftOut(kind),
                Kind::ServiceAccount => Content::ServiceAccount(mountable::closed()),
                Kind::LimitRange => Content::LimitRange(LimitRange::default()),
                Kind::Namespace => item.content,
            };
            return Item { key: item.key, content, weight: 0 };
        };
        self.0 = left;
        item
    }

    /// Gives back what an item weighed that is gone.
    pub(super) fn give_back(&mut self, weight: usize) {
        self.0 = self.0.saturating_add(weight).min(MOST);
    }

    /// Whether nothing is taken.
    pub(super) fn is_whole(self) -> bool {
        self.0 == MOST
    }
}

/// About how many bytes of memory a ServiceAccount takes.
pub(super) fn weight_of_account(account: &ServiceAccount) -> usize {
    let annotations = account.annotations.iter().map(|(name, value)| name.len().saturating_add(value.len()));
    let names = account.secrets.iter().chain(&account.image_pull_secrets).map(String::len);
    annotations.chain(names).map(|length| length.saturating_add(VALUE)).fold(VALUE, usize::saturating_add)
}

/// About how many bytes of memory it takes to keep what a document says.
pub(super) fn weight(document: &Value) -> usize {
    VALUE.saturating_add(match document {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).fold(0, usize::saturating_add),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len().saturating_add(weight(value))).fold(0, usize::saturating_add)
        }
    })
}
