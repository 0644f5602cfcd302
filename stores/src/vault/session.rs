//! One login, shared by all who ask with it: made when it is needed, renewed, replaced, given back.

use super::api::{Api, Reply, parse, seconds};
use super::lease::{Lease, Step};
use super::login::{self, Granted};
use crate::error::{ErrorClass, StoreError};
use alcove_contract::provider::vault::VaultLogin;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long giving back may take: the Pod is being deleted, and its grace period is short.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How old a login must be before a refusal makes a new one although Vault still accepts it. A role that was given more
/// policies shows them only to new logins, but a secret that stays forbidden must not cost a login at every refresh.
const RIGHTS_MAY_HAVE_CHANGED_AFTER: Duration = Duration::from_mins(5);

/// A login to one Vault server.
pub(super) struct Session {
    api: Api,
    login: VaultLogin,
    state: Mutex<State>,
    /// Counts logins and renewals that ended, whatever came of them.
    attempts: AtomicU64,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    generation: u64,
    /// What the last attempt ended with, for those who waited for it.
    failure: Option<StoreError>,
}

struct Held {
    token: HeaderValue,
    /// When it was made; renewals give it no new rights.
    made: Instant,
    lease: Lease,
    /// Whether the login was made here, so that revoking it takes nothing from anybody else.
    ours: bool,
}

/// The right to ask: a token, and which login it is from.
pub(super) struct Ticket {
    token: HeaderValue,
    generation: u64,
}

impl Ticket {
    /// The token as a header's value.
    pub(super) const fn token(&self) -> &HeaderValue {
        &self.token
    }

    /// The number of the login: what one login may not do, the next one may.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }
}

impl Session {
    /// A login that is made at the first request.
    pub(super) fn new(api: Api, login: VaultLogin) -> Self {
        Self { api, login, state: Mutex::default(), attempts: AtomicU64::new(0), closed: AtomicBool::new(false) }
    }

    /// The server.
    pub(super) const fn api(&self) -> &Api {
        &self.api
    }

    /// The current login, made or renewed if that is due.
    pub(super) async fn ticket(&self) -> Result<Ticket, StoreError> {
        let attempts = self.attempts.load(Ordering::Relaxed);
        let mut state = self.state.lock().await;
        self.current(&mut state, attempts).await
    }

    /// The login to try once more with, after Vault refused `ticket`: nothing, where the login is as good as a new one
    /// and the refusal is about the secret.
    pub(super) async fn after_refusal(&self, ticket: &Ticket) -> Result<Option<Ticket>, StoreError> {
        let attempts = self.attempts.load(Ordering::Relaxed);
        let mut state = self.state.lock().await;
        if state.generation == ticket.generation
            && let Some(held) = &state.held
        {
            if self.accepts(&held.token).await? {
                return Ok(self.replaced(&mut state, attempts).await);
            }
            state.held = None;
        }
        self.current(&mut state, attempts).await.map(Some)
    }

