//! Whom a policy concerns: by name, by label, or by both.

use super::*;
use crate::catalog::ServiceAccount;

/// A policy for ServiceAccounts that `who` states.
fn about(who: &Value, list: &str) -> Value {
    let mut spec = who.clone();
    spec[list] = json!([vault(&["**"])]);
    policy("SecretPolicy", "p", spec)
}

fn labelled(labels: &[(&str, &str)]) -> ServiceAccount {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ServiceAccount { labels: Some(labels), ..ServiceAccount::default() }
}

/// The judgement where the ServiceAccount of the request is known as `account`.
fn judged_as(objects: impl IntoIterator<Item = Value>, account: Option<ServiceAccount>) -> String {
    let mut catalog = Catalog::of(objects);
    if let Some(account) = account {
        catalog.apply_service_account("app", "web", account);
    }
    words(&judge(&catalog, &settings(), &REQUEST))
}

const BY_LABEL: &str =
    "undecided: SecretPolicy app/p: selects ServiceAccounts by label, and the labels of ServiceAccount \"web\"";

#[test]
fn an_account_whose_labels_are_not_known_is_granted_nothing_by_them_and_escapes_no_deny() {
    let front = json!({"serviceAccountSelector": {"matchLabels": {"tier": "front"}}});
    let all = || own("all", &["*"], json!([vault(&["**"])]), json!([]));
    let (denied, granted) =
        ("denied by spec.deny[0] of SecretPolicy app/p", "granted by spec.allow[0] of SecretPolicy app");
    let unseen = format!("{BY_LABEL} are not known yet; apply again");
    assert_eq!(judged_as([about(&front, "allow")], None), unseen);
    assert_eq!(judged_as([about(&front, "deny"), all()], None), unseen);
    assert_eq!(
        judged_as([about(&front, "allow"), all()], None),
        format!("{granted}/all"),
        "an allow that is not needed"
    );
    let kept_without = Some(ServiceAccount::default());
    let left_out = format!(
        "{BY_LABEL} are left out, since the objects in namespace \"app\" that Alcove keeps are too large together; delete some \
         of them, or make them smaller"
    );
    assert_eq!(judged_as([about(&front, "deny"), all()], kept_without), left_out);
    let (met, unmet) = (labelled(&[("tier", "front")]), labelled(&[]));
    assert_eq!(judged_as([about(&front, "allow")], Some(met.clone())), format!("{granted}/p"));
    assert_eq!(judged_as([about(&front, "allow")], Some(unmet.clone())), "unmatched");
    assert_eq!(judged_as([about(&front, "deny"), all()], Some(met)), denied);
    assert_eq!(judged_as([about(&front, "deny"), all()], Some(unmet)), format!("{granted}/all"));
}

#[test]
fn where_the_name_or_an_empty_selector_decides_no_labels_are_needed() {
    let with = |names: &str| json!({"serviceAccounts": [names], "serviceAccountSelector": {"matchLabels": {"a": "b"}}});
    assert_eq!(judged_as([about(&with("other"), "deny")], None), "unmatched");
    assert!(judged_as([about(&with("w*"), "deny")], None).starts_with(BY_LABEL));
    let everybody = json!({"serviceAccountSelector": {}});
    assert_eq!(judged_as([about(&everybody, "allow")], None), "granted by spec.allow[0] of SecretPolicy app/p");
}

#[test]
fn a_comparison_of_labels_takes_steps_for_each_requirement() {
    let labels: Value = (0..32).map(|number| (format!("key-{number}"), Value::from("x"))).collect();
    let wide = json!({"serviceAccountSelector": {"matchLabels": labels}});
    let mut catalog = Catalog::of([about(&wide, "deny")]);
    catalog.apply_service_account("app", "web", labelled(&[]));
    let mut effort = Effort::of(100);
    let judgement = super::super::judge(&catalog, &settings(), &REQUEST, &mut effort);
    assert_eq!(words(&judgement), "exhausted at SecretPolicy app/p");
}

proptest! {
    #[test]
    fn a_policy_concerns_those_whose_name_and_labels_both_match(
        names in proptest::option::of("web|w\\*|api"),
        tier in proptest::option::of("front|back"),
        is_negative in any::<bool>(),
        labels in proptest::option::of(proptest::option::of("front|back")),
    ) {
        prop_assume!(names.is_some() || tier.is_some());
        let mut who = json!({});
        if let Some(names) = &names {
            who["serviceAccounts"] = json!([names]);
        }
        if let Some(tier) = &tier {
            let operator = if is_negative { "NotIn" } else { "In" };
            who["serviceAccountSelector"] =
                json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": [tier]}]});
        }
        let account = labels.as_ref().map(|value| labelled(&value.iter().map(|value| ("tier", value.as_str())).collect::<Vec<_>>()));
        let by_name = names.as_deref() != Some("api");
        let by_labels = match (&tier, &labels) {
            (None, _) => Some(true),
            (Some(_), None) => None,
            (Some(tier), Some(value)) => Some((value.as_ref() == Some(tier)) != is_negative),
        };
        let told = judged_as([about(&who, "deny")], account);
        match by_labels {
            _ if !by_name => prop_assert_eq!(told, "unmatched"),
            Some(true) => prop_assert_eq!(told, "denied by spec.deny[0] of SecretPolicy app/p"),
            Some(false) => prop_assert_eq!(told, "unmatched"),
            None => prop_assert!(told.starts_with(BY_LABEL), "{}", told),
        }
    }
}
