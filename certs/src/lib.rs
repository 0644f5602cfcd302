//! A small certificate authority: issue, rotate, reload.
