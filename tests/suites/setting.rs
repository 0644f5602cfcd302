//! What most tests of the product start from: Alcove installed, a store in the test's own namespace, a policy.

use alcove_tests::namespace::Namespace;
use alcove_tests::suite::Test;
use alcove_tests::vault::{AUDIENCE, Vault};
use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A namespace whose ServiceAccount `default` may mount whatever lies below its own path in Vault.
pub(crate) struct Setting<'vault> {
    vault: &'vault Vault,
    namespace: Namespace,
}

impl Setting<'static> {
    /// The Vault that all tests share.
    pub(crate) async fn shared(test: &Test) -> Result<Self> {
        Self::shared_in(test, test.namespace().clone()).await
    }

    /// The same in another namespace than the test's own.
    pub(crate) async fn shared_in(test: &Test, namespace: Namespace) -> Result<Self> {
        test.alcove().await?;
        Self::of(test.vault().await?, namespace).await
    }
}

impl<'vault> Setting<'vault> {
    /// Another Vault, in the test's own namespace.
    pub(crate) async fn with(test: &Test, vault: &'vault Vault) -> Result<Self> {
        test.alcove().await?;
        Self::of(vault, test.namespace().clone()).await
    }

    async fn of(vault: &'vault Vault, namespace: Namespace) -> Result<Self> {
        let setting = Self { vault, namespace };
        let name = setting.namespace.name();
        vault.policy(name, &vault.kv().readable(&format!("{name}/*"))).await?;
        vault.role(name, (name, "default"), &[name]).await?;
        setting.namespace.apply(&setting.store().to_string()).await?;
        setting.namespace.apply(&setting.policy().to_string()).await?;
        Ok(setting)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn vault(&self) -> &'vault Vault {
        self.vault
    }

    /// The key in Vault of a name of this namespace, as a reference spells it.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("vault:kv/{}/{name}", self.namespace.name())
    }

    /// Writes properties to Vault.
    pub(crate) async fn put(&self, name: &str, properties: Value) -> Result<()> {
        self.vault.kv().put(&format!("{}/{name}", self.namespace.name()), properties).await
    }

    /// Deletes the latest version from Vault.
    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        self.vault.kv().delete(&format!("{}/{name}", self.namespace.name())).await
    }

    /// How often Vault was asked for a name of this namespace.
    pub(crate) fn reads(&self, name: &str) -> Result<usize> {
        self.vault.requests("read", &format!("kv/data/{}/{name}", self.namespace.name()))
    }

    /// The ExternalStore `vault` of this namespace.
    pub(crate) fn store(&self) -> Value {
        json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "ExternalStore",
            "metadata": {"name": "vault"},
            "spec": {
                "audience": AUDIENCE,
                "provider": {"vault": {
                    "server": self.vault.address(),
                    "version": "v2",
                    "caBundle": STANDARD.encode(self.vault.authority()),
                    "auth": {"kubernetes": {"role": self.namespace.name()}},
                }},
            },
        })
    }

    fn policy(&self) -> Value {
        json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": "default"},
            "spec": {
                "serviceAccounts": ["default"],
                "allow": [{
                    "store": {"kind": "ExternalStore", "name": "vault"},
                    "keys": [format!("kv/{}/**", self.namespace.name())],
                }],
            },
        })
    }
}

/// A Pod that binds the Secret name `db-creds` by an annotation and mounts it.
pub(crate) fn opted_in(name: &str, binding: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"secret.alcove.dev/db-creds": binding}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "app",
                "image": "localhost/busybox:test",
                "command": ["sleep", "1000000"],
                "volumeMounts": [{"name": "creds", "mountPath": "/etc/creds"}],
            }],
            "volumes": [{"name": "creds", "secret": {"secretName": "db-creds"}}],
        },
    })
}
