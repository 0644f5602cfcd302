//! The DNS names that a serving certificate is for.

use std::collections::BTreeSet;

use rustls_pki_types::DnsName;

/// A non-empty set of valid DNS names.
///
/// API servers verify `<service>.<namespace>.svc` against the subject alternative names and never look at the common
/// name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// Accepts `names` if there is at least one and each is a DNS name.
    ///
    /// # Errors
    ///
    /// Names every entry that is not a DNS name, or says that there is none.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Self, NamesError> {
        let (valid, invalid): (BTreeSet<String>, BTreeSet<String>) =
            names.into_iter().map(Into::into).partition(|name: &String| DnsName::try_from(name.as_str()).is_ok());
        if !invalid.is_empty() {
            return Err(NamesError::Invalid { names: invalid.into_iter().collect() });
        }
        if valid.is_empty() {
            return Err(NamesError::Empty);
        }
        Ok(Self(valid))
    }

    /// The names by which a cluster calls a Service: `<service>.<namespace>.svc`, and the same in `cluster.local`.
    ///
    /// # Errors
    ///
    /// Fails if the two do not make up DNS names.
    pub fn of_service(service: &str, namespace: &str) -> Result<Self, NamesError> {
        Self::new([format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local")])
    }

    /// The names in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether a certificate for `others` serves each of these names.
    pub(crate) fn are_within(&self, others: &BTreeSet<String>) -> bool {
        self.0.is_subset(others)
    }
}

/// Why names cannot be put in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// There is no name at all; a certificate without one serves nobody.
    #[error("no DNS name was given for the serving certificate: name the Service, such as alcove-webhook.alcove.svc")]
    Empty,
    /// Some entries are no DNS names, such as addresses or names with a scheme.
    #[error("not DNS names: {}: give host names without scheme, port or path", names.join(", "))]
    Invalid {
        /// The refused entries.
        names: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_called_by_its_short_and_its_cluster_name() {
        let names = Names::of_service("alcove-webhook", "alcove").unwrap();
        assert_eq!(
            names.iter().collect::<Vec<_>>(),
            ["alcove-webhook.alcove.svc", "alcove-webhook.alcove.svc.cluster.local"]
        );
    }

    #[test]
    fn every_name_that_is_not_one_is_reported() {
        let refused = Names::new(["a.b.svc", "https://x", "", "a b"]).unwrap_err();
        assert_eq!(refused, NamesError::Invalid { names: vec![String::new(), "a b".into(), "https://x".into()] });
        assert_eq!(Names::new(Vec::<String>::new()).unwrap_err(), NamesError::Empty);
    }
}
