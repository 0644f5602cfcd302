//! Who leads: the rules of a Lease, without a clock or an API server.
//!
//! Clocks of replicas differ, so the times in a Lease are never compared with one's own: a holder is gone when its
//! record has not changed for the whole duration *as seen from here*.

use std::time::Duration;

use tokio::time::Instant;

/// One replica's part in an election.
#[derive(Debug)]
pub struct Election {
    identity: String,
    duration: Duration,
    /// The version of the Lease that was seen last, and when it was new.
    observed: Option<(String, Instant)>,
    /// When this replica last wrote itself into the Lease.
    renewed: Option<Instant>,
}

/// What a Lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Who holds it; empty if nobody does.
    pub holder: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Write oneself into it.
    Write,
    /// Another replica holds it.
    Wait,
}

impl Election {
    /// `identity` is unlike that of any other replica.
    #[must_use]
    pub fn new(identity: String, duration: Duration) -> Self {
        Self { identity, duration, observed: None, renewed: None }
    }

    /// Who takes part.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// How long a record holds.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// How long to wait for an answer, or before the next look: often enough to fail twice before the record ends, and
    /// never past the moment at which this replica leads no more.
    #[must_use]
    pub fn patience(&self, now: Instant) -> Duration {
        let interval = self.duration / 4;
        let left = self.leads_until().map(|end| end.saturating_duration_since(now)).filter(|left| !left.is_zero());
        left.map_or(interval, |left| left.min(interval))
    }

    /// Whose turn it is, given the Lease as it is now.
    pub fn turn(&mut self, record: Record<'_>, now: Instant) -> Turn {
        if record.holder.is_empty() || record.holder == self.identity {
            return Turn::Write;
        }
        match &self.observed {
            Some((version, since)) if version == record.version => {
                if now.duration_since(*since) >= self.duration {
                    return Turn::Write;
                }
            }
            _ => self.observed = Some((record.version.to_owned(), now)),
        }
        self.renewed = None;
        Turn::Wait
    }

    /// This replica wrote itself into the Lease; the attempt began at `begun`.
    pub fn written(&mut self, begun: Instant) {
        self.renewed = Some(begun);
    }

    /// Whether this replica leads: it stops before another one may begin.
    #[must_use]
    pub fn leads(&self, now: Instant) -> bool {
        self.leads_until().is_some_and(|end| now < end)
    }

    fn leads_until(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + self.duration * 2 / 3)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DURATION: Duration = Duration::from_secs(12);

    fn election(identity: &str) -> Election {
        Election::new(identity.to_owned(), DURATION)
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken_at_once() {
        let mut election = election("a");
        assert_eq!(election.turn(Record { holder: "", version: "1" }, Instant::now()), Turn::Write);
    }

    #[test]
    fn another_ones_lease_is_taken_only_when_it_has_not_changed_for_its_whole_duration() {
        let (mut election, start) = (election("a"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(election.turn(Record { holder: "b", version: "1" }, at(0)), Turn::Wait);
        assert_eq!(election.turn(Record { holder: "b", version: "1" }, at(11)), Turn::Wait);
        assert_eq!(election.turn(Record { holder: "b", version: "2" }, at(11)), Turn::Wait, "it lives");
        assert_eq!(election.turn(Record { holder: "b", version: "2" }, at(22)), Turn::Wait);
        assert_eq!(election.turn(Record { holder: "b", version: "2" }, at(23)), Turn::Write);
    }

    #[test]
    fn a_leader_that_sees_another_one_in_the_lease_leads_no_more() {
        let (mut election, now) = (election("a"), Instant::now());
        election.written(now);
        assert!(election.leads(now));
        election.turn(Record { holder: "b", version: "9" }, now);
        assert!(!election.leads(now));
    }

    /// What happens to one of two replicas in a step of the simulation.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Look(bool),
        Pass(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![any::<bool>().prop_map(Event::Look), (100u64..6000).prop_map(Event::Pass)]
    }

    proptest! {
        #[test]
        fn two_replicas_never_lead_at_once(events in prop::collection::vec(event(), 1..300)) {
            let mut replicas = [election("a"), election("b")];
            let (mut holder, mut version, mut now) = (String::new(), 0u32, Instant::now());
            for event in events {
                match event {
                    Event::Pass(millis) => now += Duration::from_millis(millis),
                    Event::Look(which) => {
                        let replica = &mut replicas[usize::from(which)];
                        let text = version.to_string();
                        if replica.turn(Record { holder: &holder, version: &text }, now) == Turn::Write {
                            holder = replica.identity().to_owned();
                            version += 1;
                            replica.written(now);
                        }
                    }
                }
                prop_assert!(!(replicas[0].leads(now) && replicas[1].leads(now)));
            }
        }
    }
}
