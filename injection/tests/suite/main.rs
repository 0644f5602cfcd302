//! What becomes of whole Pods: golden cases that a user can read, and properties of generated Pods.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;
