//! Reviews over TLS, as API servers send them.

use json_patch::Patch;
use reqwest::{StatusCode, Version};
use serde_json::{Value, json};

use super::process::{Stage, send};
use super::reviews::{change, creation, pod};

async fn answer(stage: &Stage, url: &str, review: &Value) -> Value {
    let client = stage.client().build().unwrap();
    let response = send(&client, url, review.to_string()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn patched(pod: &Value, answer: &Value) -> Value {
    use base64::Engine as _;
    let text = answer["response"]["patch"].as_str().expect("a patch");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let patch: Patch = serde_json::from_slice(&bytes).unwrap();
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).unwrap();
    patched
}

#[tokio::test]
async fn a_pod_that_opts_in_gets_its_sidecar_and_keeps_what_nobody_here_knows() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let pod = pod("kv/app/db");
    let answer = answer(&stage, &webhook.url("/mutate"), &creation(&pod)).await;
    assert_eq!(answer["response"]["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    let grants = answer["response"]["auditAnnotations"]["grants"].as_str().unwrap();
    assert!(grants.contains("kv/app/db") && grants.contains("shop/web"), "{grants}");

    let patched = patched(&pod, &answer);
    assert_eq!(patched["spec"]["initContainers"][0]["name"], "alcove-sidecar");
    assert_eq!(patched["spec"]["fieldOfTomorrow"], json!({"kept": true}));
    assert_eq!(patched["spec"]["volumes"][0]["name"], "creds");
}

#[tokio::test]
async fn asking_again_for_a_patched_pod_changes_nothing_and_the_other_webhook_accepts_it() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let pod = pod("kv/app/db");
    let first = answer(&stage, &webhook.url("/mutate"), &creation(&pod)).await;
    let patched = patched(&pod, &first);
    let second = answer(&stage, &webhook.url("/mutate"), &creation(&patched)).await;
    assert_eq!(second["response"]["allowed"], true);
    assert_eq!((second["response"].get("patch"), second["response"].get("patchType")), (None, None));
    let verdict = answer(&stage, &webhook.url("/validate"), &creation(&patched)).await;
    assert_eq!(verdict["response"]["allowed"], true, "{verdict}");
    let grants = verdict["response"]["auditAnnotations"]["admitted-grants"].as_str().unwrap();
    assert!(grants.contains("kv/app/db") && grants.contains("shop/web"), "{grants}");
}

#[tokio::test]
async fn what_no_policy_allows_is_refused_with_the_policy_that_would() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let answer = answer(&stage, &webhook.url("/mutate"), &creation(&pod("kv/other/db"))).await;
    let response = &answer["response"];
    assert_eq!(response["allowed"], false);
    assert_eq!((&response["status"]["code"], &response["status"]["reason"]), (&json!(403), &json!("Forbidden")));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("kv/other/db") && message.contains("kind: SecretPolicy"), "{message}");
    assert!(response["auditAnnotations"]["denied"].as_str().unwrap().contains("kv/other/db"));
    assert_eq!(response.get("patch"), None);
}

#[tokio::test]
async fn what_is_written_wrong_is_refused_as_invalid() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let mut pod = pod("kv/app/db");
    pod["metadata"]["annotations"]["alcove.dev/injct"] = json!("true");
    let answer = answer(&stage, &webhook.url("/mutate"), &creation(&pod)).await;
    assert_eq!(answer["response"]["status"]["code"], 422);
    assert!(answer["response"]["status"]["message"].as_str().unwrap().contains("alcove.dev/inject"));
}

#[tokio::test]
async fn a_finished_pod_loses_its_finalizer_although_its_policy_is_gone() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let mut old = pod("kv/gone/db");
    old["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
    let mut new = old.clone();
    new["metadata"].as_object_mut().unwrap().remove("finalizers");
    let answer = answer(&stage, &webhook.url("/validate"), &change(&old, &new)).await;
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
}

