use super::*;
use crate::effort::MOST_STEPS;
use crate::settings::{KubernetesVersion, Settings};
use crate::{Decision, Verdict, decide, validate};
use alcove_resources::Object;
use serde_json::{Value, json};

fn object(document: &Value) -> Object {
    Object::from_value(document).unwrap().unwrap()
}

fn store(kind: &str, name: &str, audience: &str, exclusive: Option<bool>) -> Object {
    let provider = json!({"vault": {"server": "https://vault:8200", "auth": {"kubernetes": {"role": "r"}}}});
    let mut spec = json!({"audience": audience, "provider": provider});
    if let Some(exclusive) = exclusive {
        spec["exclusiveAudience"] = exclusive.into();
    }
    let namespace = (kind == "ExternalStore").then_some("app");
    object(&json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }))
}

fn catalog(enforce: &[(&str, &str)]) -> Catalog {
    let mut catalog = Catalog::default();
    for store in [
        store("ClusterExternalStore", "vault", "vault", None),
        store("ClusterExternalStore", "aws", "sts.amazonaws.com", None),
        store("ClusterExternalStore", "strict", "pods.eks.amazonaws.com", Some(true)),
        store("ClusterExternalStore", "open", "open", Some(false)),
        store("ExternalStore", "own", "own", None),
    ] {
        catalog.apply(store);
    }
    let labels = enforce.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    catalog.apply_namespace("app", labels);
    catalog.apply_service_account("app", "default", crate::catalog::ServiceAccount::default());
    catalog
}

