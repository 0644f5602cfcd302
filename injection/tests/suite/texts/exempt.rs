//! Texts that no case shows, and why.

use Why::{NoRefusal, TestedIn};

/// Why no case shows a text.
pub(super) enum Why {
    /// No Pod is refused so.
    NoRefusal(&'static str),
    /// No Pod that fits into a folder is refused so; the test in this file shows it.
    TestedIn(&'static str, &'static str),
}

/// The source, how its texts begin, and why no case has them.
pub(super) const EXEMPT: &[(&str, &[&str], Why)] = &[
    ("contract/src/annotations/page.rs", &[""], NoRefusal("the page of the documentation")),
    ("injection/src/store.rs", &["spec.audience: "], NoRefusal("what the author of a store is warned of")),
    (
        "contract/src/annotations.rs",
        &[
            "`true`",
            "the name of an init container",
            "the sidecar is first",
            "the sidecar comes right after",
            "`file`",
            "how environment variables are delivered",
            "YAML with",
            "the administrator's",
            "what the sidecar asks for",
            "`error`",
            "how much the sidecar logs",
            "written by Alcove",
        ],
        NoRefusal("the page of the documentation"),
    ),
    (
        "contract/src/binding/document.rs",
        &[
            "!(self in",
            "cannot be delivered: the control plane issues",
            "names one property, and dataFrom takes all of them: leave",
            "is not supported by this version of Alcove: name",
        ],
        NoRefusal("the schemas of our kinds, which the API server refuses by"),
    ),
    (
        "contract/src/interval.rs",
        &["self in ['0'", "is not an interval: write", "must be from 1s to 366d"],
        NoRefusal("the schemas of our kinds, which the API server refuses by"),
    ),
    (
        "contract/src/reference.rs",
        &["has a '%' that escapes no character", "names a store with more than"],
        NoRefusal("the schemas of our kinds, which the API server refuses by"),
    ),
    (
        "contract/src/configuration/variables.rs",
        &[
            "this program is configured by",
            "is not a variable that",
            "use the sidecar image",
            "is not a configuration",
            "is {} bytes long",
            "has version {newer}",
            "has no version",
        ],
        NoRefusal("the sidecar says so of its own configuration"),
    ),
    (
        "contract/src/configuration/variables.rs",
        &["cannot be written: {error}"],
        NoRefusal("every configuration can be written as JSON"),
    ),
    (
        "contract/src/path.rs",
        &["must not be empty", "must be at most 4096 bytes long"],
        NoRefusal(
            "a mount has a path, and one that Alcove takes is not as long: the sidecar says so of its configuration",
        ),
    ),
    (
        "contract/src/problem.rs",
        &["and 1 more problem", "and {more} more problems"],
        NoRefusal("a refusal counts its problems itself"),
    ),
    (
        "resources/src/object.rs",
        &["is not a version of", "write alcove.dev/v1alpha1", "is not a kind of"],
        NoRefusal("the API server hands out kinds and versions that are there; files may hold others"),
    ),
    ("resources/src/definitions.rs", &[""], NoRefusal("the schemas of our kinds, which the API server refuses by")),
    (
        "injection/src/decision/extent.rs",
        &[
            "Secret mentions",
            "volume mounts",
            "items of volumes",
            "has {count} {what}, and Alcove serves no Pod",
            "split the Pod",
            "have {length} bytes, and Kubernetes",
            "move bindings into",
            "names Secrets with {count} references",
            "names Secrets whose references have",
        ],
        TestedIn("injection/tests/suite/hostile.rs", "thousands of a kind"),
    ),
    (
        "injection/src/catalog/account.rs",
        &["are left out, since", "delete some of them"],
        TestedIn("injection/src/policy/tests/accounts.rs", "megabytes of objects in its namespace"),
    ),
    ("injection/src/pod.rs", &["is not a Pod"], NoRefusal("the API server sends no such Pod")),
    (
        "injection/src/policy/refusal.rs",
        &["comparing its keys", " of namespace", "delete those"],
        TestedIn("injection/src/policy/tests/effort.rs", "tens of policies with hundreds of wildcards"),
    ),
    (
        "injection/src/policy/conditions.rs",
        &["comparing its ServiceAccount"],
        TestedIn("injection/src/policy/tests/conditions.rs", "thousands of policies with hundreds of wildcards"),
    ),
    ("injection/src/policy/trial.rs", &["{reason}, by"], NoRefusal("the audit log is told what is not enforced")),
    (
        "injection/src/requests/trial.rs",
        &["what {} and the policies"],
        TestedIn("injection/src/policy/tests/trial.rs", "tens of policies with hundreds of wildcards"),
    ),
    ("injection/src/policy/remedy.rs", &["cannot be written: {error}"], NoRefusal("such a policy is not offered")),
    ("injection/src/sweep.rs", &[""], NoRefusal("a Pod that runs already is told of, and not refused")),
    ("injection/src/policy.rs", &["the default policy"], NoRefusal("the audit log is told what grants a key")),
    (
        "injection/src/settings.rs",
        &[
            "is not a version of Kubernetes",
            "write it as in 1.37",
            "is not an image pull policy",
            "is not a default policy",
            "is neither allowed nor forbidden",
        ],
        NoRefusal("the administrator's flags"),
    ),
    ("injection/src/store/check.rs", &["-----BEGIN CERTIFICATE-----"], NoRefusal("what a bundle is recognised by")),
];
