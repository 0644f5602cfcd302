//! The files that a volume is to hold.

use alcove_contract::mode::Mode;
use alcove_contract::path::RelativePath;
use std::collections::{BTreeMap, BTreeSet, btree_map};

/// The files that a volume is to hold, by path. The bytes stay where they are.
#[derive(Default)]
pub struct Payload<'content>(BTreeMap<RelativePath, PayloadFile<'content>>);

/// One file.
#[derive(Clone, Copy)]
pub struct PayloadFile<'content> {
    /// Its bytes.
    pub content: &'content [u8],
    /// Its mode.
    pub mode: Mode,
}

/// Two paths of which one would have to be a file and a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be both a file and a directory: {path} (for {below})")]
pub struct Conflict {
    path: String,
    below: String,
}

impl std::fmt::Debug for Payload<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl std::fmt::Debug for PayloadFile<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PayloadFile").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl<'content> Payload<'content> {
    /// Adds a file; of two files with one path the later wins.
    pub fn insert(&mut self, path: RelativePath, file: PayloadFile<'content>) {
        self.0.insert(path, file);
    }

    /// The files by path.
    pub fn iter(&self) -> btree_map::Iter<'_, RelativePath, PayloadFile<'content>> {
        self.0.iter()
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses paths that exclude each other.
    ///
    /// # Errors
    ///
    /// The first path that is a file and would have to be a directory.
    pub fn check(&self) -> Result<(), Conflict> {
        let files: BTreeSet<&str> = self.0.keys().map(RelativePath::as_str).collect();
        let conflict = |path: &RelativePath| {
            let parent = path.parents().find(|parent| files.contains(parent))?;
            Some(Conflict { path: parent.to_owned(), below: path.to_string() })
        };
        self.0.keys().find_map(conflict).map_or(Ok(()), Err)
    }

    /// The names that nobody sees because a mount point has them, as with the kubelet.
    #[must_use]
    pub fn hidden_by(&self, mount_points: &[RelativePath]) -> BTreeSet<&str> {
        let taken: BTreeSet<&str> = mount_points.iter().map(RelativePath::first).collect();
        self.0.keys().map(RelativePath::first).filter(|name| taken.contains(name)).collect()
    }

    /// The names that the volume's users see: the first element of every path.
    pub(super) fn visible_names(&self) -> BTreeSet<String> {
        self.0.keys().map(|path| path.first().to_owned()).collect()
    }

    /// Every directory, each once.
    pub(super) fn directories(&self) -> impl Iterator<Item = &str> {
        self.0.keys().flat_map(RelativePath::parents).collect::<BTreeSet<_>>().into_iter()
    }
}

impl<'payload, 'content> IntoIterator for &'payload Payload<'content> {
    type Item = (&'payload RelativePath, &'payload PayloadFile<'content>);
    type IntoIter = btree_map::Iter<'payload, RelativePath, PayloadFile<'content>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
