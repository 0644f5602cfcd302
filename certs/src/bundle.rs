//! All certificates of an installation, as the content of the one Secret that its replicas share.
//!
//! | file | holds |
//! |---|---|
//! | `tls.crt`, `tls.key` | what every replica serves, named as in a Secret of type `kubernetes.io/tls` |
//! | `ca.crt`, `ca.key` | the authority that signed it |
//! | `next-ca.crt`, `next-ca.key` | the authority that will sign, while it is being published; absent otherwise |
//! | `previous-ca.crt` | authorities that signed before and are still trusted; absent if there is none |
//!
//! The Secret is written as a whole, with the resource version that was read: two replicas that both believe to lead
//! cannot mix their bundles.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::authority::{Authority, IssueError};
use crate::certificate::{Certificate, CertificateError};
use crate::identity::{Identity, IdentityError, KeyError, PrivateKey};
use crate::names::Names;
use crate::schedule::{Lifetimes, Publication, Step, Validity};
use crate::trust::Trust;

/// What certificates are to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What the serving certificate is for.
    pub names: Names,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
}

/// The certificates of an installation; they are known to belong together.
#[derive(Debug)]
pub struct Bundle {
    authority: Authority,
    leaf: Identity,
    next: Option<Authority>,
    previous: Vec<Certificate>,
}

impl Bundle {
    /// Makes the first bundle of an installation: an authority and a leaf that nobody trusts yet.
    ///
    /// # Errors
    ///
    /// Fails if the clock or a lifetime is out of range, or the system has no randomness.
    pub fn issue(profile: &Profile, now: Timestamp) -> Result<Self, IssueError> {
        let authority = Authority::issue(profile.lifetimes.authority(), now)?;
        let leaf = authority.issue_leaf(&profile.names, profile.lifetimes.leaf(), now)?;
        Ok(Self { authority, leaf, next: None, previous: Vec::new() })
    }

