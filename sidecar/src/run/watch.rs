//! Notices when the kubelet replaces the files of a mirrored volume.

use alcove_contract::configuration::{SourceConfiguration, VolumeConfiguration};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// The name that the kubelet renames to when it replaces the files.
const DATA: &[u8] = b"..data";
/// Room for a few events; what does not fit stays in the queue.
const BUFFER_BYTES: usize = 1024;

/// A watch on the directories of all mirrored volumes: on the directories, since every file in them is replaced.
pub(super) struct MirrorWatch(Option<AsyncFd<OwnedFd>>);

impl MirrorWatch {
    /// Watches what `volumes` mirror.
    pub(super) fn new(volumes: &[VolumeConfiguration]) -> io::Result<Self> {
        let mut mirrored = mirrored(volumes).peekable();
        if mirrored.peek().is_none() {
            return Ok(Self(None));
        }
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        for path in mirrored {
            inotify::add_watch(&inotify, path, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)?;
        }
        Ok(Self(Some(register(inotify)?)))
    }

    /// Ends when the files of a volume were replaced; never, where nothing is mirrored.
    pub(super) async fn moved(&self) {
        let Some(inotify) = &self.0 else { return std::future::pending().await };
        loop {
            match inotify.readable().await {
                Ok(mut ready) => {
                    if saw_data_move(inotify.get_ref()) {
                        return;
                    }
                    ready.clear_ready();
                }
                Err(error) => {
                    tracing::warn!(%error, "mirrored volumes are no longer watched");
                    return std::future::pending().await;
                }
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "the unsafe successor is for types whose descriptor may change, which an OwnedFd's cannot"
)]
fn register(inotify: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(inotify)
}

/// The directories that `volumes` mirror.
fn mirrored(volumes: &[VolumeConfiguration]) -> impl Iterator<Item = &str> {
    volumes.iter().flat_map(|volume| &volume.sources).filter_map(|source| match source {
        SourceConfiguration::Mirror(mirror) => Some(mirror.path.as_str()),
        SourceConfiguration::Secret(_) => None,
    })
}

/// Takes all events that are there; whether one of them is the kubelet's switch to new files.
fn saw_data_move(inotify: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut moved = false;
    while let Ok(event) = reader.next() {
        moved |= event.file_name().is_some_and(|name| name.to_bytes() == DATA);
    }
    moved
}
