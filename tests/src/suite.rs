//! The harness of the suites: claims about a node that all of them share and that starts with the first that needs it.
//!
//! Output, filters and options are those of `cargo test`.

mod diagnosis;
mod shared;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, anyhow};
use futures::FutureExt as _;
pub use libtest_mimic::Trial;
use libtest_mimic::{Arguments, Failed};

use self::shared::Shared;
use crate::alcove::Alcove;
use crate::janitor;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::vault::Vault;

/// Tests of the node mostly wait, so more of them run at once than there are processors.
const THREADS: usize = 4;
/// The longest name of a namespace that a test gets; Kubernetes allows 63, and tests append to it.
const NAMESPACE_NAME_LENGTH: usize = 40;

/// What a test gets: the shared node and a namespace of its own.
pub struct Test {
    namespace: Namespace,
    node: &'static Node,
}

impl Test {
    /// The test's own namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The node that all tests share.
    #[must_use]
    pub fn node(&self) -> &'static Node {
        self.node
    }

    /// Another fresh namespace, which goes with the test's own.
    pub async fn another_namespace(&self, suffix: &str) -> Result<Namespace> {
        Namespace::create(self.node, &format!("{}-{suffix}", self.namespace.name())).await
    }

    /// The Vault that all tests share: write below keys of your own, and neither seal nor reconfigure it.
    pub async fn vault(&self) -> Result<&'static Vault> {
        Shared::get().vault().await
    }

    /// A Vault for this test alone, to be sealed or stopped.
    pub async fn own_vault(&self) -> Result<Vault> {
        Vault::start(self.node, self.namespace.name()).await
    }

    /// The Alcove that all tests share, installed from `manifests/` on first use.
    pub async fn alcove(&self) -> Result<&'static Alcove> {
        Shared::get().alcove().await
    }
}

/// Names async functions that take a [`Test`] as claims; they run beside each other.
#[macro_export]
macro_rules! claims {
    ($($test:ident),* $(,)?) => {
        vec![$($crate::suite::claim(&$crate::suite::title(module_path!(), stringify!($test)), $test)),*]
    };
}

/// Like [`claims!`], for tests that disturb what others share (the webhook, cluster-wide objects): each runs alone.
#[macro_export]
macro_rules! claims_alone {
    ($($test:ident),* $(,)?) => {
        vec![$($crate::suite::claim_alone(&$crate::suite::title(module_path!(), stringify!($test)), $test)),*]
    };
}

/// Names plain functions as claims that need no node.
#[macro_export]
macro_rules! facts {
    ($($test:ident),* $(,)?) => {
        vec![$($crate::suite::fact(&$crate::suite::title(module_path!(), stringify!($test)), $test)),*]
    };
}

/// The title of a test: its module below the root, and its name.
#[must_use]
pub fn title(module: &str, test: &str) -> String {
    module.split_once("::").map_or_else(|| test.to_owned(), |(_, below)| format!("{below}::{test}"))
}

/// A test of the shared node. See [`claims!`].
pub fn claim<Outcome>(title: &str, test: impl FnOnce(Test) -> Outcome + Send + 'static) -> Trial
where
    Outcome: Future<Output = Result<()>>,
{
    let owned = title.to_owned();
    trial(title, move || {
        Shared::block_on(async {
            let _turn = Shared::get().turns().read().await;
            run_on_node(owned, test).await
        })
    })
}

/// A test of the shared node during which no other runs. See [`claims_alone!`].
pub fn claim_alone<Outcome>(title: &str, test: impl FnOnce(Test) -> Outcome + Send + 'static) -> Trial
where
    Outcome: Future<Output = Result<()>>,
{
    let owned = title.to_owned();
    trial(title, move || {
        Shared::block_on(async {
            let _turn = Shared::get().turns().write().await;
            run_on_node(owned, test).await
        })
    })
}

/// A test that needs no node. See [`facts!`].
pub fn fact(title: &str, test: fn() -> Result<()>) -> Trial {
    trial(title, test)
}

/// Runs the tests that the arguments of the program select, and removes what they have started.
#[must_use]
pub fn run(trials: Vec<Trial>) -> ExitCode {
    if let Some(code) = janitor::dispatch() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Err(error) = Shared::tear_down(conclusion.has_failed()) {
        eprintln!("failed to remove the node: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trial(title: &str, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(title, move || test().map_err(|error| Failed::from(format!("{error:#}"))))
}

async fn run_on_node<Outcome>(title: String, test: impl FnOnce(Test) -> Outcome) -> Result<()>
where
    Outcome: Future<Output = Result<()>>,
{
    let node = Shared::get().node().await?;
    let namespace = Namespace::create(node, &namespace_name(&title)).await?;
    let context = Test { namespace: namespace.clone(), node };
    let outcome = AssertUnwindSafe(test(context)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|panic| Err(anyhow!("{}", panic_text(panic.as_ref()))));
    let outcome = match outcome {
        Ok(()) => diagnosis::forget(&title),
        Err(error) => Err(diagnosis::write(&title, &namespace, error).await),
    };
    namespace.remove().await?;
    outcome
}

/// A name that says which test the namespace belongs to, and that no other test has.
fn namespace_name(title: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    let (_, test) = title.rsplit_once("::").unwrap_or(("", title));
    let name: String = test.chars().take(NAMESPACE_NAME_LENGTH).map(|c| if c == '_' { '-' } else { c }).collect();
    format!("{}-{}", name.trim_matches('-'), COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("the test panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_module_below_the_root_and_the_name() {
        assert_eq!(title("suites::policy", "a_claim"), "policy::a_claim");
        assert_eq!(title("suites", "a_claim"), "a_claim");
    }

    #[test]
    fn a_namespace_name_is_a_dns_label_that_no_other_test_has() {
        let name = || namespace_name("policy::a_service_account_without_any_policy_at_all_is_refused");
        let (first, second) = (name(), name());
        assert!(first.starts_with("a-service-account-without-any-policy-at-"), "{first}");
        assert!(first.len() <= 63 && !first.contains("--") && first != second, "{first} {second}");
    }
}
