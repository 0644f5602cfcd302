//! Thousands of generated lives, each checked after every event.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What a life is made of.
#[derive(Clone, Debug)]
struct World {
    sources: Vec<(Option<u64>, bool)>,
    secrets: Vec<BTreeSet<usize>>,
    seed: u64,
    /// How stores behave, one entry for each request, over and over.
    answers: Vec<(u64, Option<(ErrorClass, bool)>)>,
    /// How publishing goes, one entry for each time, over and over.
    publications: Vec<bool>,
    terminate: Option<u64>,
}

const CLASSES: [ErrorClass; 7] = [
    ErrorClass::NotFound,
    ErrorClass::Denied,
    ErrorClass::Unauthenticated,
    ErrorClass::Throttled,
    ErrorClass::Unavailable,
    ErrorClass::Misconfigured,
    ErrorClass::Integrity,
];

fn worlds() -> impl Strategy<Value = World> {
    let source = (prop::option::of(1_u64..90), any::<bool>());
    let problem = (prop::sample::select(CLASSES.as_slice()), any::<bool>());
    let answer = (0_u64..4_000, prop::option::weighted(0.3, problem));
    (prop::collection::vec(source, 1..5), any::<u64>()).prop_flat_map(move |(sources, seed)| {
        let subset = prop::collection::btree_set(0..sources.len(), 1..=sources.len());
        let secrets = prop::collection::vec(subset, 1..4);
        let answers = prop::collection::vec(answer.clone(), 1..12);
        let publications = prop::collection::vec(prop::bool::weighted(0.9), 1..6);
        (Just(sources), secrets, answers, publications, prop::option::of(0_u64..900)).prop_map(
            move |(sources, mut secrets, answers, publications, terminate)| {
                // No source is there without a Secret.
                secrets.push((0..sources.len()).collect());
                World { sources, secrets, seed, answers, publications, terminate }
            },
        )
    })
}

/// How long a life is watched.
const LIFE: Duration = Duration::from_mins(15);

/// A life in progress, and what is known about it from the outside.
struct Simulation {
    world: World,
    agent: Agent,
    begin: Instant,
    now: Instant,
    /// Requests under way, by source, with the time of their answer.
    in_flight: BTreeMap<usize, (Instant, Result<(), StoreError>)>,
    requests: usize,
    publications: usize,
    starts: Vec<Vec<Instant>>,
    failures: Vec<u32>,
    answered: BTreeSet<usize>,
    fresh: Vec<BTreeSet<usize>>,
    ready: Option<Instant>,
    closed: bool,
    exit: Option<Exit>,
}

impl Simulation {
    fn new(world: World) -> Self {
        let refresh = |seconds: Option<u64>| match seconds {
            Some(seconds) => RefreshInterval::Every(Duration::from_secs(seconds)),
            None => RefreshInterval::Once,
        };
        let sources = world
            .sources
            .iter()
            .map(|(seconds, required)| SourcePlan { required: *required, ..source(refresh(*seconds)) });
        let secrets = world.secrets.iter().map(|ids| SecretPlan {
            refreshes: ids.iter().any(|id| world.sources[*id].0.is_some()),
            sources: ids.iter().copied().map(SourceId).collect(),
        });
        let plan = Plan { stores: vec!["vault".to_owned()], sources: sources.collect(), secrets: secrets.collect() };
        let (count, now) = (world.sources.len(), Instant::now());
        Self {
            agent: Agent::new(plan, world.seed),
            begin: now,
            now,
            in_flight: BTreeMap::new(),
            requests: 0,
            publications: 0,
            starts: vec![Vec::new(); count],
            failures: vec![0; count],
            answered: BTreeSet::new(),
            fresh: vec![BTreeSet::new(); world.secrets.len()],
            ready: None,
            closed: false,
            exit: None,
            world,
        }
    }

    fn live(&mut self) {
        self.tell(Event::Start);
        while self.exit.is_none() {
            let answer = self.in_flight.iter().map(|(id, (at, _))| (*at, *id)).min();
            let terminate = self.world.terminate.map(|after| self.begin + Duration::from_secs(after));
            let wake = self.agent.deadline();
            assert!(answer.is_some() || wake.is_some() || self.is_at_rest(), "nothing will ever happen again");
            let Some(next) = [answer.map(|(at, _)| at), wake, terminate].into_iter().flatten().min() else { return };
            if next > self.begin + LIFE {
                return;
            }
            self.now = next.max(self.now);
            if terminate == Some(next) {
                self.tell(Event::Terminate);
                self.tell(Event::Closed);
                assert_eq!(self.exit, Some(Exit::Terminated));
            } else if let Some((_, id)) = answer.filter(|(at, _)| *at == next) {
                self.deliver(id);
            } else {
                self.tell(Event::Wake);
                assert!(self.agent.deadline().is_none_or(|at| at > self.now), "what was due has been done");
            }
        }
    }

