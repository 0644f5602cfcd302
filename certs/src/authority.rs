//! The authority: a self-signed certificate whose key signs serving certificates.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, OutOfRange, Window};
use crate::identity::{Identity, IdentityError, PrivateKey};
use crate::names::Names;

/// A certificate that may sign others, and its key.
#[derive(Debug)]
pub struct Authority(Identity);

impl Authority {
    /// Makes a new authority with an ECDSA P-256 key.
    ///
    /// It may sign serving certificates only, never another authority.
    ///
    /// # Errors
    ///
    /// Fails if the lifetime leads out of what X.509 can express, or the system has no randomness.
    pub fn issue(lifetime: Duration, now: Timestamp) -> Result<Self, IssueError> {
        let mut params = params(Window::issued(now, lifetime)?)?;
        // The moment of issue tells two authorities apart for the people who read `caBundle`.
        params.distinguished_name.push(DnType::CommonName, format!("alcove-ca@{}", now.as_second()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = generate()?;
        let certificate = params.self_signed(&*key)?;
        identity(&certificate, &key).map(Self)
    }

    /// Takes a pair for an authority, if its certificate may sign others.
    #[must_use]
    pub fn from_identity(identity: Identity) -> Option<Self> {
        identity.certificate().is_authority().then_some(Self(identity))
    }

    /// Issues a serving certificate with a new ECDSA P-256 key; it does not outlive the authority.
    ///
    /// # Errors
    ///
    /// Fails if the lifetime leads out of what X.509 can express, or the authority's key cannot sign.
    pub fn issue_leaf(&self, names: &Names, lifetime: Duration, now: Timestamp) -> Result<Identity, IssueError> {
        let window = Window::issued(now, lifetime)?.ending_with(self.certificate().window());
        let mut params = params(window)?;
        params.subject_alt_names =
            CertificateParams::new(names.iter().map(str::to_owned).collect::<Vec<_>>())?.subject_alt_names;
        params.distinguished_name.push(DnType::CommonName, "alcove");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Names the authority's key, so that a verifier with several authorities picks the right one at once.
        params.use_authority_key_identifier_extension = true;
        let signer = Zeroizing::new(KeyPair::try_from(self.key().as_der())?);
        let issuer = Issuer::from_ca_cert_der(self.certificate().der(), &*signer)?;
        let key = generate()?;
        let certificate = params.signed_by(&*key, &issuer)?;
        identity(&certificate, &key)
    }

    /// The self-signed certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        self.0.certificate()
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        self.0.key()
    }

    /// Gives up the key for good: the certificate stays trusted, but nothing new can be signed.
    pub(crate) fn into_certificate(self) -> Certificate {
        self.0.into_certificate()
    }
}

fn params(window: Window) -> Result<CertificateParams, IssueError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).ok().ok_or(OutOfRange)?;
        Ok::<_, OutOfRange>(epoch + Duration::from_secs(seconds))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = moment(window.not_before)?;
    params.not_after = moment(window.not_after)?;
    Ok(params)
}

fn generate() -> Result<Zeroizing<KeyPair>, IssueError> {
    Ok(Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
}

fn identity(certificate: &rcgen::Certificate, key: &KeyPair) -> Result<Identity, IssueError> {
    let pem = Zeroizing::new(key.serialize_pem());
    Ok(Identity::parse(certificate.pem().as_bytes(), pem.as_bytes())?)
}

/// Why a certificate cannot be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The clock or the lifetime is out of range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// Generating a key or signing failed.
    #[error("the certificate could not be made")]
    Generate(#[from] rcgen::Error),
    /// What was made cannot be read back.
    #[error("the certificate that was made is unusable")]
    Unusable(#[from] IdentityError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{Trust, VerifyError};

    const DAY: Duration = Duration::from_hours(24);

    fn now() -> Timestamp {
        "2026-11-25T10:00:00.7Z".parse().unwrap()
    }

    fn names() -> Names {
        Names::of_service("alcove-webhook", "alcove").unwrap()
    }

    #[test]
    fn a_leaf_verifies_for_each_name_and_for_no_other() {
        let authority = Authority::issue(DAY * 10, now()).unwrap();
        let leaf = authority.issue_leaf(&names(), DAY, now()).unwrap();
        let trust = Trust::new([authority.certificate().clone()]).unwrap();
        for name in names().iter() {
            assert_eq!(trust.verify(&leaf, name, now()), Ok(()));
        }
        assert!(matches!(trust.verify(&leaf, "alcove.alcove.svc", now()), Err(VerifyError::Refused(_))));
    }

    #[test]
    fn a_clock_almost_five_minutes_behind_accepts_what_was_just_issued() {
        let authority = Authority::issue(DAY, now()).unwrap();
        let leaf = authority.issue_leaf(&names(), DAY, now()).unwrap();
        let trust = Trust::new([authority.certificate().clone()]).unwrap();
        let behind = now() - jiff::SignedDuration::from_secs(290);
        assert_eq!(trust.verify(&leaf, "alcove-webhook.alcove.svc", behind), Ok(()));
        for certificate in [authority.certificate(), leaf.certificate()] {
            assert_eq!(certificate.window().not_after.as_second(), now().as_second() + 86_400, "no longer life");
        }
    }

    #[test]
    fn a_leaf_does_not_outlive_its_authority() {
        let authority = Authority::issue(DAY, now()).unwrap();
        let leaf = authority.issue_leaf(&names(), DAY * 30, now()).unwrap();
        assert_eq!(leaf.certificate().window().not_after, authority.certificate().window().not_after);
    }

    #[test]
    fn a_leaf_cannot_pose_as_an_authority() {
        let authority = Authority::issue(DAY, now()).unwrap();
        let leaf = authority.issue_leaf(&names(), DAY, now()).unwrap();
        assert!(Authority::from_identity(leaf).is_none());
    }

    #[test]
    fn an_authority_read_back_from_pem_signs_like_the_first() {
        let first = Authority::issue(DAY, now()).unwrap();
        let (crt, key) = (first.certificate().to_pem(), first.key().as_pem());
        let again = Authority::from_identity(Identity::parse(crt.as_bytes(), key.as_bytes()).unwrap()).unwrap();
        let leaf = again.issue_leaf(&names(), DAY, now()).unwrap();
        let trust = Trust::new([first.certificate().clone()]).unwrap();
        assert_eq!(trust.verify(&leaf, "alcove-webhook.alcove.svc", now()), Ok(()));
    }
}
