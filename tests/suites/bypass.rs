//! Nobody calls the webhook: what the API server refuses by its own policies, and what it leaves alone.

use alcove_tests::alcove::Alcove;
use alcove_tests::namespace::Namespace;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::wait::{self, Seen};
use alcove_tests::{claims, claims_alone};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = claims![
        the_type_checker_of_the_api_server_finds_nothing_in_its_policies,
        a_policy_of_the_api_server_with_parameters_refuses_nobody_while_its_kind_is_missing,
    ];
    tests.extend(claims_alone![
        without_the_configuration_the_policy_of_the_api_server_refuses,
        without_the_configuration_a_binding_of_the_cluster_counts_where_its_selector_says,
        without_the_configuration_a_pod_that_asks_for_no_binding_is_left_alone,
        without_the_configuration_a_large_pod_is_judged_among_a_thousand_bindings,
        without_the_configuration_a_pod_that_has_lost_its_sidecar_is_refused,
    ]);
    tests
}

/// Does `work` while no webhook of ours is registered.
async fn bypassed(test: &Test, work: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    test.alcove().await?;
    let kubectl = test.node().kubectl();
    kubectl.run(&["delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "alcove-webhook"]).await?;
    let outcome = async {
        // The API server forgets a configuration after a moment.
        let by_itself = pod("db-creds", "volume", &json!({"secret.alcove.dev/db-creds": "vault:kv/app/db"}));
        wait_until_refused(test.namespace(), &by_itself).await?;
        work(test.namespace()).await
    }
    .await;
    kubectl.run(&["delete", "clustersecretbindings", "-l", &format!("of={}", test.namespace().name())]).await?;
    Alcove::apply(test.node(), "manifests/overlays/test").await?;
    outcome
}

/// Every kind of place that the webhook replaces.
const PLACES: [&str; 6] = ["volume", "projected source", "env", "envFrom", "env of init", "envFrom of init"];

/// A Pod that names a Secret in one place, and plain Secrets around it.
fn pod(secret: &str, place: &str, annotations: &Value) -> Value {
    let env = |name: &str| {
        json!([
            {"name": "PLAIN", "value": secret},
            {"name": "OTHER", "valueFrom": {"configMapKeyRef": {"name": secret, "key": "k"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}},
        ])
    };
    let env_from = |name: &str| json!([{"configMapRef": {"name": secret}}, {"secretRef": {"name": name}}]);
    let named = |wanted: &str| if place == wanted { secret } else { "plain" };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "app-", "annotations": annotations},
        "spec": {
            "initContainers": [{
                "name": "init",
                "image": "localhost/busybox:test",
                "env": env(named("env of init")),
                "envFrom": env_from(named("envFrom of init")),
            }],
            "containers": [
                {"name": "first", "image": "localhost/busybox:test"},
                {
                    "name": "second",
                    "image": "localhost/busybox:test",
                    "env": env(named("env")),
                    "envFrom": env_from(named("envFrom")),
                },
            ],
            "volumes": [
                {"name": "empty", "emptyDir": {}},
                {"name": "volume", "secret": {"secretName": named("volume")}},
                {"name": "projected", "projected": {"sources": [
                    {"configMap": {"name": secret}},
                    {"secret": {"name": named("projected source")}},
                ]}},
            ],
        },
    })
}

/// Whether the API server would take a Pod, and what it says if not.
async fn tried(namespace: &Namespace, pod: &Value) -> Result<Result<(), String>> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match namespace.api::<Pod>().create(&dry_run, &serde_json::from_value(pod.clone())?).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err(status.message)),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the API server refuses a Pod by a policy of its own, and returns what it says.
async fn wait_until_refused(namespace: &Namespace, pod: &Value) -> Result<String> {
    wait::until("the API server to refuse by its own policy", async || {
        Ok(match tried(namespace, pod).await? {
            Err(refusal) if refusal.contains("ValidatingAdmissionPolicy") => Seen::Met(refusal),
            Err(refusal) => Seen::NotYet(refusal),
            Ok(()) => Seen::NotYet("it takes the Pod".to_owned()),
        })
    })
    .await
}

