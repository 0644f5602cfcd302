//! What becomes of whole Pods: golden cases that a user can read, what they say, properties of generated
//! Pods, and Pods that were made to be expensive.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod ephemeral;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod limit_ranges;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod texts;
