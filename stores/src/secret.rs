//! The one type that holds secret bytes.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes that are wiped when the last holder drops them, and cannot be printed, copied or serialised by accident.
///
/// ```compile_fail
/// let secret = alcove_stores::SecretBytes::from(vec![1]);
/// println!("{secret:?}");
/// ```
/// ```compile_fail
/// let secret = alcove_stores::SecretBytes::from(vec![1]);
/// println!("{secret}");
/// ```
/// ```compile_fail
/// let secret = alcove_stores::SecretBytes::from(vec![1]);
/// let copy = secret.clone();
/// ```
/// ```compile_fail
/// let secret = alcove_stores::SecretBytes::from(vec![1]);
/// serde_json::to_string(&secret);
/// ```
/// What it is for:
/// ```
/// let secret = alcove_stores::SecretBytes::from(vec![1]);
/// assert_eq!(secret.as_bytes(), [1]);
/// ```
#[derive(PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "a secret has no printable form")]
pub struct SecretBytes(Arc<Zeroizing<Vec<u8>>>);

impl SecretBytes {
    /// The bytes, for where they are delivered.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same bytes for one more holder; no copy is made.
    #[must_use]
    pub fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// How many bytes they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether they are the empty value, which is a value and not a missing one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl SecretBytes {
    /// The bytes as HTTP headers and bodies take them; the last holder wipes them.
    pub(crate) fn into_shared(self) -> Bytes {
        Bytes::from_owner(Shared(self))
    }
}

/// What only the HTTP client sees as plain bytes.
struct Shared(SecretBytes);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<Vec<u8>> for SecretBytes {
    /// Takes the buffer over without a copy.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }
}

/// By how much a buffer grows at most beyond what is needed: several large answers may be on their way at once.
const LARGEST_RESERVE: usize = 512 * 1024;

/// Bytes that grow without leaving copies behind, as a `Vec` would when it moves.
#[derive(Default)]
pub(crate) struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    /// An empty buffer that holds `capacity` bytes before it has to move.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    /// Appends `bytes`; where the buffer has to move, the old one is wiped.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            let reserve = self.0.capacity().min(LARGEST_RESERVE);
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(self.0.capacity().saturating_add(reserve))));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    /// Keeps the first `length` bytes; the rest is wiped with the buffer.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// How many bytes it holds.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretBuffer")
    }
}

impl From<SecretBuffer> for SecretBytes {
    fn from(buffer: SecretBuffer) -> Self {
        Self(Arc::new(buffer.0))
    }
}

impl std::io::Write for SecretBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_growing_buffer_holds_what_was_put_in(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut buffer = SecretBuffer::default();
            for piece in &pieces {
                buffer.extend(piece);
            }
            prop_assert_eq!(buffer.as_bytes(), pieces.concat());
        }
    }
}
