//! The Vault client against a real Vault, which the tests start themselves.

#[cfg(test)]
mod client;
#[cfg(test)]
mod engines;
#[cfg(test)]
mod kubernetes;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod server;
