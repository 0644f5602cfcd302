use alcove_injection::effort::MOST_STEPS;
use alcove_injection::settings::KubernetesVersion;
use alcove_injection::{Context, Decision, Pod, decide};
use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::cluster::mock::ApiServer;

const OURS: &str = "/apis/alcove.dev/v1alpha1";
const PODS: &str = "/api/v1/pods";
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// An installation in a cluster with one namespace, in which the ServiceAccount `web` may mount `kv/app/**`.
struct Setting {
    server: Arc<ApiServer>,
    metrics: Arc<Metrics>,
    sweeper: Sweeper,
}

fn namespaced(kind: &str) -> String {
    format!("{OURS}/namespaces/shop/{kind}")
}

fn ours(kind: &str, name: &str, spec: &Value) -> Value {
    let mut metadata = json!({"name": name, "resourceVersion": "7", "generation": 3});
    if !kind.starts_with("Cluster") {
        metadata["namespace"] = "shop".into();
    }
    json!({"apiVersion": "alcove.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn rules(list: &str, keys: &str) -> Value {
    let rule = json!({"store": {"kind": "ClusterExternalStore", "name": "vault"}, "keys": [keys]});
    let mut spec = json!({"serviceAccounts": ["web"]});
    spec[list] = json!([rule]);
    spec
}

fn populate(server: &ApiServer) {
    let here = |name: &str| json!({"metadata": {"name": name, "namespace": "shop", "resourceVersion": "7"}});
    let labels = json!({"team": "a"});
    server.put("/api/v1/namespaces", json!({"metadata": {"name": "shop", "labels": labels, "resourceVersion": "7"}}));
    server.put("/api/v1/namespaces/shop/serviceaccounts", here("web"));
    let vault = json!({"server": "https://vault.example:8200", "version": "v2", "auth": {"kubernetes": {"role": "r"}}});
    let store = json!({"audience": "vault", "provider": {"vault": vault}});
    server.put(&format!("{OURS}/clusterexternalstores"), ours("ClusterExternalStore", "vault", &store));
    server.put(&namespaced("secretpolicies"), ours("SecretPolicy", "web", &rules("allow", "kv/app/**")));
}

impl Setting {
    async fn new() -> Self {
        let server = ApiServer::prompt();
        populate(&server);
        Self::beside(&server).await
    }

    /// A replica that knows what is in the cluster now.
    async fn beside(server: &Arc<ApiServer>) -> Self {
        let (objects, metrics) = (Objects::default(), Arc::new(Metrics::default()));
        let live = Live::new(server.client(), Arc::clone(&objects), Duration::from_secs(2), Arc::clone(&metrics));
        live.read("shop").await;
        let settings = Settings::new("registry.example/sidecar", KubernetesVersion::new(1, 37));
        let sources = Sources {
            client: server.client(),
            objects,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            live,
            readiness: Readiness::default(),
            whereabouts: Whereabouts::of("alcove-system", "alcove-webhook"),
            identity: "replica".to_owned(),
            metrics: Arc::clone(&metrics),
        };
        Self { server: Arc::clone(server), metrics, sweeper: Sweeper::new(sources, Duration::from_mins(5)) }
    }

    /// Puts Pods into the cluster as admission leaves them.
    fn run(&self, count: usize) {
        for index in 0..count {
            let pod = pod(&format!("web-{index:05}"));
            let knowledge = self.sweeper.knowledge();
            let context =
                Context { catalog: &knowledge.catalog, settings: &knowledge.settings, most_steps: MOST_STEPS };
            let Decision::Inject(plan) = decide(&Pod::new(pod.clone(), "shop").unwrap(), &context) else {
                panic!("it is not injected")
            };
            let mut injected = pod;
            json_patch::patch(&mut injected, &plan.patch).unwrap();
            self.server.put(PODS, injected);
        }
    }

    /// Has the cluster deny what the Pods have.
    fn deny(&self) {
        let policy = ours("ClusterSecretPolicy", "nobody", &rules("deny", "kv/app/*"));
        self.server.put(&format!("{OURS}/clustersecretpolicies"), policy);
    }

    /// What the view of a replica gets from its watches.
    async fn catch_up(&self) {
        self.sweeper.sources.live.read("shop").await;
    }

    async fn sweep(&mut self, at: &str) -> Vec<(Method, String, Value)> {
        self.sweeper.sweep(at.parse().unwrap()).await.unwrap();
        self.server.writes()
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|shown| shown == format!("alcove_webhook_{line}"))
    }
}

/// A Pod that asks for a Secret.
fn pod(name: &str) -> Value {
    let annotations = json!({"secret.alcove.dev/db-creds": "vault:kv/app/db"});
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "annotations": annotations},
        "spec": {
            "serviceAccountName": "web",
            "containers": [{"name": "app", "image": "busybox", "volumeMounts": [{"name": "creds", "mountPath": "/c"}]}],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
        "status": {"phase": "Running"},
    })
}

