//! The life of the sidecar: connects the [`agent`](crate::agent) with stores, volumes, signals and the clock.

mod content;
mod material;
mod target;
mod termination;
mod watch;

use crate::agent::{Action, Agent, Event, Exit, Plan, Report, SourceId, Sources};
use crate::hardening;
use crate::logging;
use crate::status::{Ready, Status};
use alcove_contract::Problems;
use alcove_contract::configuration::SidecarConfiguration;
use alcove_stores::{Fetched, Logins, Store, StoreError};
use content::Content;
use futures::future::{FutureExt as _, LocalBoxFuture, join_all};
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use watch::MirrorWatch;

/// How long the stores have to take their logins back before the process ends all the same.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How many requests one store gets at a time. An answer may have several mebibytes, and all that are under way have to
/// fit into the container's memory.
const REQUESTS_AT_A_TIME: usize = 4;

/// Where the sidecar finds what is not in its configuration.
#[derive(Clone, Debug)]
pub struct Places {
    /// Where it says that it is ready.
    pub status: Status,
    /// The file whose content the kubelet shows as the reason of an exit.
    pub termination_log: PathBuf,
}

/// Lives until it is told to end, or cannot do its work. Its variables are those of the process.
///
/// # Errors
///
/// A kernel that gives neither timers nor signals.
pub fn run(places: &Places, variables: impl IntoIterator<Item = (String, String)>) -> io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        // Before anything else: as the first process of its container it would not even notice a signal without this.
        let mut signals = Signals::new()?;
        let configuration = SidecarConfiguration::from_variables(variables);
        logging::start(configuration.as_ref().map(|configuration| configuration.log_level).unwrap_or_default());
        hardening::apply();
        Ok::<Exit, io::Error>(match configuration.and_then(|configuration| Sidecar::new(configuration, places)) {
            Ok(mut sidecar) => sidecar.live(&mut signals).await,
            Err(problems) => Exit::Failed(problems.iter().map(ToString::to_string).collect()),
        })
    })?;
    termination::report(&exit, &places.termination_log);
    // A name that is still being looked up would hold up the end.
    runtime.shutdown_background();
    Ok(exit)
}

/// The signals that ask the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A request that is under way.
type Fetch = LocalBoxFuture<'static, (SourceId, Result<Fetched, StoreError>)>;

/// A store, and whose turn it is to ask it. Another one's patience is not to suffer from a store that never answers.
#[derive(Clone)]
struct OpenStore {
    client: Arc<dyn Store>,
    turns: Arc<Semaphore>,
}

struct Sidecar {
    agent: Agent,
    content: Content,
    stores: Vec<OpenStore>,
    sources: Sources,
    mirrors: MirrorWatch,
    status: Status,
    ready: Option<Ready>,
    fetches: FuturesUnordered<Fetch>,
    closing: Option<LocalBoxFuture<'static, ()>>,
}

