//! How much memory the objects of one namespace may take, so that whoever may write them takes it from nobody else.

use alcove_injection::footprint::Footprint as _;
use alcove_resources::policy::PolicyMode;

use super::{Content, Item, Key, Kind};

/// How many bytes the objects of one namespace may take together: many times what they do where they are of use.
const MOST: usize = 16 * 1024 * 1024;
/// What an object takes in the tables that it stands in, beside what is made of it.
const PLACES: usize = 448;
/// What a namespace takes more: it has tables of its own, and its name for a label.
const TABLES: usize = 1024;

/// What the objects of one namespace have taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    taken: usize,
}

impl Share {
    /// Takes what an item weighs. Of one that weighs more than what is left, nothing is kept but that it exists: an object
    /// of ours refuses whoever depends on it, an account lets its Pods name no Secret, and a LimitRange is left to the API
    /// server, which judges by it anyhow. The labels of the namespace itself are always kept, since policies that select
    /// by them protect others; what they weigh is missing for its objects.
    pub fn admit(&mut self, item: Item) -> Item {
        let taken = self.taken.saturating_add(item.weight);
        if taken > MOST && item.weight > 0 && item.key.kind != Kind::Namespace {
            return Item { content: Content::LeftOut(mode_of(&item.content)), weight: 0, ..item };
        }
        self.taken = taken;
        item
    }

    /// Gives back what an item weighed that is gone.
    pub(super) const fn give_back(&mut self, weight: usize) {
        self.taken = self.taken.saturating_sub(weight);
    }

    /// Whether nothing is taken.
    pub(super) const fn is_whole(self) -> bool {
        self.taken == 0
    }
}

/// Whether a policy is enforced; every other object is.
fn mode_of(content: &Content) -> PolicyMode {
    match content {
        Content::Ours(kept) => kept.mode(),
        Content::LeftOut(mode) => *mode,
        Content::Namespace(_) | Content::ServiceAccount(_) | Content::LimitRange(_) => PolicyMode::Enforce,
    }
}

/// About how many bytes of memory an object takes where it is kept; 0 for what administrators write of our kinds.
pub(super) fn weight(key: &Key, content: &Content) -> usize {
    let made = match content {
        Content::Ours(_) if !key.kind.is_namespaced() => return 0,
        Content::Ours(kept) => kept.heap(),
        Content::LeftOut(_) => return 0,
        Content::Namespace(labels) => labels.heap().saturating_add(TABLES),
        Content::ServiceAccount(account) => account.heap(),
        Content::LimitRange(range) => range.heap(),
    };
    // Its name stands in two tables.
    made.saturating_add(key.name.len().saturating_mul(2)).saturating_add(PLACES)
}
