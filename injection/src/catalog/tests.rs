use super::*;
use serde_json::json;

impl Catalog {
    /// A catalog of these objects, in this order.
    pub(crate) fn of(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut catalog = Self::default();
        for object in objects {
            catalog.apply(object_of(object));
        }
        catalog
    }
}

/// An object of ours; group and version are added.
pub(crate) fn object_of(mut value: Value) -> Object {
    value["apiVersion"] = json!("alcove.dev/v1alpha1");
    Object::from_value(&value).unwrap().unwrap()
}

fn binding(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({"kind": kind, "metadata": {"name": name, "namespace": "app"}});
    object["spec"] = spec;
    object
}

fn store(kind: &str, name: &str, more: &Value) -> Value {
    let vault = json!({"server": "https://vault:8200", "auth": {"kubernetes": {"role": "web"}}});
    let mut spec = json!({"provider": {"vault": vault}, "audience": "vault"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"kind": kind, "metadata": {"name": name, "namespace": "app"}, "spec": spec})
}

fn name(text: &str) -> StoreName {
    text.parse().unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn team_a() -> Value {
    json!({"namespaceSelector": {"matchLabels": {"team": "a"}}})
}

fn source(catalog: &Catalog, secret: &str, namespace: &str) -> Option<Kind> {
    catalog.binding(secret, namespace).unwrap().map(|found| found.object.kind)
}

#[test]
fn a_secret_binding_wins_over_a_cluster_secret_binding_and_holds_in_its_namespace_alone() {
    let data = |key: &str| json!({"data": {"a": format!("vault:{key}#a")}});
    let mut catalog = Catalog::of([
        binding("ClusterSecretBinding", "db", data("kv/cluster")),
        binding("SecretBinding", "db", data("kv/own")),
    ]);
    assert_eq!(source(&catalog, "db", "app"), Some(Kind::SecretBinding));
    assert_eq!(source(&catalog, "db", "other"), Some(Kind::ClusterSecretBinding));
    assert_eq!(source(&catalog, "db2", "app"), None);

    catalog.remove(&ObjectName { kind: Kind::SecretBinding, namespace: "app".into(), name: "db".into() });
    assert_eq!(source(&catalog, "db", "app"), Some(Kind::ClusterSecretBinding));
    catalog.remove(&ObjectName { kind: Kind::ClusterSecretBinding, namespace: String::new(), name: "db".into() });
    assert_eq!(source(&catalog, "db", "app"), None);
}

#[test]
fn a_changed_object_replaces_what_it_said_before() {
    let mut catalog = Catalog::of([binding("SecretBinding", "db", json!({"data": {"a": "vault:kv/a#a"}}))]);
    catalog.apply(object_of(binding("SecretBinding", "db", json!({"dataFrom": ["vault:kv/b"]}))));
    assert!(catalog.binding("db", "app").unwrap().unwrap().binding.data.is_empty());
}

#[test]
fn a_cluster_binding_holds_where_its_selector_says_and_an_unseen_namespace_is_not_taken_for_unbound() {
    let mut spec = team_a();
    spec["data"] = json!({"a": "vault:kv/a#a"});
    let mut catalog = Catalog::of([binding("ClusterSecretBinding", "db", spec)]);
    let problems = catalog.binding("db", "app").unwrap_err();
    assert_eq!(
        problems.to_string(),
        "ClusterSecretBinding db: selects namespaces by label, and namespace \"app\" is not known yet; apply again"
    );
    catalog.apply_namespace("app", labels(&[("team", "b")]));
    assert_eq!(source(&catalog, "db", "app"), None);
    catalog.apply_namespace("app", labels(&[("team", "a")]));
    assert_eq!(source(&catalog, "db", "app"), Some(Kind::ClusterSecretBinding));
    catalog.remove_namespace("app");
    assert!(catalog.binding("db", "app").is_err());
}

#[test]
fn every_namespace_has_its_name_as_a_label() {
    let mut spec = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "app"}}});
    spec["dataFrom"] = json!(["vault:kv/a"]);
    let mut catalog = Catalog::of([binding("ClusterSecretBinding", "db", spec)]);
    catalog.apply_namespace("app", BTreeMap::new());
    catalog.apply_namespace("other", labels(&[("kubernetes.io/metadata.name", "app")]));
    assert_eq!(source(&catalog, "db", "app"), Some(Kind::ClusterSecretBinding));
    assert_eq!(source(&catalog, "db", "other"), None);
}

