//! Lives of a sidecar under a simulated clock.

mod simulation;

use super::*;
use alcove_contract::interval::RefreshInterval;

const STORE_DOWN: &str = "sealed (503)";

/// An agent and a clock that only the test moves.
struct Life {
    agent: Agent,
    now: Instant,
}

impl Life {
    fn new(sources: Vec<SourcePlan>, secrets: Vec<SecretPlan>) -> Self {
        let stores = vec!["vault".to_owned()];
        Self { agent: Agent::new(Plan { stores, sources, secrets }, 7), now: Instant::now() }
    }

    /// One Secret of `sources`, followed.
    fn of(sources: Vec<SourcePlan>) -> Self {
        let ids = (0..sources.len()).map(SourceId).collect();
        Self::new(sources, vec![SecretPlan { sources: ids, refreshes: true }])
    }

    /// The same, after everything has been published once.
    fn serving(sources: Vec<SourcePlan>) -> Self {
        let count = sources.len();
        let mut life = Self::of(sources);
        life.on(Event::Start);
        for id in 0..count {
            life.answer(id, Ok(()));
        }
        assert_eq!(life.on(Event::Published(Vec::new())), [Action::BecomeReady]);
        life
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.agent.on(event, self.now)
    }

    fn answer(&mut self, id: usize, answer: Result<(), StoreError>) -> Vec<Action> {
        self.on(Event::Answer(SourceId(id), answer))
    }

    /// Sleeps until the agent wants to be woken; how long that was.
    fn sleep(&mut self) -> (Duration, Vec<Action>) {
        let deadline = self.agent.deadline().expect("something is due");
        let slept = deadline.saturating_duration_since(self.now);
        self.now = deadline;
        (slept, self.on(Event::Wake))
    }
}

fn source(refresh: RefreshInterval) -> SourcePlan {
    SourcePlan { store: 0, label: "vault:kv/app/db".to_owned(), refresh, required: true }
}

fn every(seconds: u64) -> SourcePlan {
    source(RefreshInterval::Every(Duration::from_secs(seconds)))
}

fn optional(source: SourcePlan) -> SourcePlan {
    SourcePlan { required: false, ..source }
}

fn error(class: ErrorClass) -> StoreError {
    StoreError::new(class, STORE_DOWN)
}

fn failed(class: ErrorClass) -> Result<(), StoreError> {
    Err(error(class))
}

fn setback(may_pass: bool) -> Vec<Setback> {
    vec![Setback { subject: "volume creds".to_owned(), reason: "volume creds: full".to_owned(), may_pass }]
}

#[test]
fn everything_is_fetched_at_once_and_published_when_all_of_it_is_there() {
    let mut life = Life::of(vec![every(60), every(60)]);
    assert_eq!(life.on(Event::Start), [Action::Fetch(SourceId(0)), Action::Fetch(SourceId(1))]);
    assert_eq!(life.answer(1, Ok(())), []);
    assert_eq!(life.answer(0, Ok(())), [Action::Publish(vec![SecretId(0)])]);
    assert_eq!(life.on(Event::Published(Vec::new())), [Action::BecomeReady]);
}

#[test]
fn a_sidecar_without_secrets_is_ready_at_once() {
    let mut life = Life::new(Vec::new(), Vec::new());
    assert_eq!(life.on(Event::Start), [Action::Publish(Vec::new())]);
    assert_eq!(life.on(Event::Published(Vec::new())), [Action::BecomeReady]);
    assert_eq!(life.agent.deadline(), None);
}

#[test]
fn keys_with_one_interval_stay_in_step_and_are_published_together() {
    let mut life = Life::serving(vec![every(60), every(60)]);
    for _ in 0..100 {
        let (slept, actions) = life.sleep();
        assert!(slept <= Duration::from_mins(1) && slept > Duration::from_secs(50), "{slept:?}");
        assert_eq!(actions, [Action::Fetch(SourceId(0)), Action::Fetch(SourceId(1))]);
        life.now += Duration::from_secs(1);
        assert_eq!(life.answer(0, Ok(())), []);
        assert_eq!(life.answer(1, Ok(())), [Action::Publish(vec![SecretId(0)])]);
        life.on(Event::Published(Vec::new()));
    }
}

#[test]
fn a_secret_waits_for_the_key_that_failed_and_is_published_whole() {
    let mut life = Life::serving(vec![every(60), every(60)]);
    life.sleep();
    assert_eq!(life.answer(0, Ok(())), []);
    assert!(matches!(life.answer(1, failed(ErrorClass::Unavailable)).as_slice(), [Action::Report(_)]));
    let (slept, actions) = life.sleep();
    assert_eq!(actions, [Action::Fetch(SourceId(1))]);
    assert!(slept <= Duration::from_secs(1));
    assert_eq!(life.answer(1, Ok(())).last(), Some(&Action::Publish(vec![SecretId(0)])));
}

