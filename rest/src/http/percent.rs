//! Percent-decoding: strict for paths, forgiving for forms.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Decodes a path once. `None` for a broken escape, and for bytes that are no UTF-8.
pub(super) fn decode_path(raw: &str) -> Option<String> {
    if memchr(b'%', raw.as_bytes()).is_none() {
        return Some(raw.to_owned());
    }
    let mut bytes = raw.bytes();
    let mut out = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => out.push(hex(bytes.next()?)? << 4 | hex(bytes.next()?)?),
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

/// Decodes a name or value of a form or query: `+` and `%20` are blanks, a broken escape stands for itself, as browsers have
/// it. `None` for bytes that are no UTF-8.
pub(crate) fn decode_form(raw: &[u8]) -> Option<Cow<'_, str>> {
    if memchr2(b'%', b'+', raw).is_none() {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        let (decoded, width) = match byte {
            b'+' => (b' ', 1),
            b'%' => match escape(&raw[at..]) {
                Some(decoded) => (decoded, 3),
                None => (b'%', 1),
            },
            other => (other, 1),
        };
        out.push(decoded);
        at += width;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// The byte that `%41...` begins with.
fn escape(raw: &[u8]) -> Option<u8> {
    match raw {
        [b'%', high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_strictly() {
        assert_eq!(decode_path("/a+b%20c").as_deref(), Some("/a+b c"));
        assert_eq!(decode_path("/%2541").as_deref(), Some("/%41"));
        assert_eq!(decode_path("/%C3%A9").as_deref(), Some("/é"));
        for bad in ["%", "%4", "%zz", "%ff", "%4\u{e9}"] {
            assert_eq!(decode_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn forms_are_decoded_forgivingly() {
        assert_eq!(decode_form(b"plain").as_deref(), Some("plain"));
        assert_eq!(decode_form(b"a+b%20c%2B").as_deref(), Some("a b c+"));
        assert_eq!(decode_form(b"100%").as_deref(), Some("100%"));
        assert_eq!(decode_form(b"%%41%4").as_deref(), Some("%A%4"));
        assert_eq!(decode_form(b"%ff"), None);
    }
}
