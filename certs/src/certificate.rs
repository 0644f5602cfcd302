//! Certificates as this crate reads them: validity, names, and whether they may sign.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How far the start of a certificate lies before the moment of its issue.
///
/// Clocks of API servers and replicas differ by up to minutes; a certificate that begins now is refused by those behind.
pub const BACKDATE: SignedDuration = SignedDuration::from_secs(5 * 60);

/// One certificate in DER, with what its contents say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    window: Window,
    names: BTreeSet<String>,
    authority: bool,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// Fails on anything but exactly one X.509 certificate with a validity between the years -9999 and 9999.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let Ok(([], parsed)) = X509Certificate::from_der(&der) else {
            return Err(CertificateError::Malformed);
        };
        let window = Window {
            not_before: timestamp(parsed.validity().not_before.timestamp())?,
            not_after: timestamp(parsed.validity().not_after.timestamp())?,
        };
        let Ok(alternative) = parsed.subject_alternative_name() else {
            return Err(CertificateError::Malformed);
        };
        let names =
            alternative.iter().flat_map(|extension| &extension.value.general_names).filter_map(dns_name).collect();
        let authority = parsed.is_ca();
        Ok(Self { der, window, names, authority })
    }

    /// Reads every `CERTIFICATE` block of a PEM text, in its order.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or one of them cannot be read.
    pub fn parse_all(pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .map(|der| der.ok().ok_or(CertificateError::Pem).and_then(Self::from_der))
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() { Err(CertificateError::Missing) } else { Ok(certificates) }
    }

    /// The certificate as a PEM block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("CERTIFICATE", self.der.to_vec()), config)
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// From when to when it is valid.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// Its DNS names; other kinds of subject alternative names are left out.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Whether it carries a valid signature by its own key, as an authority at the top does.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        X509Certificate::from_der(&self.der).is_ok_and(|(_, parsed)| parsed.verify_signature(None).is_ok())
    }

    /// Whether it may sign other certificates.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.authority
    }
}

/// The PEM blocks of several certificates, one after the other.
pub(crate) fn to_pem<'a, C: IntoIterator<Item = &'a Certificate>>(certificates: C) -> String {
    certificates.into_iter().map(Certificate::to_pem).collect()
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    }
}

fn timestamp(seconds: i64) -> Result<Timestamp, CertificateError> {
    Timestamp::from_second(seconds).ok().ok_or(CertificateError::Validity)
}

/// The time in which a certificate is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last moment.
    pub not_after: Timestamp,
}

impl Window {
    /// The window of a certificate issued `now`: it begins [`BACKDATE`] earlier and ends after `lifetime`, in the whole
    /// seconds that X.509 can express.
    ///
    /// The set-back does not lengthen the life: the end counts from `now`.
    ///
    /// # Errors
    ///
    /// Fails if either end lies outside the years 1970 to 9999.
    pub fn issued(now: Timestamp, lifetime: Duration) -> Result<Self, OutOfRange> {
        let lifetime = SignedDuration::try_from(lifetime).ok().ok_or(OutOfRange)?;
        let not_after = now.checked_add(lifetime).ok().ok_or(OutOfRange)?;
        let not_before = now.checked_sub(BACKDATE).ok().ok_or(OutOfRange)?;
        if not_before < Timestamp::UNIX_EPOCH {
            return Err(OutOfRange);
        }
        Ok(Self { not_before: whole_seconds(not_before), not_after: whole_seconds(not_after) })
    }

    /// The same window, ending no later than `other`.
    #[must_use]
    pub fn ending_with(self, other: Self) -> Self {
        Self { not_after: self.not_after.min(other.not_after), ..self }
    }

    /// When the certificate was issued, the set-back undone.
    #[must_use]
    pub fn issue(self) -> Timestamp {
        self.not_before.checked_add(BACKDATE).unwrap_or(self.not_after).min(self.not_after)
    }

    /// When to renew: at two thirds of the life, counted from the moment of issue.
    #[must_use]
    pub fn renewal(self) -> Timestamp {
        let life = self.not_after.duration_since(self.issue());
        self.not_after - life / 3
    }

    /// Whether the certificate is valid at `time`.
    #[must_use]
    pub fn contains(self, time: Timestamp) -> bool {
        self.not_before <= time && time <= self.not_after
    }

    /// Whether the certificate has expired at `time`.
    #[must_use]
    pub fn has_ended(self, time: Timestamp) -> bool {
        self.not_after < time
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A certificate would begin or end at a time that X.509 cannot express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the validity would leave the years 1970 to 9999: check the clock and the lifetimes")]
pub struct OutOfRange;

/// Why certificates cannot be read; never says anything about their trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text has no `CERTIFICATE` block.
    #[error("no CERTIFICATE block found in the PEM text")]
    Missing,
    /// A PEM block is cut off or is not base64.
    #[error("the PEM text is damaged")]
    Pem,
    /// The bytes are not one X.509 certificate.
    #[error("not an X.509 certificate")]
    Malformed,
    /// The validity has an end that no timestamp can hold.
    #[error("the certificate's validity is out of range")]
    Validity,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    proptest! {
        #[test]
        fn a_window_begins_before_its_issue_without_a_longer_life(now in 300_i64..200_000_000_000, life in 1_u64..10_000_000_000) {
            let window = Window::issued(at(now), Duration::from_secs(life)).unwrap();
            prop_assert!(window.contains(at(now - 290)), "valid for a clock 4 min 50 s behind");
            prop_assert_eq!(window.not_after.duration_since(at(now)).unsigned_abs(), Duration::from_secs(life));
            prop_assert_eq!(window.issue(), at(now));
        }

        #[test]
        fn hostile_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(Certificate::parse_all(&bytes).is_err());
            prop_assert!(Certificate::from_der(bytes.into()).is_err());
        }
    }

    #[test]
    fn renewal_comes_at_two_thirds_of_the_life() {
        let window = Window::issued(at(10_000), Duration::from_mins(10)).unwrap();
        assert_eq!(window.renewal(), at(10_400));
    }

    #[test]
    fn times_that_x509_cannot_express_are_refused() {
        assert_eq!(Window::issued(Timestamp::MAX, Duration::from_secs(1)), Err(OutOfRange));
        assert_eq!(Window::issued(at(0), Duration::from_secs(1)), Err(OutOfRange));
        assert_eq!(Window::issued(at(1_000), Duration::MAX), Err(OutOfRange));
    }

    #[test]
    fn a_foreign_window_of_any_shape_has_a_renewal_within_it() {
        let odd = Window { not_before: at(500), not_after: at(510) };
        assert_eq!(odd.renewal(), at(510));
        let extreme = Window { not_before: Timestamp::MIN, not_after: Timestamp::MAX };
        assert!(extreme.contains(extreme.renewal()));
        let backwards = Window { not_before: Timestamp::MAX, not_after: Timestamp::MIN };
        assert_eq!(backwards.renewal(), Timestamp::MIN);
    }
}
