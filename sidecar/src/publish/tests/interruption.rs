//! A publication that stops after any step: readers never see a mix, and the next publication puts everything right.

use super::*;
use std::cell::Cell;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// The kernel, until a number of changes were made; after that nothing happens any more, as after a crash.
pub(super) struct Interrupted {
    left: Rc<Cell<usize>>,
}

impl Interrupted {
    pub(super) fn after(steps: usize) -> Self {
        Self { left: Rc::new(Cell::new(steps)) }
    }

    fn step(&self) -> io::Result<()> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| io::Error::other("interrupted"))?;
        self.left.set(left);
        Ok(())
    }
}

impl Changes for Interrupted {
    fn make_directory(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.step().and_then(|()| Kernel.make_directory(parent, name))
    }

    fn create_file(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
        self.step().and_then(|()| Kernel.create_file(parent, name))
    }

    fn write(&self, file: BorrowedFd<'_>, content: &[u8]) -> io::Result<()> {
        self.step().and_then(|()| Kernel.write(file, content))
    }

    fn set_mode(&self, file: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
        self.step().and_then(|()| Kernel.set_mode(file, mode))
    }

    fn link(&self, target: &str, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.step().and_then(|()| Kernel.link(target, parent, name))
    }

    fn rename(&self, parent: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
        self.step().and_then(|()| Kernel.rename(parent, from, to))
    }

    fn remove_file(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.step().and_then(|()| Kernel.remove_file(parent, name))
    }

    fn remove_directory(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.step().and_then(|()| Kernel.remove_directory(parent, name))
    }
}

/// Two versions that differ in a name, a directory and every byte.
fn version(number: usize) -> Payload<'static> {
    if number.is_multiple_of(2) {
        payload(&[("a", "even"), ("b", "even"), ("only-even/x", "even")])
    } else {
        payload(&[("a", "odd"), ("b", "odd"), ("only-odd", "odd")])
    }
}

/// Publishes `payload`, stopping after `steps` changes; whether it came to its end.
fn publish_interrupted(volume: &Volume, payload: &Payload<'_>, steps: usize) -> bool {
    let mut publisher = Publisher { changes: Box::new(Interrupted::after(steps)), ..volume.publisher() };
    publisher.publish(payload, now()).is_ok()
}

#[test]
fn after_an_interruption_at_any_step_the_next_publication_leaves_exactly_its_files() {
    let mut steps = 0;
    loop {
        let volume = Volume::new();
        volume.publish(&version(0));
        let done = publish_interrupted(&volume, &version(1), steps);
        let visible = fs::read_to_string(volume.path().join("a")).unwrap();
        assert!(matches!(visible.as_str(), "even" | "odd"), "after {steps} steps");
        assert_eq!(fs::read_to_string(volume.path().join("b")).unwrap(), visible, "after {steps} steps");

        for next in [1, 0] {
            volume.publish(&version(next));
            let expected = Volume::new();
            expected.publish(&version(next));
            assert_eq!(visible_names(&volume), visible_names(&expected), "after {steps} steps");
            assert_eq!(volume.names().len(), expected.names().len(), "nothing else lies around after {steps} steps");
        }
        if done {
            assert!(steps > 20, "the wrapper saw {steps} steps");
            return;
        }
        steps += 1;
    }
}

fn visible_names(volume: &Volume) -> BTreeSet<String> {
    volume.names().into_iter().filter(|name| !generation::is_name(name)).collect()
}

/// Reads both files of one generation; nothing if the generation has gone away meanwhile.
fn read_pair(root: &Path) -> Option<(String, String)> {
    // Names of generations come again while the clock stands still; the link itself is a new one each time.
    let present = || fs::symlink_metadata(root.join("..data")).map(|link| link.ino());
    let before = present();
    let read = || {
        let generation = File::open(root.join("..data"))?;
        let read = |name| {
            let mut text = String::new();
            let file = beneath::open(generation.as_fd(), name, OFlags::RDONLY)?;
            File::from(file).read_to_string(&mut text)?;
            io::Result::Ok(text)
        };
        io::Result::Ok((read("a")?, read("b")?))
    };
    match (read(), before, present()) {
        (Ok(pair), ..) => Some(pair),
        (Err(_), Ok(before), Ok(after)) if before != after => None,
        // It is there and cannot be read: no pair of two that are equal.
        (error, ..) => Some((format!("{error:?}"), "..data has not moved".to_owned())),
    }
}

#[test]
fn a_reader_in_a_loop_never_sees_a_mix_of_two_versions() {
    let volume = Volume::new();
    volume.publish(&version(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, pairs) = mpsc::channel();
    let reader = std::thread::spawn({
        let (root, stop) = (volume.path().to_owned(), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(pair) = read_pair(&root) {
                    seen.send(pair).unwrap();
                }
            }
        }
    });
    let mut counts = [0, 0];
    for number in 0.. {
        publish_interrupted(&volume, &version(number), number % 40);
        volume.publish(&version(number));
        for (a, b) in pairs.try_iter() {
            assert_eq!(a, b);
            counts[usize::from(a == "odd")] += 1;
        }
        if number > 400 && counts.iter().all(|count| *count > 20) {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    reader.join().unwrap();
}
