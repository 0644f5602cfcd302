//! The node itself: what the other suites rely on is really there.

use alcove_tests::claims;
use alcove_tests::network::NODE_ADDRESS;
use alcove_tests::suite::{Test, Trial};
use alcove_tests::vault::AUDIENCE;
use anyhow::{Result, ensure};
use serde_json::json;

pub(crate) fn tests() -> Vec<Trial> {
    claims![
        a_pod_runs_and_its_log_and_files_can_be_read,
        a_memory_volume_is_a_tmpfs_of_the_stated_size,
        an_application_waits_for_the_startup_probe_of_a_native_sidecar,
        an_environment_variable_comes_from_a_file_that_a_native_sidecar_wrote,
        a_pod_reaches_another_through_a_service,
        the_api_server_refuses_what_restricted_forbids,
        a_pod_logs_in_to_vault_with_a_token_for_its_audience_only,
        a_sealed_vault_serves_again_after_unsealing,
        the_audit_log_holds_the_bodies_of_pods_and_of_no_secret,
    ]
}

async fn a_pod_runs_and_its_log_and_files_can_be_read(test: Test) -> Result<()> {
    let namespace = test.namespace();
    namespace.apply(&pod("app", "command: [sh, -c, 'echo started; echo content > /tmp/file; sleep 1000000']")).await?;
    namespace.wait_until_ready("app").await?;
    namespace.wait_for_log("app", "app", "started").await?;
    namespace.wait_for_output("app", "app", &["cat", "/tmp/file"], "content\n").await?;
    let events = namespace.events("app").await?;
    ensure!(events.iter().any(|event| event.starts_with("Started: ")), "no event about the start in {events:?}");
    Ok(())
}

async fn a_memory_volume_is_a_tmpfs_of_the_stated_size(test: Test) -> Result<()> {
    let namespace = test.namespace();
    namespace
        .apply(
            r"
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: localhost/busybox:test
    command: [sleep, '1000000']
    volumeMounts: [{name: memory, mountPath: /memory}]
  volumes:
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
",
        )
        .await?;
    namespace.wait_until_ready("app").await?;
    let mounts = namespace.exec("app", "app", &["grep", " /memory ", "/proc/mounts"]).await?;
    ensure!(mounts.starts_with("tmpfs /memory tmpfs ") && mounts.contains("size=1024k"), "{mounts}");
    let mode = namespace.exec("app", "app", &["stat", "-c", "%a %u:%g", "/memory"]).await?;
    ensure!(mode == "1777 0:0\n", "{mode}");
    Ok(())
}

async fn an_application_waits_for_the_startup_probe_of_a_native_sidecar(test: Test) -> Result<()> {
    let namespace = test.namespace();
    namespace.apply(SIDECAR_AND_APPLICATION).await?;
    let gate = "the sidecar runs while its probe fails";
    let waiting = namespace
        .wait_for("app", gate, |pod| {
            let sidecar = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten()).next();
            let state = sidecar.and_then(|status| status.state.as_ref());
            Ok(state.is_some_and(|state| state.running.is_some()))
        })
        .await?;
    let applications = waiting.status.unwrap().container_statuses.unwrap();
    ensure!(
        applications[0].state.as_ref().unwrap().running.is_none(),
        "the application runs before the sidecar is ready"
    );
    namespace.exec("app", "sidecar", &["sh", "-c", "echo \"PASSWORD='from the sidecar'\" > /work/env"]).await?;
    namespace.wait_until_ready("app").await?;
    Ok(())
}

async fn an_environment_variable_comes_from_a_file_that_a_native_sidecar_wrote(test: Test) -> Result<()> {
    let namespace = test.namespace();
    namespace.apply(SIDECAR_AND_APPLICATION).await?;
    let command = ["sh", "-c", "echo \"PASSWORD='from the sidecar'\" > /work/env"];
    namespace.wait_for_output("app", "sidecar", &command, "").await?;
    namespace.wait_until_ready("app").await?;
    let password = namespace.exec("app", "app", &["sh", "-c", "echo \"$PASSWORD\""]).await?;
    ensure!(password == "from the sidecar\n", "{password}");
    Ok(())
}

