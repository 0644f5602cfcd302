//! Who the sidecar runs as: its user owns the files, and programs check that.

use super::document::{at, items, says, text};
use super::volumes::{Mirror, Replaced, Volumes};
use crate::settings::RootUser;
use alcove_contract::configuration::GroupAccess;
use alcove_contract::mode::Mode;
use alcove_contract::{Problem, Problems};
use serde_json::Value;

/// The user of a sidecar whose files nobody in particular owns.
const NOBODY: i64 = 65532;

/// The most warnings: API servers cut off what is longer than a page.
const MOST_WARNINGS: usize = 16;

/// The sidecar's user, and what follows from it for the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub id: i64,
    pub group_access: GroupAccess,
    /// Whether the one user that reads the files is known and owns them.
    readers: Readers,
}

/// What the Pod says of the users of the containers that mount the sidecar's volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    /// All have this one.
    One(i64),
    /// At least one has another, or the images decide.
    Several,
}

impl User {
    /// The user that the containers of this Pod call for.
    ///
    /// The one that all readers share, if the Pod states it; else uid 0, if a file shuts others out and the Pod may run as
    /// root: that is what the kubelet's own files look like; else nobody in particular. Where the containers mount none of
    /// the volumes, or share uid 0, the user that they all share: the kubelet gives its token files to that one, and a
    /// container with another user would take them away.
    pub(crate) fn of(spec: &Value, volumes: &Volumes, root: RootUser) -> Self {
        let readers = readers(spec, volumes);
        let guarded = volumes.iter().any(|volume| volume.guarded.is_some());
        let root_is_possible = root == RootUser::Allowed && may_run_as_root(spec);
        let id = match readers {
            Readers::One(id) if id != 0 || root == RootUser::Allowed => id,
            Readers::Several if guarded && root_is_possible => 0,
            Readers::One(_) | Readers::Several => NOBODY,
        };
        let group_access = if readers == Readers::One(id) {
            GroupAccess::OwnerReads
        } else if has_group(spec) {
            GroupAccess::GroupReads
        } else {
            GroupAccess::AsRequested
        };
        Self { id, group_access, readers }
    }

    /// A warning for each volume in which a mode matters that this owner does not make true.
    pub(crate) fn warnings(self, spec: &Value, volumes: &Volumes) -> Vec<String> {
        if self.readers == Readers::One(self.id) || has_group(spec) {
            return Vec::new();
        }
        volumes.iter().filter_map(|volume| self.warning(spec, volume)).take(MOST_WARNINGS).collect()
    }

    fn warning(self, spec: &Value, volume: &Replaced) -> Option<String> {
        let (file, mode) = volume.guarded.as_ref()?;
        let stated: Vec<String> = consumers(spec, volume).filter_map(uid_of).map(|id| id.to_string()).collect();
        // What the kubelet's files would look like, and no reader that says it is somebody else.
        if self.id == 0 && stated.is_empty() {
            return None;
        }
        let reader =
            if stated.is_empty() { "the image's own user".to_owned() } else { format!("uid {}", stated.join(", ")) };
        Some(format!(
            "volume \"{}\": {file} has mode {mode} and belongs to uid {}, its reader is {reader}; state one runAsUser, or an \
             fsGroup",
            volume.name, self.id
        ))
    }

    /// Refuses other sources of a projected volume that this user could not read and so not mirror.
    pub(crate) fn check_mirrors(self, spec: &Value, mirrors: &[Mirror]) -> Problems {
        if self.id == 0 || has_group(spec) {
            return Problems::none();
        }
        mirrors.iter().filter_map(|mirror| self.unreadable(mirror)).collect()
    }

