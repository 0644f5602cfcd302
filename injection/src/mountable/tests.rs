use super::*;
use serde_json::json;

/// A Pod that names `bound` in every place where a Pod can name a Secret.
fn everywhere() -> Pod {
    let by_reference = |source: &str| json!({"name": source, source: {"secretRef": {"name": "bound"}}});
    let mut volumes = vec![
        json!({"name": "s", "secret": {"secretName": "bound"}}),
        json!({"name": "p", "projected": {"sources": [{"secret": {"name": "bound"}}]}}),
        json!({"name": "csi", "csi": {"nodePublishSecretRef": {"name": "bound"}}}),
        json!({"name": "azure", "azureFile": {"secretName": "bound"}}),
    ];
    volumes.extend(["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"].map(by_reference));
    let container = json!({
        "name": "c",
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "bound", "key": "a"}}}],
        "envFrom": [{"secretRef": {"name": "bound"}}],
    });
    let document = json!({"metadata": {"name": "web"}, "spec": {
        "serviceAccountName": "web",
        "volumes": volumes,
        "initContainers": [container],
        "containers": [container],
        "ephemeralContainers": [container],
        "imagePullSecrets": [{"name": "bound"}],
    }});
    Pod::new(document, "app").unwrap()
}

fn checked(value: &str, secrets: &[&str], pulls: &[&str]) -> Mountable {
    let of = |annotation: &str| checked_by(&[(annotation, value)], secrets, pulls);
    let (theirs, ours) = (of(OF_KUBERNETES), of(OF_ALCOVE));
    assert_eq!(theirs.problems, ours.problems, "the two annotations mean the same");
    theirs
}

fn checked_by(annotations: &[(&str, &str)], secrets: &[&str], pulls: &[&str]) -> Mountable {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let mut catalog = Catalog::default();
    let annotations = annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let account =
        ServiceAccount { annotations, secrets: names(secrets), image_pull_secrets: names(pulls), labels: None };
    catalog.apply_service_account("app", "web", account);
    check(&catalog, &everywhere(), |mention| mention.secret == "bound")
}

fn places(mountable: &Mountable) -> Vec<&str> {
    mountable.problems.iter().map(|problem| problem.place.as_str()).collect()
}

#[test]
fn a_name_that_is_not_listed_is_refused_in_every_place_and_every_kind_of_container() {
    let pod = everywhere();
    let all: Vec<_> = mentions(&pod).into_iter().map(|mention| mention.path()).collect();
    assert_eq!(all.len(), 18);
    let refused = checked("true", &["other"], &["other"]);
    assert_eq!(places(&refused), all);
    assert!(refused.warnings.is_empty());
}

#[test]
fn a_listed_name_is_fine_everywhere_although_no_secret_exists_and_pull_secrets_have_a_list_of_their_own() {
    assert_eq!(checked("true", &["bound"], &["bound"]), Mountable::default());
    assert_eq!(places(&checked("true", &["bound"], &[])), ["spec.imagePullSecrets[0].name"]);
    assert_eq!(places(&checked("true", &[], &["bound"])).len(), 17);
}

#[test]
fn the_annotation_is_read_as_go_reads_booleans_and_what_does_not_parse_enforces_with_a_warning() {
    for on in ["1", "t", "T", "true", "TRUE", "True"] {
        let mountable = checked(on, &[], &[]);
        assert!(!mountable.problems.is_empty() && mountable.warnings.is_empty(), "{on}");
    }
    for off in ["0", "f", "F", "false", "FALSE", "False"] {
        assert_eq!(checked(off, &[], &[]), Mountable::default(), "{off}");
    }
    for unparsable in ["yes", "", "tRUE", " true", "on"] {
        let mountable = checked(unparsable, &[], &[]);
        assert!(!mountable.problems.is_empty() && mountable.warnings.len() == 1, "{unparsable}");
    }
    assert_eq!(
        checked("yes", &[], &[]).warnings,
        [
            "kubernetes.io/enforce-mountable-secrets: \"yes\" of ServiceAccount \"web\" is not a boolean; Kubernetes takes it \
          for false, Alcove enforces; write \"true\" or \"false\""
        ]
    );
}

#[test]
fn either_annotation_enforces_whatever_the_other_says_and_each_is_warned_of_in_its_own_words() {
    for pair in [["true", "false"], ["false", "true"], ["false", "no"], ["", "f"]] {
        let annotations = [(OF_KUBERNETES, pair[0]), (OF_ALCOVE, pair[1])];
        assert!(!checked_by(&annotations, &[], &[]).problems.is_empty(), "{pair:?}");
    }
    assert_eq!(checked_by(&[(OF_KUBERNETES, "false"), (OF_ALCOVE, "0")], &[], &[]), Mountable::default());
    assert_eq!(
        checked_by(&[(OF_KUBERNETES, "no"), (OF_ALCOVE, "on")], &[], &[]).warnings,
        [
            "kubernetes.io/enforce-mountable-secrets: \"no\" of ServiceAccount \"web\" is not a boolean; Kubernetes takes \
             it for false, Alcove enforces; write \"true\" or \"false\"",
            "alcove.dev/enforce-mountable-secrets: \"on\" of ServiceAccount \"web\" is not a boolean; Alcove enforces; write \
             \"true\" or \"false\"",
        ]
    );
}

#[test]
fn only_the_mentions_asked_for_are_checked() {
    let mut catalog = Catalog::default();
    let annotations = [(OF_KUBERNETES.to_owned(), "true".to_owned())].into();
    catalog.apply_service_account("app", "web", ServiceAccount { annotations, ..ServiceAccount::default() });
    assert_eq!(check(&catalog, &everywhere(), |_| false), Mountable::default());
}

#[test]
fn an_account_without_the_annotation_enforces_nothing_and_an_unseen_one_says_so() {
    let mut catalog = Catalog::default();
    assert!(check(&catalog, &everywhere(), |_| true).is_account_unseen);
    catalog.apply_service_account("app", "web", ServiceAccount::default());
    assert_eq!(check(&catalog, &everywhere(), |_| true), Mountable::default());
}

#[test]
fn a_refusal_names_pod_container_place_account_and_remedy() {
    let refused = checked("true", &[], &[]);
    let text = |place: &str| {
        let found = refused.problems.iter().find(|problem| problem.place.starts_with(place)).unwrap();
        found.to_string()
    };
    assert_eq!(
        text("spec.ephemeralContainers[0].env[0]"),
        "spec.ephemeralContainers[0].env[0].valueFrom.secretKeyRef.name: \"bound\" must not be mounted by ephemeral container \
         \"c\" of Pod \"web\": ServiceAccount \"web\" enforces its list, and the name is not in its secrets; add {name: \
         bound} to secrets of ServiceAccount \"web\""
    );
    assert!(text("spec.imagePullSecrets").ends_with("add {name: bound} to imagePullSecrets of ServiceAccount \"web\""));
}
