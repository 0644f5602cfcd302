use proptest::prelude::*;

use super::*;

const SETTLE: Duration = Duration::from_secs(10);
const SETTLED: Publication = Publication::Seen { elapsed: SETTLE };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000_000 + seconds).unwrap()
}

fn window(issued: i64, life: u64) -> Window {
    Window::issued(at(issued), Duration::from_secs(life)).unwrap()
}

/// An authority of 1,200 s and a leaf of 600 s, both issued at 0, published and settled.
fn validity() -> Validity {
    let lifetimes = Lifetimes::new(Duration::from_mins(20), Duration::from_mins(10), SETTLE).unwrap();
    let (authority, leaf) = (window(0, 1200), Some(window(0, 600)));
    Validity { authority, leaf, next: None, previous: vec![], publication: SETTLED, lifetimes }
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_of_its_life_and_not_a_second_before() {
    assert_eq!(next(&validity(), at(0)), Step::Keep { until: at(400) });
    assert_eq!(next(&validity(), at(399)), Step::Keep { until: at(400) });
    assert_eq!(next(&validity(), at(400)), Step::IssueLeaf);
}

#[test]
fn a_leaf_for_other_names_is_replaced_at_once() {
    assert_eq!(next(&Validity { leaf: None, ..validity() }, at(1)), Step::IssueLeaf);
}

#[test]
fn a_new_authority_is_published_and_settled_before_it_signs() {
    let leaf = Some(window(799, 401));
    let due = Validity { leaf, ..validity() };
    assert_eq!(next(&due, at(800)), Step::IssueAuthority);
    let issued = Validity { next: Some(window(800, 1200)), publication: Publication::Absent, ..due };
    assert_eq!(next(&issued, at(800)), Step::Publish);
    let published = |seconds| Publication::Seen { elapsed: Duration::from_secs(seconds) };
    let waiting = Validity { publication: published(0), ..issued };
    assert_eq!(next(&waiting, at(800)), Step::Keep { until: at(810) });
    assert_eq!(
        next(&Validity { publication: published(9), ..waiting.clone() }, at(809)),
        Step::Keep { until: at(810) }
    );
    assert_eq!(next(&Validity { publication: published(10), ..waiting }, at(810)), Step::Promote);
}

#[test]
fn a_leaf_is_still_renewed_while_publishing_the_next_authority_is_stuck() {
    let stuck = Validity { next: Some(window(800, 1200)), publication: Publication::Absent, ..validity() };
    assert_eq!(next(&stuck, at(801)), Step::IssueLeaf);
}

#[test]
fn a_leaf_that_ends_with_its_authority_is_not_renewed_in_ever_smaller_steps() {
    let leaf = Some(window(800, 400));
    let stuck = Validity { leaf, next: Some(window(800, 1200)), publication: Publication::Absent, ..validity() };
    assert_eq!(next(&stuck, at(1199)), Step::Publish);
}

#[test]
fn an_old_authority_is_retired_when_it_has_expired_and_the_replicas_know_its_heir() {
    let rotated = Validity { previous: vec![window(-900, 1200)], ..validity() };
    assert_eq!(next(&rotated, at(299)), Step::Keep { until: at(301) });
    assert_eq!(next(&rotated, at(301)), Step::RetireAuthority);
    let jumped = Validity { publication: Publication::Seen { elapsed: Duration::ZERO }, ..rotated };
    assert!(matches!(next(&jumped, at(301)), Step::Keep { .. }));
}

#[test]
fn a_lost_ca_bundle_is_written_again_at_once() {
    assert_eq!(next(&Validity { publication: Publication::Absent, ..validity() }, at(7)), Step::Publish);
}

#[test]
fn nothing_is_made_by_a_clock_that_jumped_back_an_hour() {
    let fresh = Validity { authority: window(0, 600), leaf: Some(window(0, 300)), ..validity() };
    let rotating = Validity { next: Some(window(450, 600)), ..fresh.clone() };
    for minute in 0..60 {
        assert!(matches!(next(&fresh, at(-3600 + minute * 60)), Step::Keep { .. }));
        assert!(matches!(next(&rotating, at(-3600 + minute * 60)), Step::Keep { .. }));
    }
}

#[test]
fn lifetimes_that_leave_no_time_to_rotate_are_refused() {
    let new = |authority, leaf, settle| {
        Lifetimes::new(Duration::from_secs(authority), Duration::from_secs(leaf), Duration::from_secs(settle))
    };
    let seconds = Duration::from_secs;
    assert_eq!(new(20, 5, 0), Err(LifetimesError::LeafTooShort { leaf: seconds(5) }));
    assert_eq!(new(19, 10, 0), Err(LifetimesError::AuthorityTooShort { authority: seconds(19), needed: seconds(20) }));
    assert_eq!(new(60, 30, 3), Err(LifetimesError::SettleTooLong { leaf: seconds(30), needed: seconds(36) }));
    assert!(new(60, 30, u64::MAX).is_err());
    let default = Lifetimes::default();
    assert_eq!(Lifetimes::new(default.authority, default.leaf, default.settle), Ok(default));
}

prop_compose! {
    fn any_window()(begin in -5_000_i64..5_000, life in -100_i64..5_000) -> Window {
        Window { not_before: at(begin), not_after: at(begin + life) }
    }
}

proptest! {
    /// A loop that waits for `until` must not spin.
    #[test]
    fn keep_always_points_ahead(
        authority in any_window(), leaf in proptest::option::of(any_window()), next_window in proptest::option::of(any_window()),
        previous in proptest::collection::vec(any_window(), 0..3), elapsed in 0_u64..20, now in -6_000_i64..12_000,
    ) {
        let publication = Publication::Seen { elapsed: Duration::from_secs(elapsed) };
        let validity = Validity { authority, leaf, next: next_window, previous, publication, ..validity() };
        if let Step::Keep { until } = next(&validity, at(now)) {
            prop_assert!(until > at(now));
        }
    }
}

/// What the steps do to the windows, by a clock that says `now`; the number of authorities made.
fn run(validity: &mut Validity, now: Timestamp) -> usize {
    let lifetimes = validity.lifetimes;
    let mut made = 0;
    for _ in 0..10 {
        match next(validity, now) {
            Step::Keep { .. } => return made,
            Step::Publish => validity.publication = SETTLED,
            Step::IssueLeaf => validity.leaf = Some(leaf_of(validity.authority, lifetimes, now)),
            Step::IssueAuthority => {
                validity.next = Some(Window::issued(now, lifetimes.authority).unwrap());
                validity.publication = Publication::Absent;
                made += 1;
            }
            Step::Promote => {
                validity.previous.push(validity.authority);
                validity.authority = validity.next.take().unwrap();
                validity.leaf = Some(leaf_of(validity.authority, lifetimes, now));
            }
            Step::RetireAuthority => validity.previous.retain(|window| !window.has_ended(now)),
        }
    }
    panic!("the steps at {now} do not come to rest: {validity:?}");
}

fn leaf_of(authority: Window, lifetimes: Lifetimes, now: Timestamp) -> Window {
    Window::issued(now, lifetimes.leaf).unwrap().ending_with(authority)
}

#[test]
fn a_clock_that_goes_to_and_fro_by_an_hour_makes_one_authority() {
    let mut validity = validity();
    let made: usize = (0..10).map(|minute| run(&mut validity, at(minute * 60 + (minute % 2) * 3600))).sum();
    assert_eq!(made, 1, "{validity:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// C47, for any clocks whatever: replicas hours apart, jumps at every look.
    #[test]
    fn no_clock_makes_more_authorities_than_two_thirds_of_a_life_allow(
        clocks in proptest::collection::vec(-10_000_i64..100_000, 1..200), life in 12_u64..20_000,
    ) {
        let lifetimes = Lifetimes::new(Duration::from_secs(life), Duration::from_secs(life / 2), Duration::ZERO).unwrap();
        let authority = window(0, life);
        let mut validity = Validity { authority, leaf: Some(leaf_of(authority, lifetimes, at(0))), lifetimes, ..validity() };
        let made: usize = clocks.iter().map(|now| run(&mut validity, at(*now))).sum();
        let latest = clocks.iter().copied().max().unwrap().max(0);
        let allowed = latest / i64::try_from(life * 2 / 3).unwrap();
        prop_assert!(i64::try_from(made).unwrap() <= allowed, "{} made, {} allowed", made, allowed);
    }
}

#[test]
fn a_leaf_is_not_signed_by_an_authority_that_is_not_valid() {
    let renamed = Validity { leaf: None, ..validity() };
    assert_eq!(next(&renamed, at(1201)), Step::IssueAuthority);
    assert!(matches!(next(&renamed, at(-301)), Step::Keep { .. }));
}
