//! When to fetch, publish, be ready, complain and end: events in, actions out.
//!
//! There is no clock, socket or file in here. What time it is and how dice fell are arguments, so that thousands of
//! lives of a sidecar run in a test within seconds.

mod plan;
mod schedule;
#[cfg(test)]
mod tests;
mod troubles;

use alcove_stores::{ErrorClass, StoreError};
use schedule::{Randomness, Schedule};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use troubles::Troubles;

pub use plan::{Plan, SecretPlan, Source, SourcePlan, Sources};

/// How long a refusal at login is retried before the first success: identity providers lag behind a Pod that was just
/// made, and each exit would double the kubelet's back-off.
pub const LOGIN_PATIENCE: Duration = Duration::from_mins(1);
/// How long after a failure of the volume itself publishing is tried again.
pub const PUBLISH_RETRY: Duration = Duration::from_secs(10);

/// A source, by its place in [`Plan::sources`]: one key of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub usize);

/// A Secret, by its place in [`Plan::secrets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretId(pub usize);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The sidecar is up.
    Start,
    /// A store answered a [`Action::Fetch`].
    Answer(SourceId, Result<(), StoreError>),
    /// A [`Action::Publish`] came to its end: everything that is now behind, whatever it waits for.
    Published(Vec<Setback>),
    /// The kubelet replaced the files of a mirrored volume.
    MirrorMoved,
    /// [`Agent::deadline`] has come.
    Wake,
    /// The kubelet wants the sidecar to end.
    Terminate,
    /// A [`Action::Close`] came to its end.
    Closed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the store, and report the [`Event::Answer`].
    Fetch(SourceId),
    /// Render these Secrets anew, publish what changed and what is behind, and report [`Event::Published`].
    Publish(Vec<SecretId>),
    /// Everything is there: let the Pod's containers start.
    BecomeReady,
    /// Tell the operator.
    Report(Report),
    /// Give back the logins, also those that are just being made, and report [`Event::Closed`].
    Close,
    /// End the process.
    Exit(Exit),
}

/// Something that could not be brought up to date; what was there before is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setback {
    /// What is behind: `volume creds`.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// Whether trying again without new values may help.
    pub may_pass: bool,
}

/// A line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Something does not work.
    Trouble(String),
    /// Files have stopped to follow their store.
    Stale(String),
    /// It works again.
    Recovery(String),
}

/// How the sidecar ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to.
    Terminated,
    /// It cannot do its work, for all these reasons.
    Failed(Vec<String>),
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Not everything has been published yet.
    Waiting,
    /// Everything has been published once.
    Serving,
    Closing(Exit),
    Ended,
}

/// The sidecar's mind.
#[derive(Debug)]
pub struct Agent {
    plan: Plan,
    phase: Phase,
    schedules: Vec<Schedule>,
    /// For each Secret the sources that have not answered since it was last published: it is published when all have,
    /// so that values that belong together change together.
    awaited: Vec<BTreeSet<SourceId>>,
    troubles: Troubles,
    republish: Option<Instant>,
    randomness: Randomness,
}

impl Agent {
    /// An agent that carries out `plan`; `seed` is any number that differs between Pods.
    #[must_use]
    pub fn new(plan: Plan, seed: u64) -> Self {
        let mut randomness = Randomness::new(seed);
        let pace = randomness.pace();
        let schedules = plan.sources.iter().map(|source| Schedule::new(source.refresh, pace)).collect();
        let awaited = plan.secrets.iter().map(|secret| secret.sources.clone()).collect();
        let (troubles, republish) = (Troubles::default(), None);
        Self { plan, phase: Phase::Waiting, schedules, awaited, troubles, republish, randomness }
    }

