//! What a program that watches the volume with inotify is told: reloaders are written against exactly this.

use super::*;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::mem::MaybeUninit;

/// A watcher of three places, as reloaders choose them.
pub(super) struct Watcher {
    inotify: OwnedFd,
    places: Vec<(i32, &'static str)>,
}

impl Watcher {
    pub(super) fn new(volume: &Volume, places: &[&'static str]) -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK).unwrap();
        // Opening and reading change nothing, and nobody reloads because of them.
        let flags = WatchFlags::ALL_EVENTS - WatchFlags::OPEN - WatchFlags::ACCESS - WatchFlags::CLOSE_NOWRITE;
        let watch =
            |place: &&'static str| (inotify::add_watch(&inotify, volume.path().join(place), flags).unwrap(), *place);
        let places = places.iter().map(watch).collect();
        Self { inotify, places }
    }

    /// The events since the last call, of one place.
    pub(super) fn events(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut events = Vec::new();
        while let Ok(event) = reader.next() {
            let place = self.places.iter().find(|(id, _)| *id == event.wd()).unwrap().1;
            let name = event.file_name().map_or(String::new(), |name| generic(name.to_str().unwrap()));
            let kind = event.events() - ReadFlags::ISDIR;
            events.push(format!("{place}: {} {name}", kind.iter_names().next().unwrap().0).trim_end().to_owned());
        }
        events
    }

    fn events_at(&self, place: &str) -> Vec<String> {
        let prefix = format!("{place}: ");
        self.events().iter().filter_map(|event| event.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

/// Names of generations, without their time.
fn generic(name: &str) -> String {
    if generation::is_name(name) { "GENERATION".to_owned() } else { name.to_owned() }
}

#[test]
fn a_rotation_is_seen_as_the_kubelets() {
    let volume = Volume::new();
    let mut publisher = volume.publisher();
    publisher.publish(&payload(&[("password", "1"), ("user", "u")]), now()).unwrap();
    let watcher = Watcher::new(&volume, &[".", "..data", "password"]);
    publisher.publish(&payload(&[("password", "2"), ("user", "u")]), now()).unwrap();
    let events = watcher.events();
    let at = |place: &str| events.iter().filter_map(|event| event.strip_prefix(place)).collect::<Vec<_>>();
    assert_eq!(
        at(".: "),
        [
            "CREATE GENERATION",
            "ATTRIB GENERATION",
            "CREATE ..data_tmp",
            "MOVED_FROM ..data_tmp",
            "MOVED_TO ..data",
            "DELETE GENERATION"
        ]
    );
    assert_eq!(at("password: "), ["ATTRIB", "DELETE_SELF", "IGNORED"]);
    assert_eq!(at("..data: ").last(), Some(&"IGNORED"));
    assert!(at("..data: ").contains(&"DELETE password"));
}

#[test]
fn a_name_that_comes_or_goes_is_linked_or_unlinked_after_the_switch() {
    let volume = Volume::new();
    let mut publisher = volume.publisher();
    publisher.publish(&payload(&[("old", "1")]), now()).unwrap();
    let watcher = Watcher::new(&volume, &["."]);
    publisher.publish(&payload(&[("new", "1")]), now()).unwrap();
    assert_eq!(
        watcher.events_at(".").split_off(4),
        ["MOVED_TO ..data", "CREATE new", "DELETE old", "DELETE GENERATION"]
    );
}

#[test]
fn an_unchanged_payload_is_no_event_at_all() {
    let volume = Volume::new();
    let mut publisher = volume.publisher();
    publisher.publish(&payload(&[("password", "1"), ("a/b", "2")]), now()).unwrap();
    let watcher = Watcher::new(&volume, &[".", "..data", "password"]);
    for _ in 0..3 {
        assert_eq!(publisher.publish(&payload(&[("password", "1"), ("a/b", "2")]), now()).unwrap(), Outcome::Unchanged);
    }
    assert_eq!(
        volume.publish(&payload(&[("password", "1"), ("a/b", "2")])),
        Outcome::Unchanged,
        "also after a restart"
    );
    assert_eq!(watcher.events(), Vec::<String>::new());
}