    fn unreadable(self, mirror: &Mirror) -> Option<Problem> {
        let shut = |source: &Value| {
            ["configMap", "secret", "downwardAPI"].iter().any(|kind| {
                let source = at(source, &[kind]);
                let of_items = items(source, "items")
                    .iter()
                    .any(|item| item.get("mode").and_then(mode).is_some_and(Mode::shuts_others_out));
                of_items || (!source.is_null() && mirror.default_mode.shuts_others_out())
            })
        };
        mirror.sources.iter().any(shut).then(|| {
            let reason = format!(
                "projects a bound Secret beside files whose mode shuts others out, and the sidecar (uid {}) could not read \
                 those to put them there",
                self.id
            );
            Problem::new(format!("spec.volumes[{}].projected", mirror.of), reason)
                .with_remedy("give them mode 0444, state an fsGroup, or project the Secret into a volume of its own")
        })
    }
}

fn mode(value: &Value) -> Option<Mode> {
    value.is_number().then(|| Mode::from_value(value).ok()).flatten()
}

/// A container and the Pod's own security context, which fills in for it.
#[derive(Clone, Copy)]
struct Consumer<'a> {
    container: &'a Value,
    of_pod: &'a Value,
}

impl<'a> Consumer<'a> {
    fn setting(self, field: &str) -> Option<&'a Value> {
        let own = at(self.container, &["securityContext"]).get(field).filter(|value| !value.is_null());
        own.or_else(|| self.of_pod.get(field))
    }
}

fn uid_of(consumer: Consumer<'_>) -> Option<i64> {
    consumer.setting("runAsUser").and_then(Value::as_i64)
}

fn containers(spec: &Value) -> impl Iterator<Item = Consumer<'_>> {
    let of_pod = at(spec, &["securityContext"]);
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| items(spec, list))
        .map(move |container| Consumer { container, of_pod })
}

fn consumers<'a>(spec: &'a Value, volume: &Replaced) -> impl Iterator<Item = Consumer<'a>> {
    let name = volume.name.to_string();
    containers(spec).filter(move |consumer| {
        items(consumer.container, "volumeMounts").iter().any(|mount| text(mount, "name") == name)
    })
}

fn readers(spec: &Value, volumes: &Volumes) -> Readers {
    let mounts = |consumer: &Consumer<'_>| {
        items(consumer.container, "volumeMounts").iter().any(|mount| volumes.contains(text(mount, "name")))
    };
    let common = |consumers: &mut dyn Iterator<Item = Consumer<'_>>| {
        let mut ids = consumers.map(uid_of);
        let first = ids.next()??;
        ids.all(|id| id == Some(first)).then_some(first)
    };
    let any_mounts = containers(spec).any(|consumer| mounts(&consumer));
    let shared = if any_mounts { common(&mut containers(spec).filter(mounts)) } else { common(&mut containers(spec)) };
    shared.map_or(Readers::Several, Readers::One)
}

/// Whether any container may run as root, by what the Pod says of it.
fn may_run_as_root(spec: &Value) -> bool {
    containers(spec).any(|consumer| consumer.setting("runAsNonRoot").and_then(Value::as_bool) != Some(true))
}

fn has_group(spec: &Value) -> bool {
    at(spec, &["securityContext"]).get("fsGroup").is_some_and(Value::is_number)
}

