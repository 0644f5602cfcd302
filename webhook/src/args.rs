//! The command line: what was typed, checked for form alone.
//!
//! Nothing here opens a file or a socket; [`crate::serve`] and [`crate::review`] give the arguments their meaning.

use std::net::SocketAddr;
use std::path::PathBuf;

use alcove_contract::annotations::SidecarResources;
use alcove_injection::settings::{DefaultPolicy, KubernetesVersion, PullPolicy, RootUser};
use clap::{Args, Parser, Subcommand, ValueEnum};

mod duration;
mod image;
mod settings;

pub use duration::Span;
pub use image::ImageReference;

/// The sidecar that is injected where nothing else is said: the one of the same version.
const SIDECAR_IMAGE: &str = concat!("ghcr.io/alcove-dev/alcove-sidecar:", env!("CARGO_PKG_VERSION"));

/// Delivers secrets from external stores to Pods without a Kubernetes Secret: the admission webhook.
#[derive(Debug, Parser)]
#[command(name = "alcove-webhook", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  In a cluster, as the manifests run it:
    alcove-webhook serve

  From files, without a cluster:
    alcove-webhook serve --resources ./resources --tls-cert tls.crt --tls-key tls.key

  What would become of one Pod:
    alcove-webhook review --resources ./resources < review.json";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answers the API server's admission reviews.
    Serve(Box<ServeArgs>),
    /// Answers one admission review from standard input, as `serve` would.
    Review(Box<ReviewArgs>),
}

/// The arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the group says it")]
    pub listen: ListenArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the group says it")]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the group says it")]
    pub certificates: CertificateArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the group says it")]
    pub settings: SettingsArgs,
    /// Log filter: error, warn, info, debug, trace, or directives such as `info,kube=debug`.
    #[arg(long, env = "ALCOVE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  Own certificates, rotated by the replica that holds the Lease (the default):
    alcove-webhook serve

  Certificates of cert-manager, mounted from its Secret:
    alcove-webhook serve --certificates cert-manager \\
      --tls-cert /etc/alcove/tls/tls.crt --tls-key /etc/alcove/tls/tls.key

  From YAML files, without a cluster:
    alcove-webhook serve --resources ./resources --listen 127.0.0.1:9443 \\
      --tls-cert tls.crt --tls-key tls.key --kubernetes-version 1.37";

/// The arguments of `review`.
#[derive(Debug, Args)]
#[command(after_help = REVIEW_EXAMPLES)]
pub struct ReviewArgs {
    /// Directory with YAML files: objects of alcove.dev, Namespaces, ServiceAccounts and LimitRanges.
    #[arg(long, value_name = "DIR")]
    pub resources: PathBuf,
    /// Which webhook answers; without it the mutating one answers a CREATE and the validating one everything else.
    #[arg(long, value_name = "KIND")]
    pub webhook: Option<Webhook>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the group says it")]
    pub settings: SettingsArgs,
}

const REVIEW_EXAMPLES: &str = "\
Examples:
  alcove-webhook review --resources ./resources --kubernetes-version 1.37 < review.json
  alcove-webhook review --resources ./resources --webhook validating < review.json

The answer, an AdmissionReview, goes to standard output; a refusal is an answer, too, and exits with 0.";

/// The two webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Webhook {
    /// `/mutate`: injects.
    Mutating,
    /// `/validate`: judges what is about to be stored.
    Validating,
}

impl Webhook {
    /// The webhook as the label of a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mutating => "mutating",
            Self::Validating => "validating",
        }
    }
}

