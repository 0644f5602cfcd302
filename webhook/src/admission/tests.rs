use std::time::Duration;

use alcove_injection::settings::KubernetesVersion;
use futures::FutureExt as _;
use serde_json::{Value, json};

use super::*;
use crate::cluster::mock::ApiServer;

/// A cluster whose watches have delivered nothing yet.
fn admission(server: &Arc<ApiServer>) -> Admission {
    let objects = Objects::default();
    let settings = Arc::new(ArcSwap::from_pointee(Settings::new("sidecar", KubernetesVersion::new(1, 37))));
    let live = Live::new(server.client(), Arc::clone(&objects), Duration::from_secs(2), Arc::default());
    Admission::in_cluster(objects, settings, live)
}

/// The review of the creation of a Pod.
fn creation(annotations: &Value) -> Review {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "object": {
                "metadata": {"name": "web", "annotations": annotations},
                "spec": {
                    "serviceAccountName": "web",
                    "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
                    "containers": [{"name": "app", "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}]}],
                },
            },
        },
    });
    Review::parse(review.to_string().as_bytes()).unwrap()
}

async fn answer(admission: &Admission, annotations: Value) -> Value {
    let (answer, _) = admission.review(Webhook::Mutating, creation(&annotations), &Turns::of(1)).await.unwrap();
    json!(answer.into_document())["response"].clone()
}

/// Everything that one `kubectl apply` makes before the Pod.
fn apply(server: &ApiServer) {
    let ours = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "shop", "resourceVersion": "9"},
            "spec": spec,
        })
    };
    let kubernetes = |name: &str| json!({"metadata": {"name": name, "namespace": "shop", "resourceVersion": "9"}});
    server.put("/api/v1/namespaces", json!({"metadata": {"name": "shop", "resourceVersion": "9"}}));
    server.put("/api/v1/namespaces/shop/serviceaccounts", kubernetes("web"));
    let in_shop = |plural: &str| format!("/apis/alcove.dev/v1alpha1/namespaces/shop/{plural}");
    let store =
        json!({"audience": "v", "provider": {"vault": {"server": "https://v", "auth": {"kubernetes": {"role": "r"}}}}});
    server.put(&in_shop("externalstores"), ours("ExternalStore", "vault", store));
    let binding = json!({"data": {"password": "vault:kv/app/db#password"}});
    server.put(&in_shop("secretbindings"), ours("SecretBinding", "db-creds", binding));
    let rule = json!({"store": {"kind": "ExternalStore", "name": "vault"}, "keys": ["**"], "secrets": ["*"]});
    server.put(
        &in_shop("secretpolicies"),
        ours("SecretPolicy", "web", json!({"serviceAccounts": ["web"], "allow": [rule]})),
    );
}

#[tokio::test]
async fn a_pod_that_comes_with_its_binding_is_injected_although_no_watch_has_seen_the_binding() {
    let server = ApiServer::prompt();
    apply(&server);
    let response = answer(&admission(&server), json!({"alcove.dev/inject": "true"})).await;
    assert_eq!(response["allowed"], true, "{response}");
    assert!(response["patch"].is_string(), "{response}");
}

#[tokio::test]
async fn what_is_not_there_after_a_live_read_is_not_there_and_that_is_said() {
    let server = ApiServer::prompt();
    let response = answer(&admission(&server), json!({"secret.alcove.dev/db-creds": "vault:kv/app/db"})).await;
    assert_eq!(response["allowed"], false);
    assert!(response["status"]["message"].as_str().unwrap().contains("is not a store"), "{response}");
}