/// Whether the Pod shares its processes, through which one container sees the files of another.
pub(crate) fn shares_processes(spec: &Value) -> bool {
    says(spec, "shareProcessNamespace") || says(spec, "hostPID")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::BoundSecrets;
    use crate::inject::volumes;
    use alcove_contract::annotations::PodAnnotations;
    use serde_json::json;

    /// The user for a Pod whose Secret volume has `mode`, and whose containers mount it unless they are named `other`.
    fn user(mode: u32, containers: &[Value], of_pod: &Value, root: RootUser) -> (i64, GroupAccess, usize) {
        let annotations = PodAnnotations::parse([("secret.alcove.dev/db", "vault:kv/db")]).unwrap();
        let mut spec = json!({
            "securityContext": of_pod,
            "containers": containers,
            "volumes": [{"name": "v", "secret": {"secretName": "db", "defaultMode": mode}}],
        });
        let pod = crate::pod::Pod::new(json!({"spec": spec}), "t").unwrap();
        let mentions = crate::places::mentions(&pod);
        let catalog = crate::Catalog::default();
        let bound = BoundSecrets::of(&mentions, &annotations, "t", &catalog, &mut crate::decision::Findings::default());
        let volumes = volumes::rewrite(&mut spec, &bound).unwrap();
        let user = User::of(&spec, &volumes, root);
        (user.id, user.group_access, user.warnings(&spec, &volumes).len())
    }

    fn reader(security: &Value) -> Value {
        json!({"name": "app", "volumeMounts": [{"name": "v", "mountPath": "/v"}], "securityContext": security})
    }

    fn other(security: &Value) -> Value {
        json!({"name": "other", "securityContext": security})
    }

    const FREE: RootUser = RootUser::Allowed;
    const NO_ROOT: RootUser = RootUser::Forbidden;

    #[test]
    fn the_user_of_all_readers_owns_the_files_and_their_group_does_not() {
        let (own, of_pod) = (json!({"runAsUser": 1000}), json!({"runAsUser": 1000}));
        let owner_reads = (1000, GroupAccess::OwnerReads, 0);
        assert_eq!(user(0o400, &[reader(&own)], &json!({}), FREE), owner_reads);
        assert_eq!(user(0o400, &[reader(&json!({}))], &of_pod, NO_ROOT), owner_reads);
        assert_eq!(user(0o400, &[reader(&own), other(&json!({"runAsUser": 2000}))], &json!({}), FREE), owner_reads);
        assert_eq!(user(0o644, &[reader(&own)], &json!({"fsGroup": 5}), FREE), owner_reads);
        let root = user(0o400, &[reader(&json!({"runAsUser": 0}))], &json!({"fsGroup": 5}), FREE);
        assert_eq!(root, (0, GroupAccess::OwnerReads, 0));
    }

    #[test]
    fn root_owns_files_that_shut_others_out_where_the_pod_and_the_administrator_let_it() {
        let unknown = || [reader(&json!({}))];
        assert_eq!(user(0o400, &unknown(), &json!({}), FREE), (0, GroupAccess::AsRequested, 0));
        assert_eq!(user(0o644, &unknown(), &json!({}), FREE), (NOBODY, GroupAccess::AsRequested, 0));
        assert_eq!(
            user(0o400, &unknown(), &json!({"runAsNonRoot": true}), FREE),
            (NOBODY, GroupAccess::AsRequested, 1)
        );
        assert_eq!(user(0o400, &unknown(), &json!({}), NO_ROOT), (NOBODY, GroupAccess::AsRequested, 1));
        assert_eq!(user(0o400, &[reader(&json!({"runAsUser": 0}))], &json!({}), NO_ROOT).0, NOBODY);
        let several = [reader(&json!({"runAsUser": 1})), reader(&json!({"runAsUser": 2}))];
        assert_eq!(user(0o400, &several, &json!({}), FREE), (0, GroupAccess::AsRequested, 1));
    }

    #[test]
    fn the_pods_group_reads_what_no_reader_owns() {
        let in_group = json!({"fsGroup": 2000, "runAsNonRoot": true});
        assert_eq!(user(0o400, &[reader(&json!({}))], &in_group, FREE), (NOBODY, GroupAccess::GroupReads, 0));
    }

    #[test]
    fn without_a_reader_the_user_is_the_one_to_whom_the_kubelet_gives_token_files() {
        let shared = [other(&json!({"runAsUser": 7})), other(&json!({"runAsUser": 7}))];
        assert_eq!(user(0o644, &shared, &json!({}), FREE).0, 7);
        let different = [other(&json!({"runAsUser": 7})), other(&json!({}))];
        assert_eq!(user(0o644, &different, &json!({}), FREE).0, NOBODY);
    }
}
