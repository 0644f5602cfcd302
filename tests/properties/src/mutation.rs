//! Documents that somebody has changed: still documents, and still much like what people send.

use serde_json::{Value, json};

/// Fields that something of ours looks at.
const FIELDS: &str = "name spec metadata namespace generateName volumes secret secretName projected sources items key path mode \
    defaultMode optional initContainers containers ephemeralContainers env envFrom value valueFrom secretKeyRef fileKeyRef \
    configMapRef volumeName secretRef prefix volumeMounts volumeDevices mountPath subPath subPathExpr mountPropagation \
    readOnly securityContext runAsUser runAsNonRoot runAsGroup fsGroup privileged resources limits requests memory cpu emptyDir \
    sizeLimit medium affinity nodeSelector os hostPID shareProcessNamespace hostPath imagePullSecrets serviceAccountName \
    serviceAccountToken audience expirationSeconds downwardAPI configMap csi restartPolicy command args image \
    annotations alcove.dev/inject alcove.dev/after alcove.dev/env alcove.dev/resources alcove.dev/injected \
    secret.alcove.dev/db-creds targetContainerName status operation resource subResource object oldObject uid";

/// Values that mean something somewhere.
const WORDS: [&str; 30] = [
    "",
    "db-creds",
    "tls",
    "settings",
    "web",
    "strict",
    "t",
    "enforced",
    "alcove-sidecar",
    "alcove-env",
    "alcove-mirror-0",
    "creds",
    "app",
    "Always",
    "Memory",
    "true",
    "false",
    "file",
    "ALCOVE_SIDECAR",
    "/alcove/volumes/creds",
    "/etc/creds/../x",
    "..data",
    "64Mi",
    "vault:kv/app/db",
    "vault:kv/app/db#password",
    "{dataFrom: [\"vault:kv/app/db\"], keys: [password]}",
    "UPDATE",
    "CREATE",
    "ephemeralcontainers",
    r#"{"version":1,"name":"creds","path":"/x","defaultMode":420,"sources":[{"mirror":{"path":"/x"}}]}"#,
];

/// Changes one place of a document as the choices say, and tells whether there were enough of them.
pub fn mutate(document: &mut Value, choices: &mut impl Iterator<Item = usize>) -> bool {
    try_mutate(document, choices).is_some()
}

/// A few changes of a document, the same for the same seed.
pub fn mutate_by(document: &mut Value, seed: u32) {
    let mut state = u64::from(seed);
    let mut next = || {
        // The generator of Knuth's MMIX; its higher bits are the better ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 40).ok()
    };
    let count = next().map_or(1, |choice| choice % 4 + 1);
    for _ in 0..count {
        mutate(document, &mut std::iter::from_fn(&mut next));
    }
}

fn try_mutate(document: &mut Value, choices: &mut impl Iterator<Item = usize>) -> Option<()> {
    let places = places(document);
    let mut choose = |count: usize| choices.next()?.checked_rem(count);
    let (what, place, other) = (choose(6)?, choose(places.len())?, choose(places.len())?);
    let word = leaf(choose(usize::from(u16::MAX))?);
    let field = FIELDS.split_whitespace().nth(choose(FIELDS.split_whitespace().count())?)?;
    // A copy from elsewhere is more often a document that something understands than a word is.
    let copy = document.pointer(places.get(other)?)?.clone();
    let target = document.pointer_mut(places.get(place)?)?;
    match (what, target) {
        (0, target) => *target = word,
        (1, target) => *target = copy,
        (2, Value::Array(items)) => items.push(copy),
        (2 | 3, Value::Object(fields)) => drop(fields.insert(field.to_owned(), copy)),
        (4, Value::Object(fields)) => drop(fields.insert(field.to_owned(), word)),
        (3..=5, Value::Array(items)) if !items.is_empty() => drop(items.remove(other.checked_rem(items.len())?)),
        (5, Value::Object(fields)) => {
            let name = fields.keys().nth(other.checked_rem(fields.len())?)?.clone();
            fields.remove(&name);
        }
        (_, target) => *target = Value::Null,
    }
    Some(())
}

fn leaf(choice: usize) -> Value {
    let numbers = [json!(0), json!(-1), json!(256), json!(420), json!(65_532), json!(u64::MAX), json!(1.5)];
    let others = numbers.into_iter().chain([json!(true), json!(false), json!([]), json!({}), Value::Null]);
    let leaves: Vec<Value> = WORDS.into_iter().map(Value::from).chain(others).collect();
    leaves.get(choice % leaves.len()).cloned().unwrap_or_default()
}

/// Where the values of a document are, as JSON pointers.
fn places(document: &Value) -> Vec<String> {
    let mut places = vec![String::new()];
    let mut open = vec![(String::new(), document)];
    while let Some((place, value)) = open.pop() {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(fields) => {
                let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
                fields.iter().map(|(name, value)| (format!("{place}/{}", escaped(name)), value)).collect()
            }
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, value)| (format!("{place}/{index}"), value)).collect()
            }
            _ => continue,
        };
        places.extend(below.iter().map(|(place, _)| place.clone()));
        open.extend(below);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_a_document_has_a_place() {
        let document = json!({"a/b": [1, {"c~d": null}], "e": {}});
        let places = places(&document);
        assert_eq!(places.len(), 6);
        assert!(places.iter().all(|place| document.pointer(place).is_some()), "{places:?}");
    }

    #[test]
    fn the_choices_decide_and_nothing_else() {
        let changed = |choices: &[usize]| {
            let mut document = json!({"a": [1, 2], "b": "c"});
            let is_changed = mutate(&mut document, &mut choices.iter().copied());
            (is_changed, document)
        };
        assert_eq!(changed(&[2, 1, 2, 0, 0]), (true, json!({"a": [1, 2, "c"], "b": "c"})));
        assert_eq!(changed(&[2, 1, 2, 0]), (false, json!({"a": [1, 2], "b": "c"})));
    }
}