#[test]
fn what_is_read_once_is_never_asked_for_again() {
    let mut life = Life::new(
        vec![source(RefreshInterval::Once)],
        vec![SecretPlan { sources: [SourceId(0)].into(), refreshes: false }],
    );
    life.on(Event::Start);
    life.answer(0, failed(ErrorClass::Unavailable));
    assert_eq!(life.sleep().1, [Action::Fetch(SourceId(0))], "until it has been read it is");
    life.answer(0, Ok(()));
    life.on(Event::Published(Vec::new()));
    assert_eq!(life.agent.deadline(), None);
}

#[test]
fn a_secret_that_is_read_once_keeps_its_values_while_another_follows_the_key_that_they_share() {
    let shared: BTreeSet<SourceId> = [SourceId(0)].into();
    let frozen = SecretPlan { sources: shared.clone(), refreshes: false };
    let followed = SecretPlan { sources: shared, refreshes: true };
    let mut life = Life::new(vec![every(60)], vec![frozen, followed]);
    life.on(Event::Start);
    assert_eq!(life.answer(0, Ok(())), [Action::Publish(vec![SecretId(0), SecretId(1)])]);
    life.on(Event::Published(Vec::new()));
    life.sleep();
    assert_eq!(life.answer(0, Ok(())), [Action::Publish(vec![SecretId(1)])]);
}

#[test]
fn a_store_that_is_down_is_waited_for_reported_once_and_its_recovery_too() {
    let mut life = Life::of(vec![every(300)]);
    life.on(Event::Start);
    let first = life.answer(0, failed(ErrorClass::Unavailable));
    let text = "waiting for store vault: sealed (503); retrying in 1 s";
    assert_eq!(first, [Action::Report(Report::Trouble(text.to_owned()))]);
    let mut waited = Duration::ZERO;
    for _ in 0..50 {
        let (slept, actions) = life.sleep();
        assert_eq!(actions, [Action::Fetch(SourceId(0))]);
        assert!(slept <= Duration::from_secs(30), "{slept:?}");
        waited += slept;
        assert_eq!(life.answer(0, failed(ErrorClass::Unavailable)), []);
    }
    assert!(waited > Duration::from_mins(15), "the pauses grow: {waited:?}");
    life.sleep();
    let recovery = Action::Report(Report::Recovery("store vault answers again".to_owned()));
    assert_eq!(life.answer(0, Ok(())), [recovery, Action::Publish(vec![SecretId(0)])]);
}

#[test]
fn a_source_that_fails_is_asked_no_less_often_than_one_that_works() {
    let mut life = Life::serving(vec![every(2)]);
    for _ in 0..20 {
        let (slept, _) = life.sleep();
        assert!(slept <= Duration::from_secs(2), "{slept:?}");
        life.answer(0, failed(ErrorClass::Unavailable));
    }
}

#[test]
fn a_store_that_asks_to_be_left_alone_is() {
    let mut life = Life::serving(vec![every(2)]);
    life.sleep();
    let asked = Duration::from_secs(90);
    life.answer(0, Err(error(ErrorClass::Throttled).with_retry_after(Some(asked))));
    assert!(life.sleep().0 >= asked);
}

#[test]
fn a_refusal_ends_the_container_with_all_reasons_once_everything_has_answered() {
    let mut life = Life::of(vec![every(60), every(60), every(60)]);
    life.on(Event::Start);
    assert_eq!(life.answer(0, failed(ErrorClass::Denied)), []);
    assert_eq!(life.answer(1, failed(ErrorClass::NotFound)), []);
    assert_eq!(life.answer(2, failed(ErrorClass::Unavailable)).last(), Some(&Action::Close));
    let reasons = vec![format!("vault:kv/app/db: {STORE_DOWN}"); 2];
    assert_eq!(life.on(Event::Closed), [Action::Exit(Exit::Failed(reasons))]);
    assert_eq!(life.agent.deadline(), None);
}

#[test]
fn a_refusal_at_login_is_retried_for_a_minute_and_then_ends_the_container() {
    let mut life = Life::of(vec![every(300)]);
    let begin = life.now;
    life.on(Event::Start);
    while life.answer(0, Err(error(ErrorClass::Denied).at_login())).last() != Some(&Action::Close) {
        assert_eq!(life.sleep().1, [Action::Fetch(SourceId(0))]);
        assert!(life.now - begin < 2 * LOGIN_PATIENCE, "its patience has no end");
    }
    let patience = life.now - begin;
    assert!(patience >= LOGIN_PATIENCE && patience < LOGIN_PATIENCE + Duration::from_secs(30), "{patience:?}");
}