/// Applies bindings of the namespace, and of the cluster with their selectors.
async fn bind(namespace: &Namespace, own: &[&str], of_cluster: &[(String, Value)]) -> Result<()> {
    let object = |kind: &str, name: &str| {
        json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "labels": {"of": namespace.name()}},
            "spec": {"data": {"k": "vault:kv/app/db#k"}},
        })
    };
    let own = own.iter().map(|name| object("SecretBinding", name));
    let of_cluster = of_cluster.iter().map(|(name, selector)| {
        let mut binding = object("ClusterSecretBinding", name);
        binding["spec"]["namespaceSelector"] = selector.clone();
        binding
    });
    namespace
        .apply(
            &json!({"apiVersion": "v1", "kind": "List", "items": own.chain(of_cluster).collect::<Value>()}).to_string(),
        )
        .await
}

/// What makes names count that bindings bind which are objects.
fn by_objects() -> Value {
    json!({"alcove.dev/inject": "true"})
}

async fn without_the_configuration_the_policy_of_the_api_server_refuses(test: Test) -> Result<()> {
    bypassed(&test, async |namespace| {
        let of_cluster = format!("{}-bound", namespace.name());
        bind(namespace, &["bound"], &[(of_cluster.clone(), Value::Null)]).await?;
        for (secret, annotations, told) in [
            ("own", json!({"secret.alcove.dev/own": "vault:kv/app/db"}), "that its annotations bind".to_owned()),
            ("bound", by_objects(), format!("SecretBinding {}/bound binds", namespace.name())),
            (of_cluster.as_str(), by_objects(), format!("ClusterSecretBinding {of_cluster} binds")),
        ] {
            for place in PLACES {
                let refused = wait_until_refused(namespace, &pod(secret, place, &annotations)).await;
                let refusal = refused.with_context(|| format!("{secret} as {place}"))?;
                ensure!(refusal.contains(&told) && refusal.contains("has no alcove-sidecar"), "{place}: {refusal}");
            }
        }
        Ok(())
    })
    .await
}

/// Selectors that select a namespace with the labels `team=a` and no `other`, and such that do not.
fn selectors() -> (Vec<Value>, Vec<Value>) {
    let by = |key: &str, operator: &str, values: &[&str]| {
        let mut requirement = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            requirement["values"] = json!(values);
        }
        json!({"matchExpressions": [requirement]})
    };
    let of = |team: &str| json!({"matchLabels": {"team": team}});
    let selecting = vec![
        Value::Null,
        json!({}),
        of("a"),
        by("team", "In", &["x", "a"]),
        by("team", "NotIn", &["x", "b"]),
        by("other", "NotIn", &["x"]),
        by("team", "Exists", &[]),
        by("other", "DoesNotExist", &[]),
    ];
    let half = json!({"matchLabels": {"team": "a"}, "matchExpressions": [{"key": "other", "operator": "Exists"}]});
    let others = vec![
        of("b"),
        json!({"matchLabels": {"team": "a", "other": "x"}}),
        by("team", "In", &["x", "b"]),
        by("other", "In", &["x"]),
        by("team", "NotIn", &["x", "a"]),
        by("other", "Exists", &[]),
        by("team", "DoesNotExist", &[]),
        half,
    ];
    (selecting, others)
}

async fn without_the_configuration_a_binding_of_the_cluster_counts_where_its_selector_says(test: Test) -> Result<()> {
    test.namespace().label("team=a").await?;
    bypassed(&test, async |namespace| {
        let named = |what: &str, selectors: Vec<Value>| -> Vec<(String, Value)> {
            let name = |index| format!("{}-{what}-{index}", namespace.name());
            selectors.into_iter().enumerate().map(|(index, selector)| (name(index), selector)).collect()
        };
        let (selecting, others) = selectors();
        let (selecting, others) = (named("selects", selecting), named("others", others));
        // Those that select us come last: once the API server knows them, it knows the others.
        bind(namespace, &[], &others).await?;
        bind(namespace, &[], &selecting).await?;
        for (name, selector) in &selecting {
            let refused = wait_until_refused(namespace, &pod(name, "volume", &by_objects())).await;
            refused.with_context(|| selector.to_string())?;
        }
        for (name, selector) in &others {
            let taken = tried(namespace, &pod(name, "volume", &by_objects())).await?;
            ensure!(taken.is_ok(), "{selector}: {taken:?}");
        }
        Ok(())
    })
    .await
}

