//! When one source is asked: at the start, then in a steady pace, and after failures when it may have healed.

use alcove_contract::interval::RefreshInterval;
use std::time::{Duration, Instant};

/// The first pause after a failure; it doubles with each further one.
const SHORTEST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause after failures that pass, unless the store asks for a longer one.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// How long a login that was good once is left alone after a refusal: it heals when the kubelet renews the token, and a
/// storm of logins would only harm.
const REFUSED_LOGIN_PAUSE: Duration = Duration::from_mins(1);
/// How much shorter than asked for pauses and intervals may be, in thousandths. They are never longer, so that a change
/// is seen within the interval.
const PAUSE_JITTER: u32 = 250;
const INTERVAL_JITTER: u32 = 100;
const THOUSANDTHS: u32 = 1000;

/// The fall of the dice: a sequence of numbers that only its seed decides (SplitMix64).
#[derive(Debug)]
pub(super) struct Randomness(u64);

impl Randomness {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// How fast this Pod refreshes, in thousandths of every interval. It is one number for all sources, so that keys
    /// that belong together stay in step, while Pods that started together drift apart.
    pub(super) fn pace(&mut self) -> u32 {
        THOUSANDTHS - self.below(INTERVAL_JITTER)
    }

    fn shorten(&mut self, pause: Duration) -> Duration {
        pause * (THOUSANDTHS - self.below(PAUSE_JITTER)) / THOUSANDTHS
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(bound)).unwrap_or_default()
    }
}

/// What a source is doing.
#[derive(Debug)]
enum State {
    /// To be asked at once.
    New,
    /// Asked, and not answered yet.
    InFlight,
    /// To be asked again at this time.
    Due(Instant),
    /// Never to be asked again: it was to be read once, and was.
    Done,
    /// Never to be asked again: it failed for good.
    Failed(String),
}

/// The timetable of one source.
#[derive(Debug)]
pub(super) struct Schedule {
    state: State,
    /// The time from one refresh to the next; none, where it is read once.
    period: Option<Duration>,
    /// When it was first asked: refreshes come at this time plus whole periods, whatever happens between, so that
    /// sources that started together stay together.
    first: Option<Instant>,
    /// When it was last asked.
    started: Option<Instant>,
    answered: bool,
    failures: u32,
    refused_since: Option<Instant>,
}

impl Schedule {
    /// A source that is refreshed in `refresh`, sped up to `pace` thousandths.
    pub(super) fn new(refresh: RefreshInterval, pace: u32) -> Self {
        let period = match refresh {
            RefreshInterval::Once => None,
            RefreshInterval::Every(interval) => Some(interval * pace / THOUSANDTHS),
        };
        let (first, started, refused_since) = (None, None, None);
        Self { state: State::New, period, first, started, answered: false, failures: 0, refused_since }
    }

    /// When it has to be asked. A new source is asked at the start, which is no matter of time.
    pub(super) const fn due(&self) -> Option<Instant> {
        if let State::Due(at) = self.state { Some(at) } else { None }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::New => true,
            State::Due(at) => at <= now,
            State::InFlight | State::Done | State::Failed(_) => false,
        }
    }

    /// Whether the store has said anything so far, be it an error.
    pub(super) const fn has_answered(&self) -> bool {
        self.answered
    }

    pub(super) const fn final_failure(&self) -> Option<&String> {
        if let State::Failed(reason) = &self.state { Some(reason) } else { None }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.state = State::InFlight;
        self.first.get_or_insert(now);
        self.started = Some(now);
    }

    pub(super) fn succeed(&mut self) {
        self.answered = true;
        self.failures = 0;
        self.refused_since = None;
        self.try_at_next_refresh();
    }

    /// How long the login has been refused, this time included.
    pub(super) fn refused_for(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.refused_since.get_or_insert(now))
    }

    /// Tries again after a pause that grows with the failures, up to the interval: a source that fails is not asked less
    /// often than one that works.
    pub(super) fn back_off(&mut self, asked_for: Option<Duration>, now: Instant, randomness: &mut Randomness) {
        self.answered = true;
        let longest = self.period.map_or(LONGEST_BACKOFF, |period| period.clamp(SHORTEST_BACKOFF, LONGEST_BACKOFF));
        let doubled = SHORTEST_BACKOFF.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let pause = randomness.shorten(doubled.min(longest));
        self.state = State::Due(now + pause.max(asked_for.unwrap_or_default()));
    }

    /// Tries again when somebody may have repaired the login.
    pub(super) fn heal_slowly(&mut self, now: Instant, randomness: &mut Randomness) {
        self.state = State::Due(now + randomness.shorten(REFUSED_LOGIN_PAUSE));
    }

    /// Tries again as if nothing had happened.
    pub(super) fn try_at_next_refresh(&mut self) {
        self.answered = true;
        self.state = self.next_refresh().map_or(State::Done, State::Due);
    }

    pub(super) fn give_up(&mut self, reason: String) {
        self.answered = true;
        self.state = State::Failed(reason);
    }

    /// The first multiple of the period after the time at which the source was last asked.
    fn next_refresh(&self) -> Option<Instant> {
        let (period, first, started) = (self.period?, self.first?, self.started?);
        let passed = started.saturating_duration_since(first).as_nanos() / period.as_nanos().max(1);
        Some(first + period.saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX - 1) + 1))
    }
}
