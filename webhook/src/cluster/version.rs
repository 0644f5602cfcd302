//! The oldest Kubernetes version of the server and all nodes: what a Pod may use depends on where it may land.

use std::sync::Arc;
use std::time::Duration;

use alcove_injection::settings::{KubernetesVersion, Settings};
use arc_swap::ArcSwap;
use kube::Client;
use serde::Deserialize;
use tokio::time::sleep;

use crate::outage::Outage;
use crate::readiness::Condition;
use crate::report;

/// How often the versions are looked at: nodes join and leave.
const INTERVAL: Duration = Duration::from_mins(2);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(3);
/// A table instead of the nodes: their names and versions are two of a hundred kilobytes that a node can have.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// How many nodes are asked for at once.
const PAGE: u32 = 500;

/// Keeps the version in the settings up to date for as long as it is polled; `condition` is met once it is known.
pub async fn follow(client: Client, settings: Arc<ArcSwap<Settings>>, condition: Condition) {
    let mut outage = Outage::of("find out the version of Kubernetes");
    let mut nodes_outage = Outage::of("read the versions of the nodes, so the server's is taken for theirs");
    loop {
        let pause = match oldest(&client, &mut nodes_outage).await {
            Ok(version) => {
                outage.recovered();
                take(&settings, version);
                condition.met();
                INTERVAL
            }
            Err(error) => {
                outage.failed(&report::chain(&error));
                RETRY
            }
        };
        sleep(pause).await;
    }
}

fn take(settings: &ArcSwap<Settings>, version: KubernetesVersion) {
    let current = settings.load();
    if current.kubernetes_version != version {
        tracing::info!(%version, "the oldest Kubernetes version of server and nodes");
        settings.store(Arc::new(Settings { kubernetes_version: version, ..Settings::clone(&current) }));
    }
}

async fn oldest(client: &Client, outage: &mut Outage) -> Result<KubernetesVersion, VersionError> {
    let reported = client.apiserver_version().await.map_err(VersionError::unreachable)?.git_version;
    let server = reported.parse().map_err(|_problem| VersionError::Foreign(reported))?;
    match nodes(client).await {
        Ok(nodes) => {
            outage.recovered();
            Ok(nodes.into_iter().fold(server, Ord::min))
        }
        // Without the right to read nodes, or while they cannot be read, the server's version must do.
        Err(error) => {
            outage.failed(&report::chain(&error));
            Ok(server)
        }
    }
}

async fn nodes(client: &Client) -> Result<Vec<KubernetesVersion>, VersionError> {
    let mut versions = Vec::new();
    let mut rest = String::new();
    loop {
        let path = format!("/api/v1/nodes?includeObject=None&limit={PAGE}{rest}");
        let request = http::Request::get(path).header(http::header::ACCEPT, TABLE).body(Vec::new());
        let table: Table =
            client.request(request.map_err(VersionError::Request)?).await.map_err(VersionError::unreachable)?;
        versions.extend(table.versions());
        if table.metadata.r#continue.is_empty() {
            return Ok(versions);
        }
        rest = format!("&continue={}", table.metadata.r#continue);
    }
}

/// What the API server prints for `kubectl get nodes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    #[serde(default)]
    metadata: ListMetadata,
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Debug, Default, Deserialize)]
struct ListMetadata {
    #[serde(default)]
    r#continue: String,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    cells: Vec<serde_json::Value>,
}

impl Table {
    fn versions(&self) -> impl Iterator<Item = KubernetesVersion> {
        let column = self.column_definitions.iter().position(|column| column.name == "Version");
        let cells = self.rows.iter().filter_map(move |row| row.cells.get(column?)?.as_str());
        cells.filter_map(|text| text.parse().ok())
    }
}

/// Why a version could not be found out.
#[derive(Debug, thiserror::Error)]
enum VersionError {
    #[error("the API server gave no answer")]
    Unreachable(#[source] Box<kube::Error>),
    #[error("the API server says that its version is {0}, which is none of Kubernetes")]
    Foreign(String),
    #[error("the list of nodes cannot be asked for")]
    Request(#[source] http::Error),
}

impl VersionError {
    fn unreachable(error: kube::Error) -> Self {
        Self::Unreachable(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_versions_of_nodes_are_read_from_the_table_that_kubectl_shows() {
        let table: Table = serde_json::from_value(json!({
            "kind": "Table",
            "columnDefinitions": [{"name": "Name"}, {"name": "Status"}, {"name": "Version"}],
            "rows": [{"cells": ["a", "Ready", "v1.37.0"]}, {"cells": ["b", "Ready", "v1.35.2-gke.1"]}, {"cells": ["c"]}],
        }))
        .unwrap();
        let versions: Vec<_> = table.versions().collect();
        assert_eq!(versions, [KubernetesVersion::new(1, 37), KubernetesVersion::new(1, 35)]);
    }

    #[test]
    fn only_a_change_of_the_version_changes_the_settings() {
        let settings = ArcSwap::from_pointee(Settings::new("image", KubernetesVersion::new(1, 37)));
        let before = settings.load_full();
        take(&settings, KubernetesVersion::new(1, 37));
        assert!(Arc::ptr_eq(&before, &settings.load_full()));
        take(&settings, KubernetesVersion::new(1, 35));
        assert_eq!(settings.load().kubernetes_version, KubernetesVersion::new(1, 35));
        assert_eq!(settings.load().sidecar_image, "image");
    }
}
