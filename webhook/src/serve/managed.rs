//! Starts what keeps certificates of our own.

use std::sync::Arc;
use std::time::Duration;

use alcove_certs::bundle::Profile;
use alcove_certs::names::Names;
use alcove_certs::schedule::Lifetimes;
use anyhow::{Context as _, bail};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::watch;

use super::Process;
use crate::args::CertificateArgs;
use crate::certificates::election::Election;
use crate::certificates::lease::Candidate;
use crate::certificates::managed::{Keeper, Observed, Sources, observe, present};

/// The shortest duration of a Lease.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// Where the host's name stands.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Watches the Secret and the configurations, takes part in the election, and keeps both if this replica leads.
pub(super) fn spawn(
    arguments: &CertificateArgs,
    namespace: &str,
    process: &Process,
    client: &Client,
) -> anyhow::Result<()> {
    let profile = profile(arguments, namespace)?;
    let election = Election::new(identity(arguments)?, lease_duration(arguments)?);
    let (leads, leading) = watch::channel(false);
    let (secret, seen_secret) = watch::channel(Observed::Unknown);
    let (mutating, seen_mutating) = watch::channel(Observed::Unknown);
    let (validating, seen_validating) = watch::channel(Observed::Unknown);

    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    process.spawn(observe(secrets, arguments.tls_secret.clone(), secret));
    let configuration = &arguments.configuration_name;
    let mutating_api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    process.spawn(observe(mutating_api, configuration.clone(), mutating));
    let validating_api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    process.spawn(observe(validating_api, configuration.clone(), validating));

    process.spawn(present(seen_secret.clone(), Arc::clone(&process.presented)));
    let sources = Sources { leads: leading, secret: seen_secret, registrations: [seen_mutating, seen_validating] };
    let place = (namespace, arguments.tls_secret.as_str());
    process.spawn(Keeper::new(client.clone(), place, profile, sources, Arc::clone(&process.metrics)).run());
    // The candidate hands the Lease on when it stops, so it is told to stop instead of being dropped.
    let candidate = Candidate::new(client.clone(), namespace, &arguments.lease, election, leads);
    process.background.spawn(candidate.run(process.stop.clone()));
    Ok(())
}

fn profile(arguments: &CertificateArgs, namespace: &str) -> anyhow::Result<Profile> {
    let names = Names::of_service(&arguments.service_name, namespace).context("--service-name and --namespace")?;
    let (authority, leaf) = (arguments.ca_lifetime.duration(), arguments.certificate_lifetime.duration());
    let lifetimes = Lifetimes::new(authority, leaf, arguments.ca_propagation.duration())
        .context("--ca-lifetime, --certificate-lifetime and --ca-propagation do not fit each other")?;
    Ok(Profile { names, lifetimes })
}

/// A Lease counts in whole seconds.
fn lease_duration(arguments: &CertificateArgs) -> anyhow::Result<Duration> {
    let duration = arguments.lease_duration.duration();
    if duration < SHORTEST_LEASE {
        bail!("--lease-duration is too short: give at least {} s", SHORTEST_LEASE.as_secs());
    }
    Ok(duration)
}

fn identity(arguments: &CertificateArgs) -> anyhow::Result<String> {
    if let Some(identity) = &arguments.identity {
        return Ok(identity.clone());
    }
    let name = std::fs::read_to_string(HOST_NAME).context("the host name cannot be read: give --identity")?;
    Ok(name.trim().to_owned())
}