/// Where and within which limits reviews are answered.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Serving")]
pub struct ListenArgs {
    /// Address of /mutate, /validate, /healthz and /readyz, over TLS.
    #[arg(long, env = "ALCOVE_LISTEN", default_value = "0.0.0.0:9443", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Address of /metrics, /healthz and /readyz, in plain HTTP.
    #[arg(long, env = "ALCOVE_METRICS_LISTEN", default_value = "0.0.0.0:9090", value_name = "ADDRESS")]
    pub metrics_listen: SocketAddr,
    /// How many connections are open at once, at each port; for a further one, one that waits for its client is ended.
    #[arg(long, env = "ALCOVE_MAX_CONNECTIONS", default_value = "1024", value_name = "COUNT")]
    pub max_connections: u32,
    /// How many reviews are judged at once; the API server is told to repeat further ones a second later.
    #[arg(long, env = "ALCOVE_MAX_CONCURRENT_REVIEWS", default_value = "256", value_name = "COUNT")]
    pub max_concurrent_reviews: u32,
    /// After SIGTERM: how long to serve on, unready, while API servers learn of it.
    #[arg(long, env = "ALCOVE_DRAIN_DELAY", default_value = "5s", value_name = "DURATION")]
    pub drain_delay: Span,
    /// After that: how long reviews in flight may take to finish.
    #[arg(long, env = "ALCOVE_DRAIN_TIMEOUT", default_value = "15s", value_name = "DURATION")]
    pub drain_timeout: Span,
}

/// Where objects come from.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Objects")]
pub struct ClusterArgs {
    /// Serve from the YAML files of this directory instead of a cluster; needs --tls-cert and --tls-key.
    #[arg(long, value_name = "DIR", requires_all = ["tls_cert", "tls_key"])]
    pub resources: Option<PathBuf>,
    /// Reach the cluster through this kubeconfig instead of the Pod's own ServiceAccount.
    #[arg(long, env = "ALCOVE_KUBECONFIG", value_name = "FILE", conflicts_with = "resources")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the webhook itself: of its Service, its Secret and its Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "alcove-system", value_name = "NAME")]
    pub namespace: String,
    /// How long a review may wait for a live read of objects that no watch has delivered yet.
    #[arg(long, env = "ALCOVE_LIVE_READ_TIMEOUT", default_value = "2s", value_name = "DURATION")]
    pub live_read_timeout: Span,
    /// How often the replica that holds the Lease looks for Pods that run without their sidecar or have what they may no
    /// longer have; `0s` for never.
    #[arg(long, env = "ALCOVE_SWEEP_INTERVAL", default_value = "5m", value_name = "DURATION")]
    pub sweep_interval: Span,
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Certificates")]
pub struct CertificateArgs {
    /// Who makes the serving certificate.
    #[arg(long, env = "ALCOVE_CERTIFICATES", default_value = "self-managed", value_name = "MODE")]
    pub certificates: CertificateSource,
    /// File with the certificate chain, PEM; read again when it changes. Implies --certificates files.
    #[arg(long, env = "ALCOVE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// File with the private key, PEM.
    #[arg(long, env = "ALCOVE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Name of the Service; the certificate is for SERVICE.NAMESPACE.svc.
    #[arg(long, env = "ALCOVE_SERVICE_NAME", default_value = "alcove-webhook", value_name = "NAME")]
    pub service_name: String,
    /// Name of the MutatingWebhookConfiguration and of the ValidatingWebhookConfiguration whose caBundle is kept.
    #[arg(long, env = "ALCOVE_CONFIGURATION_NAME", default_value = "alcove-webhook", value_name = "NAME")]
    pub configuration_name: String,
    /// Name of the Secret with the authority and the serving certificate.
    #[arg(long, env = "ALCOVE_TLS_SECRET", default_value = "alcove-webhook-tls", value_name = "NAME")]
    pub tls_secret: String,
    /// Name of the Lease; its holder rotates, and sweeps. With certificates from files the Lease is that of NAME-sweep.
    #[arg(long, env = "ALCOVE_LEASE", default_value = "alcove-webhook", value_name = "NAME")]
    pub lease: String,
    /// How long the Lease holds after the last sign of life.
    #[arg(long, env = "ALCOVE_LEASE_DURATION", default_value = "15s", value_name = "DURATION")]
    pub lease_duration: Span,
    /// Who this replica is, for the Lease; the host name if not said.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: Option<String>,
    /// Lifetime of the authority.
    #[arg(long, env = "ALCOVE_CA_LIFETIME", default_value = "365d", value_name = "DURATION")]
    pub ca_lifetime: Span,
    /// Lifetime of the serving certificate.
    #[arg(long, env = "ALCOVE_CERTIFICATE_LIFETIME", default_value = "30d", value_name = "DURATION")]
    pub certificate_lifetime: Span,
    /// How long a caBundle must have stood before a certificate that needs it is served: API servers read it late.
    #[arg(long, env = "ALCOVE_CA_PROPAGATION", default_value = "60s", value_name = "DURATION")]
    pub ca_propagation: Span,
}

/// Who makes the serving certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CertificateSource {
    /// An authority of our own, kept in a Secret.
    SelfManaged,
    /// Files on disk.
    Files,
    /// cert-manager: its files on disk, and its annotation for the caBundle.
    CertManager,
}