#[test]
fn after_the_first_success_no_failure_ends_the_container_and_a_refused_login_is_left_alone() {
    let mut life = Life::serving(vec![every(1)]);
    for class in [ErrorClass::Denied, ErrorClass::Unauthenticated, ErrorClass::Misconfigured, ErrorClass::Integrity] {
        life.sleep();
        let actions = life.answer(0, failed(class));
        assert!(actions.iter().all(|action| matches!(action, Action::Report(_))), "{actions:?}");
    }
    life.sleep();
    life.answer(0, Err(error(ErrorClass::Unauthenticated).at_login()));
    assert!(life.sleep().0 >= Duration::from_secs(45));
}

#[test]
fn only_what_is_missing_can_be_optional_and_one_that_vanishes_is_published_as_missing() {
    let mut life = Life::of(vec![optional(every(60))]);
    life.on(Event::Start);
    assert_eq!(life.answer(0, failed(ErrorClass::NotFound)), [Action::Publish(vec![SecretId(0)])]);
    life.on(Event::Published(Vec::new()));
    life.sleep();
    assert_eq!(life.answer(0, failed(ErrorClass::NotFound)), [Action::Publish(vec![SecretId(0)])]);

    let mut life = Life::of(vec![optional(every(60))]);
    life.on(Event::Start);
    assert_eq!(life.answer(0, failed(ErrorClass::Denied)), [Action::Close]);
}

#[test]
fn files_that_cannot_be_made_end_the_container_before_it_was_ready() {
    let mut life = Life::of(vec![every(60)]);
    life.on(Event::Start);
    life.answer(0, Ok(()));
    assert_eq!(life.on(Event::Published(setback(true))), [Action::Close]);
    assert_eq!(life.on(Event::Closed), [Action::Exit(Exit::Failed(vec!["volume creds: full".to_owned()]))]);
}

#[test]
fn files_that_cannot_be_made_later_are_reported_once_tried_again_and_reported_when_they_are_there() {
    let mut life = Life::serving(vec![every(3600)]);
    life.on(Event::MirrorMoved);
    let trouble = "volume creds: full; the files from before stay";
    assert_eq!(life.on(Event::Published(setback(true))), [Action::Report(Report::Stale(trouble.to_owned()))]);
    assert_eq!(life.sleep(), (PUBLISH_RETRY, vec![Action::Publish(Vec::new())]));
    assert_eq!(life.on(Event::Published(setback(true))), []);
    assert_eq!(life.sleep(), (PUBLISH_RETRY, vec![Action::Publish(Vec::new())]));
    let recovery = "volume creds is up to date again";
    assert_eq!(life.on(Event::Published(Vec::new())), [Action::Report(Report::Recovery(recovery.to_owned()))]);
    assert!(life.sleep().0 > PUBLISH_RETRY, "nothing but the next refresh is due");
}

#[test]
fn mirrored_files_are_followed_once_the_first_files_are_there() {
    let mut life = Life::of(vec![every(60)]);
    life.on(Event::Start);
    assert_eq!(life.on(Event::MirrorMoved), []);
    let mut life = Life::serving(vec![every(60)]);
    assert_eq!(life.on(Event::MirrorMoved), [Action::Publish(Vec::new())]);
}

#[test]
fn a_request_to_end_is_followed_at_once_in_every_state() {
    let mut new = Life::of(vec![every(60)]);
    let mut asking = Life::of(vec![every(60)]);
    asking.on(Event::Start);
    let mut pausing = Life::of(vec![every(60)]);
    pausing.on(Event::Start);
    pausing.answer(0, failed(ErrorClass::Unavailable));
    let mut serving = Life::serving(vec![every(60)]);
    for life in [&mut new, &mut asking, &mut pausing, &mut serving] {
        assert_eq!(life.on(Event::Terminate), [Action::Close]);
        assert_eq!(life.answer(0, Ok(())), []);
        assert_eq!(life.on(Event::Closed), [Action::Exit(Exit::Terminated)]);
    }
}

#[test]
fn whoever_asks_twice_does_not_wait_for_the_stores() {
    let mut life = Life::serving(vec![every(60)]);
    life.on(Event::Terminate);
    assert_eq!(life.on(Event::Terminate), [Action::Exit(Exit::Terminated)]);
    assert_eq!(life.on(Event::Closed), []);
}
