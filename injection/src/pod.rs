//! A Pod as the API server sends it: a JSON document with typed views.
//!
//! It is never read into a struct and written back: a field that no type of ours knows yet must survive.

use alcove_contract::Problem;
use serde_json::{Map, Value};
use std::fmt;

/// A Pod under review, and the namespace that the request says it goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    document: Value,
    namespace: String,
}

impl Pod {
    /// Takes a Pod's document; `namespace` is the request's, since a Pod's own may still be empty at admission.
    ///
    /// # Errors
    ///
    /// A document that is not an object.
    pub fn new(document: Value, namespace: &str) -> Result<Self, Problem> {
        if document.is_object() {
            Ok(Self { document, namespace: namespace.to_owned() })
        } else {
            Err(Problem::new("object", "is not a Pod: it is not a JSON object"))
        }
    }

    /// The whole document.
    #[must_use]
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// The namespace of the request.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What people call this Pod: its name or, before it has one, `<generateName>*`.
    #[must_use]
    pub fn display_name(&self) -> String {
        let metadata = self.document.get("metadata");
        match (text(metadata, "name"), text(metadata, "generateName")) {
            (Some(name), _) => name.to_owned(),
            (None, Some(prefix)) => format!("{prefix}*"),
            (None, None) => "(without a name)".to_owned(),
        }
    }

    /// The ServiceAccount that the Pod will run as.
    #[must_use]
    pub fn service_account(&self) -> &str {
        let spec = self.spec();
        text(spec, "serviceAccountName").or_else(|| text(spec, "serviceAccount")).unwrap_or("default")
    }

    /// The annotations, in the order of the document.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata_strings("annotations")
    }

    /// The labels, in the order of the document.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata_strings("labels")
    }

    /// `spec`, unless it is missing.
    #[must_use]
    pub fn spec(&self) -> Option<&Value> {
        self.document.get("spec")
    }

    /// The volumes, in the order of the document.
    pub fn volumes(&self) -> impl Iterator<Item = &Value> {
        items(self.spec(), "volumes")
    }

    /// All containers: init containers, then regular ones, then ephemeral ones.
    pub fn containers(&self) -> impl Iterator<Item = Container<'_>> {
        ContainerKind::ALL.into_iter().flat_map(|kind| {
            items(self.spec(), kind.field()).enumerate().map(move |(index, document)| Container {
                kind,
                index,
                name: text(Some(document), "name").unwrap_or_default(),
                document,
            })
        })
    }

    fn metadata_strings(&self, field: &str) -> impl Iterator<Item = (&str, &str)> {
        let strings = self.document.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
        strings.into_iter().flat_map(Map::iter).filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}

/// Which list of the Pod a container stands in. A native sidecar is an init container whose `restartPolicy` is Always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerKind {
    /// `spec.initContainers`.
    Init,
    /// `spec.containers`.
    Regular,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

impl ContainerKind {
    /// All kinds, in the order in which they start.
    pub const ALL: [Self; 3] = [Self::Init, Self::Regular, Self::Ephemeral];

    /// The field of `spec` that lists containers of this kind.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Regular => "containers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }
}

impl fmt::Display for ContainerKind {
    /// The words of Kubernetes' own messages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Init => "init container",
            Self::Regular => "container",
            Self::Ephemeral => "ephemeral container",
        })
    }
}

/// One container of a Pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Container<'a> {
    /// The list it stands in.
    pub kind: ContainerKind,
    /// Its place in that list.
    pub index: usize,
    /// Its name; empty where the document has none.
    pub name: &'a str,
    /// The container itself.
    pub document: &'a Value,
}

impl<'a> Container<'a> {
    /// Its field path: `spec.initContainers[0]`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("spec.{}[{}]", self.kind.field(), self.index)
    }

    /// Whether it is a native sidecar, which runs beside the containers that start after it.
    #[must_use]
    pub fn is_native_sidecar(&self) -> bool {
        self.kind == ContainerKind::Init && text(Some(self.document), "restartPolicy") == Some("Always")
    }

    /// The entries of `env`.
    pub fn env(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        items(Some(self.document), "env")
    }

    /// The entries of `envFrom`.
    pub fn env_from(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        items(Some(self.document), "envFrom")
    }

    /// The entries of `volumeMounts`.
    pub fn volume_mounts(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        items(Some(self.document), "volumeMounts")
    }
}

/// The string at `field`, unless it is missing or empty, which mean the same in Kubernetes.
pub(crate) fn text<'a>(parent: Option<&'a Value>, field: &str) -> Option<&'a str> {
    parent?.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// The items of the list at `field`; none where it is missing or null.
pub(crate) fn items<'a>(parent: Option<&'a Value>, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    parent.and_then(|parent| parent.get(field)).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(document: Value) -> Pod {
        Pod::new(document, "app").unwrap()
    }

    #[test]
    fn a_document_that_is_not_an_object_is_no_pod() {
        for wrong in [json!(null), json!([]), json!("pod")] {
            assert!(Pod::new(wrong, "app").is_err());
        }
    }

    #[test]
    fn the_name_is_the_own_one_then_the_generated_prefix() {
        assert_eq!(pod(json!({"metadata": {"name": "web", "generateName": "x-"}})).display_name(), "web");
        assert_eq!(pod(json!({"metadata": {"name": "", "generateName": "web-"}})).display_name(), "web-*");
        assert_eq!(pod(json!({"metadata": null})).display_name(), "(without a name)");
    }

    #[test]
    fn the_service_account_has_a_deprecated_alias_and_a_default() {
        assert_eq!(pod(json!({"spec": {"serviceAccountName": "a", "serviceAccount": "b"}})).service_account(), "a");
        assert_eq!(pod(json!({"spec": {"serviceAccountName": "", "serviceAccount": "b"}})).service_account(), "b");
        assert_eq!(pod(json!({})).service_account(), "default");
    }

    #[test]
    fn containers_come_in_the_order_in_which_they_start() {
        let pod = pod(json!({"spec": {
            "containers": [{"name": "app"}],
            "initContainers": [{"name": "proxy", "restartPolicy": "Always"}, {"name": "setup"}],
            "ephemeralContainers": [{"name": "debug", "restartPolicy": "Always"}],
        }}));
        let seen: Vec<_> = pod.containers().map(|each| (each.path(), each.name, each.is_native_sidecar())).collect();
        let expected = [
            ("spec.initContainers[0]", "proxy", true),
            ("spec.initContainers[1]", "setup", false),
            ("spec.containers[0]", "app", false),
            ("spec.ephemeralContainers[0]", "debug", false),
        ];
        assert_eq!(seen, expected.map(|(path, name, sidecar)| (path.to_owned(), name, sidecar)));
    }

    #[test]
    fn null_lists_are_empty_lists() {
        let pod =
            pod(json!({"metadata": {"annotations": null}, "spec": {"volumes": null, "containers": [{"env": null}]}}));
        assert_eq!((pod.annotations().count(), pod.volumes().count()), (0, 0));
        assert!(pod.containers().all(|container| container.env().count() == 0));
    }
}
