//! Admissions without a pause, over the connections that the API server itself keeps, and what became of them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use alcove_tests::suite::Test;
use alcove_tests::wait::{self, Seen};
use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, join_all};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::setting::Setting;

/// How many clients ask at the same time.
pub(super) const CLIENTS: usize = 8;
/// How many texts of failures are kept.
const TEXTS: usize = 5;

/// Admissions by dry run.
pub(super) struct Load<'test> {
    test: &'test Test,
    /// One that hides no refusal by asking again.
    client: Client,
    pod: String,
    done: AtomicBool,
    admitted: AtomicUsize,
    refused: AtomicUsize,
    /// Successes since the last failure.
    row: AtomicUsize,
    texts: Mutex<Vec<String>>,
}

/// What became of the admissions.
#[derive(Debug)]
pub(super) struct Outcome {
    admitted: usize,
    refused: usize,
    texts: Vec<String>,
}

impl<'test> Load<'test> {
    pub(super) async fn new(test: &'test Test) -> Result<Self> {
        let setting = Setting::shared(test).await?;
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "load-", "annotations": {"secret.alcove.dev/db-creds": setting.reference("db")}},
            "spec": {
                "containers": [{
                    "name": "app",
                    "image": "localhost/busybox:test",
                    "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
                }],
                "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
            },
        });
        Ok(Self {
            test,
            client: test.node().kubectl().client_without_retries().await?,
            pod: pod.to_string(),
            done: AtomicBool::new(false),
            admitted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            row: AtomicUsize::new(0),
            texts: Mutex::default(),
        })
    }

    /// Asks for one admission, which is to inject.
    pub(super) async fn ask(&self) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.test.namespace().name());
        let request = Request::post(&path).header("Content-Type", "application/json");
        let admitted: Value = self.client.request(request.body(self.pod.clone().into_bytes())?).await?;
        ensure!(admitted.pointer("/spec/initContainers/0/name") == Some(&"alcove-sidecar".into()), "not injected");
        Ok(())
    }

    /// Runs `change` under load.
    pub(super) fn during<'load>(
        &'load self,
        change: impl Future<Output = Result<()>> + 'load,
    ) -> LocalBoxFuture<'load, Result<Outcome>> {
        let clients = join_all((0..CLIENTS).map(|_| self.client()));
        let change = change.inspect(|_| self.done.store(true, Ordering::Relaxed));
        let both = async move {
            let (_clients, changed) = tokio::join!(clients, change);
            let outcome = self.outcome();
            changed.with_context(|| outcome.to_string())?;
            Ok(outcome)
        };
        both.boxed_local()
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            admitted: self.admitted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            texts: self.texts.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Waits until so many admissions have succeeded since now, without one that failed in between.
    pub(super) async fn wait_for_row(&self, wanted: usize) -> Result<()> {
        self.row.store(0, Ordering::Relaxed);
        wait::until(&format!("{wanted} admissions in a row"), async || {
            let row = self.row.load(Ordering::Relaxed);
            Ok(if row >= wanted { Seen::Met(()) } else { Seen::NotYet(format!("{row} so far")) })
        })
        .await
    }

    /// Asks without a pause until the load is told to end.
    async fn client(&self) {
        while !self.done.load(Ordering::Relaxed) {
            match self.ask().await {
                Ok(()) => {
                    self.admitted.fetch_add(1, Ordering::Relaxed);
                    self.row.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => self.note(&error),
            }
        }
    }

    fn note(&self, error: &anyhow::Error) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.row.store(0, Ordering::Relaxed);
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.len() < TEXTS {
            texts.push(format!("{error:#}"));
        }
    }
}

impl Outcome {
    /// Fails unless at least so many were admitted, and none refused.
    pub(super) fn ensure_all_admitted(&self, least: usize) -> Result<()> {
        self.ensure_refused_at_most(0)?;
        ensure!(self.admitted >= least, "only {} admissions were asked for", self.admitted);
        Ok(())
    }

    /// Fails if more were refused.
    pub(super) fn ensure_refused_at_most(&self, most: usize) -> Result<()> {
        ensure!(self.refused <= most, "more than {most} failed: {self}");
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { admitted, refused, texts } = self;
        write!(formatter, "{admitted} were admitted and {refused} failed, the first with:\n{}", texts.join("\n"))
    }
}
