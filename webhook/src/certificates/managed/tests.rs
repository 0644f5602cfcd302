use alcove_certs::names::Names;
use alcove_certs::schedule::Lifetimes;
use http::Method;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration, WebhookClientConfig};
use serde_json::Value;

use super::*;
use crate::cluster::mock::ApiServer;

const SECRETS: &str = "/api/v1/namespaces/system/secrets";
const SECRET: &str = "/api/v1/namespaces/system/secrets/tls";

/// A keeper, its API server, and what its watches tell it.
struct Stage {
    server: Arc<ApiServer>,
    keeper: Keeper,
    leads: watch::Sender<bool>,
    secret: watch::Sender<Observed<Secret>>,
    registration: watch::Sender<Observed<Registration>>,
    _other: watch::Sender<Observed<Registration>>,
}

impl Stage {
    /// The keeper leads, and there is neither a Secret nor a configuration.
    fn new() -> Self {
        let server = ApiServer::prompt();
        let (leads, leading) = watch::channel(true);
        let (secret, seen_secret) = watch::channel(Observed::Absent);
        let (registration, first) = watch::channel(Observed::Absent);
        let (other, second) = watch::channel(Observed::Absent);
        let sources = Sources { leads: leading, secret: seen_secret, registrations: [first, second] };
        let keeper = Keeper::new(server.client(), ("system", "tls"), profile(), sources, Arc::default());
        Self { server, keeper, leads, secret, registration, _other: other }
    }

    /// The watch delivers the Secret as the API server has it.
    fn deliver(&self) -> Secret {
        let secret: Secret = serde_json::from_value(self.server.get(SECRET).unwrap()).unwrap();
        self.secret.send_replace(Observed::Present(Arc::new(secret.clone())));
        secret
    }

    /// The watch delivers a configuration that trusts `trust`.
    fn register(&self, trust: Option<&Trust>) {
        let client_config = WebhookClientConfig {
            ca_bundle: trust.map(|trust| ByteString(trust.to_pem().into_bytes())),
            ..WebhookClientConfig::default()
        };
        let webhook = MutatingWebhook { name: "pods".to_owned(), client_config, ..MutatingWebhook::default() };
        let metadata =
            ObjectMeta { name: Some("alcove".to_owned()), uid: Some("u".to_owned()), ..ObjectMeta::default() };
        let configuration = MutatingWebhookConfiguration { metadata, webhooks: Some(vec![webhook]) };
        self.registration.send_replace(Observed::Present(Arc::new(configuration.into())));
    }

    async fn pass(&mut self) -> Vec<(Method, String, Value)> {
        self.keeper.pass().await.unwrap();
        self.server.writes()
    }
}

/// An authority that is soon to be renewed, and a leaf that is not.
fn profile() -> Profile {
    let hour = Duration::from_hours(1);
    let lifetimes = Lifetimes::new(hour * 24, hour * 12, Duration::from_mins(1)).unwrap();
    Profile { names: Names::new(["alcove.system.svc"]).unwrap(), lifetimes }
}

/// A Secret whose authority was issued so long ago.
fn aged(server: &ApiServer, age: Duration) -> Bundle {
    let then = clock::now().checked_sub(jiff::SignedDuration::try_from(age).unwrap()).unwrap();
    let bundle = Bundle::issue(&profile(), then).unwrap();
    let files = bundle.files().into_iter().map(|(name, content)| (name.to_owned(), ByteString(content.to_vec())));
    let metadata =
        ObjectMeta { name: Some("tls".to_owned()), resource_version: Some("1".to_owned()), ..ObjectMeta::default() };
    let secret = Secret { metadata, data: Some(files.collect()), ..Secret::default() };
    server.put(SECRETS, serde_json::to_value(secret).unwrap());
    bundle
}

#[tokio::test]
async fn a_replica_that_does_not_lead_writes_nothing() {
    let mut stage = Stage::new();
    stage.leads.send_replace(false);
    assert_eq!(stage.pass().await, []);
    aged(&stage.server, Duration::from_hours(20));
    stage.deliver();
    stage.register(None);
    assert_eq!(stage.pass().await, []);
}

