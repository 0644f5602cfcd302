//! Projected volumes with a source that mentions a bound Secret: the volume is split, so all its sources are checked.

use std::collections::{BTreeSet, HashSet};

use alcove_contract::name::SecretName;
use serde_json::Value;

use super::fields::{list, number, present, text};
use super::report::{Path, Report};
use super::{downward, paths, volumes};

const CONFLICT: &str = "conflicting duplicate paths";
const ONE_TYPE: &str = "may not specify more than 1 volume type per source";
const SHORTEST_TOKEN: i64 = 10 * 60;
const LONGEST_TOKEN: i64 = 1 << 32;
const SOURCES: [&str; 6] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
const CERTIFICATE_PATHS: [&str; 3] = ["credentialBundlePath", "keyPath", "certificateChainPath"];

/// Whether a source of the volume is a bound Secret.
pub(super) fn mentions(projected: &Value, bound: &BTreeSet<SecretName>) -> bool {
    let mut secrets = list(projected, "sources").iter().filter_map(|source| present(source, "secret"));
    secrets.any(|secret| bound.contains(text(secret, "name")))
}

/// Checks a projected volume and every source of it.
pub(super) fn check(projected: &Value, path: &Path<'_>, report: &mut Report) {
    volumes::check_defaults(projected, path, report);
    let mut volume = Volume { path, taken: HashSet::new(), report };
    let sources = path.child("sources");
    for (index, source) in list(projected, "sources").iter().enumerate() {
        volume.check(source, &sources.item(index));
    }
}

/// The volume as far as it is known: which paths its earlier sources take.
struct Volume<'a> {
    path: &'a Path<'a>,
    taken: HashSet<&'a str>,
    report: &'a mut Report,
}

impl<'a> Volume<'a> {
    fn check(&mut self, source: &'a Value, path: &Path<'_>) {
        let mut stated = 0;
        for name in SOURCES {
            if let Some(projection) = present(source, name) {
                stated += 1;
                self.check_projection(name, projection, &path.child(name));
            }
        }
        if stated > 1 {
            self.report.forbidden(path, ONE_TYPE);
        }
    }

    fn check_projection(&mut self, name: &str, projection: &'a Value, path: &Path<'_>) {
        match name {
            "secret" | "configMap" => self.check_keys(projection, path),
            "downwardAPI" => self.check_downward(projection, path),
            "serviceAccountToken" => self.check_token(projection, path),
            "clusterTrustBundle" => self.check_trust_bundle(projection, path),
            _ => self.check_certificate(projection, path),
        }
    }

    fn check_keys(&mut self, projection: &'a Value, path: &Path<'_>) {
        let name = text(projection, "name");
        if name.is_empty() {
            self.report.required(&path.child("name"), "");
        }
        for (index, item) in list(projection, "items").iter().enumerate() {
            volumes::check_item(item, &path.child("items").item(index), self.report);
            self.take_said_of(text(item, "path"), name);
        }
    }

    fn check_downward(&mut self, projection: &'a Value, path: &Path<'_>) {
        for file in list(projection, "items") {
            volumes::check_file_path(file, path, self.report);
            downward::check_source(file, path, self.report);
            volumes::check_file_attributes(file, path, self.report);
            self.take(text(file, "path"));
        }
    }

    /// A token's path is said to be one of the volume, and never to be a duplicate: so it is in Kubernetes.
    fn check_token(&mut self, projection: &Value, path: &Path<'_>) {
        self.check_expiration(number(projection, "expirationSeconds"), &path.child("expirationSeconds"));
        let target = text(projection, "path");
        if target.is_empty() {
            self.report.required(&self.path.child("path"), "");
        } else {
            paths::check(target, &self.path.child("path"), self.report);
        }
        volumes::check_user(projection, "user", path, self.report);
    }

    /// Absent is an hour, by the API server's defaults.
    fn check_expiration(&mut self, seconds: Option<i64>, at: &Path<'_>) {
        match seconds {
            Some(short) if short < SHORTEST_TOKEN => {
                self.report.invalid_number(at, short, "may not specify a duration less than 10 minutes");
            }
            Some(long) if long > LONGEST_TOKEN => {
                self.report.invalid_number(at, long, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }

    fn check_trust_bundle(&mut self, projection: &'a Value, path: &Path<'_>) {
        if present(projection, "name").is_none() && present(projection, "signerName").is_none() {
            self.report.required(path, "either name or signerName must be specified");
        }
        let target = text(projection, "path");
        if target.is_empty() {
            self.report.required(&path.child("path"), "");
        }
        volumes::check_user(projection, "user", path, self.report);
        paths::check(target, &path.child("path"), self.report);
        // Even an empty path is taken here: two bundles without one are in each other's way, too.
        if !self.taken.insert(target) {
            self.report.invalid(self.path, target, CONFLICT);
        }
    }

    fn check_certificate(&mut self, projection: &'a Value, path: &Path<'_>) {
        volumes::check_user(projection, "user", path, self.report);
        let stated = CERTIFICATE_PATHS.iter().filter(|name| !text(projection, name).is_empty());
        let mut found = false;
        for name in stated {
            found = true;
            let target = text(projection, name);
            paths::check(target, &path.child(name), self.report);
            self.take(target);
        }
        if !found {
            let detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
            self.report.required(path, detail);
        }
    }

    fn take(&mut self, target: &'a str) {
        self.take_said_of(target, target);
    }

    /// Notes that a file is at `target`; where one already is, Kubernetes says so of the `culprit`.
    fn take_said_of(&mut self, target: &'a str, culprit: &str) {
        if !target.is_empty() && !self.taken.insert(target) {
            self.report.invalid(self.path, culprit, CONFLICT);
        }
    }
}
