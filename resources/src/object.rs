//! One object of ours, whatever its kind: what a watch delivers and what a file holds.

use crate::{
    ClusterExternalStore, ClusterSecretBinding, ClusterSecretPolicy, ExternalStore, SecretBinding, SecretPolicy,
};
use alcove_contract::{Problem, nearest};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;

/// One object of ours.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the kind of its name")]
pub enum Object {
    ExternalStore(ExternalStore),
    ClusterExternalStore(ClusterExternalStore),
    SecretBinding(SecretBinding),
    ClusterSecretBinding(ClusterSecretBinding),
    SecretPolicy(SecretPolicy),
    ClusterSecretPolicy(ClusterSecretPolicy),
}

/// The kinds of our group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the kind of its name")]
pub enum Kind {
    ExternalStore,
    ClusterExternalStore,
    SecretBinding,
    ClusterSecretBinding,
    SecretPolicy,
    ClusterSecretPolicy,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::ExternalStore,
        Self::ClusterExternalStore,
        Self::SecretBinding,
        Self::ClusterSecretBinding,
        Self::SecretPolicy,
        Self::ClusterSecretPolicy,
    ];

    /// The kind as manifests write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExternalStore => "ExternalStore",
            Self::ClusterExternalStore => "ClusterExternalStore",
            Self::SecretBinding => "SecretBinding",
            Self::ClusterSecretBinding => "ClusterSecretBinding",
            Self::SecretPolicy => "SecretPolicy",
            Self::ClusterSecretPolicy => "ClusterSecretPolicy",
        }
    }

    /// Whether objects of this kind belong to a namespace.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        matches!(self, Self::ExternalStore | Self::SecretBinding | Self::SecretPolicy)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Which object of ours it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectName {
    /// The object `name` of `kind` with this metadata. As for kubectl, a namespace that is not stated is `default`.
    #[must_use]
    pub fn new(kind: Kind, metadata: &ObjectMeta) -> Self {
        let stated = || metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        Self {
            kind,
            namespace: if kind.is_namespaced() { stated() } else { String::new() },
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() {
            write!(formatter, "{kind} {name}")
        } else {
            write!(formatter, "{kind} {namespace}/{name}")
        }
    }
}

impl Object {
    /// Reads an object of our group; gives nothing for an object of another group.
    ///
    /// # Errors
    ///
    /// A kind or version of our group that does not exist, an object without a name, or one that does not fit its kind:
    /// a field that the kind does not have included.
    pub fn from_value(value: &Value) -> Result<Option<Self>, Problem> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let Some(version) = api_version.strip_prefix("alcove.dev/") else { return Ok(None) };
        if version != "v1alpha1" {
            return Err(Problem::new("apiVersion", "is not a version of alcove.dev")
                .with_value(api_version)
                .with_remedy("write alcove.dev/v1alpha1"));
        }
        let Some(kind) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) else {
            return Err(unknown_kind(kind));
        };
        if value.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Problem::new("metadata.name", "is missing"));
        }
        let object = match kind {
            Kind::ExternalStore => Self::ExternalStore(typed(value)?),
            Kind::ClusterExternalStore => Self::ClusterExternalStore(typed(value)?),
            Kind::SecretBinding => Self::SecretBinding(typed(value)?),
            Kind::ClusterSecretBinding => Self::ClusterSecretBinding(typed(value)?),
            Kind::SecretPolicy => Self::SecretPolicy(typed(value)?),
            Kind::ClusterSecretPolicy => Self::ClusterSecretPolicy(typed(value)?),
        };
        Ok(Some(object))
    }

    /// Which object it is.
    #[must_use]
    pub fn object_name(&self) -> ObjectName {
        match self {
            Self::ExternalStore(object) => ObjectName::new(Kind::ExternalStore, &object.metadata),
            Self::ClusterExternalStore(object) => ObjectName::new(Kind::ClusterExternalStore, &object.metadata),
            Self::SecretBinding(object) => ObjectName::new(Kind::SecretBinding, &object.metadata),
            Self::ClusterSecretBinding(object) => ObjectName::new(Kind::ClusterSecretBinding, &object.metadata),
            Self::SecretPolicy(object) => ObjectName::new(Kind::SecretPolicy, &object.metadata),
            Self::ClusterSecretPolicy(object) => ObjectName::new(Kind::ClusterSecretPolicy, &object.metadata),
        }
    }
}

fn unknown_kind(kind: &str) -> Problem {
    let known = Kind::ALL.map(Kind::as_str);
    let remedy = nearest(kind, known)
        .map_or_else(|| format!("known: {}", known.join(", ")), |kind| format!("did you mean \"{kind}\"?"));
    Problem::new("kind", "is not a kind of alcove.dev").with_value(kind).with_remedy(remedy)
}

