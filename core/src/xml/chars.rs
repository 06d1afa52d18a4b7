//! Characters: which ones XML allows, what a reference stands for, and how white space is normalised.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2, memchr3};

use super::XmlError;

/// White space as XML 1.0 §2.3 defines it.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The first place from `at` on that is not white space.
pub(super) fn skip_space(input: &[u8], at: usize) -> usize {
    input[at..].iter().position(|&byte| !is_space(byte)).map_or(input.len(), |length| at + length)
}

/// A byte that names may hold and that stands for itself: the names of nearly every element and attribute are made of
/// these. Non-ASCII characters and the colon of a prefix take the long way.
pub(super) fn is_plain_name_byte(byte: u8) -> bool {
    PLAIN_NAME_BYTES[byte as usize]
}

const PLAIN_NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        byte += 1;
    }
    table
};

/// How far a plain loop is quicker than a call to a vectorised search.
const SHORT_RUN_BYTES: usize = 24;

/// The first place of a byte.
pub(super) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    let short = bytes.len().min(SHORT_RUN_BYTES);
    match bytes[..short].iter().position(|&b| b == byte) {
        None if short < bytes.len() => memchr(byte, &bytes[short..]).map(|at| short + at),
        found => found,
    }
}

/// The first place of either byte.
pub(super) fn find2(one: u8, other: u8, bytes: &[u8]) -> Option<usize> {
    let short = bytes.len().min(SHORT_RUN_BYTES);
    match bytes[..short].iter().position(|&b| b == one || b == other) {
        None if short < bytes.len() => memchr2(one, other, &bytes[short..]).map(|at| short + at),
        found => found,
    }
}

/// Whether XML 1.0 §2.2 allows this character in a document.
pub(super) fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Whether every character of the text is one that XML allows. One pass without branches, which the compiler vectorises.
pub(super) fn all_allowed(text: &str) -> bool {
    let mut control = 0u8;
    let mut rare = 0u8;
    for &byte in text.as_bytes() {
        control |= u8::from((byte < 0x20) & (byte != b'\t') & (byte != b'\n') & (byte != b'\r'));
        rare |= u8::from(byte == 0xEF);
    }
    // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
    control == 0 && (rare == 0 || !has_noncharacter(text.as_bytes()))
}

fn has_noncharacter(bytes: &[u8]) -> bool {
    memchr_iter(0xEF, bytes).any(|at| bytes[at + 1] == 0xBF && bytes[at + 2] >= 0xBE)
}

/// Checks every reference in a text or attribute value.
pub(super) fn check_references(raw: &str) -> Result<(), XmlError> {
    let mut rest = raw.as_bytes();
    while let Some(at) = find(b'&', rest) {
        let (_, length) = reference(&rest[at..])?;
        rest = &rest[at + length..];
    }
    Ok(())
}

/// The bytes of the reference that `raw` starts with.
pub(super) fn reference_len(raw: &str) -> Result<usize, XmlError> {
    reference(raw.as_bytes()).map(|(_, length)| length)
}

/// The character that the reference at the start of `bytes` (an `&`) stands for, and the bytes it takes.
fn reference(bytes: &[u8]) -> Result<(char, usize), XmlError> {
    // Leading zeros may make a character reference long, so the search for the end has no bound but the text itself;
    // each byte is looked at once all the same, because what follows an error is never looked at again.
    let end = memchr2(b';', b'<', bytes).filter(|&end| bytes[end] == b';').ok_or(XmlError::MalformedReference)?;
    let c = match &bytes[1..end] {
        b"lt" => '<',
        b"gt" => '>',
        b"amp" => '&',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x', digits @ ..] => character(digits, 16)?,
        [b'#', digits @ ..] => character(digits, 10)?,
        name if is_name_like(name) => return Err(XmlError::Entity),
        _ => return Err(XmlError::MalformedReference),
    };
    Ok((c, end + 1))
}

/// The character with the given number. XML 1.0 §4.1 (WFC: Legal Character).
fn character(digits: &[u8], radix: u32) -> Result<char, XmlError> {
    if digits.is_empty() {
        return Err(XmlError::MalformedReference);
    }
    let mut number = 0u32;
    for &digit in digits {
        let value = char::from(digit).to_digit(radix).ok_or(XmlError::MalformedReference)?;
        number = number.saturating_mul(radix).saturating_add(value);
    }
    char::from_u32(number).filter(|&c| is_allowed(c)).ok_or(XmlError::ForbiddenCharacter)
}

/// Whether this could be an entity's name: enough to tell `&foo;` from `& foo;`.
fn is_name_like(name: &[u8]) -> bool {
    !name.is_empty()
        && !name[0].is_ascii_digit()
        && name.iter().all(|&b| b.is_ascii_alphanumeric() || b >= 0x80 || matches!(b, b'_' | b':' | b'-' | b'.'))
}

