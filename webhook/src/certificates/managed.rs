//! Certificates of our own: one Secret that all replicas share, rotated by the replica that holds the Lease.
//!
//! Every replica watches the Secret and presents what is in it. The one that leads takes one step of
//! [`alcove_certs::schedule`] after the other; each is written with the version that was read, so that two replicas
//! that both believe to lead cannot mix their steps, and comes back to everybody by the watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alcove_certs::authority::IssueError;
use alcove_certs::bundle::{Bundle, BundleError, Profile};
use alcove_certs::schedule::{self, Publication, Step};
use alcove_certs::trust::Trust;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Presented;
use super::observed::Observed;
use super::registration::{Registration, Registrations};
use crate::clock;
use crate::metrics::Metrics;
use crate::outage::Outage;
use crate::report;

/// The longest time between two looks: the wall clock may jump.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long to wait for a change that was made to come back, or after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Presents what the Secret holds, each time that it changes.
pub async fn present(mut secret: watch::Receiver<Observed<Secret>>, presented: Arc<Presented>) {
    let mut outage = Outage::of("present the certificate of the Secret");
    loop {
        let observed = secret.borrow_and_update().clone();
        if let Observed::Present(secret) = observed {
            match present_once(&secret, &presented) {
                Ok(()) => outage.recovered(),
                Err(error) => {
                    if outage.failed(&report::chain(&error)) {
                        presented.failed();
                    }
                }
            }
        }
        tokio::select! {
            changed = secret.changed() => if changed.is_err() { return },
            () = sleep(LONGEST_PAUSE) => presented.check(clock::now()),
        }
    }
}

fn present_once(secret: &Secret, presented: &Presented) -> Result<(), KeepError> {
    let now = clock::now();
    if !is_empty(secret) {
        presented.present(parse(secret)?.leaf(), now).map_err(KeepError::Serve)?;
    }
    presented.check(now);
    Ok(())
}

/// Keeps the Secret and the configurations, while this replica leads.
#[expect(missing_debug_implementations, reason = "the client has none")]
pub struct Keeper {
    client: Client,
    namespace: String,
    secret_name: String,
    profile: Profile,
    sources: Sources,
    /// The version of the Secret whose authorities every configuration trusts, and since when that has been seen.
    settling: Option<(String, Instant)>,
    metrics: Arc<Metrics>,
}

/// What the keeper acts on.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Whether this replica leads.
    pub leads: watch::Receiver<bool>,
    /// The Secret.
    pub secret: watch::Receiver<Observed<Secret>>,
    /// The configurations.
    pub registrations: Registrations,
}

impl Sources {
    /// Waits for a change of any of them.
    async fn changed(&mut self) {
        let [first, second] = &mut self.registrations;
        // A source that has ended says nothing more; then the pause is what the keeper waits for.
        tokio::select! {
            Ok(()) = self.leads.changed() => {}
            Ok(()) = self.secret.changed() => {}
            Ok(()) = first.changed() => {}
            Ok(()) = second.changed() => {}
            else => std::future::pending().await,
        }
    }

