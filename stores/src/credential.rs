//! Credentials, which are files: the kubelet and the user rotate them, so they are read again at every login.

use crate::error::StoreError;
use crate::secret::{SecretBuffer, SecretBytes};
use std::fs::File;
use std::io::Read;
use zeroize::Zeroizing;

/// The longest credential, in bytes; tokens and PEM chains are a few KiB.
const LONGEST_CREDENTIAL: usize = 256 * 1024;

/// A credential that is text, without the line end that editors and `echo` leave behind it.
pub(crate) struct Credential(SecretBytes);

impl Credential {
    /// Reads the `what`, such as "token", from the file at `path`.
    pub(crate) fn read(path: &str, what: &str) -> Result<Self, StoreError> {
        let mut buffer = read(path, what)?;
        let length = buffer.as_bytes().trim_line_end().len();
        buffer.truncate(length);
        let wrong = |reason: &str| Err(StoreError::misconfigured(format!("the {what} in \"{path}\" {reason}")));
        match std::str::from_utf8(buffer.as_bytes()) {
            Ok("") => wrong("is empty"),
            Ok(_) => Ok(Self(buffer.into())),
            Err(_) => wrong("is not text"),
        }
    }

    /// The credential as text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }
}

impl From<Credential> for SecretBytes {
    fn from(credential: Credential) -> Self {
        credential.0
    }
}

/// Reads a file with the `what` as it is.
///
/// These are small files in memory: the thread pool that asynchronous reads need would cost more than they block.
pub(crate) fn read(path: &str, what: &str) -> Result<SecretBuffer, StoreError> {
    let unreadable =
        |error: std::io::Error| StoreError::misconfigured(format!("cannot read the {what} in \"{path}\": {error}"));
    let mut file = File::open(path).map_err(unreadable)?;
    let mut buffer = SecretBuffer::default();
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        let count = file.read(piece.as_mut_slice()).map_err(unreadable)?;
        buffer.extend(piece.get(..count).unwrap_or_default());
        if count == 0 {
            return Ok(buffer);
        }
        if buffer.len() > LONGEST_CREDENTIAL {
            let text = format!("the {what} in \"{path}\" is longer than {LONGEST_CREDENTIAL} bytes");
            return Err(StoreError::misconfigured(text));
        }
    }
}

trait TrimLineEnd {
    /// Without line ends at the end, and with every other white space: a password may end in a blank.
    fn trim_line_end(&self) -> &Self;
}

impl TrimLineEnd for [u8] {
    fn trim_line_end(&self) -> &Self {
        let mut bytes = self;
        while let [rest @ .., b'\n' | b'\r'] = bytes {
            bytes = rest;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;
    use std::io::Write;

    fn written(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn read_text(content: &[u8]) -> Result<Credential, StoreError> {
        Credential::read(&written(content).path().display().to_string(), "password")
    }

    #[test]
    fn only_the_line_end_is_taken_from_a_credential() {
        for (content, expected) in [("token", "token"), ("token\n", "token"), ("a b \r\n", "a b ")] {
            assert_eq!(read_text(content.as_bytes()).ok().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_cannot_be_a_credential_is_refused_with_its_path() {
        let long = vec![b'x'; LONGEST_CREDENTIAL + 1];
        for content in [b"".as_slice(), b"\n", b"\xff", &long] {
            let error = read_text(content).err().unwrap();
            assert_eq!(error.class(), ErrorClass::Misconfigured);
            assert!(error.to_string().contains("the password in \"/"), "{error}");
        }
        assert!(Credential::read("/nowhere/at/all", "token").is_err());
    }
}
