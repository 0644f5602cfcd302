//! The command line.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::process::{Stage, program, send, write};
use super::reviews::{change, creation, pod};

fn review(stage: &Stage, arguments: &[&str], input: &str) -> Output {
    let mut command = program();
    command.arg("review").arg("--resources").arg(stage.resources()).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may refuse its arguments without reading.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn review_answers_as_serve_does() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let client = stage.client().build().unwrap();
    for key in ["kv/app/db", "kv/other/db"] {
        let question = creation(&pod(key)).to_string();
        let served = send(&client, &webhook.url("/mutate"), question.clone()).await.unwrap().bytes().await.unwrap();
        let served: Value = serde_json::from_slice(&served).unwrap();
        assert_eq!(answer(&review(&stage, &[], &question)), served);
    }
}

#[test]
fn a_refusal_is_an_answer_and_exits_with_zero() {
    let stage = Stage::new();
    let answer = answer(&review(&stage, &[], &creation(&pod("kv/other/db")).to_string()));
    assert_eq!(answer["response"]["allowed"], false);
    assert_eq!(answer["response"]["status"]["code"], 403);
}

#[test]
fn the_answer_to_an_incomplete_review_is_golden() {
    let stage = Stage::new();
    let mut question = creation(&pod("kv/app/db"));
    question["request"]["object"] = Value::Null;
    let output = review(&stage, &[], &question.to_string());
    let expected = r#"{
  "apiVersion": "admission.k8s.io/v1",
  "kind": "AdmissionReview",
  "response": {
    "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
    "allowed": false,
    "status": {
      "status": "Failure",
      "message": "request.object is not an object",
      "reason": "BadRequest",
      "code": 400
    }
  }
}
"#;
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert!(output.status.success());
}

#[test]
fn a_change_is_judged_and_a_creation_is_mutated_unless_said_otherwise() {
    let stage = Stage::new();
    let pod = pod("kv/app/db");
    let changed = answer(&review(&stage, &[], &change(&pod, &pod).to_string()));
    assert_eq!(changed["response"].get("patch"), None);
    let created = answer(&review(&stage, &[], &creation(&pod).to_string()));
    assert!(created["response"]["patch"].is_string());
    // Without its sidecar this Pod would wait for ever, so the validating side does not let it pass.
    let validated = answer(&review(&stage, &["--webhook", "validating"], &creation(&pod).to_string()));
    assert_eq!(validated["response"]["allowed"], false);
}

#[test]
fn settings_reach_the_decision() {
    let stage = Stage::new();
    let allowed = answer(&review(&stage, &["--default-policy=allow"], &creation(&pod("kv/other/db")).to_string()));
    assert_eq!(allowed["response"]["allowed"], true, "{allowed}");
    let mut old = pod("kv/app/db");
    let by_key = json!([{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db-creds", "key": "password"}}}]);
    old["spec"]["containers"][0]["env"] = by_key;
    let refused = answer(&review(&stage, &["--kubernetes-version=1.34"], &creation(&old).to_string()));
    assert!(refused["response"]["status"]["message"].as_str().unwrap().contains("1.35"), "{refused}");
}

#[test]
fn what_cannot_be_answered_is_said_on_standard_error_and_nothing_else_on_standard_output() {
    let stage = Stage::new();
    write(&stage.resources().join("wrong.yaml"), "apiVersion: alcove.dev/v1alpha1\nkind: SecretPolcy\n---\na: [\n");
    let output = review(&stage, &[], "{}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    assert!(text.contains("wrong.yaml"), "{text}");
}

#[test]
fn help_shows_examples_and_every_flag_that_the_manifests_use() {
    let output = program().args(["serve", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in ["Examples:", "--sidecar-image", "--ca-lifetime", "--lease-duration", "POD_NAMESPACE", "[default: "]
    {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}
