//! What Kubernetes refuses without us is refused with us. Mutation runs before the API server's own validation, so a
//! Secret volume that has become a memory volume leaves nothing to object to: what we replace we validate ourselves.
//!
//! The Pods are those of `injection/tests/invalid`, where each says in its first line what it must be refused for.

use std::path::{Path, PathBuf};

use alcove_tests::suite::{Test, Trial};
use alcove_tests::{claims, state};
use anyhow::{Context as _, Result, ensure};
use http::Request;
use serde_json::{Value, json};

use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![a_pod_that_the_api_server_refuses_without_us_is_refused_with_us]
}

fn cases() -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(state::checkout().join("injection/tests/invalid"))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    Ok(paths)
}

async fn a_pod_that_the_api_server_refuses_without_us_is_refused_with_us(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let cases = cases()?;
    ensure!(cases.len() >= 20, "the invalid Pods are missing: {} found", cases.len());
    let mut differences = Vec::new();
    for case in &cases {
        let (pod, expected) = read(case)?;
        let name = case.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let without = dry_run(&test, &left_alone(&pod)).await;
        let with = dry_run(&test, &opted_in(&setting, &pod)).await;
        let agrees = |outcome: &Result<(), String>| {
            outcome.as_ref().is_err_and(|text| expected.iter().all(|expected| text.contains(expected)))
        };
        if !agrees(&without) || !agrees(&with) {
            differences.push(format!("{name}: expected {expected:?}\n  without us: {without:?}\n  with us: {with:?}"));
        }
    }
    ensure!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), cases.len(), differences.join("\n"));
    Ok(())
}

/// The Pod and the texts that its refusal must contain.
fn read(path: &Path) -> Result<(Value, Vec<String>)> {
    let text = std::fs::read_to_string(path)?;
    let expected = text.lines().filter_map(|line| line.strip_prefix("# expect: "));
    let expected: Vec<String> = expected.map(|line| line.trim_start_matches("json: ").to_owned()).collect();
    ensure!(!expected.is_empty(), "{}: no line `# expect:`", path.display());
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let pod =
        serde_saphyr::from_str_with_options(&text, options).with_context(|| format!("reading {}", path.display()))?;
    Ok((pod, expected))
}

/// The same Pod, bound to a secret that the namespace may read.
fn opted_in(setting: &Setting<'_>, pod: &Value) -> Value {
    let mut pod = pod.clone();
    let binding = format!("{{dataFrom: ['{}'], keys: [username, password]}}", setting.reference("db"));
    pod["metadata"]["annotations"] = json!({"secret.alcove.dev/db-creds": binding});
    pod
}

/// The same Pod without any annotation of ours.
fn left_alone(pod: &Value) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]["annotations"] = json!({});
    pod
}

/// Asks the API server for everything but the storing. What kubectl would object to by itself is of no interest here.
async fn dry_run(test: &Test, pod: &Value) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{}/pods?dryRun=All&fieldValidation=Ignore", test.namespace().name());
    let request = Request::post(path).header("Content-Type", "application/json").body(pod.to_string().into_bytes());
    let request = request.map_err(|error| error.to_string())?;
    test.node().client().request::<Value>(request).await.map(drop).map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    })
}