#[tokio::test(start_paused = true)]
async fn every_denial_says_what_or_why_in_the_audit_log() {
    let denied = |response: &Value| response["auditAnnotations"]["denied"].clone();
    let server = ApiServer::prompt();
    apply(&server);
    let unresolved = answer(&admission(&server), json!({"secret.alcove.dev/db-creds": "nowhere:kv/app/db"})).await;
    assert_eq!(denied(&unresolved), "unresolved", "{unresolved}");
    let malformed = answer(&admission(&server), json!({"alcove.dev/injct": "true"})).await;
    assert_eq!(denied(&malformed), "malformed", "{malformed}");
    server.remove("/apis/alcove.dev/v1alpha1/namespaces/shop/secretpolicies/web");
    let policy = answer(&admission(&server), json!({"alcove.dev/inject": "true"})).await;
    assert_eq!(denied(&policy), "db-creds: ExternalStore vault, kv/app/db", "{policy}");
    let unavailable = answer(&admission(&ApiServer::silent()), json!({"alcove.dev/inject": "true"})).await;
    assert_eq!(denied(&unavailable), "unavailable", "{unavailable}");
    let store = written("CREATE", "ExternalStore", "shop", &vault("mine", "https://mine/path"));
    let (answer, _) = admission(&server).review(Webhook::Validating, store, &Turns::of(1)).await.unwrap();
    assert_eq!(denied(&json!(answer.into_document())["response"]), "store");
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_not_left_as_it_is_because_the_api_server_did_not_answer() {
    let response = answer(&admission(&ApiServer::silent()), json!({"alcove.dev/inject": "true"})).await;
    assert_eq!(response["allowed"], false, "{response}");
    assert_eq!(response["status"]["code"], 503);
}

#[tokio::test(start_paused = true)]
async fn a_review_that_needs_no_read_is_answered_while_others_wait_for_reads() {
    let (admission, turns) = (Arc::new(admission(&ApiServer::silent())), Turns::of(1));
    let review = |annotations: Value| {
        let (admission, turns) = (Arc::clone(&admission), turns.clone());
        async move { admission.review(Webhook::Mutating, creation(&annotations), &turns).await }
    };
    let waiting: Vec<_> = (0..300).map(|_| tokio::spawn(review(json!({"alcove.dev/inject": "true"})))).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (answer, _) = review(json!({})).now_or_never().expect("it waits").unwrap();
    assert_eq!(json!(answer.into_document())["response"]["allowed"], true);
    let mut excess = 0;
    for review in waiting {
        match review.await.unwrap() {
            Ok((answer, _)) => assert_eq!(json!(answer.into_document())["response"]["status"]["code"], 503),
            Err(Excess) => excess += 1,
        }
    }
    assert!((100..300).contains(&excess), "{excess} of those that wait for reads may come again");
    assert_eq!(turns.left(), 1);
}

#[test]
fn a_fault_in_one_review_is_its_refusal_and_nothing_else() {
    let question = Question::of(Webhook::Mutating, creation(&json!({}))).unwrap_or_else(|_| panic!("nothing is asked"));
    let (answer, _) = Judgement::unless_it_panics(|| panic!("a fault")).into_answer(&question);
    let response = json!(answer.into_document())["response"].clone();
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(503)));
    assert!(response["status"]["message"].as_str().unwrap().contains("a fault of its own"), "{response}");
}

#[tokio::test]
async fn a_pod_that_asks_for_nothing_costs_no_read() {
    let server = ApiServer::silent();
    let response = answer(&admission(&server), json!({})).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(server.lists(), 0);
}

#[tokio::test]
async fn what_a_kubelet_reports_costs_no_read() {
    let server = ApiServer::silent();
    let pod = json!({
        "metadata": {"name": "web", "annotations": {"secret.alcove.dev/db-creds": "vault:kv/app/db"}},
        "spec": {"containers": [{"name": "app"}]},
    });
    let mut reported = pod.clone();
    reported["status"] = json!({"phase": "Running"});
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": "UPDATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": "status",
            "namespace": "shop",
            "object": reported,
            "oldObject": pod,
        },
    });
    let review = Review::parse(review.to_string().as_bytes()).unwrap();
    let (answer, _) = admission(&server).review(Webhook::Validating, review, &Turns::of(1)).await.unwrap();
    assert_eq!(json!(answer.into_document())["response"]["allowed"], true);
    assert_eq!(server.lists(), 0);
}

#[tokio::test]
async fn a_policy_that_is_gone_grants_nothing_once_somebody_looks() {
    let server = ApiServer::prompt();
    apply(&server);
    let admission = admission(&server);
    let pod = json!({"alcove.dev/inject": "true"});
    assert_eq!(answer(&admission, pod.clone()).await["allowed"], true);
    server.remove("/apis/alcove.dev/v1alpha1/namespaces/shop/secretpolicies/web");
    // Another Pod asks for what nobody knows, which brings everything up to date.
    let stranger = json!({"secret.alcove.dev/db-creds": "nowhere:key"});
    assert_eq!(answer(&admission, stranger).await["allowed"], false);
    let response = answer(&admission, pod).await;
    assert_eq!(response["allowed"], false, "{response}");
    assert!(response["status"]["message"].as_str().unwrap().contains("no policy"), "{response}");
}

