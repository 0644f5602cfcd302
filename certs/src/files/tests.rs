use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::authority::Authority;
use crate::names::Names;

const HOUR: Duration = Duration::from_hours(1);

fn now() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

struct Issued {
    certificate: String,
    key: String,
    authority: String,
}

fn issue() -> Issued {
    let authority = Authority::issue(HOUR, now()).unwrap();
    let leaf = authority.issue_leaf(&Names::new(["a.b.svc"]).unwrap(), HOUR, now()).unwrap();
    Issued {
        certificate: leaf.chain_to_pem(),
        key: leaf.key().as_pem().to_owned(),
        authority: authority.certificate().to_pem(),
    }
}

/// A Secret volume, published as the kubelet does it.
struct Volume {
    root: TempDir,
    version: usize,
}

impl Volume {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), version: 0 }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("certs")
    }

    fn publish(&mut self, issued: &Issued) {
        let (old, new) = (format!("..version_{}", self.version), format!("..version_{}", self.version + 1));
        self.version += 1;
        let directory = self.directory();
        fs::create_dir_all(directory.join(&new)).unwrap();
        for (name, content) in
            [("tls.crt", &issued.certificate), ("tls.key", &issued.key), ("ca.crt", &issued.authority)]
        {
            put(&directory.join(&new), name, content);
            let link = directory.join(name);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
        symlink(&new, directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
        if directory.join(&old).exists() {
            fs::remove_dir_all(directory.join(&old)).unwrap();
        }
    }
}

fn put(directory: &Path, name: &str, content: impl AsRef<[u8]>) {
    use std::io::Write;
    File::create(directory.join(name)).unwrap().write_all(content.as_ref()).unwrap();
}

fn changed(poll: Poll) -> Version {
    match poll {
        Poll::Changed(version) => *version,
        other => panic!("expected a change, found {other:?}"),
    }
}

fn broken(poll: Poll) -> FilesError {
    match poll {
        Poll::Broken(error) => error,
        other => panic!("expected a broken version, found {other:?}"),
    }
}

#[test]
fn three_swaps_of_a_secret_volume_are_three_changes() {
    let mut volume = Volume::new();
    let mut watched = Watched::new(volume.directory());
    for _ in 0..3 {
        let issued = issue();
        volume.publish(&issued);
        let version = changed(watched.poll(now()));
        assert_eq!(version.identity.chain_to_pem(), issued.certificate);
        assert_eq!(version.trust.unwrap().to_pem(), issued.authority);
        assert!(matches!(watched.poll(now()), Poll::Unchanged));
    }
}

#[test]
fn a_swap_to_the_same_contents_is_no_change() {
    let (mut volume, issued) = (Volume::new(), issue());
    let mut watched = Watched::new(volume.directory());
    volume.publish(&issued);
    changed(watched.poll(now()));
    volume.publish(&issued);
    assert!(matches!(watched.poll(now()), Poll::Unchanged));
}

#[test]
fn a_key_written_before_its_certificate_is_broken_until_the_certificate_arrives() {
    let (directory, first, second) = (tempfile::tempdir().unwrap(), issue(), issue());
    let mut watched = Watched::new(directory.path());
    put(directory.path(), "tls.key", &first.key);
    put(directory.path(), "tls.crt", &first.certificate);
    assert!(changed(watched.poll(now())).trust.is_none(), "ca.crt is optional");

    put(directory.path(), "tls.key", &second.key);
    assert!(matches!(broken(watched.poll(now())), FilesError::Identity(IdentityError::Mismatch)));
    assert!(matches!(broken(watched.poll(now())), FilesError::Identity(IdentityError::Mismatch)), "still broken");
    put(directory.path(), "tls.crt", &second.certificate);
    assert_eq!(changed(watched.poll(now())).identity.chain_to_pem(), second.certificate);
}

#[test]
fn a_broken_version_that_is_taken_back_is_no_change() {
    let (mut volume, issued) = (Volume::new(), issue());
    let mut watched = Watched::new(volume.directory());
    volume.publish(&issued);
    changed(watched.poll(now()));
    volume.publish(&Issued { certificate: "nonsense".into(), ..issue() });
    assert!(matches!(broken(watched.poll(now())), FilesError::Identity(IdentityError::Certificate(_))));
    volume.publish(&issued);
    assert!(matches!(watched.poll(now()), Poll::Unchanged));
}

#[test]
fn a_directory_that_was_deleted_is_read_again_when_it_is_back() {
    let mut volume = Volume::new();
    let mut watched = Watched::new(volume.directory());
    assert!(matches!(broken(watched.poll(now())), FilesError::Read { .. }), "before the first mount");
    volume.publish(&issue());
    changed(watched.poll(now()));
    fs::remove_dir_all(volume.directory()).unwrap();
    assert!(matches!(broken(watched.poll(now())), FilesError::Read { .. }));
    let issued = issue();
    volume.publish(&issued);
    assert_eq!(changed(watched.poll(now())).identity.chain_to_pem(), issued.certificate);
}

#[test]
fn an_expired_certificate_and_an_unreadable_ca_are_broken() {
    let (mut volume, issued) = (Volume::new(), issue());
    let mut watched = Watched::new(volume.directory());
    volume.publish(&issued);
    let late = now() + jiff::SignedDuration::from_hours(2);
    assert!(matches!(broken(watched.poll(late)), FilesError::Expired { .. }));
    volume.publish(&Issued { authority: String::new(), ..issue() });
    assert!(matches!(broken(watched.poll(now())), FilesError::Trust(CertificateError::Missing)));
}

#[test]
fn a_huge_file_is_refused_unread() {
    let (directory, issued) = (tempfile::tempdir().unwrap(), issue());
    put(directory.path(), "tls.key", &issued.key);
    File::create(directory.path().join("tls.crt")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    assert!(matches!(broken(Watched::new(directory.path()).poll(now())), FilesError::TooLarge { .. }));
}

#[test]
fn a_swap_in_the_middle_of_a_look_never_mixes_two_versions() {
    let mut volume = Volume::new();
    let mut watched = Watched::new(volume.directory());
    let versions = [issue(), issue()];
    volume.publish(&versions[0]);
    let writer = std::thread::spawn(move || {
        (0..1_000).for_each(|round| volume.publish(&versions[round % 2]));
        volume
    });
    while !writer.is_finished() {
        if let Poll::Broken(error) = watched.poll(now()) {
            assert!(matches!(error, FilesError::Unsteady { .. }), "{error:?}");
        }
    }
    let _volume = writer.join().unwrap();
    assert!(!matches!(watched.poll(now()), Poll::Broken(_)), "at rest again");
}
