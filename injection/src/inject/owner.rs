//! Files that a Pod wants to give to somebody: the sidecar can give them to nobody but its own user.

use super::document::{at, items};
use super::volumes::Volumes;
use alcove_contract::{Problem, Problems};
use serde_json::Value;

/// Refuses each `defaultUser` and `user` in a replaced volume that is not the sidecar's own user.
///
/// Kubernetes has them since 1.37. What a projected volume has beside its Secrets is copied, and its owner with it lost.
pub(crate) fn problems(spec: &Value, volumes: &Volumes, sidecar: i64) -> Problems {
    let replaced = items(spec, "volumes")
        .iter()
        .enumerate()
        .filter(|(_, volume)| volume.get("name").and_then(Value::as_str).is_some_and(|name| volumes.contains(name)));
    replaced
        .flat_map(|(index, volume)| stated(volume, &format!("spec.volumes[{index}]")))
        .filter(|(_, user)| *user != sidecar)
        .map(|(place, user)| problem(place, user, sidecar))
        .collect()
}

fn problem(place: String, user: i64, sidecar: i64) -> Problem {
    let reason = format!(
        "cannot own files of a volume with a bound Secret: Alcove can give them to the sidecar's user only, which is \
         {sidecar} here"
    );
    Problem::new(place, reason).with_value(user.to_string()).with_remedy(format!(
        "leave it away, or state runAsUser: {user} for all containers that mount the volume: the sidecar follows them"
    ))
}

/// Every user that a volume names, with its place.
fn stated(volume: &Value, place: &str) -> Vec<(String, i64)> {
    let (secret, projected) = (at(volume, &["secret"]), at(volume, &["projected"]));
    let mut users = user(secret, "defaultUser", &format!("{place}.secret"));
    users.extend(of_items(secret, &format!("{place}.secret")));
    users.extend(user(projected, "defaultUser", &format!("{place}.projected")));
    for (index, source) in items(projected, "sources").iter().enumerate() {
        for (kind, source) in source.as_object().into_iter().flatten() {
            let place = format!("{place}.projected.sources[{index}].{kind}");
            users.extend(user(source, "user", &place));
            users.extend(of_items(source, &place));
        }
    }
    users
}

fn of_items<'a>(source: &'a Value, place: &'a str) -> impl Iterator<Item = (String, i64)> + 'a {
    let items = items(source, "items").iter().enumerate();
    items.flat_map(move |(index, item)| user(item, "user", &format!("{place}.items[{index}]")))
}

fn user(parent: &Value, field: &str, place: &str) -> Vec<(String, i64)> {
    let user = parent.get(field).and_then(Value::as_i64);
    user.map(|user| (format!("{place}.{field}"), user)).into_iter().collect()
}
