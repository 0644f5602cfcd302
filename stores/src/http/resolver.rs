//! A server whose certificate carries another name than its address: the URL has the certificate's name, and that name
//! is looked up as the address.

use crate::error::StoreError;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Where the server of a renamed URL really is.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    host: String,
    port: u16,
}

/// Gives `url` the host `name`, for TLS and the `Host` header, and returns where its connections go.
pub(super) fn rename(url: &mut Url, name: &str) -> Result<Elsewhere, StoreError> {
    // An address is never looked up: connections would go to it instead of the server.
    let wrong = || StoreError::misconfigured(format!("serverName \"{name}\" is not a DNS name"));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let elsewhere = Elsewhere { host, port: url.port_or_known_default().unwrap_or_default() };
    let renamed = url.set_host(Some(name)).is_ok() && url.domain().is_some();
    if renamed { Ok(elsewhere) } else { Err(wrong()) }
}

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let Self { host, port } = self.clone();
        Box::pin(async move {
            // Collected, because what the look-up returns borrows from it.
            let addresses: Addrs =
                Box::new(tokio::net::lookup_host((host, port)).await?.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}