#[tokio::test]
async fn the_first_leader_makes_the_secret_or_fills_the_one_that_the_manifests_brought() {
    let mut stage = Stage::new();
    let made = stage.pass().await;
    assert_eq!((&made[0].0, made[0].1.as_str(), made.len()), (&Method::POST, SECRETS, 1));
    parse(&stage.deliver()).unwrap();

    let mut stage = Stage::new();
    let empty = serde_json::json!({"metadata": {"name": "tls", "resourceVersion": "7", "labels": {"kept": "yes"}}});
    stage.server.put(SECRETS, empty);
    stage.deliver();
    let filled = stage.pass().await;
    assert_eq!((&filled[0].0, filled[0].1.as_str(), filled.len()), (&Method::PUT, SECRET, 1));
    let secret = stage.deliver();
    parse(&secret).unwrap();
    assert_eq!(secret.metadata.labels.unwrap()["kept"], "yes");
}

#[tokio::test]
async fn a_secret_that_is_missing_and_may_not_be_made_leads_to_the_manifests() {
    let mut stage = Stage::new();
    stage.server.forbid("write");
    let error = stage.keeper.pass().await.unwrap_err();
    let expected = "Secret system/tls is missing and may not be created: apply manifests/base again";
    assert_eq!(report::chain(&error), expected);
}

#[tokio::test]
async fn a_configuration_that_comes_back_without_its_bundle_gets_it_at_once() {
    let mut stage = Stage::new();
    let bundle = aged(&stage.server, Duration::ZERO);
    stage.deliver();
    stage.register(Some(&bundle.trust()));
    assert_eq!(stage.pass().await, []);
    stage.register(None);
    let published = stage.pass().await;
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].0, Method::PATCH);
    assert!(published[0].1.ends_with("/mutatingwebhookconfigurations/alcove"), "{}", published[0].1);
    assert_eq!(published[0].2["metadata"]["uid"], "u", "not the one that was deleted");
}

#[tokio::test(start_paused = true)]
async fn a_new_authority_is_published_and_settles_before_anything_that_it_signed_is_served() {
    let mut stage = Stage::new();
    let bundle = aged(&stage.server, Duration::from_hours(17));
    stage.deliver();
    stage.register(Some(&bundle.trust()));
    let served = |secret: &Secret| secret.data.as_ref().unwrap()["tls.crt"].clone();
    let before = served(&stage.deliver());

    // Leaf and authority are both due; whatever comes first, the old authority has signed what is served.
    while parse(&stage.deliver()).unwrap().trust() == bundle.trust() {
        assert_ne!(stage.pass().await, [], "a step is due");
    }
    let both = parse(&stage.deliver()).unwrap().trust();
    assert!(stage.pass().await.iter().all(|(method, ..)| *method == Method::PATCH), "it is published");
    let leaf = served(&stage.deliver());
    stage.register(Some(&both));
    assert_eq!(stage.pass().await, [], "it settles");
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(stage.pass().await, [], "it settles");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(stage.pass().await.len(), 1, "the next authority signs");
    let after = stage.deliver();
    assert_ne!(served(&after), leaf);
    assert_ne!(served(&after), before);
    both.verify(parse(&after).unwrap().leaf(), "alcove.system.svc", clock::now()).unwrap();
}

#[tokio::test]
async fn two_that_believe_to_lead_do_not_mix_their_steps() {
    let mut stage = Stage::new();
    aged(&stage.server, Duration::from_hours(20));
    stage.deliver();
    stage.register(None);
    // Another leader was faster, and its change has not arrived here.
    aged(&stage.server, Duration::ZERO);
    let newer = stage.server.get(SECRET).map(|mut secret| {
        secret["metadata"]["resourceVersion"] = "2".into();
        secret
    });
    stage.server.put(SECRETS, newer.clone().unwrap());
    assert!(stage.keeper.pass().await.unwrap_err().is_conflict());
    assert_eq!(stage.server.get(SECRET), newer);
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_not_overwritten() {
    let mut stage = Stage::new();
    let broken = serde_json::json!({"metadata": {"name": "tls", "resourceVersion": "7"}, "data": {"tls.crt": "eA=="}});
    stage.server.put(SECRETS, broken);
    stage.deliver();
    let error = stage.keeper.pass().await.unwrap_err();
    assert!(error.to_string().contains("delete the Secret"), "{error}");
    assert_eq!(stage.server.writes(), []);
}
