//! What the tests of one run share: each part starts with the first test that asks for it.

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, RwLock};

use crate::alcove::Alcove;
use crate::node::Node;
use crate::vault::Vault;

static SHARED: Shared = Shared {
    turns: RwLock::const_new(()),
    node: Part::new("the node"),
    vault: Part::new("Vault"),
    alcove: Part::new("Alcove"),
};

/// The parts of one run.
pub(super) struct Shared {
    turns: RwLock<()>,
    node: Part<Node>,
    vault: Part<Vault>,
    alcove: Part<Alcove>,
}

impl Shared {
    pub(super) fn get() -> &'static Self {
        &SHARED
    }

    /// Runs a test on the runtime that all of them share, so that a client made by one can serve another.
    pub(super) fn block_on<T>(test: impl Future<Output = Result<T>>) -> Result<T> {
        runtime()?.block_on(test)
    }

    /// Tests hold this for reading, and those that must be alone for writing.
    pub(super) fn turns(&self) -> &RwLock<()> {
        &self.turns
    }

    pub(super) async fn node(&'static self) -> Result<&'static Node> {
        self.node.get_or_start(Box::pin(Node::start())).await
    }

    pub(super) async fn vault(&'static self) -> Result<&'static Vault> {
        let node = self.node().await?;
        self.vault.get_or_start(Box::pin(Vault::start(node, "shared"))).await
    }

    pub(super) async fn alcove(&'static self) -> Result<&'static Alcove> {
        let node = self.node().await?;
        self.alcove.get_or_start(Box::pin(Alcove::install(node))).await
    }

    /// Removes the node, if one was started; its logs stay after a failure.
    pub(super) fn tear_down(failed: bool) -> Result<()> {
        let Some(node) = SHARED.node.started() else { return Ok(()) };
        if failed {
            node.stop()?;
            eprintln!("the logs of the node are in {}", node.logs().display());
            return Ok(());
        }
        node.stop_and_forget()
    }
}

/// Something that is started at most once. If it cannot start, every test that needs it fails with the same text.
struct Part<T> {
    name: &'static str,
    cell: OnceCell<Result<T, String>>,
}

impl<T> Part<T> {
    const fn new(name: &'static str) -> Self {
        Self { name, cell: OnceCell::const_new() }
    }

    async fn get_or_start(&self, start: impl Future<Output = Result<T>>) -> Result<&T> {
        let started = async { start.await.map_err(|error| format!("{error:#}")) };
        let part = self.cell.get_or_init(|| started).await;
        part.as_ref().map_err(|text| anyhow!("{} did not start: {text}", self.name))
    }

    fn started(&self) -> Option<&T> {
        self.cell.get()?.as_ref().ok()
    }
}

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: std::sync::OnceLock<std::io::Result<Runtime>> = std::sync::OnceLock::new();
    let runtime = RUNTIME.get_or_init(Runtime::new);
    runtime.as_ref().map_err(|error| anyhow!("{error}")).context("starting the tokio runtime")
}
