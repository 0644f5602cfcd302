//! Paths of mounts, as a container runtime reads them.

/// What a runtime makes of a mount path: absolute, without `.`, `..` and doubled slashes, and empty for the root.
///
/// Nothing outside of the container is reached by `..`, and a path that does not begin with `/` begins at the root.
pub(crate) fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.iter().flat_map(|name| ["/", name]).collect()
}

/// Whether a clean path is another one, or lies below it.
pub(crate) fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_the_same_path() {
        for spelling in ["/a/b", "a/b", "//a///b/", "/./a/./b/.", "/x/../a/b", "../../a/b", "/a/b/c/.."] {
            assert_eq!(clean(spelling), "/a/b", "{spelling}");
        }
        for root in ["", "/", "//", ".", "/a/..", "../.."] {
            assert_eq!(clean(root), "", "{root}");
        }
    }

    #[test]
    fn a_path_lies_within_itself_its_parents_and_the_root_and_not_beside() {
        for outer in ["/a/b", "/a", ""] {
            assert!(is_within("/a/b", outer), "{outer}");
        }
        for other in ["/a/b/c", "/a/bc", "/b"] {
            assert!(!is_within("/a/b", other), "{other}");
        }
        assert!(!is_within("/a/bc", "/a/b"));
    }
}