    /// Whether everything was read that is to be read once, and nothing else is followed.
    fn is_at_rest(&self) -> bool {
        self.ready.is_some() && self.world.sources.iter().all(|(seconds, _)| seconds.is_none())
    }

    fn deliver(&mut self, id: usize) {
        let (_, answer) = self.in_flight.remove(&id).unwrap();
        match &answer {
            Err(error) if error.class() != ErrorClass::NotFound => self.failures[id] += 1,
            _ => {
                self.answered.insert(id);
                self.fresh.iter_mut().for_each(|fresh| fresh.extend([id]));
            }
        }
        self.tell(Event::Answer(SourceId(id), answer));
    }

    fn tell(&mut self, event: Event) {
        for action in self.agent.on(event, self.now) {
            self.check(action);
        }
        if self.closed && self.exit.is_none() {
            self.in_flight.clear();
            for action in self.agent.on(Event::Closed, self.now) {
                self.check(action);
            }
        }
    }

    fn check(&mut self, action: Action) {
        assert_eq!(self.exit, None, "nothing comes after the end");
        match action {
            Action::Fetch(SourceId(id)) => self.check_fetch(id),
            Action::Publish(secrets) => self.check_publish(&secrets),
            Action::BecomeReady => {
                assert_eq!(self.ready, None, "ready once");
                self.ready = Some(self.now);
            }
            Action::Report(_) => {}
            Action::Close => self.closed = true,
            Action::Exit(exit) => {
                assert!(self.closed, "the stores are closed first");
                assert!(self.ready.is_none() || exit == Exit::Terminated, "no failure ends a sidecar that was ready");
                self.exit = Some(exit);
            }
        }
    }

    fn check_fetch(&mut self, id: usize) {
        assert!(!self.closed, "no request after the end has begun");
        let (latency, problem) = self.world.answers[self.requests % self.world.answers.len()];
        self.requests += 1;
        let answer = match problem {
            None => Ok(()),
            Some((class, true)) => Err(error(class).at_login()),
            Some((class, false)) => failed(class).map(drop),
        };
        let known = self.in_flight.insert(id, (self.now + Duration::from_millis(latency), answer));
        assert!(known.is_none(), "one request at a time for source {id}");
        self.starts[id].push(self.now);
        let period = self.world.sources[id].0.map(|seconds| u128::from(seconds * 900));
        assert!(period.is_some() || self.ready.is_none(), "what is read once is not read again");
        let allowed = period.map_or(1, |millis| (self.now - self.begin).as_millis() / millis + 1);
        let count = u128::try_from(self.starts[id].len()).unwrap();
        assert!(count <= allowed + u128::from(self.failures[id]), "{count} requests, {allowed} refreshes");
    }

    fn check_publish(&mut self, secrets: &[SecretId]) {
        assert!(!self.closed, "no publication after the end has begun");
        if self.ready.is_none() {
            assert_eq!(secrets.len(), self.world.secrets.len(), "at first everything is published");
            for wanted in self.world.secrets.iter().flatten() {
                assert!(self.answered.contains(wanted), "source {wanted} has never answered");
            }
            self.fresh.iter_mut().for_each(BTreeSet::clear);
        }
        for SecretId(id) in secrets {
            if self.ready.is_some() {
                let wanted = &self.world.secrets[*id];
                assert!(wanted.is_subset(&self.fresh[*id]), "values that belong together change together");
                self.fresh[*id].clear();
            }
        }
        let fine = self.world.publications[self.publications % self.world.publications.len()];
        self.publications += 1;
        self.tell(Event::Published(if fine { Vec::new() } else { setback(true) }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_life_breaks_a_promise(world in worlds()) {
        Simulation::new(world).live();
    }

    #[test]
    fn a_change_is_asked_for_within_the_interval(seconds in 1_u64..600, seed: u64, latency_millis in 0_u64..900) {
        let interval = Duration::from_secs(seconds);
        let mut simulation = Simulation::new(World {
            sources: vec![(Some(seconds), true)],
            secrets: vec![[0].into()],
            seed,
            answers: vec![(latency_millis, None)],
            publications: vec![true],
            terminate: None,
        });
        simulation.live();
        let starts = &simulation.starts[0];
        prop_assert!(u64::try_from(starts.len()).unwrap() > LIFE.as_secs() / seconds - 1);
        for pair in starts.windows(2) {
            prop_assert!(pair[1] - pair[0] <= interval, "{:?}", pair[1] - pair[0]);
        }
    }
}
