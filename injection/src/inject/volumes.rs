//! Volumes: what names a bound Secret becomes a memory volume of the same name, which the sidecar fills.

use super::document::{CONTAINER_LISTS, at, items, items_mut, says, set, text, unset};
use super::room::Room;
use super::{mount_points, size};
use crate::bindings::BoundSecrets;
use alcove_contract::configuration::{
    GroupAccess, ItemConfiguration, MirrorSource, SecretSource, SourceConfiguration, VolumeConfiguration,
};
use alcove_contract::mode::Mode;
use alcove_contract::name::{LabelName, SecretName};
use alcove_contract::path::RelativePath;
use alcove_contract::{Problem, Problems, layout};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A volume that named a bound Secret.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub name: LabelName,
    pub default_mode: Mode,
    pub sources: Vec<SourceConfiguration>,
    /// The first file whose mode shuts others out, and that mode.
    pub guarded: Option<(String, Mode)>,
    /// The directories in it that other volumes are mounted on.
    mount_points: BTreeSet<RelativePath>,
    /// What one generation of its files takes at most.
    room: Room,
    /// For each container that has mounts of a part of it, their number: they hold the values of its start.
    held: Vec<u64>,
}

/// A volume with the other sources of a replaced one, which only the sidecar mounts.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub name: String,
    /// Where the sidecar mounts it.
    pub path: String,
    /// The volume whose sources it carries.
    pub of: LabelName,
    pub default_mode: Mode,
    pub sources: Vec<Value>,
}

/// All that becomes of the volumes of a Pod.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    pub replaced: BTreeMap<String, Replaced>,
    /// The names of the replaced, in the order of the Pod.
    order: Vec<String>,
    pub mirrors: Vec<Mirror>,
}

/// Replaces the volumes that name a bound Secret, and makes every mount of them read-only.
///
/// # Errors
///
/// What cannot be read in them.
pub(crate) fn rewrite(spec: &mut Value, bound: &BoundSecrets<'_>) -> Result<Volumes, Problems> {
    let mut volumes = Volumes::default();
    let mut problems = Problems::none();
    for (index, volume) in items_mut(spec, "volumes").iter_mut().enumerate() {
        problems.extend(volumes.replace(volume, index, bound).err().into_iter().flatten());
    }
    for list in CONTAINER_LISTS {
        for container in items_mut(spec, list) {
            volumes.note_mount_points(container);
            volumes.make_mounts_read_only(container);
        }
    }
    for volume in items_mut(spec, "volumes") {
        let was_replaced = volume.get("emptyDir").is_some_and(Value::is_null);
        if let Some(replaced) = volumes.replaced.get(text(volume, "name")).filter(|_| was_replaced) {
            set(volume, "emptyDir", json!({"medium": "Memory", "sizeLimit": size::mebibytes(replaced.mebibytes())}));
        }
    }
    problems.or(volumes)
}

impl Volumes {
    /// Whether a volume of this name was replaced.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.replaced.contains_key(name)
    }

    /// The replaced volumes in the order of the Pod.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Replaced> {
        self.order.iter().filter_map(|name| self.replaced.get(name))
    }

    fn replace(&mut self, volume: &mut Value, index: usize, bound: &BoundSecrets<'_>) -> Result<(), Problems> {
        let place = format!("spec.volumes[{index}]");
        let reader = Reader { bound, place: &place };
        let secret = bound.get(text(at(volume, &["secret"]), "secretName"));
        let projects = items(at(volume, &["projected"]), "sources")
            .iter()
            .any(|source| bound.get(text(at(source, &["secret"]), "name")).is_some());
        let (field, read) = match secret {
            Some((name, _)) => ("secret", reader.secret_volume(at(volume, &["secret"]), name)?),
            None if projects => ("projected", self.projected_volume(volume, &reader)?),
            None => return Ok(()),
        };
        let (default_mode, sources) = read;
        let name: LabelName =
            text(volume, "name").parse().map_err(|problem: Problem| problem.below(&format!("{place}.name")))?;
        let room = Room::of(volume, bound);
        unset(volume, field);
        // Its size is known once the mounts are.
        set(volume, "emptyDir", Value::Null);
        let guarded = sources.iter().find_map(|source| guarded(source, default_mode, bound));
        self.order.push(name.to_string());
        let replaced =
            Replaced { name, default_mode, sources, guarded, mount_points: BTreeSet::new(), room, held: Vec::new() };
        self.replaced.insert(replaced.name.to_string(), replaced);
        Ok(())
    }

    /// Each run of sources that are not bound becomes a volume of its own, which the kubelet projects as before.
    fn projected_volume(
        &mut self,
        volume: &Value,
        reader: &Reader<'_>,
    ) -> Result<(Mode, Vec<SourceConfiguration>), Problems> {
        let projected = at(volume, &["projected"]);
        let default_mode = reader.mode(projected, "defaultMode", "projected.defaultMode")?.unwrap_or(Mode::DEFAULT);
        let name: LabelName = text(volume, "name")
            .parse()
            .map_err(|problem: Problem| problem.below(&format!("{}.name", reader.place)))?;
        let mut sources = Vec::new();
        let mut runs = 0;
        let mut run: Vec<Value> = Vec::new();
        let mut problems = Problems::none();
        for (index, source) in items(projected, "sources").iter().enumerate() {
            match reader.bound.get(text(at(source, &["secret"]), "name")) {
                Some((name_of_secret, _)) => {
                    sources.extend(self.close_run(&name, default_mode, &mut runs, &mut run));
                    let place = format!("projected.sources[{index}].secret");
                    let read = reader.source(at(source, &["secret"]), name_of_secret, &place);
                    sources.extend(problems.collect(read).map(SourceConfiguration::Secret));
                }
                None => run.push(source.clone()),
            }
        }
        sources.extend(self.close_run(&name, default_mode, &mut runs, &mut run));
        problems.or((default_mode, sources))
    }

    fn close_run(
        &mut self,
        of: &LabelName,
        default_mode: Mode,
        runs: &mut u32,
        run: &mut Vec<Value>,
    ) -> Option<SourceConfiguration> {
        let sources = std::mem::take(run);
        if sources.is_empty() {
            return None;
        }
        let path = format!("{}/{of}/{runs}", layout::MIRRORS);
        *runs += 1;
        let name = format!("{}{}", layout::MIRROR_VOLUME_PREFIX, self.mirrors.len());
        self.mirrors.push(Mirror { name, path: path.clone(), of: of.clone(), default_mode, sources });
        Some(SourceConfiguration::Mirror(MirrorSource { path }))
    }

    /// Which of them can be made at all is for [`nested`](crate::decision) to say.
    fn note_mount_points(&mut self, container: &Value) {
        for nested in mount_points::for_kubelet(container) {
            if let Some(volume) = self.replaced.get_mut(text(nested.outer, "name")) {
                volume.mount_points.extend(nested.path.parse::<RelativePath>());
            }
        }
    }

    fn make_mounts_read_only(&mut self, container: &mut Value) {
        let mut held: BTreeMap<String, u64> = BTreeMap::new();
        for mount in items_mut(container, "volumeMounts") {
            let name = text(mount, "name");
            if !self.contains(name) {
                continue;
            }
            if is_sub_path(mount) {
                *held.entry(name.to_owned()).or_default() += 1;
            }
            set(mount, "readOnly", true.into());
        }
        for (name, mounts) in held {
            self.replaced.entry(name).and_modify(|volume| volume.held.push(mounts));
        }
    }
}

