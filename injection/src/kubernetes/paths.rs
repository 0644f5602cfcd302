//! Where a file of a volume may be: below the volume, and not among the names that the kubelet keeps to itself.

use super::report::{Path, Report};

/// A path relative to the volume that leaves the names beginning with `..` alone (`ValidateLocalNonReservedPath`).
pub(super) fn check(target: &str, at: &Path<'_>, report: &mut Report) {
    if target.starts_with('/') {
        report.invalid(at, target, "must be a relative path");
    }
    check_backsteps(target, at, report);
    // Kubernetes does not say it of `../a`, where the step back is already said; of `..` it says both.
    if target.starts_with("..") && !target.starts_with("../") {
        report.invalid(at, target, "must not start with '..'");
    }
}

/// A path without steps back (`validatePathNoBacksteps`).
pub(super) fn check_backsteps(target: &str, at: &Path<'_>, report: &mut Report) {
    if target.split('/').any(|element| element == "..") {
        report.invalid(at, target, "must not contain '..'");
    }
}
