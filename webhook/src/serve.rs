//! The command `serve`: gives the arguments their meaning and runs until told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::args::{ListenArgs, ServeArgs};
use crate::certificates::{self, Presented};
use crate::cluster::live::Live;
use crate::cluster::watch::Watch;
use crate::cluster::{self, Objects, audiences, version};
use crate::events::Reporter;
use crate::files;
use crate::metrics::{Metrics, Port};
use crate::objects::Kind;
use crate::readiness::Readiness;
use crate::refusals::Refusals;
use crate::server::connection::{Departure, Transport};
use crate::server::listener::{Listener, Unserved};
use crate::server::{self, Context};
use crate::sweep::{Sources, Sweeper, Whereabouts};

mod descriptors;
mod leadership;
mod logging;
mod presenting;
mod signals;

use leadership::Leadership;

/// How many threads serve at most: reviews are short, and each thread costs memory.
const THREADS: usize = 4;
/// How many reviews are judged at once: many more than the processors, so that a few slow ones delay nobody.
const JUDGING_THREADS: usize = 16;

/// The runtime that serves.
///
/// # Errors
///
/// The system gives no threads.
pub fn runtime() -> std::io::Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    Builder::new_multi_thread().worker_threads(threads).max_blocking_threads(JUDGING_THREADS).enable_all().build()
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// The arguments do not fit each other, a port is taken, files are not in order, or the cluster cannot be reached.
pub async fn run(arguments: ServeArgs) -> anyhow::Result<()> {
    logging::install(&arguments.log)?;
    certificates::install_provider();
    let process = Process::default();
    let ports = Ports::open(&arguments.listen, &process.metrics).await?;
    let admission = if arguments.cluster.resources.is_some() {
        from_files(&arguments, &process)?
    } else {
        in_cluster(&arguments, &process).await?
    };
    process.serve(&arguments.listen, ports, admission).await
}

/// What runs, and what stops it.
#[derive(Debug)]
struct Process {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    presented: Arc<Presented>,
    /// Everything but the ports: it runs as long as something is served.
    background: TaskTracker,
    stop: CancellationToken,
}

impl Default for Process {
    fn default() -> Self {
        let (metrics, readiness) = (Arc::new(Metrics::default()), Readiness::default());
        let presented = Presented::new(readiness.condition("serving certificate"), Arc::clone(&metrics));
        Self {
            metrics,
            readiness,
            presented: Arc::new(presented),
            background: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }
}

/// The open ports, at which nothing is served yet.
struct Ports {
    reviews: Unserved,
    observation: Unserved,
}

impl Ports {
    async fn open(arguments: &ListenArgs, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        let connections = descriptors::connections(arguments.max_connections);
        let open = async |port, address| {
            let opened = Listener::bind(port, address, connections, Arc::clone(metrics)).await;
            opened.with_context(|| format!("cannot listen on {address}"))
        };
        let reviews = open(Port::Reviews, arguments.listen).await?;
        Ok(Self { reviews, observation: open(Port::Observation, arguments.metrics_listen).await? })
    }
}

impl Process {
    /// Runs `task` until the process stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.background.spawn(async move { stop.run_until_cancelled(task).await });
    }

    /// Serves, and leaves in order: first unready, while clients are sent elsewhere, then no new connections, then nothing
    /// in flight, then the rest.
    async fn serve(self, arguments: &ListenArgs, ports: Ports, admission: Admission) -> anyhow::Result<()> {
        let departure = Departure::default();
        let served = self.open(ports, admission, arguments.max_concurrent_reviews, &departure)?;
        signals::stop().await?;
        departure.announced.cancel();
        self.leave(arguments.drain_delay.duration()).await;
        departure.closing.cancel();
        end_of_connections(served, arguments.drain_timeout.duration()).await;
        self.end().await;
        Ok(())
    }

