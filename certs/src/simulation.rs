//! A cluster in simulated time: years of rotations by replicas that fail and whose clocks differ.
//!
//! Certificates, Secret contents and verification are real; only time and the delays between the parties are made up.

use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::bundle::{Bundle, Profile};
use crate::names::Names;
use crate::schedule::{self, Lifetimes, Publication, Step};
use crate::trust::Trust;

const NAME: &str = "alcove-webhook.alcove.svc";
const PARTIES: usize = 3;

/// Real time in milliseconds since the beginning.
type Millis = i64;

/// How one look of a leader at the bundle goes wrong, or does not.
#[derive(Debug, Clone)]
struct Fate {
    /// Who leads if the leader changes.
    heir: usize,
    /// How many hundredths of the longest absence pass before anybody looks.
    late: Millis,
    /// The leader dies between writing the Secret and writing `caBundle`.
    dies: bool,
}

#[derive(Debug, Clone)]
struct Plan {
    lifetimes: Lifetimes,
    settle: Millis,
    /// How long at most nobody looks although something is due.
    absence: Millis,
    /// By how much the clocks of replicas and API servers are off.
    replica_skews: [Millis; PARTIES],
    server_skews: [Millis; PARTIES],
    /// How long a write takes until a replica or an API server knows it.
    replica_delays: [Millis; PARTIES],
    server_delays: [Millis; PARTIES],
    fates: Vec<Fate>,
}

struct Cluster {
    plan: Plan,
    profile: Profile,
    now: Millis,
    leader: usize,
    leads_since: Millis,
    looks: usize,
    secrets: Vec<(Millis, Rc<Bundle>)>,
    ca_bundles: Vec<(Millis, Trust)>,
    made: i64,
    /// Moments at which a party hears of a write.
    arrivals: Vec<Millis>,
}

/// What was written last, for a party that hears of it `delay` later.
fn known<T>(history: &[(Millis, T)], delay: Millis, now: Millis) -> Option<&(Millis, T)> {
    history.iter().rev().find(|(written, _)| written + delay <= now)
}

fn clock(now: Millis, skew: Millis) -> Timestamp {
    let start: Timestamp = "2026-11-25T10:00:00.4Z".parse().unwrap();
    start + SignedDuration::from_millis(now + skew)
}

impl Cluster {
    fn new(plan: Plan) -> Self {
        let profile = Profile { names: Names::new([NAME]).unwrap(), lifetimes: plan.lifetimes };
        let first = Bundle::issue(&profile, clock(0, plan.replica_skews[0])).unwrap();
        Self {
            plan,
            profile,
            now: 0,
            leader: 0,
            leads_since: 0,
            looks: 0,
            ca_bundles: vec![(0, first.trust())],
            secrets: vec![(0, Rc::new(first))],
            made: 1,
            arrivals: Vec::new(),
        }
    }

    fn run_until(&mut self, end: Millis) {
        self.now = self.plan.settle;
        while self.now < end {
            let fate = self.plan.fates[self.looks % self.plan.fates.len()].clone();
            self.looks += 1;
            let wake = self.look(&fate).max(self.now + 1) + self.plan.absence * fate.late / 100;
            self.check_until(wake);
            self.now = wake;
        }
    }

    /// One pass of the leader; when it wants to look again.
    fn look(&mut self, fate: &Fate) -> Millis {
        if self.now - self.leads_since > self.tenure() {
            self.succeed(fate);
        }
        loop {
            let (_, bundle) = self.secrets.last().unwrap();
            let now = clock(self.now, self.plan.replica_skews[self.leader]);
            match schedule::next(&bundle.validity(&self.profile, self.publication()), now) {
                Step::Keep { until } => {
                    return self.now + i64::try_from(until.duration_since(now).as_millis()).unwrap();
                }
                Step::Publish => return self.publish(),
                step => self.take(step, now),
            }
            if fate.dies {
                self.succeed(fate);
                return self.now;
            }
        }
    }

    fn take(&mut self, step: Step, now: Timestamp) {
        let files = self.secrets.last().unwrap().1.files();
        let mut bundle = Bundle::parse(files.iter().map(|(name, content)| (*name, content.as_slice()))).unwrap();
        bundle.advance(step, &self.profile, now).unwrap();
        self.made += i64::from(step == Step::IssueAuthority);
        self.secrets.push((self.now, Rc::new(bundle)));
        self.arrivals.extend(self.plan.replica_delays.map(|delay| self.now + delay));
    }

