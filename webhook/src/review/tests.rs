use json_patch::Patch;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn create() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u1",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "dryRun": true,
            "object": {"metadata": {"namespace": "other"}, "spec": {"unknownToUs": [1.50]}},
            "oldObject": null,
        },
    })
}

fn changed(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Review, Malformed> {
    let mut document = create();
    change(document["request"].as_object_mut().unwrap());
    Review::parse(document.to_string().as_bytes())
}

#[test]
fn a_review_is_taken_apart_and_its_namespace_is_that_of_the_request() {
    let review = changed(|_| {}).unwrap();
    assert_eq!(review.uid, "u1");
    assert_eq!(review.operation, Operation::Create);
    assert_eq!(review.target, Target::Pod);
    assert_eq!(review.namespace, "shop");
    assert_eq!(review.object.unwrap()["spec"]["unknownToUs"], json!([1.50]));
    assert_eq!(review.old_object, None);
}

#[test]
fn what_is_no_review_says_what_was_expected() {
    let refusal = |body: &str| Review::parse(body.as_bytes()).unwrap_err().to_string();
    let review = create().to_string();
    let truncated = review.strip_suffix("}}").unwrap();
    assert!(refusal("").contains("empty"));
    assert!(refusal(" \n").contains("empty"));
    assert!(refusal(truncated).contains("not JSON: EOF"), "{}", refusal(truncated));
    assert!(refusal("[]").contains("kind unknown"));
    assert!(refusal(r#"{"kind": "Pod", "apiVersion": "v1"}"#).contains("kind Pod of v1"));
    let old = refusal(&review.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1"));
    assert!(old.contains("admission.k8s.io/v1beta1"), "{old}");
    assert!(refusal(r#"{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}"#).contains("request.uid"));
}

#[test]
fn a_question_with_a_number_is_answered_even_if_it_is_incomplete() {
    let cases: [(&str, Value, Missing); 6] = [
        ("operation", json!("PATCH"), Missing::Operation),
        ("operation", json!(7), Missing::Operation),
        ("resource", json!(null), Missing::Resource),
        ("namespace", json!(""), Missing::Namespace),
        ("object", json!([]), Missing::Object),
        ("object", json!(null), Missing::Object),
    ];
    for (field, value, what) in cases {
        let malformed = changed(|request| drop(request.insert(field.to_owned(), value.clone()))).unwrap_err();
        assert_eq!(malformed, Malformed::Incomplete { uid: "u1".to_owned(), what }, "{field}: {value}");
    }
    let update = changed(|request| drop(request.insert("operation".to_owned(), json!("UPDATE")))).unwrap_err();
    assert_eq!(update, Malformed::Incomplete { uid: "u1".to_owned(), what: Missing::OldObject });
}

#[test]
fn what_does_not_concern_us_may_lack_anything() {
    let deletion = changed(|request| {
        request.insert("operation".to_owned(), json!("DELETE"));
        request.remove("object");
    });
    assert_eq!(deletion.unwrap().operation, Operation::Other);
    let binding = changed(|request| {
        request.insert("operation".to_owned(), json!("UPDATE"));
        request.insert("subResource".to_owned(), json!("binding"));
    });
    assert_eq!(binding.unwrap().target, Target::Other);
}

#[test]
fn what_is_changed_through_a_subresource_has_a_before_and_an_after() {
    for subresource in ["status", "resize", "ephemeralcontainers"] {
        let update = |with_old: fn(&mut Map<String, Value>)| {
            changed(|request| {
                request.insert("operation".to_owned(), json!("UPDATE"));
                request.insert("subResource".to_owned(), json!(subresource));
                with_old(request);
            })
        };
        let whole = update(|request| drop(request.insert("oldObject".to_owned(), request["object"].clone())));
        assert_eq!(whole.unwrap().target, Target::Subresource);
        let incomplete = Malformed::Incomplete { uid: "u1".to_owned(), what: Missing::OldObject };
        assert_eq!(update(|_| {}).unwrap_err(), incomplete, "{subresource}");
    }
}

#[test]
fn a_patch_and_its_type_are_both_there_or_neither() {
    let patch: Patch = serde_json::from_value(json!([{"op": "remove", "path": "/a"}])).unwrap();
    let response = json!(Answer::new("u", Outcome::Patched(patch)).into_document())["response"].clone();
    assert_eq!(response["patchType"], "JSONPatch");
    assert_eq!(response["patch"], "W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0=");
    assert_eq!(response["allowed"], true);

    let empty = json!(Answer::new("u", Outcome::Patched(Patch(Vec::new()))).into_document())["response"].clone();
    assert_eq!(empty, json!({"uid": "u", "allowed": true}));
}

#[test]
fn a_refusal_is_a_failure_with_a_code_that_the_api_server_passes_on() {
    let response = json!(Answer::denied("u", Status::Forbidden, "no".to_owned()).into_document());
    let expected = json!({"status": "Failure", "message": "no", "reason": "Forbidden", "code": 403});
    assert_eq!(response["response"]["status"], expected);
    assert_eq!(response["response"]["allowed"], false);
    assert_eq!(response["apiVersion"], "admission.k8s.io/v1");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Review::parse(&bytes).is_err());
    }

    #[test]
    fn no_prefix_of_a_review_is_one(length in 0usize..300) {
        let whole = create().to_string();
        let cut = length.min(whole.len() - 1);
        prop_assert!(Review::parse(&whole.as_bytes()[..cut]).is_err());
    }
}