async fn without_the_configuration_a_pod_that_asks_for_no_binding_is_left_alone(test: Test) -> Result<()> {
    let elsewhere = test.another_namespace("elsewhere").await?;
    bypassed(&test, async |namespace| {
        let of_cluster = format!("{}-bound", namespace.name());
        bind(&elsewhere, &["elsewhere"], &[]).await?;
        bind(namespace, &["bound"], &[(of_cluster.clone(), Value::Null)]).await?;
        for (known, place) in [(&elsewhere, "elsewhere"), (namespace, "bound"), (namespace, &of_cluster)] {
            wait_until_refused(known, &pod(place, "volume", &by_objects())).await?;
        }
        for annotations in [
            json!(null),
            json!({"foo": "bar"}),
            json!({"alcove.dev/inject": "false"}),
            json!({"alcove.dev/inject": "false", "secret.alcove.dev/bound": "vault:kv/app/db"}),
            json!({"secret.alcove.dev/own": "vault:kv/app/db"}),
        ] {
            for (secret, place) in [("bound", "volume"), ("bound", "env"), (&of_cluster, "envFrom")] {
                let taken = tried(namespace, &pod(secret, place, &annotations)).await?;
                ensure!(taken.is_ok(), "{secret} as {place} with {annotations}: {taken:?}");
            }
        }
        for place in PLACES {
            let taken = tried(namespace, &pod("elsewhere", place, &by_objects())).await?;
            ensure!(taken.is_ok(), "a name that is bound in another namespace alone, as {place}: {taken:?}");
        }
        Ok(())
    })
    .await
}