    fn publish(&mut self) -> Millis {
        let trust = self.secrets.last().unwrap().1.trust();
        if self.ca_bundles.last().unwrap().1 != trust {
            self.ca_bundles.push((self.now, trust));
            self.arrivals.extend(self.plan.server_delays.map(|delay| self.now + delay));
        }
        self.ca_bundles.last().unwrap().0 + self.plan.replica_delays[self.leader]
    }

    /// What the leader knows of `caBundle`, through a watch that lags behind.
    fn publication(&self) -> Publication {
        let (changed, bundle) = self.secrets.last().unwrap();
        let delay = self.plan.replica_delays[self.leader];
        match known(&self.ca_bundles, delay, self.now) {
            Some((written, trust)) if *trust == bundle.trust() => {
                let since = (written + delay).max(*changed).max(self.leads_since);
                Publication::Seen { elapsed: Duration::from_millis(u64::try_from(self.now - since).unwrap()) }
            }
            _ => Publication::Absent,
        }
    }

    fn tenure(&self) -> Millis {
        i64::try_from(self.plan.lifetimes.leaf().as_millis()).unwrap() / 2
    }

    fn succeed(&mut self, fate: &Fate) {
        (self.leader, self.leads_since) = (fate.heir, self.now);
    }

    /// Lets every API server call every replica whenever one of them has heard something new, and before the next look.
    fn check_until(&mut self, wake: Millis) {
        let (mut moments, later): (Vec<_>, Vec<_>) = self.arrivals.drain(..).partition(|moment| *moment < wake);
        self.arrivals = later;
        moments.extend([self.now, wake - 1]);
        moments.sort_unstable();
        moments.dedup();
        for moment in moments {
            self.check(moment);
        }
    }

    fn check(&self, moment: Millis) {
        let mut seen = Vec::new();
        for (server_delay, skew) in self.plan.server_delays.iter().zip(self.plan.server_skews) {
            let (published, trust) = known(&self.ca_bundles, *server_delay, moment).unwrap();
            for replica_delay in self.plan.replica_delays {
                let (_, bundle) = known(&self.secrets, replica_delay, moment).unwrap();
                let call = (*published, Rc::as_ptr(bundle), skew);
                if !seen.contains(&call) {
                    seen.push(call);
                    let verified = trust.verify(bundle.leaf(), NAME, clock(moment, skew));
                    assert_eq!(verified, Ok(()), "{moment} ms after the beginning, {:?}", self.plan);
                }
            }
        }
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (0..PARTIES, 0..100_i64, proptest::bool::weighted(0.1));
    proptest::collection::vec(fate.prop_map(|(heir, late, dies)| Fate { heir, late, dies }), 1..40)
}

/// Lifetimes from eight seconds to two years, and clocks and delays as bad as those lifetimes bear.
fn plans() -> impl Strategy<Value = Plan> {
    let magnitude = prop_oneof![8_i64..60, 60_i64..86_400, 86_400_i64..63_000_000];
    (magnitude, 2_u32..8, 12_i64..200).prop_flat_map(|(leaf, leaves, share)| {
        let (settle, skew) = (leaf * 1000 / share, (leaf * 1000 / 24).min(150_000));
        let seconds = Duration::from_secs(u64::try_from(leaf).unwrap());
        let lifetimes =
            Lifetimes::new(seconds * leaves, seconds, Duration::from_millis(u64::try_from(settle).unwrap())).unwrap();
        let skews = || [-skew..=skew, -skew..=skew, -skew..=skew];
        let delays = || [0..=settle, 0..=settle, 0..=settle];
        (skews(), skews(), delays(), delays(), fates()).prop_map(
            move |(replica_skews, server_skews, replica_delays, server_delays, fates)| Plan {
                lifetimes,
                settle,
                absence: leaf * 1000 / 24,
                replica_skews,
                server_skews,
                replica_delays,
                server_delays,
                fates,
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whoever_trusts_the_published_bundle_verifies_every_served_leaf(plan in plans()) {
        let life = i64::try_from(plan.lifetimes.authority().as_millis()).unwrap();
        let end = life * 4;
        let skew = plan.replica_skews.into_iter().max().unwrap() - plan.replica_skews[0];
        let mut cluster = Cluster::new(plan);
        cluster.run_until(end);
        let allowed = 1 + (cluster.now + skew.max(0)) / (life * 2 / 3 - 1000);
        prop_assert!(cluster.made <= allowed, "{} authorities made, {} allowed", cluster.made, allowed);
        prop_assert!(cluster.made >= 4, "only {} authorities made in four lives", cluster.made);
    }
}
