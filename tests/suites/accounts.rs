//! The identity is the Pod's ServiceAccount: two of one namespace get their own Secrets and not each other's.

use alcove_tests::claims;
use alcove_tests::suite::{Test, Trial};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::naming::{self, Place, Receiver, naming};
use crate::setting::Setting;

pub(crate) fn tests() -> Vec<Trial> {
    claims![each_account_of_a_namespace_gets_its_own_secret_in_every_place_and_not_the_others]
}

/// ServiceAccounts; each has a Secret of its own, `of-<name>`, whose value is `value-<name>`.
const ACCOUNTS: [&str; 2] = ["a", "b"];

/// Two bound names and a policy for each account. The store itself serves both accounts everything; that of `a` also denies
/// what is of `b`.
async fn prepare(setting: &Setting<'_>) -> Result<()> {
    let (namespace, store) = (setting.namespace(), json!({"kind": "ExternalStore", "name": "vault"}));
    setting.vault().role(namespace.name(), (namespace.name(), "*"), &[namespace.name()]).await?;
    let key = |account: &str| format!("kv/{}/of-{account}", namespace.name());
    let mut objects = naming::accounts(&ACCOUNTS);
    for account in ACCOUNTS {
        setting.put(&format!("of-{account}"), json!({"password": format!("value-{account}")})).await?;
        objects.push(json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "SecretBinding",
            "metadata": {"name": format!("of-{account}")},
            "spec": {"data": {"password": format!("vault:{}#password", key(account))}},
        }));
        let allow = json!([{"store": store, "keys": [key(account)], "secrets": [format!("of-{account}")]}]);
        let deny = if account == "a" { json!([{"store": store, "keys": [key("b")]}]) } else { json!([]) };
        objects.push(json!({
            "apiVersion": "alcove.dev/v1alpha1",
            "kind": "SecretPolicy",
            "metadata": {"name": account},
            "spec": {"serviceAccounts": [account], "allow": allow, "deny": deny},
        }));
    }
    namespace.apply(&naming::list(&objects)).await
}

/// What a refusal must say beside place, container and account.
fn reason(setting: &Setting<'_>, account: &str, other: &str) -> String {
    let namespace = setting.namespace().name();
    let rule = if account == "a" {
        format!("spec.deny[0] of SecretPolicy {namespace}/a denies")
    } else {
        "no policy allows".to_owned()
    };
    format!("with ServiceAccount \"{account}\": {rule} key \"kv/{namespace}/of-{other}\" of ExternalStore \"vault\"")
}

async fn each_account_of_a_namespace_gets_its_own_secret_in_every_place_and_not_the_others(test: Test) -> Result<()> {
    let setting = Setting::shared(&test).await?;
    let namespace = setting.namespace();
    prepare(&setting).await?;
    let mut started: Vec<Value> = Vec::new();
    for (account, other) in [("a", "b"), ("b", "a")] {
        for place in Place::ALL {
            let asking = |owner: &str| naming(account, place, Receiver::Regular, &format!("of-{owner}"));
            let refusal = naming::refusal(namespace, &asking(other)).await?;
            let refusal = refusal.with_context(|| format!("{account} gets what is of {other} by {place:?}"))?;
            for expected in
                [place.path(Receiver::Regular), Receiver::Regular.told().to_owned(), reason(&setting, account, other)]
            {
                ensure!(refusal.contains(&expected), "{account} by {place:?}: {expected} is not in: {refusal}");
            }
            let mut own = asking(account);
            own["metadata"]["name"] = format!("{account}-{place:?}").to_lowercase().into();
            started.push(own);
        }
    }
    namespace.apply(&naming::list(&started)).await?;
    for account in ACCOUNTS {
        for place in Place::ALL {
            let pod = format!("{account}-{place:?}").to_lowercase();
            namespace.wait_until_ready(&pod).await?;
            let value = namespace.exec(&pod, "app", &["sh", "-c", place.reading()]).await?;
            ensure!(value == format!("value-{account}"), "{pod} has {value}");
        }
    }
    // The name that an account may have brings no key that it may not: neither under its own name nor under the other's.
    let mut disguised = naming("b", Place::Volume, Receiver::Regular, "of-b");
    disguised["metadata"]["annotations"] = json!({"secret.alcove.dev/of-b": setting.reference("of-a")});
    let refusal = naming::refusal(namespace, &disguised).await?.context("b gets what is of a under its own name")?;
    ensure!(refusal.contains(&reason(&setting, "b", "a")), "{refusal}");
    Ok(())
}
