//! The README: whoever does what it says, word for word, has a Pod with its secret.

use std::path::Path;

use alcove_tests::builds::Products;
use alcove_tests::suite::Test;
use alcove_tests::vault::Vault;
use alcove_tests::{process, state};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What Kubernetes says itself.
const OF_KUBERNETES: [&str; 2] = ["failed calling webhook", "not found"];

pub(super) async fn a_stranger_who_follows_the_readme_gets_a_pod_with_its_secret(test: Test) -> Result<()> {
    test.alcove().await?;
    let (readme, vault, namespace) = (super::read("README.md")?, test.vault().await?, test.namespace());
    let place = state::directory().join("readme").join(namespace.name());
    let [pod, runs, ..] = blocks(&readme, "yaml")[..] else { anyhow::bail!("the README shows no Pod") };
    process::write(&place.join("web.yaml"), adapted(pod, &changes_of_pod(namespace.name()))?)?;
    process::write(&place.join("ca.crt"), vault.authority())?;
    let first = readme.split_once("**The first store**").context("the README has no first store")?.1;
    let script = adapted(&blocks(first, "").concat(), &changes_of_script(namespace.name(), vault)?)?;

    let said = follow(&test, vault, &place, &script).await?;
    ensure!(said.contains("example-only-change-me"), "the secret is not in the file: {said}");
    ensure!(said.contains("\"allowed\": true"), "the review refuses the example: {said}");
    let actual: Value = serde_json::from_str(&namespace.kubectl(&["get", "pod", "web", "-o", "json"]).await?)?;
    let runs: Value = serde_saphyr::from_str(runs)?;
    let missing = missing(&runs, &actual, "");
    ensure!(missing.is_empty(), "what runs is not what the README shows: {missing:#?}\n{actual:#}");
    namespace.kubectl(&["delete", "clusterexternalstore", namespace.name()]).await.map(drop)
}

pub(super) fn every_text_that_the_readme_explains_is_said() -> Result<()> {
    let readme = super::read("README.md")?;
    let table = readme.split_once("| text | meaning |").context("the README explains no texts")?.1;
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let texts: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    ensure!(texts.len() >= 12, "only {} texts are explained: is the table read at all?", texts.len());
    let said = lines_said()?;
    for text in texts.into_iter().filter(|text| !OF_KUBERNETES.iter().any(|own| text.contains(own))) {
        let parts: Vec<&str> = text.split('…').map(str::trim).collect();
        ensure!(said.iter().any(|line| in_order(&parts, line)), "the README explains `{text}`, which nobody says");
    }
    Ok(())
}

/// What stands between fences that open with this word.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// What is different on the node of the tests, which others use, too.
type Changes = Vec<(&'static str, String)>;

fn changes_of_pod(name: &str) -> Changes {
    vec![
        ("vault:kv/app/db", format!("{name}:kv/{name}/db")),
        ("image: mysql:8.4", "image: localhost/busybox:test\n    command: [sleep, '1000000']".to_owned()),
    ]
}

fn changes_of_script(name: &str, vault: &Vault) -> Result<Changes> {
    let webhook = Products::built().webhook;
    let webhook = webhook.to_str().context("the path of the webhook is not UTF-8")?;
    let authority = STANDARD.encode(vault.authority());
    Ok(vec![
        ("kubectl ", format!("kubectl --namespace {name} ")),
        ("cargo run --release -p alcove-webhook --", webhook.to_owned()),
        ("manifests/examples", state::checkout().join("manifests/examples").display().to_string()),
        ("https://vault.example.com:8200", vault.address()),
        ("# caBundle: what `base64 -w0 ca.crt` prints", format!("caBundle: {authority} #")),
        ("metadata: {name: vault}", format!("metadata: {{name: {name}}}")),
        ("name: vault}, keys: [\"kv/app/", format!("name: {name}}}, keys: [\"kv/{name}/")),
        ("kv put kv/app/", format!("kv put kv/{name}/")),
        ("kv/data/app/", format!("kv/data/{name}/")),
        ("policy write web", format!("policy write {name}")),
        ("token_policies=web", format!("token_policies={name}")),
        ("role/web", format!("role/{name}")),
        ("role: web", format!("role: {name}")),
        ("namespaces=default", format!("namespaces={name}")),
        ("namespace: default", format!("namespace: {name}")),
    ])
}

/// The text with every change, each of which must find something to change.
fn adapted(text: &str, changes: &[(&str, String)]) -> Result<String> {
    changes.iter().try_fold(text.to_owned(), |text, (shown, own)| {
        ensure!(text.contains(shown), "the README says no more: {shown}");
        Ok(text.replace(shown, own))
    })
}

/// Runs the commands one after the other, up to the first that fails.
async fn follow(test: &Test, vault: &Vault, place: &Path, script: &str) -> Result<String> {
    let (kubectl, programs) = (test.node().kubectl(), alcove_tests::tools::vault()?);
    let kubernetes = kubectl.program().parent().context("kubectl is in a directory")?;
    let path = std::env::var("PATH").context("there is no PATH")?;
    let mut command = test.node().network().command("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(place)
        .env("PATH", format!("{}:{}:{path}", kubernetes.display(), programs.display()))
        .env("KUBECONFIG", kubectl.kubeconfig())
        .env("VAULT_ADDR", vault.address())
        .env("VAULT_CACERT", place.join("ca.crt"))
        .env("VAULT_TOKEN", vault.root_token())
        .env("NO_PROXY", "*");
    process::run_with_input(command, "").await
}

/// Where `stated` says something that `actual` does not; of a list, each item must be in the other.
fn missing(stated: &Value, actual: &Value, place: &str) -> Vec<String> {
    match (stated, actual) {
        (Value::Object(fields), Value::Object(_)) => {
            let of = |(name, value): (&String, &Value)| missing(value, &actual[name], &format!("{place}.{name}"));
            fields.iter().flat_map(of).collect()
        }
        (Value::Array(items), Value::Array(candidates)) => {
            let is_there = |item: &Value| candidates.iter().any(|candidate| missing(item, candidate, "").is_empty());
            items.iter().filter(|item| !is_there(item)).map(|item| format!("{place}: {item}")).collect()
        }
        _ if stated == actual => Vec::new(),
        _ => vec![format!("{place}: {stated} and not {actual}")],
    }
}

/// Every line of the cases, and of whatever else of ours speaks.
fn lines_said() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for directory in ["injection/tests/cases", "sidecar/src", "stores/src", "webhook/src", "manifests/base"] {
        for file in super::files(&state::checkout().join(directory))? {
            lines.extend(std::fs::read_to_string(&file)?.lines().map(str::to_owned));
        }
    }
    Ok(lines)
}

fn in_order(parts: &[&str], line: &str) -> bool {
    let found = parts.iter().try_fold(line, |rest, part| rest.split_once(part).map(|(_, behind)| behind));
    found.is_some()
}
