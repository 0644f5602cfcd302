//! Paths in a volume, by the kubelet's rules.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest path, in bytes.
const LONGEST_PATH: usize = 4096;
/// The longest element of a path, in bytes.
const LONGEST_NAME: usize = 255;

/// A path that stays in its volume and does not meet the names that publishing itself uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

/// Why something is not a path of a file in a volume, in the kubelet's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid path \"{}\": {reason}", .path.escape_debug())]
pub struct RelativePathError {
    path: String,
    reason: &'static str,
}

impl RelativePath {
    /// The cleaned path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first element, which is the name that the volume's users see.
    #[must_use]
    pub fn first(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The directories above it, the outermost first.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').filter_map(|(end, _)| self.0.get(..end))
    }
}

impl FromStr for RelativePath {
    type Err = RelativePathError;

    fn from_str(text: &str) -> Result<Self, RelativePathError> {
        let refused = |reason| Err(RelativePathError { path: text.to_owned(), reason });
        let elements: Vec<&str> = text.split('/').filter(|element| !matches!(*element, "" | ".")).collect();
        match elements.first() {
            _ if text.starts_with('/') => refused("must be a relative path"),
            None => refused("must not be empty"),
            _ if text.len() > LONGEST_PATH => refused("must be at most 4096 bytes long"),
            _ if elements.contains(&"..") => refused("must not contain '..'"),
            Some(first) if first.starts_with("..") => refused("must not start with '..'"),
            _ if elements.iter().any(|element| element.len() > LONGEST_NAME) => {
                refused("must not have an element of more than 255 bytes")
            }
            _ if text.contains('\0') => refused("must not contain a NUL byte"),
            Some(_) => Ok(Self(elements.join("/"))),
        }
    }
}

impl TryFrom<String> for RelativePath {
    type Error = RelativePathError;

    fn try_from(text: String) -> Result<Self, RelativePathError> {
        text.parse()
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_cleaned_as_the_kubelet_cleans_them() {
        for (text, clean) in [("a", "a"), ("./a", "a"), ("a//b/", "a/b"), ("a/./b", "a/b"), (".hidden", ".hidden")] {
            assert_eq!(text.parse::<RelativePath>().unwrap().as_str(), clean);
        }
        assert!("a/..b".parse::<RelativePath>().is_ok(), "only the first element is reserved");
    }

    #[test]
    fn paths_that_leave_the_volume_or_meet_reserved_names_are_refused() {
        let (long_name, long_path) = ("n".repeat(256), "n/".repeat(2049));
        for wrong in
            ["", ".", "/", "/a", "..", "../a", "a/../b", "a/..", "..data", "..a/b", "a\0b", &long_name, &long_path]
        {
            assert!(wrong.parse::<RelativePath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn parents_come_from_the_outside_in() {
        let path: RelativePath = "a/b/c".parse().unwrap();
        assert_eq!(path.parents().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(path.first(), "a");
    }

    proptest! {
        #[test]
        fn no_accepted_path_leaves_its_volume(text in "[./a\\PC]{0,24}") {
            if let Ok(path) = text.parse::<RelativePath>() {
                prop_assert!(path.as_str().split('/').all(|element| !matches!(element, "" | "." | "..")));
                prop_assert!(!path.first().starts_with(".."));
            }
        }
    }
}
