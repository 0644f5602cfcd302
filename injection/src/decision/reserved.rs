//! Names that are Alcove's own: whoever uses them would get at what is the sidecar's alone.

use crate::inject::document::{at, items, text};
use crate::pod::{Container, Pod};
use alcove_contract::{Problem, Problems, layout};

/// People meet the name of the sidecar in copies that `kubectl debug --copy-to` makes, too: it leaves annotations behind.
const ANOTHER_OR_ANNOTATIONS: &str = "use another name or, in a copy of a Pod that Alcove has changed, keep its \
                                      annotations (kubectl debug --keep-annotations)";

/// Names that only Alcove may use, in a Pod from which everything of Alcove's has been taken away.
pub(crate) fn reserved(pod: &Pod) -> Problems {
    let spec = at(pod.document(), &["spec"]);
    let reason = "is a name that only Alcove may use";
    let named = |place: String, name: &str, remedy| Problem::new(place, reason).with_value(name).with_remedy(remedy);
    let volumes = items(spec, "volumes").iter().enumerate().filter_map(|(index, volume)| {
        let name = text(volume, "name");
        is_reserved(name).then(|| named(format!("spec.volumes[{index}].name"), name, "use another name"))
    });
    let containers = pod.containers().flat_map(|container| {
        let own = (container.name == layout::CONTAINER)
            .then(|| named(format!("{}.name", container.path()), container.name, ANOTHER_OR_ANNOTATIONS));
        own.into_iter().chain(reserved_uses(container))
    });
    volumes.chain(containers).collect()
}

fn reserved_uses(container: Container<'_>) -> Vec<Problem> {
    let used = |place: String, name: &str| {
        Problem::new(place, "is a volume that only Alcove's sidecar may use")
            .with_value(name)
            .with_remedy("leave it away")
    };
    let path = container.path();
    let mounts = items(container.document, "volumeMounts").iter().enumerate().filter_map(|(index, mount)| {
        let name = text(mount, "name");
        is_reserved(name).then(|| used(format!("{path}.volumeMounts[{index}].name"), name))
    });
    let references = items(container.document, "env").iter().enumerate().filter_map(|(index, variable)| {
        let name = text(at(variable, &["valueFrom", "fileKeyRef"]), "volumeName");
        is_reserved(name).then(|| used(format!("{path}.env[{index}].valueFrom.fileKeyRef.volumeName"), name))
    });
    mounts.chain(references).collect()
}

fn is_reserved(volume: &str) -> bool {
    volume.starts_with(layout::VOLUME_PREFIX)
}