    /// Reads the content of the Secret; files of other names are left out of account.
    ///
    /// Whether anything has expired is not asked here: [`schedule::next`](crate::schedule::next) knows what to do then.
    ///
    /// # Errors
    ///
    /// Reports every file that is missing, unreadable or does not belong to the others, and never any of a key's text.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, BundleError> {
        let mut reading = Reading { files: files.into_iter().collect(), problems: Vec::new() };
        let authority = reading.authority(Pair::CURRENT);
        let leaf = reading.identity(Pair::LEAF);
        let next = if reading.has_any(Pair::NEXT) { reading.authority(Pair::NEXT) } else { None };
        let previous = reading.previous();
        if let (Some(authority), Some(leaf)) = (&authority, &leaf) {
            reading.expect_signed(authority, leaf);
        }
        match (authority, leaf) {
            (Some(authority), Some(leaf)) if reading.problems.is_empty() => {
                Ok(Self { authority, leaf, next, previous })
            }
            _ => Err(BundleError { problems: reading.problems }),
        }
    }

    /// The files of the Secret; what is absent here is to be absent there.
    #[must_use]
    pub fn files(&self) -> BTreeMap<&'static str, Zeroizing<Vec<u8>>> {
        let mut files = BTreeMap::new();
        let mut put = |name, text: &str| files.insert(name, Zeroizing::new(text.as_bytes().to_vec()));
        put(Pair::LEAF.certificate, &self.leaf.chain_to_pem());
        put(Pair::LEAF.key, self.leaf.key().as_pem());
        let authorities = [(Pair::CURRENT, Some(&self.authority)), (Pair::NEXT, self.next.as_ref())];
        for (pair, authority) in authorities.into_iter().filter_map(|(pair, authority)| Some((pair, authority?))) {
            put(pair.certificate, &authority.certificate().to_pem());
            put(pair.key, authority.key().as_pem());
        }
        if !self.previous.is_empty() {
            put(PREVIOUS, &crate::certificate::to_pem(&self.previous));
        }
        files
    }

    /// What every replica serves.
    #[must_use]
    pub fn leaf(&self) -> &Identity {
        &self.leaf
    }

    /// All authorities that `caBundle` must carry.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let certificates = self.next.iter().map(Authority::certificate).chain(&self.previous).cloned();
        Trust::of_current(self.authority.certificate().clone(), certificates)
    }

    /// The content of `caBundle`: all trusted authorities as PEM.
    #[must_use]
    pub fn trusted(&self) -> String {
        self.trust().to_pem()
    }

    /// What [`schedule::next`](crate::schedule::next) asks about this bundle.
    #[must_use]
    pub fn validity(&self, profile: &Profile, publication: Publication) -> Validity {
        let leaf = self.leaf.certificate();
        Validity {
            authority: self.authority.certificate().window(),
            leaf: profile.names.are_within(leaf.names()).then(|| leaf.window()),
            next: self.next.as_ref().map(|next| next.certificate().window()),
            previous: self.previous.iter().map(Certificate::window).collect(),
            publication,
            lifetimes: profile.lifetimes,
        }
    }

    /// Takes a step; [`Step::Keep`] and [`Step::Publish`] change nothing in a bundle.
    ///
    /// # Errors
    ///
    /// A step that fails leaves the bundle as it was.
    pub fn advance(&mut self, step: Step, profile: &Profile, now: Timestamp) -> Result<(), IssueError> {
        match step {
            Step::Keep { .. } | Step::Publish => {}
            Step::IssueLeaf => self.leaf = sign(&self.authority, profile, now)?,
            Step::IssueAuthority => self.next = Some(Authority::issue(profile.lifetimes.authority(), now)?),
            Step::Promote => self.promote(profile, now)?,
            Step::RetireAuthority => self.previous.retain(|authority| !authority.window().has_ended(now)),
        }
        Ok(())
    }

    fn promote(&mut self, profile: &Profile, now: Timestamp) -> Result<(), IssueError> {
        let leaf = self.next.as_ref().map(|next| sign(next, profile, now)).transpose()?;
        if let (Some(next), Some(leaf)) = (self.next.take(), leaf) {
            let old = std::mem::replace(&mut self.authority, next);
            self.previous.push(old.into_certificate());
            self.leaf = leaf;
        }
        Ok(())
    }
}

fn sign(authority: &Authority, profile: &Profile, now: Timestamp) -> Result<Identity, IssueError> {
    authority.issue_leaf(&profile.names, profile.lifetimes.leaf(), now)
}

const PREVIOUS: &str = "previous-ca.crt";

/// The two files of a certificate and its key.
#[derive(Debug, Clone, Copy)]
struct Pair {
    certificate: &'static str,
    key: &'static str,
}

impl Pair {
    const LEAF: Self = Self { certificate: "tls.crt", key: "tls.key" };
    const CURRENT: Self = Self { certificate: "ca.crt", key: "ca.key" };
    const NEXT: Self = Self { certificate: "next-ca.crt", key: "next-ca.key" };
}

