//! Changes of documents, beside libFuzzer's own changes of bytes.

use libfuzzer_sys::fuzzer_mutate;

/// Takes the document that somebody has made of the data, if there is one and it fits; otherwise libFuzzer changes bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, document: Option<Vec<u8>>) -> usize {
    match document {
        Some(document) if document.len() <= max_size => {
            data[..document.len()].copy_from_slice(&document);
            document.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}
