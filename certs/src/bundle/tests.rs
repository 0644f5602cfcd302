use std::time::Duration;

use proptest::prelude::*;

use super::*;

type Files = BTreeMap<&'static str, Zeroizing<Vec<u8>>>;

const DAY: Duration = Duration::from_hours(24);

fn now() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

fn profile() -> Profile {
    let lifetimes = Lifetimes::new(DAY * 30, DAY * 10, Duration::from_mins(1)).unwrap();
    Profile { names: Names::of_service("alcove-webhook", "alcove").unwrap(), lifetimes }
}

/// A bundle in the middle of a rotation, with every file it can have.
fn full() -> Bundle {
    let mut bundle = Bundle::issue(&profile(), now()).unwrap();
    for step in [Step::IssueAuthority, Step::Promote, Step::IssueAuthority] {
        bundle.advance(step, &profile(), now()).unwrap();
    }
    bundle
}

fn parse(files: &Files) -> Result<Bundle, BundleError> {
    Bundle::parse(files.iter().map(|(name, content)| (*name, content.as_slice())))
}

fn problems(files: &Files) -> Vec<Problem> {
    parse(files).unwrap_err().problems
}

#[test]
fn what_is_printed_is_read_back_the_same() {
    for bundle in [Bundle::issue(&profile(), now()).unwrap(), full()] {
        let again = parse(&bundle.files()).unwrap();
        assert_eq!(again.files(), bundle.files());
        assert_eq!(again.trust(), bundle.trust());
    }
}

#[test]
fn a_bundle_at_rest_has_no_files_of_a_rotation() {
    let files = Bundle::issue(&profile(), now()).unwrap().files();
    assert_eq!(files.into_keys().collect::<Vec<_>>(), ["ca.crt", "ca.key", "tls.crt", "tls.key"]);
    let files = full().files();
    let rotating = ["ca.crt", "ca.key", "next-ca.crt", "next-ca.key", "previous-ca.crt", "tls.crt", "tls.key"];
    assert_eq!(files.into_keys().collect::<Vec<_>>(), rotating);
}

#[test]
fn the_current_next_and_previous_authorities_are_trusted() {
    let bundle = full();
    assert_eq!(bundle.trusted().matches("BEGIN CERTIFICATE").count(), 3);
    let trust = Trust::parse(bundle.trusted().as_bytes()).unwrap();
    assert_eq!(trust.verify(bundle.leaf(), "alcove-webhook.alcove.svc", now()), Ok(()));
}

#[test]
fn the_key_of_a_former_authority_is_gone() {
    let mut bundle = Bundle::issue(&profile(), now()).unwrap();
    let former = bundle.authority.key().as_pem().to_owned();
    for step in [Step::IssueAuthority, Step::Promote] {
        bundle.advance(step, &profile(), now()).unwrap();
    }
    assert!(bundle.files().values().all(|content| content.as_slice() != former.as_bytes()));
}

#[test]
fn only_an_expired_authority_is_retired() {
    let mut bundle = full();
    bundle.advance(Step::RetireAuthority, &profile(), now()).unwrap();
    assert_eq!(bundle.previous.len(), 1);
    let late = now() + jiff::SignedDuration::from_hours(31 * 24);
    bundle.advance(Step::RetireAuthority, &profile(), late).unwrap();
    assert_eq!(bundle.previous.len(), 0);
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let mut bundle = full();
    let before = bundle.files();
    for step in [Step::IssueLeaf, Step::IssueAuthority, Step::Promote] {
        assert!(bundle.advance(step, &profile(), Timestamp::MAX).is_err());
        assert_eq!(bundle.files(), before);
    }
}

#[test]
fn a_leaf_for_other_names_counts_as_none() {
    let bundle = full();
    let renamed = Profile { names: Names::of_service("other", "alcove").unwrap(), ..profile() };
    assert_eq!(bundle.validity(&renamed, Publication::Absent).leaf, None);
    assert!(bundle.validity(&profile(), Publication::Absent).leaf.is_some());
}

#[test]
fn every_missing_file_is_named() {
    let missing = |files: &[&'static str]| files.iter().map(|file| Problem::Missing { file }).collect::<Vec<_>>();
    assert_eq!(problems(&Files::new()), missing(&["ca.crt", "ca.key", "tls.crt", "tls.key"]));
    let mut files = full().files();
    files.remove("next-ca.key");
    assert_eq!(problems(&files), missing(&["next-ca.key"]));
}

#[test]
fn files_of_two_bundles_do_not_mix() {
    let (ours, other) = (full().files(), full().files());
    let with = |names: &[&'static str]| {
        let mut files = ours.clone();
        files.extend(names.iter().map(|name| (*name, other[name].clone())));
        problems(&files)
    };
    let mismatch = |certificate, key| vec![Problem::Pair { certificate, key, error: IdentityError::Mismatch }];
    assert_eq!(with(&["tls.key"]), mismatch("tls.crt", "tls.key"));
    assert_eq!(with(&["ca.crt"]), mismatch("ca.crt", "ca.key"));
    assert_eq!(with(&["next-ca.crt"]), mismatch("next-ca.crt", "next-ca.key"));
    assert_eq!(with(&["ca.crt", "ca.key"]), [Problem::Signature]);
    assert_eq!(with(&["tls.crt", "tls.key"]), [Problem::Signature]);
}

#[test]
fn a_leaf_in_the_place_of_an_authority_is_refused() {
    let mut files = full().files();
    for (place, leaf) in [("next-ca.crt", "tls.crt"), ("next-ca.key", "tls.key"), ("previous-ca.crt", "tls.crt")] {
        files.insert(place, files[leaf].clone());
    }
    let refused = ["next-ca.crt", PREVIOUS].map(|file| [Problem::Altered { file }, Problem::NotAuthority { file }]);
    assert_eq!(problems(&files), refused.concat());
}

#[test]
fn the_message_names_every_problem_and_the_remedy_but_no_key() {
    let mut files = full().files();
    files.insert("ca.key", Zeroizing::new(b"-----BEGIN PRIVATE KEY-----\nSECRET".to_vec()));
    files.remove("tls.crt");
    let text = parse(&files).unwrap_err().to_string();
    assert_eq!(
        text,
        "the certificates in the Secret are unusable: ca.key: no usable PRIVATE KEY block found in the PEM text; \
         tls.crt is missing; delete the Secret to have new ones made"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Cut, flipped or replaced anywhere, a file is refused or, where the change means nothing, read as it was meant.
    #[test]
    fn damage_is_an_error_and_never_a_panic(file in 0_usize..7, position in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let bundle = full();
        let mut files = bundle.files();
        let content = files.values_mut().nth(file).unwrap();
        let position = position.index(content.len());
        content[position] = byte;
        if cut {
            content.truncate(position);
        }
        if let Ok(read) = parse(&files) {
            prop_assert_eq!(read.leaf.certificate(), bundle.leaf.certificate());
            prop_assert_eq!(read.trust(), bundle.trust());
        }
    }
}
