//! Paths of mounts, as a container runtime and as the kubelet reads them.

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

/// What Go's `filepath.Clean` makes of a path, which is what the kubelet compares: a path that does not begin with `/`
/// stays so, and may lead upwards.
pub(crate) fn lexically_clean(path: &str) -> String {
    if path.starts_with('/') {
        let absolute = clean(path);
        return if absolute.is_empty() { "/".to_owned() } else { absolute };
    }
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => drop(names.pop()),
            name => names.push(name),
        }
    }
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
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
    fn a_relative_path_stays_relative_where_the_kubelet_cleans_it() {
        let cases = [
            ("/a//b/./c/..", "/a/b"),
            ("/../a", "/a"),
            ("//", "/"),
            ("a//b/", "a/b"),
            ("./a/../b", "b"),
            ("a/..", "."),
            ("", "."),
            ("a/../../b", "../b"),
            ("../../a/..", "../.."),
        ];
        for (path, cleaned) in cases {
            assert_eq!(lexically_clean(path), cleaned, "{path}");
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