impl Sidecar {
    fn new(configuration: SidecarConfiguration, places: &Places) -> Result<Self, Problems> {
        let (plan, sources) = Plan::new(&configuration)?;
        let (secrets, keys, volumes) = (plan.secrets.len(), plan.sources.len(), configuration.volumes.len());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), secrets, keys, volumes, "started");
        let stores = open_stores(&configuration)?;
        let status = places.status.clone();
        status.reset().map_err(|error| problem("status", &error))?;
        let mirrors = MirrorWatch::new(&configuration.volumes).map_err(|error| problem("mirrored volumes", &error))?;
        Ok(Self {
            agent: Agent::new(plan, RandomState::new().hash_one(())),
            content: Content::new(configuration, sources.clone()),
            stores,
            sources,
            mirrors,
            status,
            ready: None,
            fetches: FuturesUnordered::new(),
            closing: None,
        })
    }

    async fn live(&mut self, signals: &mut Signals) -> Exit {
        let mut actions = VecDeque::from(self.agent.on(Event::Start, Instant::now()));
        loop {
            while let Some(action) = actions.pop_front() {
                match self.act(action) {
                    Step::Go => {}
                    Step::Tell(event) => actions.extend(self.agent.on(event, Instant::now())),
                    Step::End(exit) => return exit,
                }
            }
            let event = self.next_event(signals).await;
            actions.extend(self.agent.on(event, Instant::now()));
        }
    }

    fn act(&mut self, action: Action) -> Step {
        match action {
            Action::Fetch(id) => self.fetch(id),
            Action::Publish(secrets) => {
                return Step::Tell(Event::Published(self.content.publish(&secrets, jiff::Timestamp::now())));
            }
            Action::BecomeReady => match self.status.set_ready() {
                Ok(ready) => {
                    self.ready = Some(ready);
                    tracing::info!("ready: every file is in its place");
                }
                Err(error) => return Step::End(Exit::Failed(vec![format!("cannot say that it is ready: {error}")])),
            },
            Action::Report(Report::Trouble(text)) => self.tell(&text),
            Action::Report(Report::Stale(text)) => tracing::error!("{text}"),
            Action::Report(Report::Recovery(text)) => tracing::info!("{text}"),
            Action::Close => self.close(),
            Action::Exit(exit) => return Step::End(exit),
        }
        Step::Go
    }

    /// Says what does not work: in the log and, as long as the Pod waits for it, to whoever looks at the Pod.
    fn tell(&self, trouble: &str) {
        tracing::warn!("{trouble}");
        if self.ready.is_none()
            && let Err(error) = self.status.set_waiting(trouble)
        {
            tracing::debug!(%error, "cannot say what is waited for");
        }
    }

    fn fetch(&self, id: SourceId) {
        let Some(source) = self.sources.get(id).cloned() else { return };
        let Some(store) = self.stores.get(source.store).cloned() else { return };
        let fetch = async move {
            let _turn = store.turns.acquire().await;
            tracing::debug!(key = %source.key, "asking the store");
            (id, store.client.fetch(&source.key).await)
        };
        self.fetches.push(fetch.boxed_local());
    }

    fn close(&mut self) {
        // Requests go on meanwhile: a login that is just being made can be given back only once its token is known.
        tracing::debug!("giving back the logins");
        let stores = self.stores.clone();
        let close = async move {
            let closed = join_all(stores.iter().map(|store| store.client.close()));
            match tokio::time::timeout(CLOSE_PATIENCE, closed).await {
                Ok(closed) => closed.into_iter().filter_map(Result::err).for_each(|error| {
                    tracing::warn!(%error, "a login could not be given back; it ends with its lifetime");
                }),
                Err(_elapsed) => tracing::warn!("the stores took too long to take their logins back"),
            }
        };
        self.closing = Some(close.boxed_local());
    }

    async fn next_event(&mut self, signals: &mut Signals) -> Event {
        let deadline = self.agent.deadline();
        tokio::select! {
            biased;
            () = signals.recv() => Event::Terminate,
            () = finished(&mut self.closing) => Event::Closed,
            Some((id, result)) = self.fetches.next() => Event::Answer(id, self.content.accept(id, result)),
            () = sleep_until(deadline) => Event::Wake,
            () = self.mirrors.moved() => {
                self.content.expect_new_mirrors();
                Event::MirrorMoved
            }
        }
    }
}

/// What follows from an action.
enum Step {
    Go,
    Tell(Event),
    End(Exit),
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn finished(closing: &mut Option<LocalBoxFuture<'static, ()>>) {
    match closing {
        Some(closing) => closing.await,
        None => std::future::pending().await,
    }
}

fn open_stores(configuration: &SidecarConfiguration) -> Result<Vec<OpenStore>, Problems> {
    let mut logins = Logins::default();
    let mut problems = Problems::none();
    let mut stores = Vec::with_capacity(configuration.stores.len());
    for store in &configuration.stores {
        let opened = logins.open(store).map_err(|error| problem(&format!("store {}", store.name), &error));
        let turns = Arc::new(Semaphore::new(REQUESTS_AT_A_TIME));
        stores.extend(problems.collect(opened).map(|client| OpenStore { client, turns }));
    }
    problems.or(stores)
}

fn problem(place: &str, error: &impl std::error::Error) -> Problems {
    alcove_contract::Problem::new(place, error.to_string()).into()
}
