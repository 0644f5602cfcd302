//! The testkit and the suites.
