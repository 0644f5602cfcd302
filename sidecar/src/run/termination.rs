//! The reason of an exit, where people look for it: `kubectl describe pod`.

use crate::agent::Exit;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// What the kubelet shows of a termination message, in bytes.
const LONGEST_MESSAGE: usize = 4096;

/// Says why the process ends: as its last log lines, and in the termination log, where the kubelet provides one.
pub(super) fn report(exit: &Exit, termination_log: &Path) {
    match exit {
        Exit::Terminated => tracing::info!("ended, as asked"),
        Exit::Failed(reasons) => {
            // Several volumes may lack the same value.
            let mut said = BTreeSet::new();
            let lines: Vec<&str> =
                reasons.iter().flat_map(|reason| reason.lines()).filter(|line| said.insert(*line)).collect();
            for line in &lines {
                tracing::error!("{line}");
            }
            write(termination_log, &lines.join("\n"));
        }
    }
}

fn write(path: &Path, message: &str) {
    // Without a file the kubelet takes the last log lines instead.
    let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(path) else { return };
    let message = message.get(..message.floor_char_boundary(LONGEST_MESSAGE)).unwrap_or(message);
    if let Err(error) = file.write_all(message.as_bytes()) {
        tracing::debug!(%error, "the termination log cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_kubelet_is_told_every_reason_once_up_to_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("termination-log");
        fs::File::create(&path).unwrap();
        report(&Exit::Failed(vec!["one\ntwo".to_owned(), "two\nthree".to_owned()]), &path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree");
        report(&Exit::Failed(vec!["ä".repeat(5000)]), &path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "ä".repeat(2048));
    }

    #[test]
    fn an_exit_that_was_asked_for_leaves_no_message_and_no_file_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("termination-log");
        report(&Exit::Terminated, &path);
        report(&Exit::Failed(vec!["reason".to_owned()]), &path);
        assert!(!path.exists());
    }
}