    /// Revokes the login, if it was made here.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Relaxed);
        tokio::time::timeout(CLOSE_TIMEOUT, self.give_back()).await.unwrap_or_else(|_| {
            let text = format!("{} did not revoke the login within {} s", self.api.shown(), CLOSE_TIMEOUT.as_secs());
            Err(StoreError::new(ErrorClass::Unavailable, text))
        })
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        match self.state.lock().await.held.take() {
            Some(held) => self.revoke(&held).await,
            None => Ok(()),
        }
    }

    async fn current(&self, state: &mut State, attempts: u64) -> Result<Ticket, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::new(ErrorClass::Unavailable, "the store is closed"));
        }
        let step = state.step();
        if step != Step::Use {
            // Whoever waited while an attempt failed takes its answer: twenty secrets are not twenty failing logins.
            if let Some(failure) = self.failure_since(state, attempts) {
                return Err(failure);
            }
            let result = self.renew_or_log_in(state, step).await;
            self.note(state, result)?;
        }
        state.ticket().ok_or_else(|| StoreError::new(ErrorClass::Unavailable, "there is no login").at_login())
    }

    /// A new login in place of one that Vault accepts, if that is old enough to be worth it. The old one stays where the
    /// new one fails, since other secrets are read with it.
    async fn replaced(&self, state: &mut State, attempts: u64) -> Option<Ticket> {
        let made = state.held.as_ref()?.made;
        let young = Instant::now().saturating_duration_since(made) < RIGHTS_MAY_HAVE_CHANGED_AFTER;
        if young || self.failure_since(state, attempts).is_some() {
            return None;
        }
        let result = self.log_in(state).await;
        self.note(state, result).ok()?;
        state.ticket()
    }

    /// What the last attempt failed with, if it ended after `attempts` had ended.
    fn failure_since(&self, state: &State, attempts: u64) -> Option<StoreError> {
        if self.attempts.load(Ordering::Relaxed) == attempts { None } else { state.failure.clone() }
    }

    /// Notes how an attempt ended.
    fn note(&self, state: &mut State, result: Result<(), StoreError>) -> Result<(), StoreError> {
        state.failure = result.as_ref().err().cloned();
        self.attempts.fetch_add(1, Ordering::Relaxed);
        result
    }

    async fn renew_or_log_in(&self, state: &mut State, step: Step) -> Result<(), StoreError> {
        if step == Step::Renew && self.renew(state).await? {
            return Ok(());
        }
        self.log_in(state).await
    }

    async fn log_in(&self, state: &mut State) -> Result<(), StoreError> {
        // Also reads the files of the client's certificate anew.
        self.api.reconnect();
        let granted = login::log_in(&self.api, &self.login).await.map_err(StoreError::at_login)?;
        tracing::debug!(server = self.api.shown(), "logged in");
        let before = state.held.replace(Held::new(granted, Instant::now()));
        state.generation += 1;
        if let Some(before) = before {
            self.give_up(&before).await;
        }
        Ok(())
    }

    /// A login that was replaced ends by itself if it cannot be revoked; the new one is what counts.
    async fn give_up(&self, before: &Held) {
        if let Err(error) = self.revoke(before).await {
            tracing::debug!(%error, "the login before is left to end by itself");
        }
    }

    /// Whether the login could be renewed: a refusal means that a new one is needed.
    async fn renew(&self, state: &mut State) -> Result<bool, StoreError> {
        let Some(held) = &mut state.held else { return Ok(false) };
        let reply = self.api.post(self.api.url(&["auth", "token", "renew-self"]), &held.token).await;
        let reply = reply.map_err(StoreError::at_login)?;
        if !reply.status.is_success() {
            return Ok(false);
        }
        let Renewal { auth } = parse(&reply.body, "a renewal", self.api.shown())?;
        tracing::debug!(server = self.api.shown(), seconds = auth.lease_duration, "renewed the login");
        held.lease = held.lease.renewed(Instant::now(), seconds(auth.lease_duration), auth.renewable);
        Ok(true)
    }

    async fn accepts(&self, token: &HeaderValue) -> Result<bool, StoreError> {
        Ok(self.api.get(self.api.url(&["auth", "token", "lookup-self"]), token).await?.status.is_success())
    }

    async fn revoke(&self, held: &Held) -> Result<(), StoreError> {
        if !held.ours || held.lease.is_over(Instant::now()) {
            return Ok(());
        }
        let Reply { status, complaint, .. } =
            self.api.post(self.api.url(&["auth", "token", "revoke-self"]), &held.token).await?;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::FORBIDDEN => Err(StoreError::new(
                ErrorClass::Denied,
                format!(
                    "{} does not revoke the login: {}; it is gone already, or its policies lack \"update\" on \
                     \"auth/token/revoke-self\", and it stays until its lease ends",
                    self.api.shown(),
                    complaint.text(status)
                ),
            )),
            status => Err(StoreError::new(
                ErrorClass::Unavailable,
                format!("{} does not revoke the login: {}", self.api.shown(), complaint.text(status)),
            )),
        }
    }
}

impl State {
    fn step(&self) -> Step {
        self.held.as_ref().map_or(Step::LogIn, |held| held.lease.step(Instant::now()))
    }

    fn ticket(&self) -> Option<Ticket> {
        self.held.as_ref().map(|held| Ticket { token: held.token.clone(), generation: self.generation })
    }
}

impl Held {
    fn new(granted: Granted, now: Instant) -> Self {
        let lease = Lease::new(now, granted.duration, granted.renewable);
        Self { token: granted.token, made: now, lease, ours: granted.ours }
    }
}

#[derive(Deserialize)]
struct Renewal {
    auth: Renewed,
}

#[derive(Deserialize)]
struct Renewed {
    #[serde(default)]
    lease_duration: i64,
    #[serde(default)]
    renewable: bool,
}