    /// Takes note of `event` at `now`.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match (&self.phase, event) {
            // Whoever asks twice does not want to wait for the stores.
            (Phase::Closing(_), Event::Closed | Event::Terminate) => self.end(),
            (Phase::Closing(_) | Phase::Ended, _) => Vec::new(),
            (_, Event::Terminate) => self.close(Exit::Terminated),
            (_, Event::Start | Event::Wake) => self.wake(now),
            (_, Event::Answer(source, answer)) => self.answer(source, answer, now),
            (Phase::Waiting, Event::Published(setbacks)) => self.first_published(setbacks),
            (_, Event::Published(setbacks)) => self.published(&setbacks, now),
            (Phase::Serving, Event::MirrorMoved) => vec![Action::Publish(Vec::new())],
            (_, Event::MirrorMoved | Event::Closed) => Vec::new(),
        }
    }

    /// When the next [`Event::Wake`] is due, if any.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closing(_) | Phase::Ended => None,
            Phase::Waiting | Phase::Serving => {
                self.schedules.iter().filter_map(Schedule::due).chain(self.republish).min()
            }
        }
    }

    fn wake(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, schedule) in self.schedules.iter_mut().enumerate() {
            if schedule.is_due(now) {
                schedule.start(now);
                actions.push(Action::Fetch(SourceId(index)));
            }
        }
        if self.republish.take_if(|due| *due <= now).is_some() {
            actions.push(Action::Publish(Vec::new()));
        }
        if actions.is_empty() && self.plan.sources.is_empty() {
            return self.advance();
        }
        actions
    }

    fn answer(&mut self, id: SourceId, answer: Result<(), StoreError>, now: Instant) -> Vec<Action> {
        let (Some(schedule), Some(source)) = (self.schedules.get_mut(id.0), self.plan.sources.get(id.0)) else {
            return Vec::new();
        };
        let waiting = self.phase == Phase::Waiting;
        let mut actions: Vec<Action> = match answer {
            Err(error) if error.class() != ErrorClass::NotFound || (waiting && source.required) => {
                let retry = self.retry_at(id, &error, now);
                self.trouble(id, &error, retry.map(|at| at.saturating_duration_since(now)))
            }
            // That there is nothing is an answer; what becomes of it is decided when the Secret is rendered.
            Ok(()) | Err(_) => {
                schedule.succeed();
                for awaited in &mut self.awaited {
                    awaited.remove(&id);
                }
                let recoveries = self.troubles.end(source.store, id);
                recoveries.into_iter().map(|scope| Action::Report(self.plan.recovery(scope))).collect()
            }
        };
        actions.extend(self.advance());
        actions
    }

    /// Schedules the next attempt after a failure; none, where the failure is final.
    fn retry_at(&mut self, id: SourceId, error: &StoreError, now: Instant) -> Option<Instant> {
        let schedule = self.schedules.get_mut(id.0)?;
        let refused = is_refusal(error) && error.during_login();
        let passes = matches!(error.class(), ErrorClass::Throttled | ErrorClass::Unavailable);
        if self.phase == Phase::Waiting {
            if passes || (refused && schedule.refused_for(now) < LOGIN_PATIENCE) {
                schedule.back_off(error.retry_after(), now, &mut self.randomness);
            } else {
                schedule.give_up(error.to_string());
            }
        } else if passes {
            schedule.back_off(error.retry_after(), now, &mut self.randomness);
        } else if refused || error.class() == ErrorClass::Unauthenticated {
            schedule.heal_slowly(now, &mut self.randomness);
        } else {
            schedule.try_at_next_refresh();
        }
        schedule.due()
    }

    fn trouble(&mut self, id: SourceId, error: &StoreError, retry: Option<Duration>) -> Vec<Action> {
        let Some(source) = self.plan.sources.get(id.0) else { return Vec::new() };
        let scope = self.troubles.begin(source.store, id, error);
        // A final failure is reported when the process ends, with all others.
        scope
            .zip(retry)
            .map(|(scope, retry)| Action::Report(self.plan.trouble(scope, error, retry)))
            .into_iter()
            .collect()
    }

    /// Does what the answers so far allow.
    fn advance(&mut self) -> Vec<Action> {
        match self.phase {
            Phase::Waiting => self.advance_to_start(),
            Phase::Serving => {
                let renewed: Vec<SecretId> = self.renewable().collect();
                if renewed.is_empty() {
                    return Vec::new();
                }
                self.await_again(&renewed);
                vec![Action::Publish(renewed)]
            }
            Phase::Closing(_) | Phase::Ended => Vec::new(),
        }
    }

    fn advance_to_start(&mut self) -> Vec<Action> {
        // Everything that is wrong is said at once, so the others are waited for, but not for their success.
        if self.schedules.iter().all(Schedule::has_answered) {
            let failures: Vec<String> = self.final_failures().collect();
            if !failures.is_empty() {
                return self.close(Exit::Failed(failures));
            }
        }
        if self.awaited.iter().all(BTreeSet::is_empty) {
            let all = (0..self.plan.secrets.len()).map(SecretId).collect();
            return vec![Action::Publish(all)];
        }
        Vec::new()
    }

    fn final_failures(&self) -> impl Iterator<Item = String> {
        let sources = self.plan.sources.iter().zip(&self.schedules);
        sources.filter_map(|(source, schedule)| Some(format!("{}: {}", source.label, schedule.final_failure()?)))
    }

    /// The Secrets of which every source has answered since they were published.
    fn renewable(&self) -> impl Iterator<Item = SecretId> {
        let secrets = self.plan.secrets.iter().zip(&self.awaited).enumerate();
        let due = secrets
            .filter(|(_, (secret, awaited))| secret.refreshes && awaited.is_empty() && !secret.sources.is_empty());
        due.map(|(index, _)| SecretId(index))
    }

    fn await_again(&mut self, secrets: &[SecretId]) {
        for id in secrets {
            if let (Some(awaited), Some(secret)) = (self.awaited.get_mut(id.0), self.plan.secrets.get(id.0)) {
                awaited.clone_from(&secret.sources);
            }
        }
    }

    fn first_published(&mut self, setbacks: Vec<Setback>) -> Vec<Action> {
        if !setbacks.is_empty() {
            let reasons = setbacks.into_iter().map(|setback| setback.reason).collect();
            return self.close(Exit::Failed(reasons));
        }
        self.phase = Phase::Serving;
        let all: Vec<SecretId> = (0..self.plan.secrets.len()).map(SecretId).collect();
        self.await_again(&all);
        vec![Action::BecomeReady]
    }

    fn published(&mut self, setbacks: &[Setback], now: Instant) -> Vec<Action> {
        self.republish = setbacks.iter().any(|setback| setback.may_pass).then(|| now + PUBLISH_RETRY);
        self.troubles.compare(setbacks).into_iter().map(Action::Report).collect()
    }

    fn close(&mut self, exit: Exit) -> Vec<Action> {
        self.phase = Phase::Closing(exit);
        vec![Action::Close]
    }

    fn end(&mut self) -> Vec<Action> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Closing(exit) => vec![Action::Exit(exit)],
            Phase::Waiting | Phase::Serving | Phase::Ended => Vec::new(),
        }
    }
}

const fn is_refusal(error: &StoreError) -> bool {
    matches!(error.class(), ErrorClass::Denied | ErrorClass::Unauthenticated)
}
