//! Annotations on Pods: one table, from which the parser, the reference page and the error texts come.

mod page;
mod resources;

use crate::binding::Binding;
use crate::configuration::LogLevel;
use crate::name::{LabelName, SecretName};
use crate::{Problem, Problems, layout, spelling};
use std::collections::BTreeMap;

pub use page::reference_page;
pub use resources::{ResourceList, SidecarResources};

/// What the key of a binding begins with: `secret.alcove.dev/<secret name>`.
pub const SECRET_PREFIX: &str = "secret.alcove.dev/";
/// What every other key of ours begins with.
pub const PREFIX: &str = "alcove.dev/";
/// Opts a Pod in to SecretBindings, or out of everything.
pub const INJECT: &str = "alcove.dev/inject";
/// The init container that must come before the sidecar.
pub const AFTER: &str = "alcove.dev/after";
/// How environment variables are delivered.
pub const ENV: &str = "alcove.dev/env";
/// What the sidecar asks for.
pub const RESOURCES: &str = "alcove.dev/resources";
/// How much the sidecar logs.
pub const LOG_LEVEL: &str = "alcove.dev/log-level";
/// Written by Alcove into a Pod that it has changed.
pub const INJECTED: &str = "alcove.dev/injected";

/// The annotations of one Pod that concern us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAnnotations {
    /// The bindings that the Pod brings itself.
    pub bindings: BTreeMap<SecretName, Binding>,
    /// Whether the Pod asks for SecretBindings, refuses everything, or says nothing.
    pub inject: Inject,
    /// The init container that must come before the sidecar.
    pub after: Option<LabelName>,
    /// How environment variables are delivered.
    pub env: EnvDelivery,
    /// What the sidecar asks for, where it is not the administrator's default.
    pub resources: Option<SidecarResources>,
    /// How much the sidecar logs.
    pub log_level: LogLevel,
    /// The version that says it has changed this Pod: a marker that anybody can write and nobody may believe.
    pub injected: Option<String>,
}

/// What `alcove.dev/inject` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inject {
    /// Nothing: only the Pod's own bindings count.
    #[default]
    Unsaid,
    /// `true`: SecretBindings count, too.
    Yes,
    /// `false`: the Pod is left alone.
    No,
}

/// How environment variables are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnvDelivery {
    /// As server and nodes allow.
    #[default]
    Auto,
    /// By `fileKeyRef`.
    File,
    /// By a wrapper around the command.
    Exec,
}

/// One row of the table.
struct Annotation {
    key: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
    apply: fn(&mut PodAnnotations, &str) -> Result<(), Problems>,
}

/// Every annotation that Alcove knows, except for `secret.alcove.dev/<secret name>`.
const TABLE: &[Annotation] = &[
    Annotation {
        key: INJECT,
        value: "`true` or `false`",
        default: "absent",
        meaning: "`true`: resolve this Pod's Secret names through SecretBindings and ClusterSecretBindings too; `false`: \
                  leave this Pod alone, whatever else it says",
        apply: |annotations, text| {
            annotations.inject = choice(text, &[("true", Inject::Yes), ("false", Inject::No)])?;
            Ok(())
        },
    },
    Annotation {
        key: AFTER,
        value: "the name of an init container",
        default: "the sidecar is first",
        meaning: "the sidecar comes right after this init container, such as a service mesh's",
        apply: |annotations, text| {
            let name: LabelName = text.parse()?;
            if name.as_str() == layout::CONTAINER {
                let remedy = "name the init container that must come before it, or leave the annotation away";
                return Err(Problem::new("", "is the sidecar itself").with_value(text).with_remedy(remedy).into());
            }
            annotations.after = Some(name);
            Ok(())
        },
    },
    Annotation {
        key: ENV,
        value: "`file`, `exec` or `auto`",
        default: "`auto`",
        meaning: "how environment variables are delivered: `file` by `fileKeyRef` (Kubernetes 1.35 and later), `exec` by \
                  a wrapper around the command, which this version refuses, `auto` by what server and nodes support: in this \
                  version `file`",
        apply: |annotations, text| {
            let known = [("file", EnvDelivery::File), ("exec", EnvDelivery::Exec), ("auto", EnvDelivery::Auto)];
            annotations.env = choice(text, &known)?;
            Ok(())
        },
    },
    Annotation {
        key: RESOURCES,
        value: "YAML with `requests` and `limits` of `cpu`, `memory` and `ephemeral-storage`",
        default: "the administrator's",
        meaning: "what the sidecar asks for, within the administrator's bounds",
        apply: |annotations, text| {
            annotations.resources = Some(text.parse()?);
            Ok(())
        },
    },
    Annotation {
        key: LOG_LEVEL,
        value: "`error`, `warn`, `info` or `debug`",
        default: "`info`",
        meaning: "how much the sidecar logs",
        apply: |annotations, text| {
            let known = [
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
            ];
            annotations.log_level = choice(text, &known)?;
            Ok(())
        },
    },
    Annotation {
        key: INJECTED,
        value: "a version",
        default: "absent",
        meaning: "written by Alcove into a Pod that it has changed; nothing is decided by it",
        apply: |annotations, text| {
            annotations.injected = Some(text.to_owned());
            Ok(())
        },
    },
];