#[tokio::test]
async fn only_creations_of_pods_are_mutated_and_nothing_but_pods_is_judged() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let pod = pod("kv/other/db");
    let mut deletion = creation(&pod);
    deletion["request"]["operation"] = json!("DELETE");
    let mut deployment = creation(&pod);
    deployment["request"]["resource"] = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    for review in [deletion, deployment, change(&pod, &pod)] {
        for path in ["/mutate", "/validate"] {
            let answer = answer(&stage, &webhook.url(path), &review).await;
            let expected = json!({"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": true});
            assert_eq!(answer["response"], expected, "{path} {review}");
        }
    }
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_give_the_same_answer() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let review = creation(&pod("kv/app/db")).to_string();
    let mut answers = Vec::new();
    for (builder, version) in [(stage.client(), Version::HTTP_2), (stage.client().http1_only(), Version::HTTP_11)] {
        let response = send(&builder.build().unwrap(), &webhook.url("/mutate"), review.clone()).await.unwrap();
        assert_eq!(response.version(), version);
        answers.push(response.bytes().await.unwrap());
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn every_decision_is_counted_and_logged_with_its_reason() {
    let stage = Stage::new();
    let mut webhook = stage.serve_with(&["--drain-delay=0s"]);
    for key in ["kv/app/db", "kv/other/db"] {
        answer(&stage, &webhook.url("/mutate"), &creation(&pod(key))).await;
    }
    let metrics = reqwest::get(webhook.observation("/metrics")).await.unwrap().text().await.unwrap();
    for line in [
        r#"alcove_webhook_admissions_total{webhook="mutating",outcome="injected",reason="changed"} 1"#,
        r#"alcove_webhook_admissions_total{webhook="mutating",outcome="denied",reason="policy"} 1"#,
        r#"alcove_webhook_admission_duration_seconds_count{webhook="mutating"} 2"#,
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line}\nis not in\n{metrics}");
    }
    webhook.terminate();
    webhook.wait();
    let entries = webhook.log().into_iter().map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
    let decisions: Vec<Value> = entries.filter(|entry| entry["message"] == "review answered").collect();
    let told = |entry: &Value| {
        ["namespace", "pod", "service_account", "outcome", "reason"]
            .map(|field| entry[field].as_str().unwrap().to_owned())
    };
    let decisions: Vec<_> = decisions.iter().map(told).collect();
    assert_eq!(
        decisions,
        [["shop", "web-*", "web", "injected", "changed"], ["shop", "web-*", "web", "denied", "policy"]]
    );
}

/// A change of a running Pod through one of its subresources.
async fn through(subresource: &str, stage: &Stage, url: &str, (old, new): (&Value, &Value)) -> Value {
    let mut review = change(old, new);
    review["request"]["subResource"] = json!(subresource);
    answer(stage, url, &review).await["response"].clone()
}

#[tokio::test]
async fn a_subresource_is_no_way_around_what_holds_for_a_pod() {
    let stage = Stage::new();
    let webhook = stage.serve();
    let validate = webhook.url("/validate");
    let pod = pod("kv/app/db");
    let running = patched(&pod, &answer(&stage, &webhook.url("/mutate"), &creation(&pod)).await);

    let mut stripped = running.clone();
    stripped["metadata"]["annotations"] = json!({});
    for subresource in ["status", "resize", "ephemeralcontainers"] {
        let refused = through(subresource, &stage, &validate, (&running, &stripped)).await;
        assert_eq!(refused["allowed"], false, "{subresource}");
        assert!(refused["status"]["message"].as_str().unwrap().contains("secret.alcove.dev/db-creds"), "{refused}");
    }

    let resized = |memory: &str| {
        let mut resized = running.clone();
        let resources = &mut resized["spec"]["initContainers"][0]["resources"];
        resources["limits"]["memory"] = json!(memory);
        resources["requests"]["memory"] = json!("8Mi");
        resized
    };
    let small = through("resize", &stage, &validate, (&running, &resized("9Mi"))).await;
    assert_eq!(small["allowed"], false, "{small}");
    assert!(small["status"]["message"].as_str().unwrap().contains("resources"), "{small}");
    let larger = through("resize", &stage, &validate, (&running, &resized("256Mi"))).await;
    assert_eq!(larger["allowed"], true, "{larger}");

    let mut reported = running.clone();
    reported["status"] = json!({"phase": "Running"});
    reported["metadata"]["annotations"]["example.com/seen"] = json!("yes");
    let status = through("status", &stage, &validate, (&running, &reported)).await;
    assert_eq!(status["allowed"], true, "{status}");
}

#[tokio::test]
async fn while_one_version_takes_the_place_of_another_the_image_of_the_other_is_accepted_if_it_is_named() {
    let stage = Stage::new();
    let old = stage.serve_with(&["--sidecar-image=registry.example/sidecar:1"]);
    let pod = pod("kv/app/db");
    let injected = patched(&pod, &answer(&stage, &old.url("/mutate"), &creation(&pod)).await);

    let strict = stage.serve_with(&["--sidecar-image=registry.example/sidecar:2"]);
    let refused = answer(&stage, &strict.url("/validate"), &creation(&injected)).await["response"].clone();
    assert_eq!(refused["allowed"], false);
    assert!(refused["status"]["message"].as_str().unwrap().contains("image"), "{refused}");

    let named =
        ["--sidecar-image=registry.example/sidecar:2", "--also-accept-sidecar-image=registry.example/sidecar:1"];
    let tolerant = stage.serve_with(&named);
    let accepted = answer(&stage, &tolerant.url("/validate"), &creation(&injected)).await;
    assert_eq!(accepted["response"]["allowed"], true, "{accepted}");
    let mut foreign = injected.clone();
    foreign["spec"]["initContainers"][0]["image"] = json!("registry.example/other:1");
    let refused = answer(&stage, &tolerant.url("/validate"), &creation(&foreign)).await;
    assert_eq!(refused["response"]["allowed"], false);
    let mut commanded = injected;
    commanded["spec"]["initContainers"][0]["command"] = json!(["sh"]);
    let refused = answer(&stage, &tolerant.url("/validate"), &creation(&commanded)).await;
    assert_eq!(refused["response"]["allowed"], false, "the image alone is tolerated");
}
