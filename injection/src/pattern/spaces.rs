//! In which kinds of stores a pattern of keys matches anything.
//!
//! Keys are canonical when they are compared, so a pattern of another spelling matches none of them. Whether there is a key
//! that it matches is asked of the very function that makes keys canonical: with a letter for each wildcard that no
//! special name has, a pattern is a key wherever it matches one at all.

use alcove_contract::Problem;
use alcove_contract::provider::KeySpace;
use alcove_contract::provider::vault::EngineVersion;
use alcove_contract::reference::Key;

/// The kinds of stores that have keys which a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeySpaces([bool; KeySpace::ALL.len()]);

impl KeySpaces {
    /// Every kind of store.
    pub(crate) const EVERYWHERE: Self = Self([true; KeySpace::ALL.len()]);

    /// That of a pattern.
    pub(crate) fn of(pattern: &str) -> Self {
        // Vault's keys have two segments at least, those of Kubernetes have one.
        let keys = ["x/x", "x"].map(|run| Key::new(filled(pattern, run)));
        Self(KeySpace::ALL.map(|space| keys.iter().any(|key| space.canonical_key(key).is_ok())))
    }

    /// The kinds of stores that both have.
    pub(crate) fn and(self, other: Self) -> Self {
        let mut both = self;
        for (reached, other) in both.0.iter_mut().zip(other.0) {
            *reached &= other;
        }
        both
    }

    /// Whether stores of this kind are among them.
    pub(crate) fn includes(self, space: KeySpace) -> bool {
        KeySpace::ALL.iter().zip(self.0).any(|(known, reached)| *known == space && reached)
    }
}

/// The pattern with `run` for each `**`, and a letter for each `*`.
pub(super) fn filled(pattern: &str, run: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let pieces = pattern.split_inclusive(|letter| letter != '*');
    for piece in pieces {
        let letter = piece.trim_start_matches('*');
        text.push_str(match piece.len() - letter.len() {
            0 => "",
            1 => "x",
            _ => run,
        });
        text.push_str(letter);
    }
    text
}

/// Refuses a pattern that matches no key of any store, or that would hardly match what was meant.
pub(super) fn check(pattern: &str) -> Result<(), Problem> {
    let wrong = |reason: &str| Problem::new("", reason).with_value(pattern);
    let named: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
    let joined = named.join("/");
    if pattern.chars().any(char::is_control) {
        return Err(wrong("matches no key: none contains a control character"));
    }
    if pattern.trim() != pattern {
        return Err(wrong("begins or ends with white space")
            .with_remedy(format!("write \"{}\", or * for the white space if the key really has it", pattern.trim())));
    }
    if joined != pattern {
        let problem = wrong("matches no key: none begins or ends with '/', or has an empty segment");
        return Err(if joined.is_empty() { problem } else { problem.with_remedy(format!("write \"{joined}\"")) });
    }
    if named.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(wrong("matches no key: none has a segment '.' or '..'"));
    }
    if KeySpaces::of(pattern).0.contains(&true) {
        return Ok(());
    }
    Err(match named.as_slice() {
        [_] => wrong(
            "matches no key: one of Vault has two segments or more, and one of Kubernetes is the name of a Secret",
        )
        .with_remedy("write <mount>/<path>, as in kv/app/**, or the name of a Secret"),
        _ => wrong(&format!(
            "matches no key: \"{}\" is Vault's own API and no KV engine",
            named.first().copied().unwrap_or_default()
        )),
    })
}

/// Why a pattern matches no key of a kind of store, as what follows "it", and what to write instead. Nothing if it does.
pub(crate) fn idle(pattern: &str, space: KeySpace) -> Option<(String, String)> {
    if KeySpaces::of(pattern).includes(space) {
        return None;
    }
    let problem = space.canonical_key(&Key::new(filled(pattern, "x/x"))).err()?;
    let segments: Vec<&str> = pattern.split('/').collect();
    let remedy = match (space, segments.as_slice()) {
        (KeySpace::Kubernetes, _) => "write the Secret's name alone: its namespace stands in the store".to_owned(),
        (KeySpace::Vault(version), [mount, "data", rest @ ..]) if version != Some(EngineVersion::V1) => {
            let canonical = format!("write \"{mount}/{}\"", rest.join("/"));
            match version {
                Some(_) => canonical,
                None => format!("{canonical}, or set version: v1 in the store if the mount is KV 1"),
            }
        }
        (KeySpace::Vault(_), _) => "write <mount>/<path>, as in kv/app/**".to_owned(),
    };
    Some((problem.reason, remedy))
}

#[cfg(test)]
mod tests;