/// Reads a value as an object of one kind. A field of its spec that the kind does not have is an error: a deny that is
/// misspelt, or newer than this program, must not be passed over.
fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> Result<T, Problem> {
    let unfit = |error: serde_json::Error| Problem::new("", format!("does not fit its kind: {error}"));
    let object: T = serde_json::from_value(value.clone()).map_err(unfit)?;
    let read = serde_json::to_value(&object).map_err(unfit)?;
    let mut lost = Vec::new();
    gather_lost(&spec(value), &spec(&read), "spec", &mut lost);
    match lost.as_slice() {
        [] => Ok(object),
        [one] => Err(Problem::new(one, "is not a field of this kind")),
        many => Err(Problem::new(many.join(", "), "are not fields of this kind")),
    }
}

fn spec(object: &Value) -> Value {
    object.get("spec").cloned().unwrap_or_default()
}

/// Gathers the fields below `path` that were written and not read. An empty one says nothing, so that none is lost.
fn gather_lost(written: &Value, read: &Value, path: &str, lost: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (name, value) in written.iter().filter(|(_, value)| !is_empty(value)) {
                let path = format!("{path}.{name}");
                match read.get(name) {
                    Some(read) => gather_lost(value, read, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            for (index, (written, read)) in written.iter().zip(read).enumerate() {
                gather_lost(written, read, &format!("{path}[{index}]"), lost);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: &str, spec: &Value) -> Result<Option<Object>, Problem> {
        let metadata = json!({"name": "a", "namespace": "app", "resourceVersion": "7"});
        Object::from_value(
            &json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}),
        )
    }

    fn policy() -> Value {
        json!({"serviceAccounts": ["web"], "allow": [{"store": {"kind": "ExternalStore", "name": "s"}, "keys": ["k"]}]})
    }

    fn store() -> Value {
        json!({"audience": "x", "provider": {"vault": {"server": "https://v", "auth": {"jwt": {"role": "r"}}}}})
    }

    #[test]
    fn every_kind_is_read_and_knows_its_own_name() {
        let binding = json!({"data": {"a": {"ref": "s:k#p", "mode": 256}}, "optional": false, "keys": []});
        for (kind, spec) in [
            ("ExternalStore", store()),
            ("ClusterExternalStore", store()),
            ("SecretBinding", binding.clone()),
            ("ClusterSecretBinding", binding),
            ("SecretPolicy", policy()),
            ("ClusterSecretPolicy", policy()),
        ] {
            let name = read(kind, &spec).unwrap().unwrap().object_name();
            let expected = if name.kind.is_namespaced() { format!("{kind} app/a") } else { format!("{kind} a") };
            assert_eq!(name.to_string(), expected);
        }
    }

    #[test]
    fn a_misspelt_deny_is_never_passed_over() {
        let mut spec = policy();
        spec["denny"] = json!([{"keys": ["**"]}]);
        assert_eq!(read("SecretPolicy", &spec).unwrap_err().to_string(), "spec.denny: is not a field of this kind");
        let mut spec = policy();
        spec["allow"][0]["secret"] = json!("a");
        spec["allow"][0]["store"]["nmae"] = json!("a");
        let problem = read("ClusterSecretPolicy", &spec).unwrap_err().to_string();
        assert_eq!(problem, "spec.allow[0].secret, spec.allow[0].store.nmae: are not fields of this kind");
    }

    #[test]
    fn unknown_fields_are_found_in_every_kind_and_empty_ones_say_nothing() {
        let mut spec = store();
        spec["provider"]["vault"]["auth"]["jwt"]["insecure"] = json!(true);
        let problem = read("ExternalStore", &spec).unwrap_err();
        assert_eq!(problem.place, "spec.provider.vault.auth.jwt.insecure");
        let problem = read("SecretBinding", &json!({"dat": {"a": "s:k"}})).unwrap_err();
        assert_eq!(problem.place, "spec.dat");
        let empty = json!({"namespaceSelector": null, "data": {}, "dataFrom": [], "immutable": null});
        assert!(read("ClusterSecretBinding", &empty).is_ok());
    }

    #[test]
    fn what_is_not_of_our_group_is_nothing_and_what_no_kind_fits_is_a_problem() {
        assert_eq!(Object::from_value(&json!({"apiVersion": "v1", "kind": "Secret"})), Ok(None));
        let ours = |version: &str, kind: &str, name: &str| {
            let value =
                json!({"apiVersion": format!("alcove.dev/{version}"), "kind": kind, "metadata": {"name": name}});
            Object::from_value(&value).unwrap_err()
        };
        assert_eq!(ours("v1", "SecretPolicy", "a").place, "apiVersion");
        assert_eq!(ours("v1alpha1", "SecretPolcy", "a").remedy.as_deref(), Some("did you mean \"SecretPolicy\"?"));
        assert_eq!(ours("v1alpha1", "SecretPolicy", "").place, "metadata.name");
        assert!(ours("v1alpha1", "SecretPolicy", "a").reason.starts_with("does not fit its kind: "));
    }
}