#[test]
fn a_broken_binding_is_a_problem_with_its_place_and_never_absent() {
    let mut catalog = Catalog::of([
        binding("ClusterSecretBinding", "db", json!({"dataFrom": ["vault:kv/a"]})),
        binding("SecretBinding", "db", json!({"data": {"a": "nonsense", "b": 5}})),
    ]);
    let problems = catalog.binding("db", "app").unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
    assert_eq!(places, ["SecretBinding app/db: spec.data[a]", "SecretBinding app/db: spec.data[b]"]);

    let broken =
        json!({"namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "In"}]}, "data": {"a": "b"}});
    catalog.apply(object_of(binding("ClusterSecretBinding", "tls", broken)));
    catalog.apply_namespace("app", BTreeMap::new());
    let problems = catalog.binding("tls", "app").unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
    let outer = "ClusterSecretBinding tls: spec";
    let expected = [format!("{outer}.namespaceSelector.matchExpressions[0].values"), format!("{outer}.data[a]")];
    assert_eq!(places, expected);
}

#[test]
fn an_object_that_does_not_fit_its_kind_refuses_who_depends_on_it() {
    let mut catalog = Catalog::default();
    let object = |kind: Kind, namespace: &str| ObjectName { kind, namespace: namespace.into(), name: "db".into() };
    let problem = Problem::new("", "does not fit its kind");
    catalog.apply_unreadable(object(Kind::SecretBinding, "app"), &Value::Null, problem.clone());
    catalog.apply_unreadable(object(Kind::ClusterSecretBinding, ""), &Value::Null, problem.clone());
    catalog.apply_unreadable(object(Kind::ExternalStore, "app"), &Value::Null, problem);
    assert!(catalog.binding("db", "app").is_err());
    assert!(catalog.binding("db", "other").is_err());
    assert!(matches!(catalog.store(&name("db"), "app"), Err(WrongStore::Unreadable(_))));
    assert!(matches!(catalog.store(&name("db"), "other"), Err(WrongStore::Unknown { .. })));
}

#[test]
fn a_store_is_found_by_its_name_with_its_kind() {
    let catalog =
        Catalog::of([store("ExternalStore", "own", &json!({})), store("ClusterExternalStore", "all", &json!({}))]);
    let (own, all) = (name("own"), name("all"));
    assert_eq!(catalog.store(&own, "app").unwrap().kind, StoreKind::ExternalStore);
    assert_eq!(catalog.store(&all, "app").unwrap().kind, StoreKind::ClusterExternalStore);
    assert_eq!(catalog.store(&all, "app").unwrap().audience, Some("vault"));
    assert!(catalog.store(&own, "other").is_err());
}

#[test]
fn a_name_that_is_both_kinds_is_refused_unless_the_cluster_store_does_not_admit_the_namespace() {
    let (vault, mut catalog) = (
        name("vault"),
        Catalog::of([
            store("ExternalStore", "vault", &json!({})),
            store("ClusterExternalStore", "vault", &json!({"conditions": [team_a()]})),
        ]),
    );
    assert!(matches!(catalog.store(&vault, "app"), Err(WrongStore::Unreadable(_))));
    catalog.apply_namespace("app", labels(&[("team", "a")]));
    assert_eq!(catalog.store(&vault, "app"), Err(WrongStore::Ambiguous));
    catalog.apply_namespace("app", BTreeMap::new());
    assert_eq!(catalog.store(&vault, "app").unwrap().kind, StoreKind::ExternalStore);
}

#[test]
fn a_wrong_store_name_says_why_and_what_to_do() {
    let mut catalog = Catalog::of([
        store("ExternalStore", "vault", &json!({})),
        store("ClusterExternalStore", "vault", &json!({})),
        store("ClusterExternalStore", "aws-prod", &json!({})),
        store("ClusterExternalStore", "gcp-prod", &json!({"conditions": [team_a()]})),
    ]);
    catalog.apply_namespace("app", BTreeMap::new());
    let text = |wrong: &str, namespace: &str| {
        let wrong = name(wrong);
        catalog.store(&wrong, namespace).unwrap_err().problems(&wrong, namespace).to_string()
    };
    assert_eq!(
        text("aws-prdo", "app"),
        ": \"aws-prdo\" is not a store that namespace \"app\" may use; did you mean \"aws-prod\"?"
    );
    assert_eq!(
        text("elastic", "app"),
        ": \"elastic\" is not a store that namespace \"app\" may use; create an ExternalStore of this name in namespace \"app\""
    );
    assert_eq!(
        text("gcp-prod", "app"),
        ": \"gcp-prod\" is a ClusterExternalStore whose conditions do not admit namespace \"app\"; ask its administrator, or \
         use a store of the namespace's own"
    );
    assert_eq!(
        text("vault", "app"),
        ": \"vault\" is both an ExternalStore in namespace \"app\" and a ClusterExternalStore, and neither shadows the other; \
         rename the ExternalStore"
    );
    let offered = text("gcp-prdo", "app");
    assert!(!offered.contains("gcp-prod"), "a store that does not admit the namespace is not offered: {offered}");
}

#[test]
fn a_broken_condition_is_a_problem_and_admits_nobody() {
    let broken = json!({"conditions": [{"namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "Is"}]}}]});
    let catalog = Catalog::of([store("ClusterExternalStore", "vault", &broken)]);
    let problems = catalog.store(&name("vault"), "app").unwrap_err().problems(&name("vault"), "app");
    assert_eq!(
        problems.to_string(),
        ": \"vault\" names a store that cannot be read: ClusterExternalStore vault: spec.conditions[0].namespaceSelector.\
         matchExpressions[0].operator: \"Is\" is not an operator; known: In, NotIn, Exists, DoesNotExist"
    );
}

#[test]
fn a_service_account_is_known_until_it_is_removed() {
    let mut catalog = Catalog::default();
    catalog.apply_service_account("app", "web", ServiceAccount::default());
    assert!(catalog.service_account("app", "web").is_some());
    assert!(catalog.service_account("other", "web").is_none() && catalog.service_account("app", "web2").is_none());
    catalog.remove_service_account("app", "web");
    catalog.remove_service_account("app", "never-seen");
    assert!(catalog.service_account("app", "web").is_none());
}

#[test]
fn a_copy_shares_what_it_holds_and_changes_alone() {
    let spec = json!({"data": {"a": "vault:kv/a#p"}});
    let catalog = Catalog::of(["db", "other"].map(|name| binding("SecretBinding", name, spec.clone())));
    let mut copy = catalog.clone();
    copy.remove(&catalog.binding("other", "app").unwrap().unwrap().object.clone());
    let of = |catalog: &Catalog| std::ptr::from_ref(catalog.binding("db", "app").unwrap().unwrap().binding);
    assert_eq!(of(&catalog), of(&copy));
    assert!(catalog.binding("other", "app").unwrap().is_some() && copy.binding("other", "app").unwrap().is_none());
}