#[tokio::test]
async fn an_account_that_comes_with_its_pod_is_granted_what_its_labels_select() {
    let server = ApiServer::prompt();
    apply(&server);
    server.remove("/apis/alcove.dev/v1alpha1/namespaces/shop/secretpolicies/web");
    let rule = json!({"store": {"kind": "ExternalStore", "name": "vault"}, "keys": ["**"], "secrets": ["*"]});
    let policy = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "front", "namespace": "shop", "resourceVersion": "9"},
        "spec": {"serviceAccountSelector": {"matchLabels": {"tier": "front"}}, "allow": [rule]},
    });
    server.put("/apis/alcove.dev/v1alpha1/namespaces/shop/secretpolicies", policy);
    server.remove("/api/v1/namespaces/shop/serviceaccounts/web");
    let admission = admission(&server);
    let pod = json!({"alcove.dev/inject": "true"});
    let refused = answer(&admission, pod.clone()).await;
    let message = refused["status"]["message"].as_str().unwrap();
    assert!(message.contains("the labels of ServiceAccount \"web\" are not known yet"), "{message}");
    let labelled = |tier: &str, version: &str| json!({"metadata": {"name": "web", "namespace": "shop", "labels": {"tier": tier}, "resourceVersion": version}});
    server.put("/api/v1/namespaces/shop/serviceaccounts", labelled("front", "10"));
    let granted = answer(&admission, pod).await;
    assert_eq!(granted["allowed"], true, "{granted}");
}

#[tokio::test]
async fn what_a_policy_on_trial_would_deny_is_a_warning_and_stands_in_the_audit_log_of_the_pod_as_it_is_stored() {
    let server = ApiServer::prompt();
    apply(&server);
    let rule = json!({"store": {"kind": "ExternalStore", "name": "vault"}, "keys": ["kv/app/**"]});
    let policy = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "later", "namespace": "shop", "resourceVersion": "9"},
        "spec": {"serviceAccounts": ["web"], "deny": [rule], "mode": "Warn"},
    });
    server.put("/apis/alcove.dev/v1alpha1/namespaces/shop/secretpolicies", policy);
    let admission = admission(&server);
    let review = creation(&json!({"secret.alcove.dev/db-creds": "vault:kv/app/db"}));
    let mut stored = review.clone();
    let (answer, _) = admission.review(Webhook::Mutating, review, &Turns::of(1)).await.unwrap();
    let crate::review::Outcome::Patched(patch) = &answer.outcome else { panic!("it is not injected") };
    json_patch::patch(stored.object.as_mut().unwrap(), patch).unwrap();
    assert_eq!(answer.warnings.iter().filter(|warning| warning.contains("in mode Warn")).count(), 1);
    let (answer, _) = admission.review(Webhook::Validating, stored, &Turns::of(1)).await.unwrap();
    let response = json!(answer.into_document())["response"].clone();
    let expected = "db-creds: spec.deny[0] denies key \"kv/app/db\" of ExternalStore \"vault\", by SecretPolicy shop/later in mode Warn";
    assert_eq!(
        (&response["allowed"], &response["auditAnnotations"]["would-be-denied"]),
        (&json!(true), &json!(expected))
    );
}

#[tokio::test]
async fn policies_that_take_long_are_looked_through_to_their_end() {
    let server = ApiServer::prompt();
    apply(&server);
    let keys: Vec<String> = (0..64).map(|number| format!("kv/{}*{number}*", "*a".repeat(8))).collect();
    let rule = json!({"store": {"kind": "ExternalStore", "name": "vault"}, "keys": keys, "secrets": ["*"]});
    let policy = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": "SecretPolicy",
        "metadata": {"name": "intricate", "namespace": "shop", "resourceVersion": "9"},
        "spec": {"serviceAccounts": ["web"], "deny": vec![rule; 8]},
    });
    server.put("/apis/alcove.dev/v1alpha1/namespaces/shop/secretpolicies", policy);
    let pod = json!({"secret.alcove.dev/db-creds": format!("vault:kv/{}", "a".repeat(2000))});
    let admission = admission(&server);
    let first = answer(&admission, pod.clone()).await;
    assert_eq!(first["allowed"], true, "{first}");
    // By now everything is known, so this one is judged once on the thread that serves, and given up there.
    let (settings, catalog) = (admission.settings.load(), Arc::clone(admission.objects.read().unwrap().catalog()));
    let context = Context { catalog: &catalog, settings: &settings, most_steps: MOST_STEPS_AT_ONCE };
    let question = Question::of(Webhook::Mutating, creation(&pod)).unwrap_or_else(|_| panic!("nothing is asked"));
    assert!(Judgement::of(&question, &context).is_exhausted(), "these policies take too little to show anything");
    assert_eq!(answer(&admission, pod).await, first);
}

