//! How a store's text becomes the bytes of a file. `raw` never decodes by resemblance.

use alcove_contract::binding::Encoding;
use alcove_stores::SecretBytes;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

/// The URL alphabet, padded or not.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes `text`. Spaces and line ends are ignored, because programs wrap what they print; the rest is strict.
///
/// # Errors
///
/// Why the text is not in that encoding: the place of the first wrong byte, never the byte itself.
pub(super) fn decode(encoding: Encoding, text: SecretBytes) -> Result<SecretBytes, String> {
    match encoding {
        Encoding::Raw => Ok(text),
        Encoding::Base64 => decode_base64(&BASE64_STANDARD, "base64", text.as_bytes()),
        Encoding::Base64url => decode_base64(&BASE64_URL, "base64url", text.as_bytes()),
        Encoding::Hex => decode_hex(text.as_bytes()),
    }
}

fn decode_base64(engine: &GeneralPurpose, name: &str, text: &[u8]) -> Result<SecretBytes, String> {
    let mut dense = Zeroizing::new(Vec::with_capacity(text.len()));
    dense.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
    // Room for everything from the start: a buffer that moves leaves its bytes behind.
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(dense.len())]);
    match engine.decode_slice(dense.as_slice(), &mut decoded) {
        Ok(length) => {
            decoded.truncate(length);
            Ok(std::mem::take(&mut *decoded).into())
        }
        Err(base64::DecodeSliceError::DecodeError(error)) => Err(base64_problem(name, &error, text)),
        Err(base64::DecodeSliceError::OutputSliceTooSmall) => Err(format!("is not {name}")),
    }
}

fn base64_problem(name: &str, error: &DecodeError, text: &[u8]) -> String {
    match error {
        DecodeError::InvalidByte(index, _) => {
            format!("is not {name}: the byte at offset {} does not belong there", offset_of(text, *index))
        }
        DecodeError::InvalidLastSymbol(index, _) => {
            format!("is not {name}: it ends in the middle of a byte, at offset {}", offset_of(text, *index))
        }
        DecodeError::InvalidLength(_) => format!("is not {name}: its length is impossible; it may have been cut off"),
        DecodeError::InvalidPadding => format!("is not {name}: its padding ('=') is missing or wrong"),
    }
}

/// Where the byte stands that is number `index` among those that are no white space.
fn offset_of(text: &[u8], index: usize) -> usize {
    let mut dense = text.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace());
    dense.nth(index).map_or(text.len(), |(offset, _)| offset)
}

fn decode_hex(text: &[u8]) -> Result<SecretBytes, String> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len() / 2 + 1));
    let mut high: Option<u32> = None;
    for (offset, byte) in text.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            return Err(format!("is not hexadecimal: the byte at offset {offset} is no digit"));
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => decoded.extend(u8::try_from(high * 16 + digit)),
        }
    }
    match high {
        None => Ok(std::mem::take(&mut *decoded).into()),
        Some(_) => Err("is not hexadecimal: it has an odd number of digits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    fn decoded(encoding: Encoding, text: &str) -> Result<Vec<u8>, String> {
        decode(encoding, text.as_bytes().to_vec().into()).map(|bytes| bytes.as_bytes().to_vec())
    }

    #[test]
    fn raw_never_decodes_by_resemblance() {
        for text in ["123456", "happy/street", "cGFzcw==", "\n"] {
            assert_eq!(decoded(Encoding::Raw, text).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn wrapped_base64_is_read_and_the_rest_is_strict() {
        assert_eq!(decoded(Encoding::Base64, "cGFz\r\nc3dv cmQ=\n").unwrap(), b"password");
        for (wrong, reason) in [
            ("cGFz\nc3*vcmQ=", "is not base64: the byte at offset 7 does not belong there"),
            ("cGFzc3dvcmQ", "is not base64: its padding ('=') is missing or wrong"),
            ("-_-_", "is not base64: the byte at offset 0 does not belong there"),
            ("cGFzc", "is not base64: its length is impossible; it may have been cut off"),
        ] {
            assert_eq!(decoded(Encoding::Base64, wrong).unwrap_err(), reason);
        }
    }

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(decoded(Encoding::Hex, "00fF\n10").unwrap(), [0, 255, 16]);
        assert_eq!(decoded(Encoding::Hex, "0g").unwrap_err(), "is not hexadecimal: the byte at offset 1 is no digit");
        assert_eq!(decoded(Encoding::Hex, "000").unwrap_err(), "is not hexadecimal: it has an odd number of digits");
    }

    proptest! {
        #[test]
        fn every_byte_survives_every_encoding(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            for (encoding, text) in [
                (Encoding::Base64, BASE64_STANDARD.encode(&bytes)),
                (Encoding::Base64url, BASE64_URL_SAFE.encode(&bytes)),
                (Encoding::Base64url, BASE64_URL_SAFE_NO_PAD.encode(&bytes)),
                (Encoding::Hex, hex.concat()),
            ] {
                prop_assert_eq!(decoded(encoding, &text), Ok(bytes.clone()));
            }
        }

        #[test]
        fn no_text_makes_it_panic_and_no_error_shows_it(text in "[ -~\\n]{12,40}") {
            for encoding in [Encoding::Base64, Encoding::Base64url, Encoding::Hex] {
                if let Err(reason) = decoded(encoding, &text) {
                    prop_assert!(!reason.contains(text.trim()));
                }
            }
        }
    }
}