/// The files on their way to a bundle, and what was wrong with them so far.
struct Reading<'a> {
    files: BTreeMap<&'a str, &'a [u8]>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn authority(&mut self, pair: Pair) -> Option<Authority> {
        let identity = self.identity(pair)?;
        self.expect_self_signed(pair.certificate, identity.certificate());
        let authority = Authority::from_identity(identity);
        self.note(authority.ok_or(Problem::NotAuthority { file: pair.certificate }))
    }

    fn identity(&mut self, pair: Pair) -> Option<Identity> {
        let chain = self.read(pair.certificate, Certificate::parse_all, Problem::certificate);
        let key = self.read(pair.key, PrivateKey::parse, Problem::key);
        let identity = Identity::new(chain?, key?);
        self.note(identity.map_err(|error| Problem::Pair { certificate: pair.certificate, key: pair.key, error }))
    }

    fn previous(&mut self) -> Vec<Certificate> {
        if !self.files.contains_key(PREVIOUS) {
            return Vec::new();
        }
        let certificates = self.read(PREVIOUS, Certificate::parse_all, Problem::certificate).unwrap_or_default();
        for certificate in &certificates {
            self.expect_self_signed(PREVIOUS, certificate);
            if !certificate.is_authority() {
                self.problems.push(Problem::NotAuthority { file: PREVIOUS });
            }
        }
        certificates
    }

    /// Nobody else checks an authority at the top: a damaged one would go into `caBundle` and verify nothing.
    fn expect_self_signed(&mut self, file: &'static str, certificate: &Certificate) {
        if !certificate.is_self_signed() {
            self.problems.push(Problem::Altered { file });
        }
    }

    /// The leaf's own names and a moment when both are valid are used, so that only the signature can be wrong.
    fn expect_signed(&mut self, authority: &Authority, leaf: &Identity) {
        let (window, above) = (leaf.certificate().window(), authority.certificate().window());
        let moment = window.not_before.max(above.not_before);
        let trust = Trust::of_current(authority.certificate().clone(), []);
        let name = leaf.certificate().names().first().map_or("", String::as_str);
        if trust.verify(leaf, name, moment).is_err() {
            self.problems.push(Problem::Signature);
        }
    }

    fn has_any(&self, pair: Pair) -> bool {
        self.files.contains_key(pair.certificate) || self.files.contains_key(pair.key)
    }

    fn read<T, E>(
        &mut self,
        file: &'static str,
        parse: impl FnOnce(&[u8]) -> Result<T, E>,
        problem: impl FnOnce(&'static str, E) -> Problem,
    ) -> Option<T> {
        let content = self.files.get(file).copied().ok_or(Problem::Missing { file });
        let parsed = content.and_then(|bytes| parse(bytes).map_err(|error| problem(file, error)));
        self.note(parsed)
    }

    fn note<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }
}

/// Everything that is wrong with the content of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleError {
    problems: Vec<Problem>,
}

impl BundleError {
    /// The problems, in the order of the files.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificates in the Secret are unusable")?;
        for (position, problem) in self.problems.iter().enumerate() {
            write!(f, "{} {problem}", if position == 0 { ":" } else { ";" })?;
        }
        f.write_str("; delete the Secret to have new ones made")
    }
}

impl std::error::Error for BundleError {}

/// One thing that is wrong with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A file that every bundle has, or the other half of a pair, is not there.
    #[error("{file} is missing")]
    Missing {
        /// The absent file.
        file: &'static str,
    },
    /// A certificate cannot be read.
    #[error("{file}: {error}")]
    Certificate {
        /// Where it was expected.
        file: &'static str,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// A key cannot be read.
    #[error("{file}: {error}")]
    Key {
        /// Where it was expected.
        file: &'static str,
        /// Says no more than that.
        error: KeyError,
    },
    /// Certificate and key are readable, but no pair.
    #[error("{certificate} and {key}: {error}")]
    Pair {
        /// The file of the certificate.
        certificate: &'static str,
        /// The file of the key.
        key: &'static str,
        /// What is wrong with the pair.
        error: IdentityError,
    },
    /// A certificate that should sign others may not.
    #[error("{file} holds a certificate that is not an authority's")]
    NotAuthority {
        /// The file of the certificate.
        file: &'static str,
    },
    /// The certificate of an authority is not signed by itself: it was damaged, or is somebody else's.
    #[error("{file} holds a certificate that was altered or is not signed by itself")]
    Altered {
        /// The file of the certificate.
        file: &'static str,
    },
    /// The leaf was signed by another authority, or its life and names never allow it to be served.
    #[error("tls.crt does not verify against ca.crt")]
    Signature,
}

impl Problem {
    fn certificate(file: &'static str, error: CertificateError) -> Self {
        Self::Certificate { file, error }
    }

    fn key(file: &'static str, error: KeyError) -> Self {
        Self::Key { file, error }
    }
}

#[cfg(test)]
mod tests;
