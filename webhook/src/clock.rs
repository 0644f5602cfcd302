//! The one place that asks what time it is.

use jiff::Timestamp;

/// The wall clock, for comparison with the windows of certificates and for the records of a Lease.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}
