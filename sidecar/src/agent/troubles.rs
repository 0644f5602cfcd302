//! What does not work at present, so that its beginning and its end are reported, and not every repetition.

use super::{Report, Setback, SourceId};
use alcove_stores::{ErrorClass, StoreError};
use std::collections::BTreeMap;

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// A whole store, by its place in the configuration.
    Store(usize),
    /// One key.
    Source(SourceId),
}

/// Everything that does not work.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    fetching: BTreeMap<Scope, ErrorClass>,
    publishing: BTreeMap<String, String>,
}

impl Troubles {
    /// Notes a failure; its scope, if this is news.
    pub(super) fn begin(&mut self, store: usize, source: SourceId, error: &StoreError) -> Option<Scope> {
        let is_about_store =
            error.during_login() || matches!(error.class(), ErrorClass::Unavailable | ErrorClass::Throttled);
        let scope = if is_about_store { Scope::Store(store) } else { Scope::Source(source) };
        let known = self.fetching.insert(scope, error.class());
        (known != Some(error.class())).then_some(scope)
    }

    /// Notes a success; what it has ended.
    pub(super) fn end(&mut self, store: usize, source: SourceId) -> Vec<Scope> {
        let mut ended = vec![Scope::Store(store), Scope::Source(source)];
        ended.retain(|scope| self.fetching.remove(scope).is_some());
        ended
    }

    /// Notes all that is behind now; what is to be said of the difference.
    pub(super) fn compare(&mut self, setbacks: &[Setback]) -> Vec<Report> {
        let now: BTreeMap<String, String> =
            setbacks.iter().map(|setback| (setback.subject.clone(), setback.reason.clone())).collect();
        let begun = now.iter().filter(|(subject, reason)| self.publishing.get(*subject) != Some(*reason));
        let begun = begun.map(|(_, reason)| Report::Stale(format!("{reason}; the files from before stay")));
        let ended = self.publishing.keys().filter(|subject| !now.contains_key(*subject));
        let reports =
            begun.chain(ended.map(|subject| Report::Recovery(format!("{subject} is up to date again")))).collect();
        self.publishing = now;
        reports
    }
}
