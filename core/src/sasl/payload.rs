//! The text of `<auth/>`, `<challenge/>`, `<response/>` and `<success/>`: base64, strictly. RFC 6120 §6.4, RFC 4648 §4.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::SaslCondition;

/// Greatest length of a payload that a client sends, in bytes before the decoding. The longest that means anything is
/// PLAIN with two addresses and a password.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024;

/// Reads the text of `<auth/>` or `<response/>`. `None` if there is none, which in `<auth/>` says that the mechanism's first
/// message comes later; `=` is a message that is there and empty (RFC 6120 §6.4.2).
pub fn decode(text: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, SaslCondition> {
    if text.len() > PAYLOAD_BYTES_MAX {
        return Err(SaslCondition::MalformedRequest);
    }
    match text {
        b"" => Ok(None),
        b"=" => Ok(Some(Zeroizing::new(Vec::new()))),
        _ => decode_strict(text).map(Some).ok_or(SaslCondition::IncorrectEncoding),
    }
}

/// Reads the text of an element of SASL2, where no message is no element, and an empty one an empty message. XEP-0388 §2.2: blanks
/// should not be there, but its examples have them around the text.
pub fn decode_whole(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslCondition> {
    let text = text.trim_ascii();
    if text.len() > PAYLOAD_BYTES_MAX {
        return Err(SaslCondition::MalformedRequest);
    }
    decode_strict(text).ok_or(SaslCondition::IncorrectEncoding)
}

/// Writes the text of `<challenge/>`, where an empty message is an empty text.
pub fn encode(message: &[u8]) -> String {
    STRICT.encode(message)
}

/// Base64 with its padding, without blanks, without stray bits: one text for one value.
pub(super) fn decode_strict(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    STRICT.decode(text).ok().map(Zeroizing::new)
}

const STRICT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(false),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_no_message_from_an_empty_one() {
        assert_eq!(decode(b""), Ok(None));
        assert_eq!(decode(b"=").unwrap().unwrap().as_slice(), b"");
        assert_eq!(decode(b"AGE=").unwrap().unwrap().as_slice(), b"\0a");
    }

    #[test]
    fn reads_what_the_examples_of_sasl2_look_like() {
        assert_eq!(decode_whole(b"").unwrap().as_slice(), b"");
        assert_eq!(decode_whole(b"\n    AGE=\n  ").unwrap().as_slice(), b"\0a");
        let long = vec![b'A'; PAYLOAD_BYTES_MAX + 4];
        for (text, condition) in [
            (&b"="[..], SaslCondition::IncorrectEncoding),
            (b"AA AA", SaslCondition::IncorrectEncoding),
            (&long, SaslCondition::MalformedRequest),
        ] {
            assert_eq!(decode_whole(text), Err(condition));
        }
    }

    // RFC 6120 §6.5.5
    #[test]
    fn refuses_all_but_strict_base64() {
        let bad: [&[u8]; 9] = [b"A", b"AA", b"AAA", b"AA= =", b"AB==", b" AAAA", b"AAAA\n", b"AA-_", b"===="];
        for text in bad {
            assert_eq!(decode(text), Err(SaslCondition::IncorrectEncoding), "{text:?}");
        }
    }

    #[test]
    fn refuses_a_payload_longer_than_any_mechanism_needs() {
        let text = vec![b'A'; PAYLOAD_BYTES_MAX + 4];
        assert_eq!(decode(&text), Err(SaslCondition::MalformedRequest));
    }
}
