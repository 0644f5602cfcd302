//! What reviews depend on: objects of ours, Namespaces, ServiceAccounts and LimitRanges, as documents become them.
//!
//! Files and watches deliver the same documents.

use std::collections::BTreeMap;
use std::fmt;

use alcove_contract::Problem;
use alcove_injection::catalog::{Kept, LimitRange, ServiceAccount};
use alcove_injection::mountable::is_enforcement;
use alcove_resources::policy::PolicyMode;
use alcove_resources::{Kind as OurKind, Object, ObjectName};
use serde_json::Value;

mod share;
mod view;

pub use share::Share;
pub use view::{List, Part, View};

/// The kinds that reviews depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Its labels count.
    Namespace,
    /// Its labels, its annotations and its lists of Secrets count.
    ServiceAccount,
    /// The sidecar keeps to it.
    LimitRange,
    /// A kind of our group.
    Ours(OurKind),
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::LimitRange,
        Self::Ours(OurKind::ExternalStore),
        Self::Ours(OurKind::ClusterExternalStore),
        Self::Ours(OurKind::SecretBinding),
        Self::Ours(OurKind::ClusterSecretBinding),
        Self::Ours(OurKind::SecretPolicy),
        Self::Ours(OurKind::ClusterSecretPolicy),
    ];

    /// The kind as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::LimitRange => "LimitRange",
            Self::Ours(kind) => kind.as_str(),
        }
    }

    /// Whether objects of the kind live in a namespace.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        match self {
            Self::Namespace => false,
            Self::ServiceAccount | Self::LimitRange => true,
            Self::Ours(kind) => kind.is_namespaced(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Which object something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty if its kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Reads which object of `kind` a document is. As for kubectl, a namespace that is not stated is `default`.
    ///
    /// # Errors
    ///
    /// A document without a name, or with a namespace where there is none.
    pub fn of(kind: Kind, document: &Value) -> Result<Self, Problem> {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = text("/metadata/name").ok_or_else(|| Problem::new("metadata.name", "is missing"))?;
        let namespace = match (kind.is_namespaced(), text("/metadata/namespace")) {
            (true, stated) => stated.unwrap_or("default"),
            (false, None) => "",
            (false, Some(stated)) => {
                let reason = format!("does not belong here: a {kind} has no namespace");
                return Err(Problem::new("metadata.namespace", reason).with_value(stated));
            }
        };
        Ok(Self { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    fn object_name(&self, kind: OurKind) -> ObjectName {
        ObjectName { kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(formatter, "{} {}", self.kind, self.name),
            namespace => write!(formatter, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// One object that reviews depend on.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which one it is.
    pub key: Key,
    /// What it says.
    pub content: Content,
    /// About how many bytes of memory it takes; what administrators write of our kinds is not weighed.
    weight: usize,
}

/// What an object says.
#[derive(Clone, Debug)]
pub enum Content {
    /// An object of ours, whether or not it fits its kind.
    Ours(Kept),
    /// An object for which its namespace has no memory left. Nothing is kept but that it exists, and whether anybody depends
    /// on it: a policy need not be enforced.
    LeftOut(PolicyMode),
    /// The labels of a namespace.
    Namespace(BTreeMap<String, String>),
    /// A ServiceAccount.
    ServiceAccount(ServiceAccount),
    /// A LimitRange.
    LimitRange(LimitRange),
}

impl Item {
    /// Reads a document of a file; gives nothing for one that reviews do not depend on.
    ///
    /// # Errors
    ///
    /// A document that does not fit its kind.
    pub fn from_document(document: &Value) -> Result<Option<Self>, Problem> {
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
        let (kind, content) = match (text("apiVersion"), text("kind")) {
            ("v1", "Namespace") => (Kind::Namespace, namespace(document)),
            ("v1", "ServiceAccount") => (Kind::ServiceAccount, service_account(document)),
            ("v1", "LimitRange") => (Kind::LimitRange, limit_range(document)),
            _ => match Object::from_value(document)? {
                None => return Ok(None),
                Some(object) => (Kind::Ours(object.object_name().kind), Content::Ours(object.into())),
            },
        };
        Ok(Some(Self::of(Key::of(kind, document)?, content)))
    }

    /// Takes a document that the API server delivers as one of `kind`.
    ///
    /// # Errors
    ///
    /// A document without a name, which no API server delivers.
    pub fn delivered(kind: Kind, document: &Value) -> Result<Self, Problem> {
        let key = Key::of(kind, document)?;
        let content = match kind {
            Kind::Namespace => namespace(document),
            Kind::ServiceAccount => service_account(document),
            Kind::LimitRange => limit_range(document),
            Kind::Ours(kind) => {
                let unreadable = |problem| Kept::unreadable(key.object_name(kind), document, problem);
                Content::Ours(match Object::from_value(document) {
                    Ok(Some(object)) => object.into(),
                    Ok(None) => unreadable(Problem::new("apiVersion", "is not alcove.dev/v1alpha1")),
                    Err(problem) => unreadable(problem),
                })
            }
        };
        Ok(Self::of(key, content))
    }

    /// About how many bytes of memory it takes where it is kept; 0 for what administrators write of our kinds.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    fn of(key: Key, content: Content) -> Self {
        let weight = share::weight(&key, &content);
        Self { key, content, weight }
    }
}

fn namespace(document: &Value) -> Content {
    Content::Namespace(strings(document, "/metadata/labels"))
}

fn service_account(document: &Value) -> Content {
    let mut annotations = strings(document, "/metadata/annotations");
    annotations.retain(|name, _| is_enforcement(name));
    let labels = Some(strings(document, "/metadata/labels"));
    // Nobody asks for the lists of an account that does not enforce them.
    Content::ServiceAccount(if annotations.is_empty() {
        ServiceAccount { labels, ..ServiceAccount::default() }
    } else {
        ServiceAccount {
            annotations,
            secrets: names(document, "secrets"),
            image_pull_secrets: names(document, "imagePullSecrets"),
            labels,
        }
    })
}

fn limit_range(document: &Value) -> Content {
    Content::LimitRange(LimitRange::from_document(document))
}

fn strings(document: &Value, pointer: &str) -> BTreeMap<String, String> {
    let fields = document.pointer(pointer).and_then(Value::as_object);
    let pairs = fields.into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn names<C: FromIterator<String>>(document: &Value, field: &str) -> C {
    let references = document.get(field).and_then(Value::as_array).into_iter().flatten();
    references.filter_map(|reference| Some(reference.get("name")?.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_of_another_group_is_left_out_and_a_wrong_one_of_ours_is_a_problem() {
        let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
        assert!(Item::from_document(&other).unwrap().is_none());
        let wrong = json!({"apiVersion": "alcove.dev/v1alpha1", "kind": "SecretPolcy", "metadata": {"name": "a"}});
        assert!(Item::from_document(&wrong).unwrap_err().to_string().contains("SecretPolicy"));
    }

    #[test]
    fn a_wrong_object_that_is_delivered_keeps_its_place_for_whoever_depends_on_it() {
        let document = json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "SecretBinding",
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"data": 7},
        });
        let item = Item::delivered(Kind::Ours(OurKind::SecretBinding), &document).unwrap();
        assert_eq!(item.key.to_string(), "SecretBinding b/a");
        let mut view = View::default();
        view.watched(item, 1);
        assert!(view.catalog().binding("a", "b").is_err());
    }

    #[test]
    fn a_cluster_object_in_a_namespace_is_a_problem() {
        let document = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "namespace": "b"}});
        let problem = Item::from_document(&document).unwrap_err().to_string();
        assert_eq!(problem, "metadata.namespace: \"b\" does not belong here: a Namespace has no namespace");
    }

    #[test]
    fn a_service_account_says_which_secrets_it_may_mount() {
        let document = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"kubernetes.io/enforce-mountable-secrets": "b"}},
            "secrets": [{"name": "one"}, {"namespace": "nameless"}],
            "imagePullSecrets": [{"name": "two"}],
        });
        let Content::ServiceAccount(account) = Item::from_document(&document).unwrap().unwrap().content else {
            panic!("not a ServiceAccount")
        };
        assert_eq!(account.annotations["kubernetes.io/enforce-mountable-secrets"], "b");
        assert_eq!((account.secrets.len(), account.image_pull_secrets.len()), (1, 1));
    }
}