impl PodAnnotations {
    /// Reads the annotations of a Pod; keys of others are not looked at.
    ///
    /// # Errors
    ///
    /// Every unknown key below our prefixes and every malformed value, each with its place and what to write.
    pub fn parse<'a>(annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Problems> {
        let mut parsed = Self::default();
        let mut problems = Problems::none();
        for (key, text) in annotations {
            let result = if let Some(name) = key.strip_prefix(SECRET_PREFIX) {
                parsed.bind(name, text)
            } else if key.starts_with(PREFIX) {
                parsed.set(key, text)
            } else {
                Ok(())
            };
            problems.collect(result.map_err(|inner| inner.below(&place(key))));
        }
        problems.or(parsed)
    }

    /// Whether the Pod asks for anything.
    #[must_use]
    pub fn opted_in(&self) -> bool {
        match self.inject {
            Inject::Yes => true,
            Inject::No => false,
            Inject::Unsaid => !self.bindings.is_empty(),
        }
    }

    fn bind(&mut self, name: &str, text: &str) -> Result<(), Problems> {
        let mut problems = Problems::none();
        let name = problems.collect(name.parse::<SecretName>());
        let binding = problems.collect(text.parse::<Binding>());
        self.bindings.extend(name.zip(binding));
        problems.or(())
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), Problems> {
        let Some(annotation) = TABLE.iter().find(|annotation| annotation.key == key) else {
            let known: Vec<&str> = TABLE.iter().map(|annotation| annotation.key).collect();
            return Err(Problem::new("", "is not an annotation of Alcove")
                .with_remedy(spelling::remedy(key, &known))
                .into());
        };
        (annotation.apply)(self, text)
    }
}

/// Whether this key is one of ours, known or not.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    key.starts_with(PREFIX) || key.starts_with(SECRET_PREFIX)
}

/// The place of an annotation in a Pod.
#[must_use]
pub fn place(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}

fn choice<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, Problem> {
    known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        Problem::new("", "is not a value of this annotation")
            .with_value(text)
            .with_remedy(spelling::remedy(text, &names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_annotation_is_read() {
        let annotations = PodAnnotations::parse([
            ("secret.alcove.dev/db-creds", "vault:kv/app/db"),
            ("alcove.dev/inject", "true"),
            ("alcove.dev/after", "istio-proxy"),
            ("alcove.dev/env", "file"),
            ("alcove.dev/resources", "{requests: {cpu: 5m}, limits: {memory: 64Mi}}"),
            ("alcove.dev/log-level", "debug"),
            ("alcove.dev/injected", "0.1.0"),
            ("prometheus.io/scrape", "true"),
        ])
        .unwrap();
        assert!(annotations.opted_in());
        assert_eq!(annotations.bindings.len(), 1);
        assert_eq!(annotations.after.unwrap().as_str(), "istio-proxy");
        assert_eq!(annotations.env, EnvDelivery::File);
        assert_eq!(annotations.log_level, LogLevel::Debug);
        assert_eq!(annotations.resources.unwrap().limits.memory.unwrap().as_str(), "64Mi");
        assert_eq!(annotations.injected.as_deref(), Some("0.1.0"));
    }

    #[test]
    fn all_mistakes_come_at_once_each_with_the_nearest_right_spelling() {
        let problems = PodAnnotations::parse([
            ("alcove.dev/injct", "true"),
            ("alcove.dev/env", "flie"),
            ("alcove.dev/resources", "{request: {}}"),
            ("secret.alcove.dev/DB", "vault"),
            ("alcove.dev/after", "No"),
        ])
        .unwrap_err()
        .to_string();
        for expected in [
            "metadata.annotations[alcove.dev/injct]: is not an annotation of Alcove; did you mean \"alcove.dev/inject\"?",
            "metadata.annotations[alcove.dev/env]: \"flie\" is not a value of this annotation; did you mean \"file\"?",
            "metadata.annotations[alcove.dev/resources].request: is not a field; did you mean \"requests\"?",
            "metadata.annotations[secret.alcove.dev/DB]: \"DB\" must be a lowercase RFC 1123 subdomain",
            "metadata.annotations[secret.alcove.dev/DB]: \"vault\" names no store",
            "metadata.annotations[alcove.dev/after]: \"No\" must be a lowercase RFC 1123 label",
        ] {
            assert!(problems.contains(expected), "{expected}\nis not in\n{problems}");
        }
    }

    #[test]
    fn the_sidecar_cannot_come_after_itself() {
        let problems = PodAnnotations::parse([(AFTER, layout::CONTAINER)]).unwrap_err().to_string();
        let expected = "metadata.annotations[alcove.dev/after]: \"alcove-sidecar\" is the sidecar itself; name the init container \
                        that must come before it, or leave the annotation away";
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_pod_opts_in_by_a_binding_or_by_saying_so_and_out_by_saying_so() {
        let opted =
            |pairs: &[(&'static str, &'static str)]| PodAnnotations::parse(pairs.iter().copied()).unwrap().opted_in();
        assert!(!opted(&[]));
        assert!(!opted(&[("alcove.dev/injected", "1")]));
        assert!(opted(&[("alcove.dev/inject", "true")]));
        assert!(opted(&[("secret.alcove.dev/a", "vault:kv/a")]));
        assert!(!opted(&[("secret.alcove.dev/a", "vault:kv/a"), ("alcove.dev/inject", "false")]));
    }
}