    /// Serves at both ports.
    fn open(
        &self,
        ports: Ports,
        admission: Admission,
        concurrent_reviews: u32,
        departure: &Departure,
    ) -> anyhow::Result<JoinHandle<()>> {
        let (metrics, readiness) = (Arc::clone(&self.metrics), self.readiness.clone());
        let context = Arc::new(Context::new(admission, metrics, readiness, concurrent_reviews));
        let tls = Transport::tls(certificates::server_config(Arc::clone(&self.presented))?);
        tracing::info!(reviews = %ports.reviews.address()?, observation = %ports.observation.address()?, "serving");
        let observation = ports.observation.with(Transport::Plain, server::observation(Arc::clone(&context)));
        let end = Departure { closing: self.stop.clone(), ..Departure::default() };
        self.background.spawn(observation.serve(end));
        Ok(tokio::spawn(ports.reviews.with(tls, server::reviews(context)).serve(departure.clone())))
    }

    /// Says that this replica leaves, and serves on until everybody knows.
    async fn leave(&self, delay: Duration) {
        self.readiness.leave();
        tracing::info!(seconds = delay.as_secs_f64(), "leaving: unready, and serving on");
        sleep(delay).await;
    }

    /// Ends what runs in the background.
    async fn end(self) {
        self.stop.cancel();
        self.background.close();
        self.background.wait().await;
        tracing::info!("ended");
    }
}

async fn end_of_connections(served: JoinHandle<()>, patience: Duration) {
    if timeout(patience, served).await.is_err() {
        tracing::warn!("connections were still open at the end");
    }
}

fn from_files(arguments: &ServeArgs, process: &Process) -> anyhow::Result<Admission> {
    let Some(directory) = &arguments.cluster.resources else { bail!("--resources is missing") };
    let view = files::load(directory).context("the objects are not in order")?;
    presenting::of_files(&arguments.certificates, process)?;
    Ok(Admission::from_files(view, arguments.settings.settings()))
}

async fn in_cluster(arguments: &ServeArgs, process: &Process) -> anyhow::Result<Admission> {
    let client = cluster::client(arguments.cluster.kubeconfig.as_deref()).await?;
    let (certificates, namespace) = (&arguments.certificates, arguments.cluster.namespace.as_str());
    let leadership = Leadership::new(certificates)?;
    presenting::in_cluster(certificates, namespace, &leadership, process, &client)?;
    let objects = Objects::default();
    for kind in Kind::ALL {
        let condition = process.readiness.condition(kind.as_str());
        let watch = Watch::new(kind, Arc::clone(&objects), condition, Arc::clone(&process.metrics));
        process.spawn(watch.run(client.clone()));
    }
    let mut settings = arguments.settings.settings();
    if arguments.settings.api_audiences.is_empty() {
        audiences::protect(&mut settings);
    }
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    if arguments.settings.kubernetes_version.is_none() {
        let condition = process.readiness.condition("version of Kubernetes");
        process.spawn(version::follow(client.clone(), Arc::clone(&settings), condition));
    }
    let patience = arguments.cluster.live_read_timeout.duration();
    let live = || Live::new(client.clone(), Arc::clone(&objects), patience, Arc::clone(&process.metrics));
    let reporter = Reporter::new(client.clone(), leadership.identity().to_owned());
    let (refusals, telling) = Refusals::new(reporter, Arc::clone(&process.metrics));
    process.spawn(telling);
    let interval = arguments.cluster.sweep_interval.duration();
    if !interval.is_zero() {
        let sources = Sources {
            client: client.clone(),
            objects: Arc::clone(&objects),
            settings: Arc::clone(&settings),
            live: live(),
            readiness: process.readiness.clone(),
            whereabouts: Whereabouts::of(namespace, &certificates.configuration_name),
            identity: leadership.identity().to_owned(),
            metrics: Arc::clone(&process.metrics),
        };
        process.spawn(Sweeper::new(sources, interval).run(leadership.leads()));
    }
    leadership.pursue(namespace, process, &client);
    let live = live();
    Ok(Admission::in_cluster(objects, settings, live).telling(refusals))
}
