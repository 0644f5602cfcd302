//! References to images, as kubelets read them: `registry.example:5000/team/sidecar:1.2@sha256:…`.
//!
//! The API server accepts any text as an image; a Pod whose image is none waits for it forever. So what every injected Pod
//! will carry is checked when the program starts.

use std::fmt;
use std::str::FromStr;

/// The longest name of an image, its registry included.
const LONGEST_NAME: usize = 255;
/// The longest tag.
const LONGEST_TAG: usize = 128;
/// The algorithms of digests, and how many hexadecimal digits theirs have.
const DIGESTS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

/// A reference to an image that a kubelet can read. What it leads to, nobody has asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference(String);

impl ImageReference {
    /// The reference as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a text is no reference to an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnImage {
    #[error("is empty: write [REGISTRY/]NAME[:TAG][@DIGEST]")]
    Empty,
    #[error("has a registry that is no host name with an optional port: \"{}\"", .0.escape_debug())]
    Registry(String),
    #[error(
        "has a part that is no name of an image: \"{}\"; write lower case letters and digits, with \".\", \"_\", \"__\" or \"-\" between them",
        .0.escape_debug()
    )]
    Name(String),
    #[error("has a name of {0} bytes, more than {LONGEST_NAME}")]
    LongName(usize),
    #[error(
        "has a tag that is none: \"{}\"; write up to {LONGEST_TAG} letters, digits, \"_\", \".\" and \"-\", the first no \".\" or \"-\"",
        .0.escape_debug()
    )]
    Tag(String),
    #[error("has a digest that is none: \"{}\"; write sha256: and 64 digits 0-9a-f", .0.escape_debug())]
    Digest(String),
}

impl FromStr for ImageReference {
    type Err = NotAnImage;

    fn from_str(text: &str) -> Result<Self, NotAnImage> {
        if text.is_empty() {
            return Err(NotAnImage::Empty);
        }
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        // A colon before the last slash belongs to a port.
        let is_tag = |(_, after): &(&str, &str)| !after.contains('/');
        let (name, tag) = rest.rsplit_once(':').filter(is_tag).map_or((rest, None), |(name, tag)| (name, Some(tag)));
        check_name(name)?;
        match (tag, digest) {
            (Some(tag), _) if !is_tag_of_an_image(tag) => Err(NotAnImage::Tag(tag.to_owned())),
            (_, Some(digest)) if !is_digest(digest) => Err(NotAnImage::Digest(digest.to_owned())),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

fn check_name(name: &str) -> Result<(), NotAnImage> {
    if name.len() > LONGEST_NAME {
        return Err(NotAnImage::LongName(name.len()));
    }
    let path = match name.split_once('/').filter(|(first, _)| means_a_registry(first)) {
        Some((registry, _)) if !is_registry(registry) => return Err(NotAnImage::Registry(registry.to_owned())),
        Some((_, path)) => path,
        None => name,
    };
    let wrong = path.split('/').find(|component| !is_component(component));
    wrong.map_or(Ok(()), |component| Err(NotAnImage::Name(component.to_owned())))
}

/// Whether what stands before the first slash is a registry, and not the first part of a name in the default one.
fn means_a_registry(first: &str) -> bool {
    first == "localhost" || first.contains(|letter: char| matches!(letter, '.' | ':') || letter.is_ascii_uppercase())
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':').filter(|_| !text.ends_with(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_label = |label: &str| {
        let bytes = || label.bytes();
        bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && [bytes().next(), bytes().next_back()].iter().all(|end| end.is_some_and(|byte| byte != b'-'))
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.contains(':') && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':'),
        None => host.split('.').all(is_label),
    };
    is_host && port.is_none_or(is_port)
}

/// Whether runs of letters and digits stand at both ends, and one separator between any two.
fn is_component(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_separator = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    text.starts_with(is_letter) && text.ends_with(is_letter) && text.split(is_letter).all(is_separator)
}

fn is_tag_of_an_image(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.split_once(':')
        .is_some_and(|(algorithm, digits)| DIGESTS.contains(&(algorithm, digits.len())) && digits.bytes().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `github.com/distribution/reference` reads them, which kubelets and containerd use.
    #[test]
    fn what_a_kubelet_can_read_is_accepted_and_nothing_else() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for right in [
            "sidecar",
            "team/sidecar:1.2",
            "localhost/alcove-sidecar:test",
            "registry.example/sidecar",
            "Registry.example:5000/a/b-c/d__e/f.g/h--i:V1_.-",
            "[2001:db8::1]:5000/sidecar",
            "[2001:db8::1]/sidecar",
            &format!("ghcr.io/alcove-dev/alcove-sidecar:0.1.0@{digest}"),
            &format!("sidecar@{digest}"),
            &format!("sidecar@sha512:{}", "0".repeat(128)),
        ] {
            assert_eq!(right.parse::<ImageReference>().map(|image| image.to_string()), Ok(right.to_owned()));
        }
        for wrong in [
            "",
            "bad image",
            " sidecar",
            "sidecar\n",
            "Sidecar",
            "registry.example/Sidecar",
            "https://registry.example/sidecar",
            "registry.example/",
            "/sidecar",
            "a//b",
            "a/-b",
            "a/b_",
            "a/b___c",
            "a/b..c",
            "a/b._c",
            "-registry.example/sidecar",
            "registry..example/sidecar",
            "registry.example:/sidecar",
            "registry.example:port/sidecar",
            "[2001:db8::1/sidecar",
            "sidecar:",
            "sidecar:-1",
            "sidecar:a b",
            "sidecar:ä",
            &format!("sidecar:{}", "a".repeat(129)),
            &"a".repeat(256),
            "sidecar@",
            "sidecar@sha256:0",
            "sidecar@sha512:00",
            &format!("sidecar@{}", digest.to_uppercase()),
            &format!("sidecar@md5:{}", "0".repeat(64)),
            &format!("sidecar@{digest}:1"),
        ] {
            assert!(wrong.parse::<ImageReference>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_part_that_is_wrong_is_shown() {
        let message = |text: &str| text.parse::<ImageReference>().unwrap_err().to_string();
        assert!(
            message("bad image").starts_with("has a part that is no name of an image: \"bad image\"; write lower case")
        );
        assert!(message("r:x/sidecar").contains("no host name with an optional port: \"r:x\""));
        assert!(message("sidecar:a\tb").contains("\"a\\tb\""));
        assert!(message("sidecar@sha256:0").contains("\"sha256:0\"; write sha256: and 64 digits"));
    }
}
