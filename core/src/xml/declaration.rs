//! The XML declaration that may stand before a stream header.

use memchr::memchr;

use super::XmlError;
use super::chars::skip_space;

/// The longest XML declaration anyone has a reason to send.
pub(super) const BYTES_MAX: u32 = 256;

/// An XML declaration must say version 1.0 and may say UTF-8. XML 1.0 §2.8, RFC 6120 §11.5 and §11.6.
pub(super) fn check(declaration: &[u8]) -> Result<(), XmlError> {
    let mut rest =
        declaration.strip_prefix(b"<?xml").and_then(|rest| rest.strip_suffix(b"?>")).ok_or(XmlError::BadDeclaration)?;
    let mut seen = 0;
    while let Some(pair) = Pair::next(&mut rest)? {
        seen = match (seen, pair.name) {
            (0, b"version") if pair.value == b"1.0" => 1,
            (1, b"encoding") if pair.value.eq_ignore_ascii_case(b"utf-8") => 2,
            (1, b"encoding") if is_encoding_name(pair.value) => return Err(XmlError::Encoding),
            (1 | 2, b"standalone") if matches!(pair.value, b"yes" | b"no") => 3,
            _ => return Err(XmlError::BadDeclaration),
        };
    }
    if seen == 0 { Err(XmlError::BadDeclaration) } else { Ok(()) }
}

/// One ` name="value"` of a declaration.
struct Pair<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Pair<'a> {
    /// The next pair; `None` when only white space is left.
    fn next(input: &mut &'a [u8]) -> Result<Option<Pair<'a>>, XmlError> {
        let begin = skip_space(input, 0);
        if begin == input.len() {
            return Ok(None);
        }
        if begin == 0 {
            return Err(XmlError::BadDeclaration);
        }
        let rest = &input[begin..];
        let equals = memchr(b'=', rest).ok_or(XmlError::BadDeclaration)?;
        let name = rest[..equals].trim_ascii_end();
        match &rest[skip_space(rest, equals + 1)..] {
            [quote @ (b'"' | b'\''), after @ ..] => {
                let end = memchr(*quote, after).ok_or(XmlError::BadDeclaration)?;
                *input = &after[end + 1..];
                Ok(Some(Pair { name, value: &after[..end] }))
            }
            _ => Err(XmlError::BadDeclaration),
        }
    }
}

fn is_encoding_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
