//! The webhook configurations, as far as they say whom API servers trust.

use alcove_certs::certificate::CertificateError;
use alcove_certs::identity::Identity;
use alcove_certs::trust::{Trust, VerifyError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::observed::Observed;

/// Who writes `caBundle`, and no other field.
const FIELD_MANAGER: &str = "alcove-webhook";

/// The two configurations, as far as they have been seen.
pub type Registrations = [watch::Receiver<Observed<Registration>>; 2];

/// One webhook configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    resource: Resource,
    name: String,
    uid: String,
    webhooks: Vec<Registered>,
}

/// One webhook of a configuration, as far as it says how it is called.
#[derive(Clone, Debug, PartialEq)]
struct Registered {
    name: String,
    /// Whom the API server trusts when it calls it.
    bundle: Option<ByteString>,
    /// The host name by which it is called, if it is by a Service.
    host: Option<String>,
}

/// The kinds of webhook configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Mutating,
    Validating,
}

impl Registration {
    /// Whether every webhook of the configuration trusts exactly these: an authority that has left is to leave here, too.
    #[must_use]
    pub fn trusts(&self, trust: &Trust) -> bool {
        self.webhooks.iter().all(|webhook| webhook.trust().is_ok_and(|configured| configured == *trust))
    }

    /// Judges what is presented as the API server will that calls by this configuration.
    ///
    /// # Errors
    ///
    /// The first webhook that cannot be called, and why.
    pub fn accepts(&self, identity: &Identity, now: Timestamp) -> Result<(), Disagreement> {
        let by_service = self.webhooks.iter().filter_map(|webhook| Some((webhook, webhook.host.as_deref()?)));
        for (webhook, host) in by_service {
            let disagreement = |cause| Disagreement { webhook: webhook.name.clone(), cause };
            let trust = webhook.trust().map_err(|error| disagreement(Cause::Bundle(error)))?;
            trust.verify(identity, host, now).map_err(|error| disagreement(Cause::Refused(error)))?;
        }
        Ok(())
    }

    /// Has every webhook of the configuration trust `trust`.
    ///
    /// The configuration's uid goes along: one that was made anew meanwhile is not touched, but comes by the watch.
    ///
    /// # Errors
    ///
    /// The API server refuses it or does not answer.
    pub async fn publish(&self, client: Client, trust: &Trust) -> kube::Result<()> {
        let api: Api<DynamicObject> = Api::all_with(client, &self.resource.described());
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&self.name, &parameters, &Patch::Apply(self.applied(trust))).await.map(|_patched| ())
    }

    fn applied(&self, trust: &Trust) -> Value {
        let bundle = STANDARD.encode(trust.to_pem());
        let webhook = |webhook: &Registered| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}});
        let webhooks: Vec<Value> = self.webhooks.iter().map(webhook).collect();
        let resource = self.resource.described();
        json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": self.name, "uid": self.uid},
            "webhooks": webhooks,
        })
    }

    fn new(resource: Resource, metadata: &ObjectMeta, webhooks: Vec<Registered>) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self { resource, name: text(&metadata.name), uid: text(&metadata.uid), webhooks }
    }
}

impl Resource {
    fn described(self) -> ApiResource {
        match self {
            Self::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
            Self::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        }
    }
}

impl From<MutatingWebhookConfiguration> for Registration {
    fn from(configuration: MutatingWebhookConfiguration) -> Self {
        let webhooks = configuration.webhooks.unwrap_or_default().into_iter();
        let webhooks = webhooks.map(|webhook| Registered::new(webhook.name, webhook.client_config)).collect();
        Self::new(Resource::Mutating, &configuration.metadata, webhooks)
    }
}

impl From<ValidatingWebhookConfiguration> for Registration {
    fn from(configuration: ValidatingWebhookConfiguration) -> Self {
        let webhooks = configuration.webhooks.unwrap_or_default().into_iter();
        let webhooks = webhooks.map(|webhook| Registered::new(webhook.name, webhook.client_config)).collect();
        Self::new(Resource::Validating, &configuration.metadata, webhooks)
    }
}