    /// The configurations that are there, once both watches have said.
    fn registrations(&mut self) -> Option<Vec<Arc<Registration>>> {
        let mut present = Vec::new();
        for source in &mut self.registrations {
            match &*source.borrow_and_update() {
                Observed::Unknown => return None,
                // Nobody calls by a configuration that is not there.
                Observed::Absent => {}
                Observed::Present(registration) => present.push(Arc::clone(registration)),
            }
        }
        Some(present)
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// What is in the Secret is no bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A certificate cannot be made.
    #[error("no certificate can be issued")]
    Issue(#[from] IssueError),
    /// The certificate in the Secret cannot be presented.
    #[error("the certificate in the Secret cannot be presented")]
    Serve(#[source] alcove_certs::resolver::ServeError),
    /// The Secret is not there, and nobody may make it but whoever applies the manifests.
    #[error("Secret {namespace}/{name} is missing and may not be created: apply manifests/base again")]
    Missing {
        /// The namespace in which it belongs.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The API server refused or did not answer.
    #[error("the API server did not take it")]
    Api(#[source] Box<kube::Error>),
}

impl KeepError {
    fn api(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }

    /// Whether somebody else was faster, and the watch brings what they wrote.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(error) if matches!(&**error, kube::Error::Api(status) if status.code == 409))
    }
}

impl Keeper {
    /// Keeps the Secret `secret_name` of `namespace` by `profile`.
    #[must_use]
    pub fn new(
        client: Client,
        (namespace, secret_name): (&str, &str),
        profile: Profile,
        sources: Sources,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (namespace, secret_name) = (namespace.to_owned(), secret_name.to_owned());
        Self { client, namespace, secret_name, profile, sources, settling: None, metrics }
    }

    /// Keeps for as long as it is polled.
    pub async fn run(mut self) {
        let mut outage = Outage::of("keep the serving certificate");
        loop {
            let pause = match self.pass().await {
                Ok(pause) => {
                    outage.recovered();
                    pause
                }
                Err(error) if error.is_conflict() => RETRY,
                Err(error) => {
                    self.metrics.certificate_failure();
                    outage.failed(&report::chain(&error));
                    RETRY
                }
            };
            tokio::select! {
                () = self.sources.changed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Takes one step, if this replica leads and one is due. Says when to look again if nothing changes.
    async fn pass(&mut self) -> Result<Duration, KeepError> {
        let leads = *self.sources.leads.borrow_and_update();
        self.metrics.leading(leads);
        let secret = self.sources.secret.borrow_and_update().clone();
        let registrations = self.sources.registrations();
        if !leads {
            self.settling = None;
            return Ok(LONGEST_PAUSE);
        }
        match (secret, registrations) {
            (Observed::Unknown, _) | (_, None) => Ok(LONGEST_PAUSE),
            (Observed::Absent, _) => self.begin(Secret::default()).await,
            (Observed::Present(secret), _) if is_empty(&secret) => self.begin(Secret::clone(&secret)).await,
            (Observed::Present(secret), Some(registrations)) => self.go_on(&secret, &registrations).await,
        }
    }

    async fn begin(&self, secret: Secret) -> Result<Duration, KeepError> {
        let bundle = Bundle::issue(&self.profile, clock::now())?;
        self.store(secret, &bundle).await?;
        tracing::info!(secret = self.secret_name, "made an authority and a serving certificate");
        Ok(RETRY)
    }

    async fn go_on(&mut self, secret: &Secret, registrations: &[Arc<Registration>]) -> Result<Duration, KeepError> {
        let mut bundle = parse(secret)?;
        let trust = bundle.trust();
        let publication = self.publication(version(secret), &trust, registrations);
        let now = clock::now();
        let step = schedule::next(&bundle.validity(&self.profile, publication), now);
        match step {
            Step::Keep { until } => {
                let rest = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                return Ok(rest.min(LONGEST_PAUSE));
            }
            Step::Publish => self.publish(&trust, registrations).await?,
            Step::IssueLeaf | Step::IssueAuthority | Step::Promote | Step::RetireAuthority => {
                bundle.advance(step, &self.profile, now)?;
                self.store(Secret::clone(secret), &bundle).await?;
                tracing::info!(step = name(step), "rotated");
            }
        }
        Ok(RETRY)
    }

    /// How long every configuration has been seen to trust the authorities of this version of the Secret.
    fn publication(&mut self, version: &str, trust: &Trust, registrations: &[Arc<Registration>]) -> Publication {
        if !registrations.iter().all(|registration| registration.trusts(trust)) {
            self.settling = None;
            return Publication::Absent;
        }
        let since = match self.settling.take() {
            Some((seen, since)) if seen == version => since,
            _ => Instant::now(),
        };
        self.settling = Some((version.to_owned(), since));
        Publication::Seen { elapsed: since.elapsed() }
    }

    async fn publish(&self, trust: &Trust, registrations: &[Arc<Registration>]) -> Result<(), KeepError> {
        for registration in registrations.iter().filter(|registration| !registration.trusts(trust)) {
            registration.publish(self.client.clone(), trust).await.map_err(KeepError::api)?;
        }
        tracing::info!("published the caBundle");
        Ok(())
    }

    async fn store(&self, secret: Secret, bundle: &Bundle) -> Result<(), KeepError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let files = bundle.files().into_iter();
        let data: BTreeMap<_, _> =
            files.map(|(name, content)| (name.to_owned(), ByteString(content.to_vec()))).collect();
        let stored = if secret.metadata.name.is_some() {
            let secret = Secret { data: Some(data), ..secret };
            api.replace(&self.secret_name, &PostParams::default(), &secret).await
        } else {
            let metadata = ObjectMeta { name: Some(self.secret_name.clone()), ..ObjectMeta::default() };
            let type_ = Some("kubernetes.io/tls".to_owned());
            let secret = Secret { metadata, data: Some(data), type_, ..secret };
            api.create(&PostParams::default(), &secret).await.map_err(|error| self.not_created(error))?;
            return Ok(());
        };
        stored.map(|_stored| ()).map_err(KeepError::api)
    }

    fn not_created(&self, error: kube::Error) -> KeepError {
        match error {
            kube::Error::Api(status) if status.is_forbidden() => {
                KeepError::Missing { namespace: self.namespace.clone(), name: self.secret_name.clone() }
            }
            error => KeepError::api(error),
        }
    }
}

fn parse(secret: &Secret) -> Result<Bundle, BundleError> {
    let files = secret.data.iter().flatten().map(|(name, content)| (name.as_str(), content.0.as_slice()));
    Bundle::parse(files)
}

/// Whether nobody has put certificates into the Secret yet: manifests may bring it empty.
fn is_empty(secret: &Secret) -> bool {
    secret.data.iter().flatten().all(|(_, content)| content.0.is_empty())
}

fn version(secret: &Secret) -> &str {
    secret.metadata.resource_version.as_deref().unwrap_or_default()
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Keep { .. } => "keep",
        Step::IssueLeaf => "new serving certificate",
        Step::IssueAuthority => "next authority",
        Step::Publish => "publish",
        Step::Promote => "next authority signs",
        Step::RetireAuthority => "old authority leaves",
    }
}

#[cfg(test)]
mod tests;