/// Whether a mount shows a part of its volume only.
pub(crate) fn is_sub_path(mount: &Value) -> bool {
    !text(mount, "subPath").is_empty() || !text(mount, "subPathExpr").is_empty()
}

impl Replaced {
    /// How much the volume may hold.
    pub(crate) fn mebibytes(&self) -> u32 {
        self.room.mebibytes(self.held.iter().copied())
    }

    /// What the sidecar is told of this volume.
    pub(crate) fn configuration(&self, group_access: GroupAccess) -> VolumeConfiguration {
        VolumeConfiguration {
            name: self.name.clone(),
            path: format!("{}/{}", layout::VOLUMES, self.name),
            default_mode: self.default_mode,
            group_access,
            sources: self.sources.clone(),
            mount_points: self.mount_points.iter().cloned().collect(),
        }
    }
}

/// The first file of a source whose mode shuts others out, and that mode, by the sidecar's rules: the Pod's word for an
/// item, then the binding's, then the volume's, which yields to the type's where it says nothing of its own.
fn guarded(source: &SourceConfiguration, default_mode: Mode, bound: &BoundSecrets<'_>) -> Option<(String, Mode)> {
    let SourceConfiguration::Secret(source) = source else { return None };
    let (_, secret) = bound.get(source.name.as_str())?;
    let of_type = secret.binding.secret_type.default_mode().filter(|_| default_mode == Mode::DEFAULT);
    let default_mode = of_type.unwrap_or(default_mode);
    let of_key = |key: &str| secret.binding.data.get(key).and_then(|entry| entry.mode).unwrap_or(default_mode);
    let is_guarded = |(_, mode): &(&str, Mode)| mode.shuts_others_out();
    let file = |(name, mode): (&str, Mode)| (format!("file {name}"), mode);
    if let Some(items) = &source.items {
        let mut files = items.iter().map(|item| (item.path.as_str(), item.mode.unwrap_or_else(|| of_key(&item.key))));
        return files.find(is_guarded).map(file);
    }
    if !secret.binding.data_from.is_empty() && default_mode.shuts_others_out() {
        return Some(("every file".to_owned(), default_mode));
    }
    let data = &secret.binding.data;
    data.keys().map(|key| (key.as_str(), of_key(key.as_str()))).find(is_guarded).map(file)
}

/// Reads what a volume says about a bound Secret.
struct Reader<'a> {
    bound: &'a BoundSecrets<'a>,
    place: &'a str,
}

impl Reader<'_> {
    fn secret_volume(&self, volume: &Value, name: &SecretName) -> Result<(Mode, Vec<SourceConfiguration>), Problems> {
        let default_mode = self.mode(volume, "defaultMode", "secret.defaultMode")?.unwrap_or(Mode::DEFAULT);
        let source = self.source(volume, name, "secret")?;
        Ok((default_mode, vec![SourceConfiguration::Secret(source)]))
    }

    fn source(&self, source: &Value, name: &SecretName, place: &str) -> Result<SecretSource, Problems> {
        let mut problems = Problems::none();
        let mut read = Vec::new();
        for (index, item) in items(source, "items").iter().enumerate() {
            let place = format!("{place}.items[{index}]");
            let mode = problems.collect(self.mode(item, "mode", &format!("{place}.mode"))).flatten();
            let (key, path) = (text(item, "key").to_owned(), text(item, "path").to_owned());
            read.push(ItemConfiguration { key, path, mode });
        }
        let items = Some(read).filter(|items| !items.is_empty());
        problems.or(SecretSource { name: name.clone(), items, optional: says(source, "optional") })
    }

    fn mode(&self, parent: &Value, field: &str, place: &str) -> Result<Option<Mode>, Problem> {
        let stated = parent.get(field).filter(|value| !value.is_null());
        stated.map(Mode::from_value).transpose().map_err(|problem| problem.below(&format!("{}.{place}", self.place)))
    }
}