/// The application does not mount the volume that its variable comes from.
const SIDECAR_AND_APPLICATION: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - name: sidecar
    image: localhost/busybox:test
    restartPolicy: Always
    command: [sleep, '1000000']
    startupProbe: {exec: {command: [test, -e, /work/env]}, periodSeconds: 1, failureThreshold: 300}
    volumeMounts: [{name: work, mountPath: /work}]
  containers:
  - name: app
    image: localhost/busybox:test
    command: [sleep, '1000000']
    env: [{name: PASSWORD, valueFrom: {fileKeyRef: {volumeName: work, path: env, key: PASSWORD}}}]
  volumes:
  - {name: work, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
";

async fn a_pod_reaches_another_through_a_service(test: Test) -> Result<()> {
    let namespace = test.namespace();
    namespace
        .apply(&pod("server", "command: [sh, -c, 'echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']"))
        .await?;
    namespace
        .apply("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}}")
        .await?;
    namespace.apply(&pod("client", "command: [sleep, '1000000']")).await?;
    namespace.wait_until_ready("server").await?;
    namespace.wait_until_ready("client").await?;
    let address = namespace.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).await?;
    let url = format!("http://{address}/");
    namespace.wait_for_output("client", "client", &["timeout", "5", "wget", "-q", "-O", "-", &url], "hello\n").await
}

async fn the_api_server_refuses_what_restricted_forbids(test: Test) -> Result<()> {
    test.namespace().label("pod-security.kubernetes.io/enforce=restricted").await?;
    let refusal = test.namespace().refusal(&pod("app", "command: [sleep, '1000000']")).await?;
    ensure!(refusal.contains("violates PodSecurity \"restricted:latest\""), "{refusal}");
    Ok(())
}

async fn a_pod_logs_in_to_vault_with_a_token_for_its_audience_only(test: Test) -> Result<()> {
    let (namespace, vault) = (test.namespace(), test.vault().await?);
    let role = namespace.name();
    vault.kv().put(role, json!({"password": "known to Vault alone"})).await?;
    vault.policy(role, &vault.kv().readable(role)).await?;
    vault.role(role, (namespace.name(), "default"), &[role]).await?;
    namespace
        .apply(&format!(
            r"
apiVersion: v1
kind: Pod
metadata: {{name: app}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: localhost/busybox:test
    command: [sleep, '1000000']
    volumeMounts: [{{name: token, mountPath: /token}}]
  volumes:
  - name: token
    projected: {{sources: [{{serviceAccountToken: {{audience: {AUDIENCE}, path: token}}}}]}}
"
        ))
        .await?;
    namespace.wait_until_ready("app").await?;
    let token = namespace.exec("app", "app", &["cat", "/token/token"]).await?;
    let login = vault.call("POST", "auth/kubernetes/login", &json!({"role": role, "jwt": token})).await?;
    ensure!(login.pointer("/auth/client_token").is_some(), "no token in Vault's answer");

    let other = namespace.exec("app", "app", &["cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"]).await?;
    let refused = vault.call("POST", "auth/kubernetes/login", &json!({"role": role, "jwt": other})).await;
    let refusal = format!("{:#}", refused.unwrap_err());
    ensure!(refusal.contains("audience"), "the token for the API server was not refused for its audience: {refusal}");

    // busybox speaks no TLS that Vault accepts: that the connection is made is what shows the way from a Pod.
    let (_, port) = vault.address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    namespace.exec("app", "app", &["sh", "-c", &format!("nc {NODE_ADDRESS} {port} < /dev/null")]).await?;
    Ok(())
}

async fn a_sealed_vault_serves_again_after_unsealing(test: Test) -> Result<()> {
    let vault = test.own_vault().await?;
    vault.kv().put("app", json!({"password": "kept"})).await?;
    vault.seal().await?;
    let refusal = format!("{:#}", vault.kv().get("app").await.unwrap_err());
    ensure!(refusal.contains("503") && refusal.contains("sealed"), "{refusal}");
    vault.unseal().await?;
    ensure!(vault.kv().get("app").await? == json!({"password": "kept"}));
    ensure!(vault.requests("read", "kv/data/app")? >= 1, "the audit log misses a read");
    vault.stop().await
}

async fn the_audit_log_holds_the_bodies_of_pods_and_of_no_secret(test: Test) -> Result<()> {
    let namespace = test.namespace();
    namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: real}, stringData: {password: canary-in-a-secret}}")
        .await?;
    namespace.apply(&pod("app", "env: [{name: CANARY, value: canary-in-a-pod}]")).await?;
    let log = std::fs::read_to_string(test.node().audit_log())?;
    ensure!(log.contains("canary-in-a-pod"), "the audit log has no bodies of Pods");
    let of_secret = format!("/api/v1/namespaces/{}/secrets", namespace.name());
    ensure!(log.contains(&of_secret), "the audit log does not know that a Secret was made");
    ensure!(!log.contains("canary-in-a-secret"), "the audit log has bodies of Secrets");
    let etcd = alcove_tests::process::run({
        let mut grep = std::process::Command::new("grep");
        grep.args(["-rlaF", "canary-in-a-pod"]).arg(test.node().etcd_data());
        grep
    })?;
    ensure!(!etcd.is_empty(), "the data of etcd cannot be searched");
    Ok(())
}

fn pod(name: &str, container: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: {name}
    image: localhost/busybox:test
    {container}
"
    )
}
