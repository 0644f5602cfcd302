//! Starts what presents and keeps certificates.

use std::fmt::Debug;
use std::sync::Arc;

use alcove_certs::bundle::Profile;
use alcove_certs::files::Watched;
use alcove_certs::names::Names;
use alcove_certs::schedule::Lifetimes;
use anyhow::{Context as _, bail};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Process;
use super::leadership::Leadership;
use crate::args::{CertificateArgs, CertificateSource};
use crate::certificates::files::{Agreement, Files};
use crate::certificates::managed::{Keeper, Sources, present};
use crate::certificates::observed::{Observed, observe};
use crate::certificates::registration::Registrations;

/// Presents the files that the arguments name; a look at once tells whether they are in order.
pub(super) fn of_files(arguments: &CertificateArgs, process: &Process) -> anyhow::Result<()> {
    let mut files = Files::new(watched(arguments)?, Arc::clone(&process.presented));
    files.look()?;
    process.spawn(files.follow());
    Ok(())
}

/// Presents what the arguments choose, and keeps it where that is our task.
pub(super) fn in_cluster(
    arguments: &CertificateArgs,
    namespace: &str,
    leadership: &Leadership,
    process: &Process,
    client: &Client,
) -> anyhow::Result<()> {
    let registrations = registrations(&arguments.configuration_name, process, client);
    if keeps_certificates(arguments) {
        return managed((arguments, namespace), (leadership, registrations), process, client);
    }
    // The files may come later than we do, so they are waited for.
    let agreement = Agreement { registrations, condition: process.readiness.condition("caBundle") };
    let files = Files::new(watched(arguments)?, Arc::clone(&process.presented)).agreeing(agreement);
    process.spawn(files.follow());
    Ok(())
}

/// Whether certificates are made and rotated here, and do not come from files.
pub(super) fn keeps_certificates(arguments: &CertificateArgs) -> bool {
    match arguments.certificates {
        CertificateSource::SelfManaged => arguments.tls_cert.is_none(),
        CertificateSource::Files | CertificateSource::CertManager => false,
    }
}

/// Watches the Secret, and keeps it and the configurations if this replica leads.
fn managed(
    (arguments, namespace): (&CertificateArgs, &str),
    (leadership, registrations): (&Leadership, Registrations),
    process: &Process,
    client: &Client,
) -> anyhow::Result<()> {
    let profile = profile(arguments, namespace)?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = observed(secrets, &arguments.tls_secret, process);
    process.spawn(present(secret.clone(), Arc::clone(&process.presented)));

    let sources = Sources { leads: leadership.leads(), secret, registrations };
    let place = (namespace, arguments.tls_secret.as_str());
    process.spawn(Keeper::new(client.clone(), place, profile, sources, Arc::clone(&process.metrics)).run());
    Ok(())
}

fn registrations(name: &str, process: &Process, client: &Client) -> Registrations {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    [observed(mutating, name, process), observed(validating, name, process)]
}

/// Watches one object.
fn observed<K, T>(api: Api<K>, name: &str, process: &Process) -> watch::Receiver<Observed<T>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: From<K> + Send + Sync + 'static,
{
    let (seen, receiver) = watch::channel(Observed::Unknown);
    process.spawn(observe(api, name.to_owned(), seen));
    receiver
}

fn watched(arguments: &CertificateArgs) -> anyhow::Result<Watched> {
    match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Ok(Watched::of_files(certificate, key)),
        _ => bail!("certificates from files need --tls-cert and --tls-key"),
    }
}

fn profile(arguments: &CertificateArgs, namespace: &str) -> anyhow::Result<Profile> {
    let names = Names::of_service(&arguments.service_name, namespace).context("--service-name and --namespace")?;
    let (authority, leaf) = (arguments.ca_lifetime.duration(), arguments.certificate_lifetime.duration());
    let lifetimes = Lifetimes::new(authority, leaf, arguments.ca_propagation.duration())
        .context("--ca-lifetime, --certificate-lifetime and --ca-propagation do not fit each other")?;
    Ok(Profile { names, lifetimes })
}