/// An attribute's value: references replaced, white space made blanks (XML 1.0 §3.3.3).
///
/// The references must have been checked.
pub(super) fn attribute_value(raw: &str) -> Cow<'_, str> {
    fn special(byte: &u8) -> bool {
        matches!(byte, b'&' | b'\t' | b'\n' | b'\r')
    }
    if !raw.as_bytes().iter().any(special) {
        return Cow::Borrowed(raw);
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.as_bytes().iter().position(special) {
        value.push_str(&rest[..at]);
        let bytes = &rest.as_bytes()[at..];
        let used = match bytes {
            [b'&', ..] => push_reference(bytes, &mut value),
            [b'\r', b'\n', ..] => {
                value.push(' ');
                2
            }
            _ => {
                value.push(' ');
                1
            }
        };
        rest = &rest[at + used..];
    }
    value.push_str(rest);
    Cow::Owned(value)
}

/// Whether character data reads as it is written.
pub(super) fn is_plain_text(raw: &str) -> bool {
    memchr3(b'&', b'\r', b'<', raw.as_bytes()).is_none()
}

/// Appends character data, which may hold CDATA sections: references replaced, line ends made `\n` (XML 1.0 §2.11).
///
/// The references and sections must have been checked.
pub(super) fn push_text(raw: &str, text: &mut String) {
    const OPEN: &str = "<![CDATA[";
    const CLOSE: &str = "]]>";
    let mut rest = raw;
    while let Some(at) = memchr3(b'&', b'\r', b'<', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let bytes = &rest.as_bytes()[at..];
        let used = match bytes[0] {
            b'&' => push_reference(bytes, text),
            b'\r' => push_line_end(bytes, text),
            _ => {
                let inside = &rest[at + OPEN.len()..];
                let end = inside.find(CLOSE).unwrap_or(inside.len());
                push_verbatim(&inside[..end], text);
                (OPEN.len() + end + CLOSE.len()).min(bytes.len())
            }
        };
        rest = &rest[at + used..];
    }
    text.push_str(rest);
}

/// The inside of a CDATA section, where only line ends are special.
fn push_verbatim(raw: &str, text: &mut String) {
    let mut rest = raw;
    while let Some(at) = memchr(b'\r', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let used = push_line_end(&rest.as_bytes()[at..], text);
        rest = &rest[at + used..];
    }
    text.push_str(rest);
}

fn push_line_end(bytes: &[u8], text: &mut String) -> usize {
    text.push('\n');
    if bytes.get(1) == Some(&b'\n') { 2 } else { 1 }
}

fn push_reference(bytes: &[u8], text: &mut String) -> usize {
    match reference(bytes) {
        Ok((c, used)) => {
            text.push(c);
            used
        }
        Err(_) => {
            debug_assert!(false, "references are checked before they are decoded");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_characters_xml_forbids() {
        for bad in ["\0", "a\u{8}", "\u{b}", "\u{1f}", "x\u{fffe}", "\u{ffff}x"] {
            assert!(!all_allowed(bad), "{bad:?}");
        }
        for good in ["", "\t\r\n", "\u{7f}", "\u{85}", "\u{feff}", "\u{fffd}", "\u{10ffff}", "ｆｕｌｌ"] {
            assert!(all_allowed(good), "{good:?}");
        }
    }

    #[test]
    fn decodes_references_and_refuses_the_rest() {
        type Case = (&'static str, Result<(char, usize), XmlError>);
        let cases: &[Case] = &[
            ("&amp;x", Ok(('&', 5))),
            ("&lt;", Ok(('<', 4))),
            ("&#65;", Ok(('A', 5))),
            ("&#x1F600;", Ok(('\u{1F600}', 9))),
            ("&#0000000000000065;", Ok(('A', 19))),
            ("&#13;", Ok(('\r', 5))),
            ("&#0;", Err(XmlError::ForbiddenCharacter)),
            ("&#x1F;", Err(XmlError::ForbiddenCharacter)),
            ("&#xD800;", Err(XmlError::ForbiddenCharacter)),
            ("&#xFFFE;", Err(XmlError::ForbiddenCharacter)),
            ("&#x110000;", Err(XmlError::ForbiddenCharacter)),
            ("&#99999999999999999999;", Err(XmlError::ForbiddenCharacter)),
            ("&#;", Err(XmlError::MalformedReference)),
            ("&#x;", Err(XmlError::MalformedReference)),
            ("&#X41;", Err(XmlError::MalformedReference)),
            ("&#+5;", Err(XmlError::MalformedReference)),
            ("&amp", Err(XmlError::MalformedReference)),
            ("& amp;", Err(XmlError::MalformedReference)),
            ("&;", Err(XmlError::MalformedReference)),
            ("&lol9;", Err(XmlError::Entity)),
            ("&AMP;", Err(XmlError::Entity)),
        ];
        for (raw, expected) in cases {
            assert_eq!(reference(raw.as_bytes()), *expected, "{raw}");
        }
    }

    #[test]
    fn normalises_white_space_as_xml_asks() {
        assert_eq!(attribute_value("a\tb\r\nc\rd&#10;e"), "a b c d\ne");
        let mut text = String::new();
        push_text("a\r\nb\rc&#13;d<![CDATA[<&amp;\r\n]]>e", &mut text);
        assert_eq!(text, "a\nb\nc\rd<&amp;\ne");
    }
}