fn events(writes: &[(Method, String, Value)]) -> Vec<&Value> {
    let events = writes.iter().filter(|(method, path, _)| *method == Method::POST && path.ends_with("/shop/events"));
    events.map(|(_, _, event)| event).collect()
}

fn statuses(writes: &[(Method, String, Value)]) -> Vec<&Value> {
    writes.iter().filter(|(method, _, _)| *method == Method::PATCH).map(|(_, _, object)| &object["status"]).collect()
}

#[tokio::test]
async fn a_pod_that_has_what_is_denied_now_is_told_of_by_an_event_a_metric_and_the_status_of_the_policy() {
    let mut setting = Setting::new().await;
    setting.run(2);
    assert_eq!(setting.sweep("2026-01-01T10:20:00Z").await, [], "all is well");
    assert!(setting.shows("swept_pods 2"));
    assert!(setting.shows(r#"sweep_findings{kind="no-longer-granted"} 0"#));

    setting.deny();
    setting.catch_up().await;
    let writes = setting.sweep("2026-01-01T10:25:00Z").await;
    let [event, other] = events(&writes).try_into().unwrap();
    assert_eq!(event["regarding"]["name"], "web-00000");
    assert_eq!((&event["reason"], &event["type"]), (&json!("AlcoveNoLongerGranted"), &json!("Warning")));
    let note = event["note"].as_str().unwrap();
    assert!(note.contains("spec.deny[0] of ClusterSecretPolicy nobody denies key \"kv/app/db\""), "{note}");
    assert_ne!(event["metadata"]["name"], other["metadata"]["name"]);
    let [status] = statuses(&writes).try_into().unwrap();
    assert_eq!((&status["serviceAccounts"], &status["violatingPods"]), (&json!(1), &json!(2)));
    let reason = "spec.deny[0] denies key \"kv/app/db\" of ClusterExternalStore \"vault\"";
    let first = json!({"namespace": "shop", "pod": "web-00000", "secret": "db-creds", "reason": reason});
    assert_eq!(status["violations"][0], first);
    let ready = &status["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["observedGeneration"]),
        (&json!("Ready"), &json!("True"), &json!(3))
    );
    assert!(setting.shows(r#"sweep_findings{kind="no-longer-granted"} 2"#));
}

#[tokio::test]
async fn an_event_is_made_once_an_hour_by_whichever_replica_and_a_status_only_when_it_changes() {
    let mut setting = Setting::new().await;
    setting.run(1);
    setting.deny();
    setting.catch_up().await;
    let writes = setting.sweep("2026-01-01T10:20:00Z").await;
    assert_eq!((events(&writes).len(), statuses(&writes).len()), (1, 1));
    assert_eq!(setting.sweep("2026-01-01T10:25:00Z").await, []);

    let mut another = Setting::beside(&setting.server).await;
    let writes = another.sweep("2026-01-01T10:30:00Z").await;
    assert_eq!(statuses(&writes).len(), 0, "it is there already");
    let [again] = events(&writes).try_into().unwrap();
    let path = format!("/apis/events.k8s.io/v1/namespaces/shop/events/{}", again["metadata"]["name"].as_str().unwrap());
    let stored = setting.server.get(&path).unwrap();
    assert!(stored["eventTime"].as_str().unwrap().starts_with("2026-01-01T10:20"), "a second one was made: {stored}");
    assert_eq!(another.sweep("2026-01-01T10:35:00Z").await, [], "it knows now that it was told");

    let writes = setting.sweep("2026-01-01T11:00:00Z").await;
    assert_eq!((events(&writes).len(), statuses(&writes).len()), (1, 0));
    setting.server.remove(&format!("{PODS}/web-00000"));
    let writes = setting.sweep("2026-01-01T11:05:00Z").await;
    let [status] = statuses(&writes).try_into().unwrap();
    assert_eq!((&status["violatingPods"], &status["violations"]), (&json!(0), &Value::Null));
    assert!(events(&writes).is_empty());
}

#[tokio::test]
async fn a_pod_that_came_past_the_webhook_is_told_of() {
    let mut setting = Setting::new().await;
    setting.server.put(PODS, pod("bypassed"));
    let writes = setting.sweep("2026-01-01T10:20:00Z").await;
    let [event] = events(&writes).try_into().unwrap();
    assert_eq!(event["reason"], "AlcoveNotInjected");
    assert!(setting.shows(r#"sweep_findings{kind="not-injected"} 1"#));
}

#[tokio::test]
async fn where_another_installation_serves_it_is_left_to_that_one() {
    let mut setting = Setting::new().await;
    setting.run(1);
    setting.deny();
    setting.server.put(PODS, pod("bypassed"));
    let configuration = |team: &str| {
        let webhook = json!({"name": "pods.alcove.dev", "namespaceSelector": {"matchLabels": {"team": team}},
            "admissionReviewVersions": ["v1"], "clientConfig": {}, "sideEffects": "None"});
        json!({"metadata": {"name": "alcove-webhook"}, "webhooks": [webhook]})
    };
    setting.server.put(CONFIGURATIONS, configuration("b"));
    setting.catch_up().await;
    let writes = setting.sweep("2026-01-01T10:20:00Z").await;
    assert!(events(&writes).is_empty());
    assert!(setting.shows(r#"sweep_findings{kind="not-injected"} 0"#));
    let [status] = statuses(&writes).try_into().unwrap();
    assert_eq!(status["violatingPods"], 1, "a policy of the cluster is one of every installation");
    setting.server.put(CONFIGURATIONS, configuration("a"));
    assert_eq!(events(&setting.sweep("2026-01-01T10:25:00Z").await).len(), 2);
}

#[tokio::test]
async fn what_is_not_known_here_yet_is_read_before_anything_is_told() {
    let mut setting = Setting::new().await;
    setting.run(1);
    // The watches of this replica have not seen the policy that the Pod was admitted by.
    let policy = setting.server.get(&format!("{}/web", namespaced("secretpolicies"))).unwrap();
    setting.server.remove(&format!("{}/web", namespaced("secretpolicies")));
    setting.catch_up().await;
    setting.server.put(&namespaced("secretpolicies"), policy);
    assert_eq!(setting.sweep("2026-01-01T10:20:00Z").await, []);
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_says_so_in_its_status() {
    let mut setting = Setting::new().await;
    let mut wrong = rules("deny", "kv/**");
    wrong["deny"][0]["secrets"] = json!([]);
    setting.server.put(&format!("{OURS}/clustersecretpolicies"), ours("ClusterSecretPolicy", "wrong", &wrong));
    setting.catch_up().await;
    let writes = setting.sweep("2026-01-01T10:20:00Z").await;
    let [status] = statuses(&writes).try_into().unwrap();
    let ready = &status["conditions"][0];
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Unreadable")));
    assert!(ready["message"].as_str().unwrap().contains("spec.deny[0].secrets: is empty"), "{ready}");
    let since = ready["lastTransitionTime"].clone();
    let mut changed = setting.server.get(&format!("{OURS}/clustersecretpolicies/wrong")).unwrap();
    changed["metadata"]["generation"] = 4.into();
    setting.server.put(&format!("{OURS}/clustersecretpolicies"), changed);
    let writes = setting.sweep("2026-01-01T10:25:00Z").await;
    let [status] = statuses(&writes).try_into().unwrap();
    assert_eq!(status["conditions"][0]["observedGeneration"], 4);
    assert_eq!(status["conditions"][0]["lastTransitionTime"], since, "it is as unreadable as before");
}

#[tokio::test]
async fn a_mistaken_deny_fills_neither_the_cluster_nor_the_status() {
    let mut setting = Setting::new().await;
    setting.run(620);
    setting.deny();
    setting.catch_up().await;
    let writes = setting.sweep("2026-01-01T10:20:00Z").await;
    assert_eq!(events(&writes).len(), 500);
    let [status] = statuses(&writes).try_into().unwrap();
    assert_eq!((&status["violatingPods"], status["violations"].as_array().unwrap().len()), (&json!(620), 20));
    assert_eq!(events(&setting.sweep("2026-01-01T10:25:00Z").await).len(), 120, "the others come with the next sweep");
    assert_eq!(setting.sweep("2026-01-01T10:30:00Z").await, []);
}

#[tokio::test(start_paused = true)]
async fn only_the_replica_that_leads_sweeps_and_only_once_everything_is_known() {
    let Setting { server, metrics, sweeper } = Setting::new().await;
    let condition = sweeper.sources.readiness.condition("watch");
    let (told, leads) = watch::channel(false);
    let before = server.lists();
    tokio::spawn(sweeper.run(leads));
    sleep(Duration::from_mins(20)).await;
    assert_eq!(server.lists(), before, "another replica sweeps");
    told.send_replace(true);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(server.lists(), before, "not everything is known");
    condition.met();
    sleep(Duration::from_mins(1)).await;
    assert!(!metrics.encode().contains("alcove_webhook_last_sweep_timestamp_seconds 0"));
    let once = server.lists() - before;
    sleep(Duration::from_hours(1)).await;
    let sweeps = (server.lists() - before) / once;
    assert!((11..=15).contains(&sweeps), "{sweeps} sweeps in an hour");
    told.send_replace(false);
    sleep(Duration::from_mins(20)).await;
    assert_eq!((server.lists() - before) / once, sweeps);
    assert!(metrics.encode().contains("alcove_webhook_last_sweep_timestamp_seconds 0"));
}