impl Registered {
    fn new(name: String, client: WebhookClientConfig) -> Self {
        let host = client.service.map(|service| format!("{}.{}.svc", service.name, service.namespace));
        Self { name, bundle: client.ca_bundle, host }
    }

    fn trust(&self) -> Result<Trust, CertificateError> {
        Trust::parse(self.bundle.as_ref().map_or(&[], |bundle| bundle.0.as_slice()))
    }
}

/// An API server will refuse to talk to us.
#[derive(Debug, thiserror::Error)]
#[error("webhook {webhook}")]
pub struct Disagreement {
    webhook: String,
    #[source]
    cause: Cause,
}

/// Why it will.
#[derive(Debug, thiserror::Error)]
enum Cause {
    /// It knows nobody whom it could trust.
    #[error("its caBundle is unusable")]
    Bundle(#[source] CertificateError),
    /// Whom it trusts did not sign what is presented.
    #[error(transparent)]
    Refused(VerifyError),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use alcove_certs::authority::Authority;
    use alcove_certs::names::Names;

    use super::*;

    fn authority() -> Authority {
        Authority::issue(Duration::from_mins(1), crate::clock::now()).unwrap()
    }

    fn trust(authority: &Authority) -> Trust {
        Trust::new([authority.certificate().clone()]).unwrap()
    }

    fn registration(bundles: &[Option<&Trust>]) -> Registration {
        let webhooks = bundles.iter().enumerate().map(|(index, trust)| Registered {
            name: format!("w{index}"),
            bundle: trust.map(|trust| ByteString(trust.to_pem().into_bytes())),
            host: Some("alcove.system.svc".to_owned()),
        });
        let webhooks = webhooks.collect();
        let metadata =
            ObjectMeta { name: Some("alcove".to_owned()), uid: Some("u".to_owned()), ..ObjectMeta::default() };
        Registration::new(Resource::Mutating, &metadata, webhooks)
    }

    #[test]
    fn a_configuration_trusts_only_if_each_of_its_webhooks_does() {
        let (ours, other) = (trust(&authority()), trust(&authority()));
        assert!(registration(&[Some(&ours), Some(&ours)]).trusts(&ours));
        assert!(!registration(&[Some(&ours), Some(&other)]).trusts(&ours));
        assert!(!registration(&[Some(&ours), None]).trusts(&ours));
    }

    #[test]
    fn a_certificate_that_the_configured_bundle_did_not_sign_is_a_disagreement() {
        let (ours, other) = (authority(), authority());
        let names = Names::of_service("alcove", "system").unwrap();
        let leaf = ours.issue_leaf(&names, Duration::from_mins(1), crate::clock::now()).unwrap();
        let accepts = |trust: Option<&Trust>| {
            let verdict = registration(&[trust]).accepts(&leaf, crate::clock::now());
            verdict.map_err(|disagreement| crate::report::chain(&disagreement))
        };
        assert_eq!(accepts(Some(&trust(&ours))), Ok(()));
        let refused = accepts(Some(&trust(&other))).unwrap_err();
        assert!(
            refused.starts_with("webhook w0: the served certificate does not verify against the configured caBundle"),
            "{refused}"
        );
        assert!(accepts(None).unwrap_err().starts_with("webhook w0: its caBundle is unusable"));
    }

    #[test]
    fn what_is_published_is_the_bundle_of_each_webhook_and_nothing_else() {
        let ours = trust(&authority());
        let applied = registration(&[None]).applied(&ours);
        let expected = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "alcove", "uid": "u"},
            "webhooks": [{"name": "w0", "clientConfig": {"caBundle": STANDARD.encode(ours.to_pem())}}],
        });
        assert_eq!(applied, expected);
    }
}