/// A Pod that projects a token of each audience by hand, in a source of its own, and asks Alcove for nothing.
fn pod(audiences: &[&str]) -> Pod {
    let sources: Vec<Value> = audiences
        .iter()
        .map(|audience| json!({"serviceAccountToken": {"path": audience, "audience": audience}}))
        .collect();
    let mounts = json!([{"name": "tokens", "mountPath": "/tokens"}]);
    let document = json!({"metadata": {"name": "web"}, "spec": {
        "volumes": [
            {"name": "kube-api-access-x", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {"name": "tokens", "projected": {"sources": sources}},
        ],
        "containers": [{"name": "app", "volumeMounts": mounts}],
    }});
    Pod::new(document, "app").unwrap()
}

/// The refusal of the creation of a Pod.
fn refused(pod: &Pod, catalog: &Catalog) -> Vec<String> {
    let settings = Settings::new("sidecar", KubernetesVersion::new(1, 37));
    match validate(None, pod, &Context { catalog, settings: &settings, most_steps: MOST_STEPS }) {
        Verdict::Allow(_) => Vec::new(),
        Verdict::Deny(refusal) => refusal.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn where_enforcement_holds_only_the_sidecar_has_a_token_for_an_exclusive_audience() {
    let catalog = catalog(&[(ENFORCE, "true")]);
    for audience in ["vault", "own", "pods.eks.amazonaws.com"] {
        let problems = refused(&pod(&["somewhere", audience]), &catalog);
        assert_eq!(problems.len(), 1, "{audience}: {problems:?}");
        let place = "spec.volumes[1].projected.sources[1].serviceAccountToken.audience";
        assert!(problems[0].starts_with(&format!("{place}: \"{audience}\" is the audience of ")), "{problems:?}");
        assert!(problems[0].contains("exclusiveAudience: false"), "{problems:?}");
    }
    // What a cloud's own webhook adds, what an administrator shares, and what no store has.
    assert_eq!(refused(&pod(&["sts.amazonaws.com", "open", "somewhere"]), &catalog), [""; 0]);
}

#[test]
fn elsewhere_nobody_is_refused() {
    for labels in [&[][..], &[(ENFORCE, "false")], &[(ENFORCE, "True")], &[("enforce", "true")]] {
        assert_eq!(refused(&pod(&["vault", "own"]), &catalog(labels)), [""; 0], "{labels:?}");
    }
}

#[test]
fn a_namespace_that_has_not_been_seen_is_looked_up_before_a_token_is_let_in() {
    let mut catalog = catalog(&[(ENFORCE, "true")]);
    catalog.remove_namespace("app");
    let settings = Settings::new("sidecar", KubernetesVersion::new(1, 37));
    let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
    let absent = |pod: &Pod| match validate(None, pod, &context) {
        Verdict::Allow(allowance) => allowance.absent,
        Verdict::Deny(refusal) => panic!("{refusal}"),
    };
    assert!(absent(&pod(&["vault"])));
    assert!(!absent(&pod(&[])), "without such a token there is nothing to look up");
}

#[test]
fn asking_for_a_secret_does_not_help_a_token_that_is_made_by_hand() {
    let catalog = catalog(&[(ENFORCE, "true")]);
    let settings = Settings {
        default_policy: crate::settings::DefaultPolicy::Allow,
        ..Settings::new("sidecar", KubernetesVersion::new(1, 37))
    };
    let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
    let opted_in = |audience: &str| {
        let mut document = pod(&[audience]).document().clone();
        document["metadata"]["annotations"] = json!({"secret.alcove.dev/creds": "vault:kv/app/db"});
        // A token beside a bound Secret moves to a volume of Alcove's own.
        document["spec"]["volumes"][1]["projected"]["sources"]
            .as_array_mut()
            .unwrap()
            .push(json!({"secret": {"name": "creds"}}));
        Pod::new(document, "app").unwrap()
    };
    let Decision::Deny(refusal) = decide(&opted_in("vault"), &context) else { panic!("it is let in") };
    assert!(refusal.to_string().contains("is the audience of ClusterExternalStore vault"), "{refusal}");
    // Once injected, Alcove's own token with that audience is nobody's offence, and the moved one stays one.
    let Decision::Inject(plan) = decide(&opted_in("open"), &context) else { panic!("it is refused") };
    let mut injected = opted_in("open").document().clone();
    json_patch::patch(&mut injected, &plan.patch).unwrap();
    let verdict = validate(None, &Pod::new(injected.clone(), "app").unwrap(), &context);
    assert!(matches!(verdict, Verdict::Allow(_)), "{verdict:?}");
    let text = injected.to_string().replace("\"audience\":\"open\"", "\"audience\":\"own\"");
    let moved = Pod::new(serde_json::from_str(&text).unwrap(), "app").unwrap();
    let Verdict::Deny(refusal) = validate(None, &moved, &context) else { panic!("it is let in") };
    assert!(refusal.to_string().contains("is the audience of ExternalStore app/own"), "{refusal}");
}

#[test]
fn a_debug_container_gets_no_token_that_the_pod_had_before_enforcement() {
    let catalog = catalog(&[(ENFORCE, "true")]);
    let settings = Settings::new("sidecar", KubernetesVersion::new(1, 37));
    let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS };
    let old = pod(&["vault"]);
    let with = |mounts: Value| {
        let mut document = old.document().clone();
        document["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "volumeMounts": mounts}]);
        validate(Some(&old), &Pod::new(document, "app").unwrap(), &context)
    };
    let Verdict::Deny(refusal) = with(json!([{"name": "tokens", "mountPath": "/t"}])) else { panic!("it is let in") };
    let place =
        "spec.ephemeralContainers[0].volumeMounts[0].name: \"tokens\" holds a token for ClusterExternalStore vault";
    assert!(refusal.to_string().contains(place), "{refusal}");
    let Verdict::Allow(_) = with(json!([])) else { panic!("an innocent one is refused") };
}

#[test]
fn an_audience_of_the_api_server_is_nobodys_alone_and_the_author_of_the_store_is_told() {
    let settings = Settings::new("sidecar", KubernetesVersion::new(1, 37));
    let audience = settings.api_audiences.first().unwrap();
    let store = store("ClusterExternalStore", "careless", audience, None);
    let caution = crate::store::caution(&store, &settings).unwrap();
    assert!(caution.contains(audience) && caution.contains("without Alcove"), "{caution}");
    let mut catalog = catalog(&[(ENFORCE, "true")]);
    catalog.apply(store);
    assert_eq!(refused(&pod(&[audience]), &catalog), [""; 0], "a token without a stated audience is the same token");
    let careful = object(&json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "ClusterExternalStore",
        "metadata": {"name": "careful"},
        "spec": {"audience": "vault", "provider": {"vault": {"server": "https://v", "auth": {"kubernetes": {"role": "r"}}}}},
    }));
    assert_eq!(crate::store::caution(&careful, &settings), None);
}