/// What administrators decide about injection.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Injection")]
pub struct SettingsArgs {
    /// Image of the injected sidecar; by digest in production.
    #[arg(long, env = "ALCOVE_SIDECAR_IMAGE", default_value = SIDECAR_IMAGE, value_name = "IMAGE")]
    pub sidecar_image: ImageReference,
    /// Another image that the sidecar of a new Pod may have, such as the one of the version that is being replaced; may
    /// be given several times.
    #[arg(long, env = "ALCOVE_ALSO_ACCEPT_SIDECAR_IMAGE", value_name = "IMAGE", value_delimiter = ',')]
    pub also_accept_sidecar_image: Vec<ImageReference>,
    /// When nodes pull the image of the sidecar; Kubernetes decides if not said.
    #[arg(long, env = "ALCOVE_SIDECAR_IMAGE_PULL_POLICY", value_name = "POLICY", value_parser = settings::word::<PullPolicy>)]
    pub sidecar_image_pull_policy: Option<PullPolicy>,
    /// Resources of the sidecar where a Pod does not say, as YAML.
    #[arg(long, env = "ALCOVE_SIDECAR_RESOURCES", value_name = "YAML")]
    pub sidecar_resources: Option<SidecarResources>,
    /// Bounds of what a Pod may ask for the sidecar, as YAML: `requests` are the least, `limits` the most.
    #[arg(long, env = "ALCOVE_SIDECAR_RESOURCE_BOUNDS", value_name = "YAML")]
    pub sidecar_resource_bounds: Option<SidecarResources>,
    /// What becomes of a Secret that no policy speaks of: deny or allow.
    #[arg(long, env = "ALCOVE_DEFAULT_POLICY", default_value = "deny", value_name = "POLICY", value_parser = settings::word::<DefaultPolicy>)]
    pub default_policy: DefaultPolicy,
    /// Whether the sidecar may run as uid 0 where files must belong to root: allowed or forbidden.
    #[arg(long, env = "ALCOVE_ROOT_USER", default_value = "allowed", value_name = "RULE", value_parser = settings::word::<RootUser>)]
    pub root_user: RootUser,
    /// Oldest Kubernetes version of server and nodes; in a cluster it is found out if not said, else 1.37.
    #[arg(long, env = "ALCOVE_KUBERNETES_VERSION", value_name = "VERSION", value_parser = settings::word::<KubernetesVersion>)]
    pub kubernetes_version: Option<KubernetesVersion>,
    /// Audiences that the API server accepts and no tenant's store may be sent; if not said, its defaults and, in a Pod,
    /// those of the webhook's own ServiceAccount token.
    #[arg(long, env = "ALCOVE_API_AUDIENCES", value_name = "AUDIENCE", value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    /// Address of the API server for stores that are Kubernetes; the Service's own if not said.
    #[arg(long, env = "ALCOVE_KUBERNETES_API_SERVER", value_name = "URL")]
    pub kubernetes_api_server: Option<String>,
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    service_host: Option<String>,
    #[arg(long, env = "KUBERNETES_SERVICE_PORT", hide = true)]
    service_port: Option<String>,
}

#[cfg(test)]
mod tests;