#[test]
fn a_review_that_nobody_waits_for_keeps_its_turn_until_it_is_judged() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let before = spawn_blocking(move || released.recv());
        let turns = Turns::of(1);
        let admission = Admission::from_files(View::default(), Settings::new("sidecar", KubernetesVersion::new(1, 37)));
        let large = creation(&json!({"example.com/notes": "x".repeat(LARGEST_AT_ONCE)}));
        let abandoned = admission.review(Webhook::Mutating, large, &turns).now_or_never();
        assert!(abandoned.is_none(), "it was answered although nothing can be judged yet");
        assert_eq!(turns.left(), 0, "the turn is given away although the review is still to be judged");
        drop(release);
        before.await.unwrap().unwrap_err();
        spawn_blocking(|| ()).await.unwrap();
        assert_eq!(turns.left(), 1, "the turn was kept");
    });
}

/// The review of a store that somebody writes.
fn written(operation: &str, kind: &str, namespace: &str, spec: &Value) -> Review {
    let plural = format!("{}s", kind.to_lowercase());
    let store = json!({
        "apiVersion": "alcove.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "mine", "namespace": namespace},
        "spec": spec,
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": operation,
            "resource": {"group": "alcove.dev", "version": "v1alpha1", "resource": plural},
            "namespace": namespace,
            "object": store,
            "oldObject": store,
        },
    });
    Review::parse(review.to_string().as_bytes()).unwrap()
}

fn vault(audience: &str, server: &str) -> Value {
    json!({"audience": audience, "provider": {"vault": {"server": server, "auth": {"kubernetes": {"role": "r"}}}}})
}

#[tokio::test]
async fn a_store_that_no_pod_could_use_is_refused_when_it_is_written() {
    let server = ApiServer::prompt();
    server.put("/api/v1/namespaces", json!({"metadata": {"name": "shop", "resourceVersion": "9"}}));
    server.put(
        "/apis/alcove.dev/v1alpha1/clusterexternalstores",
        json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "ClusterExternalStore",
            "metadata": {"name": "vault", "resourceVersion": "9"},
            "spec": vault("vault", "https://vault:8200"),
        }),
    );
    let admission = admission(&server);
    // One refusal brings the store of the cluster along, which no watch has delivered.
    for (operation, spec, expected) in [
        ("CREATE", vault("https://kubernetes.default.svc", "https://mine"), "is an audience of the API server"),
        ("UPDATE", vault("vault", "https://mine"), "is an audience of ClusterExternalStore vault"),
        ("CREATE", vault("mine", "https://mine/path"), "is not the address of a server"),
    ] {
        let review = written(operation, "ExternalStore", "shop", &spec);
        let (answer, _) = admission.review(Webhook::Validating, review, &Turns::of(1)).await.unwrap();
        let response = json!(answer.into_document())["response"].clone();
        assert_eq!(response["allowed"], false, "{expected}: {response}");
        let message = response["status"]["message"].as_str().unwrap();
        assert!(message.starts_with("ExternalStore shop/mine is refused:") && message.contains(expected), "{message}");
    }
    for (kind, namespace, spec) in [
        ("ExternalStore", "shop", vault("vault", "https://vault:8200")),
        ("ExternalStore", "shop", vault("mine", "https://mine")),
        ("ClusterExternalStore", "", vault("mine", "https://mine")),
    ] {
        let (answer, _) = admission
            .review(Webhook::Validating, written("CREATE", kind, namespace, &spec), &Turns::of(1))
            .await
            .unwrap();
        assert_eq!(json!(answer.into_document())["response"]["allowed"], true, "{kind} {spec}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stands_although_too_many_wait_to_have_it_looked_at_again() {
    let server = ApiServer::silent();
    let (admission, turns) = (admission(&server), Turns::of(1000));
    // More than one namespace has seats.
    let reviews = (0..200).map(|_| {
        let review = written("CREATE", "ExternalStore", "shop", &vault("mine", "https://mine/path"));
        admission.review(Webhook::Validating, review, &turns)
    });
    for outcome in futures::future::join_all(reviews).await {
        let (answer, _) = outcome.expect("a store that is refused is not told to come again: it would be let in");
        assert_eq!(json!(answer.into_document())["response"]["allowed"], false);
    }
}
