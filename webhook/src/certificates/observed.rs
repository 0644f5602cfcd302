//! Single objects of the API server that somebody waits for.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::Resource;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::outage::Outage;
use crate::report;

/// What is known of one object.
#[derive(Clone, Debug, Default)]
pub enum Observed<T> {
    /// The watch has not said yet.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// It is there.
    Present(Arc<T>),
}

/// Tells `seen` of every change of one object, for as long as it is polled.
pub async fn observe<K, T>(api: Api<K>, name: String, seen: watch::Sender<Observed<T>>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: From<K>,
{
    let events = watch_object(api, &name).default_backoff();
    forward(events, &name, seen).await;
}

async fn forward<K, T: From<K>>(
    events: impl Stream<Item = watcher::Result<Option<K>>>,
    name: &str,
    seen: watch::Sender<Observed<T>>,
) {
    let mut events = pin!(events);
    let mut outage = Outage::of(format!("watch {name}"));
    while let Some(event) = events.next().await {
        match event {
            Ok(object) => {
                outage.recovered();
                seen.send_replace(object.map_or(Observed::Absent, |object| Observed::Present(Arc::new(object.into()))));
            }
            Err(error) => _ = outage.failed(&report::chain(&error)),
        }
    }
}
