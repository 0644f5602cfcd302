//! Certificates from files: an administrator's, or cert-manager's.

use std::sync::Arc;
use std::time::Duration;

use alcove_certs::files::{FilesError, Poll, Version, Watched};
use alcove_certs::resolver::ServeError;
use jiff::Timestamp;
use tokio::time::sleep;

use super::Presented;
use super::observed::Observed;
use super::registration::Registrations;
use crate::clock;
use crate::outage::Outage;
use crate::readiness::Condition;
use crate::report;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// Certificates in files, and what is presented of them.
#[derive(Debug)]
pub struct Files {
    watched: Watched,
    presented: Arc<Presented>,
    latest: Option<Box<Version>>,
    agreement: Option<Agreement>,
}

/// Whether API servers will accept what is presented: somebody else keeps both the certificate and the `caBundle`, and
/// may change them at different moments.
#[derive(Debug)]
pub struct Agreement {
    /// The configurations that are to agree.
    pub registrations: Registrations,
    /// Met while they do.
    pub condition: Condition,
}

/// Why files are not presented.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// They are not there, or not in order.
    #[error("the files of the serving certificate are not usable")]
    Files(#[source] FilesError),
    /// TLS refuses them.
    #[error("the serving certificate cannot be presented")]
    Serve(#[source] ServeError),
}

impl Files {
    /// Presents what is in `watched`.
    #[must_use]
    pub fn new(watched: Watched, presented: Arc<Presented>) -> Self {
        Self { watched, presented, latest: None, agreement: None }
    }

    /// The same, and watches whether API servers will accept it.
    #[must_use]
    pub fn agreeing(self, agreement: Agreement) -> Self {
        Self { agreement: Some(agreement), ..self }
    }

    /// Looks once and presents what is new.
    ///
    /// # Errors
    ///
    /// The files are not usable; what was presented before stays.
    pub fn look(&mut self) -> Result<(), LoadError> {
        let now = clock::now();
        let looked = self.load(now);
        self.presented.check(now);
        if let (Some(agreement), Some(version)) = (&mut self.agreement, &self.latest) {
            agreement.check(version, now);
        }
        looked
    }

    /// Looks again and again for as long as it is polled.
    pub async fn follow(mut self) {
        let mut outage = Outage::of("load the serving certificate");
        loop {
            match self.look() {
                Ok(()) => outage.recovered(),
                Err(error) => {
                    if outage.failed(&report::chain(&error)) {
                        self.presented.failed();
                    }
                }
            }
            sleep(INTERVAL).await;
        }
    }

    fn load(&mut self, now: Timestamp) -> Result<(), LoadError> {
        match self.watched.poll(now) {
            Poll::Unchanged => Ok(()),
            Poll::Broken(error) => Err(LoadError::Files(error)),
            Poll::Changed(version) => {
                self.presented.present(&version.identity, now).map_err(LoadError::Serve)?;
                self.latest = Some(version);
                Ok(())
            }
        }
    }
}

impl Agreement {
    fn check(&mut self, version: &Version, now: Timestamp) {
        let registrations = self.registrations.iter_mut().map(|source| source.borrow_and_update().clone());
        for registration in registrations.collect::<Vec<_>>() {
            // What is not there calls nobody.
            let Observed::Present(registration) = registration else { continue };
            if let Err(disagreement) = registration.accepts(&version.identity, now) {
                self.condition.unmet(&report::chain(&disagreement));
                return;
            }
        }
        self.condition.met();
    }
}