async fn without_the_configuration_a_large_pod_is_judged_among_a_thousand_bindings(test: Test) -> Result<()> {
    bypassed(&test, async |namespace| {
        let names: Vec<String> = (0..1000).map(|number| format!("bound-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        bind(namespace, &names, &[]).await?;
        let large = |last: &str| {
            let mut large = pod(last, "none", &by_objects());
            let env = |index: usize| json!({"name": format!("V{index}"), "valueFrom": {"secretKeyRef": {"name": "plain", "key": "k"}}});
            let container = |index: usize| json!({
                "name": format!("c{index}"),
                "image": "localhost/busybox:test",
                "env": (0..20).map(env).collect::<Value>(),
            });
            large["spec"]["containers"] = (0..20).map(container).collect();
            large["spec"]["containers"][19]["envFrom"] = json!([{"secretRef": {"name": last}}]);
            large
        };
        for name in ["bound-999", "bound-0", "bound-500"] {
            let refusal = wait_until_refused(namespace, &large(name)).await?;
            ensure!(refusal.contains(&format!("SecretBinding {}/{name} binds", namespace.name())), "{refusal}");
        }
        let taken = tried(namespace, &large("plain")).await?;
        ensure!(taken.is_ok(), "{taken:?}");
        Ok(())
    })
    .await
}

/// Takes something away from a Pod that Alcove has changed.
type Loss = fn(&mut Value);

/// What another webhook may do to a Pod after Alcove, and what the API server says of it.
const LOSSES: [(Loss, &str); 6] = [
    (|pod| drop(take_sidecar(pod)), "has no alcove-sidecar"),
    (
        |pod| {
            take_sidecar(pod);
            pod["metadata"]["annotations"].as_object_mut().unwrap().remove("alcove.dev/injected");
        },
        "has no alcove-sidecar",
    ),
    (
        |pod| {
            take_sidecar(pod);
            let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
            volumes.retain(|volume| !volume["name"].as_str().unwrap().starts_with("alcove-"));
        },
        "has no alcove-sidecar",
    ),
    (
        |pod| {
            let mut sidecar = take_sidecar(pod);
            sidecar.as_object_mut().unwrap().remove("restartPolicy");
            pod["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
        },
        "must be in spec.initContainers",
    ),
    (
        |pod| {
            // Kubernetes itself has no startup probe without it.
            for field in ["restartPolicy", "startupProbe"] {
                sidecar(pod).as_object_mut().unwrap().remove(field);
            }
        },
        "restartPolicy: must be Always",
    ),
    (|pod| drop(sidecar(pod).as_object_mut().unwrap().remove("startupProbe")), "startupProbe: is missing"),
];

fn sidecar(pod: &mut Value) -> &mut Value {
    let containers = pod["spec"]["initContainers"].as_array_mut().unwrap();
    containers.iter_mut().find(|container| container["name"] == "alcove-sidecar").unwrap()
}

fn take_sidecar(pod: &mut Value) -> Value {
    let taken = sidecar(pod).clone();
    pod["spec"]["initContainers"].as_array_mut().unwrap().retain(|container| *container != taken);
    taken
}

/// Here no webhook is there to judge the final Pod.
async fn without_the_configuration_a_pod_that_has_lost_its_sidecar_is_refused(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let original = pod("db-creds", "volume", &json!({"secret.alcove.dev/db-creds": setting.reference("db")}));
    let arguments = ["-n", test.namespace().name(), "create", "--dry-run=server", "-o", "json", "-f", "-"];
    let changed = test.node().kubectl().run_with_input(&arguments, &original.to_string()).await?;
    let mut changed: Value = serde_json::from_str(&changed)?;
    changed["metadata"] = json!({"generateName": "app-", "annotations": changed["metadata"]["annotations"]});
    bypassed(&test, async |namespace| {
        let taken = tried(namespace, &changed).await?;
        ensure!(taken.is_ok(), "a Pod as Alcove leaves it: {taken:?}");
        for (index, (lose, told)) in LOSSES.iter().enumerate() {
            let mut pod = changed.clone();
            lose(&mut pod);
            let refusal =
                tried(namespace, &pod).await?.err().with_context(|| format!("loss {index} is taken: {pod}"))?;
            ensure!(refusal.contains("ValidatingAdmissionPolicy") && refusal.contains(told), "loss {index}: {refusal}");
        }
        Ok(())
    })
    .await
}

async fn the_type_checker_of_the_api_server_finds_nothing_in_its_policies(test: Test) -> Result<()> {
    test.alcove().await?;
    let policies = test
        .node()
        .kubectl()
        .json(&["get", "validatingadmissionpolicies", "-l", "app.kubernetes.io/part-of=alcove"])
        .await?;
    let policies = policies["items"].as_array().context("a list has no items")?;
    let names: Vec<&str> = policies.iter().filter_map(|policy| policy["metadata"]["name"].as_str()).collect();
    ensure!(names.len() == 5, "{names:?}");
    for name in names {
        let status = wait::until(&format!("the type check of {name}"), async || {
            let policy = test.node().kubectl().json(&["get", "validatingadmissionpolicy", name]).await?;
            let is_checked = policy["status"]["observedGeneration"] == policy["metadata"]["generation"];
            Ok(if is_checked {
                Seen::Met(policy["status"].clone())
            } else {
                Seen::NotYet(policy["status"].to_string())
            })
        })
        .await?;
        ensure!(status["typeChecking"] == json!({}), "{name}: {status}");
    }
    Ok(())
}

/// While a kind of ours is missing, the API server knows no parameters, and says so before it looks at any condition.
async fn a_policy_of_the_api_server_with_parameters_refuses_nobody_while_its_kind_is_missing(test: Test) -> Result<()> {
    test.alcove().await?;
    let policies = test.node().kubectl().json(&["get", "validatingadmissionpolicies"]).await?;
    let with_parameters: Vec<&Value> =
        policies["items"].as_array().unwrap().iter().filter(|policy| policy["spec"]["paramKind"].is_object()).collect();
    ensure!(with_parameters.len() >= 2, "{policies}");
    for policy in with_parameters {
        ensure!(policy["spec"]["failurePolicy"] == "Ignore", "{policy}");
    }
    Ok(())
}
