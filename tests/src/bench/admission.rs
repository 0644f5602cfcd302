//! Admission: throughput, latency, memory and growth of one replica of the webhook.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use alcove_tests::process;
use alcove_tests::stage::Stage;
use anyhow::Result;

use super::fixtures::{self, Scope};
use super::histogram::Histogram;
use super::load::{self, Outcome, Question};
use super::server::{self, Place, Server};
use super::table::Table;
use super::usage;

/// Containers of the Pod that most figures are about.
const CONTAINERS: usize = 2;
/// Policies and bindings of other namespaces beside it.
const OBJECTS: usize = 10;
/// How many ServiceAccounts of its namespace have a policy each, at least and at most.
const ACCOUNTS: [usize; 2] = [10, 1_000];

pub(super) async fn measure(program: &Path, duration: Duration, table: &mut Table) -> Result<()> {
    latency(program, duration, table).await?;
    for scope in [Scope::Namespace, Scope::Cluster] {
        for count in [10, 1_000, 10_000] {
            beside(program, duration, (scope, count), table).await?;
        }
    }
    among_accounts(program, duration, table).await
}

async fn latency(program: &Path, duration: Duration, table: &mut Table) -> Result<()> {
    let stage = Stage::begin("admission: throughput, latency, growth with containers");
    let (server, metrics) = start(program, &fixtures::resources(Scope::Namespace, OBJECTS)).await?;
    let review = fixtures::review(CONTAINERS);
    for connections in [1, 16] {
        let before = Histogram::read(&metrics).await?;
        let outcome = load::apply(&server, Question::Review(&review), connections, duration).await?;
        let inside = Histogram::read(&metrics).await?.since(&before);
        table.row(format!("admission, containers: {CONTAINERS}, connections: {connections}"), outcome.summary(), "");
        let inside = inside.at_most(990).map_or_else(|| "nothing counted".to_owned(), |limit| format!("≤ {limit} ms"));
        let target = if connections == 16 { "< 2 ms" } else { "" };
        table.row(format!("… p99 inside the webhook, connections: {connections}"), inside, target);
    }
    let nothing = load::apply(&server, Question::Health, 16, duration).await?;
    table.row("… TLS and HTTP alone (GET /healthz), connections: 16", nothing.summary(), "");
    for containers in [1, 10, 100] {
        let outcome = load::apply(&server, Question::Review(&fixtures::review(containers)), 1, duration).await?;
        table.row(format!("admission, containers: {containers}, connections: 1"), outcome.summary(), "linear");
    }
    stage.done();
    Ok(())
}

async fn beside(program: &Path, duration: Duration, (scope, count): (Scope, usize), table: &mut Table) -> Result<()> {
    let what = format!("{count} {} policies and bindings", scope.adjective());
    let stage = Stage::begin(format!("admission beside {what}"));
    let (server, _metrics) = start(program, &fixtures::resources(scope, count)).await?;
    let outcome = load::apply(&server, Question::Review(&fixtures::review(CONTAINERS)), 1, duration).await?;
    let private = usage::private_memory(server.process())?;
    let result = format!("{}; {}", outcome.summary(), usage::mebibytes(private));
    table.row(format!("admission beside {what}"), result, "time constant, memory linear");
    stage.done();
    Ok(())
}

/// Growth with what stands in the Pod's own namespace: each policy there might be one of the Pod's.
async fn among_accounts(program: &Path, duration: Duration, table: &mut Table) -> Result<()> {
    let stage = Stage::begin("admission among ServiceAccounts with policies of their own");
    let review = fixtures::review(CONTAINERS);
    let mut slowest = Vec::new();
    for count in ACCOUNTS {
        let (server, _metrics) = start(program, &fixtures::accounts(count)).await?;
        let outcome = load::apply(&server, Question::Review(&review), 1, duration).await?;
        let what = format!("admission, {count} policies × {count} ServiceAccounts of the namespace");
        table.row(what, outcome.summary(), "");
        slowest.push(outcome.p99().as_secs_f64());
    }
    if let [few, many] = slowest.as_slice() {
        let [least, most] = ACCOUNTS;
        table.row(format!("… p99 among {most}, beside that among {least}"), format!("{:.2} ×", many / few), "≤ 2 ×");
    }
    stage.done();
    Ok(())
}

/// One load for a comparison: what it found, and the most private memory meanwhile.
pub(super) async fn under_load(server: &Server, duration: Duration) -> Result<(Outcome, u64)> {
    let review = fixtures::review(CONTAINERS);
    usage::peak(server.process(), load::apply(server, Question::Review(&review), 16, duration)).await
}

/// Our webhook beside a few objects.
pub(super) async fn typical(program: &Path) -> Result<Server> {
    Ok(start(program, &fixtures::resources(Scope::Namespace, OBJECTS)).await?.0)
}

/// A webhook that answers from these files, and the address of its metrics.
async fn start(program: &Path, files: &[String]) -> Result<(Server, String)> {
    let (place, observed) = (Place::prepare()?, server::free_port()?);
    let resources = place.directory().join("resources");
    for (index, file) in files.iter().enumerate() {
        process::write(&resources.join(format!("{index}.yaml")), file)?;
    }
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(format!("--listen=127.0.0.1:{}", place.port))
        .arg(format!("--metrics-listen=127.0.0.1:{observed}"))
        .arg(format!("--resources={}", resources.display()))
        .arg(format!("--tls-cert={}", place.issued.certificate.display()))
        .arg(format!("--tls-key={}", place.issued.key.display()))
        .args(["--kubernetes-version=1.37", "--sidecar-image=localhost/alcove-sidecar:bench", "--log=warn"]);
    let server = place.serve("alcove-webhook", command, "/readyz").await?;
    Ok((server, format!("http://127.0.0.1:{observed}/metrics")))
}
