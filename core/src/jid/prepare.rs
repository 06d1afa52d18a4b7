//! The normal form of each part of a JID. RFC 6122 appendices A and B (nodeprep, resourceprep), RFC 7622 §3.2 (domains).
//!
//! Each function first asks whether the text is normal ASCII, one look at a table for each byte: then it is borrowed
//! and nothing else is done. ASCII that only needs lower case never reaches the Unicode tables.
//!
//! A part is bounded before its preparation as well as after it: there are characters that become eighteen.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use stringprep::tables;

use super::JidError;
use crate::limits::JID_PART_BYTES_MAX;

/// Greatest length of one label of a domain, in bytes. RFC 1035 §2.3.4.
const LABEL_BYTES_MAX: usize = 63;

/// The part before the `@`.
pub(super) fn local(text: &str) -> Result<Cow<'_, str>, JidError> {
    if text.len() > JID_PART_BYTES_MAX {
        return Err(JidError::LocalTooLong);
    }
    if !text.is_empty() && text.bytes().all(|byte| is(byte, IN_LOCAL)) {
        return Ok(Cow::Borrowed(text));
    }
    let prepared = if !text.is_ascii() {
        stable(text, |text| stringprep::nodeprep(text).ok()).ok_or(JidError::LocalForbidden)?
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    };
    if prepared.is_empty() {
        return Err(JidError::LocalEmpty);
    }
    if prepared.len() > JID_PART_BYTES_MAX {
        return Err(JidError::LocalTooLong);
    }
    if !prepared.bytes().all(|byte| is(byte, IN_LOCAL | NOT_ASCII)) {
        return Err(JidError::LocalForbidden);
    }
    Ok(prepared)
}

/// The domain: a host name with the letters its labels stand for, or an address.
pub(super) fn domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    if text.strip_suffix('.').unwrap_or(text).len() > JID_PART_BYTES_MAX {
        return Err(JidError::DomainTooLong);
    }
    if text.as_bytes().split(|&byte| byte == b'.').all(is_normal_label) {
        return Ok(Cow::Borrowed(text));
    }
    if text.starts_with('[') {
        return address_literal(text);
    }
    let prepared = if text.is_ascii() && !has_encoded_label(text) { ascii_domain(text) } else { unicode_domain(text)? };
    if prepared.is_empty() {
        return Err(JidError::DomainEmpty);
    }
    if prepared.len() > JID_PART_BYTES_MAX {
        return Err(JidError::DomainTooLong);
    }
    prepared.split('.').try_for_each(check_label)?;
    Ok(prepared)
}

/// Whether a label is normal and ASCII, and does not stand for another.
fn is_normal_label(label: &[u8]) -> bool {
    let (Some(first), Some(last)) = (label.first(), label.last()) else {
        return false;
    };
    label.len() <= LABEL_BYTES_MAX
        && label.iter().all(|&byte| is(byte, IN_DOMAIN))
        && *first != b'-'
        && *last != b'-'
        && !label.starts_with(b"xn--")
}

/// RFC 7622 §3.2: an IPv6 address stands in brackets. The shortest way to write it is its normal form.
fn address_literal(text: &str) -> Result<Cow<'_, str>, JidError> {
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(JidError::AddressLiteral)?;
    let address: Ipv6Addr = inside.parse().map_err(|_| JidError::AddressLiteral)?;
    let normal = format!("[{address}]");
    Ok(if normal == text { Cow::Borrowed(text) } else { Cow::Owned(normal) })
}

/// Whether a label may be the ASCII form of an internationalised one.
fn has_encoded_label(text: &str) -> bool {
    text.split('.').any(|label| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--")))
}

fn ascii_domain(text: &str) -> Cow<'_, str> {
    // RFC 7622 §3.2: one final dot is dropped before anything else is done.
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// UTS 46 as the URL standard uses it: mapped, normalised, and every `xn--` label turned into letters and checked.
fn unicode_domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    let uts46 = Uts46::new();
    // The ASCII that a label may hold is judged below, by one function for all domains.
    let (letters, outcome) = uts46.to_unicode(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast);
    outcome.map_err(|_| JidError::DomainForbidden)?;
    // The dot may have been one of the ideographic ones, so it is dropped after the mapping.
    let letters = letters.strip_suffix('.').unwrap_or(&letters);
    if letters.is_empty() {
        return Err(JidError::DomainEmpty);
    }
    if letters.split('.').any(str::is_empty) {
        return Err(JidError::LabelEmpty);
    }
    // DNS counts the ASCII form.
    uts46
        .to_ascii(letters.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| JidError::LabelTooLong)?;
    Ok(borrow_unchanged(text, Cow::Borrowed(letters)))
}

/// RFC 1123 §2.1: letters, digits and hyphens, no hyphen at an edge.
fn check_label(label: &str) -> Result<(), JidError> {
    if label.is_empty() {
        return Err(JidError::LabelEmpty);
    }
    if label.is_ascii() && label.len() > LABEL_BYTES_MAX {
        return Err(JidError::LabelTooLong);
    }
    let allowed = label.bytes().all(|byte| is(byte, IN_DOMAIN | NOT_ASCII));
    if allowed && !label.starts_with('-') && !label.ends_with('-') { Ok(()) } else { Err(JidError::DomainForbidden) }
}

/// The part after the `/`.
pub(super) fn resource(text: &str) -> Result<Cow<'_, str>, JidError> {
    if text.len() > JID_PART_BYTES_MAX {
        return Err(JidError::ResourceTooLong);
    }
    if !text.is_empty() && text.bytes().all(|byte| is(byte, IN_RESOURCE)) {
        return Ok(Cow::Borrowed(text));
    }
    let prepared = if text.is_ascii() {
        Cow::Borrowed(text)
    } else {
        stable(text, resourceprep).ok_or(JidError::ResourceForbidden)?
    };
    if prepared.is_empty() {
        return Err(JidError::ResourceEmpty);
    }
    if prepared.len() > JID_PART_BYTES_MAX {
        return Err(JidError::ResourceTooLong);
    }
    if !prepared.bytes().all(|byte| is(byte, IN_RESOURCE | NOT_ASCII)) {
        return Err(JidError::ResourceForbidden);
    }
    Ok(prepared)
}

/// Resourceprep, except that characters younger than Unicode 3.2 pass: RFC 6122 would refuse every emoji in a device's
/// or an occupant's name, RFC 7622 §3.4 lets them in. What lies between them is prepared by itself.
fn resourceprep(text: &str) -> Option<Cow<'_, str>> {
    if !text.chars().any(tables::unassigned_code_point) {
        return stringprep::resourceprep(text).ok();
    }
    let mut prepared = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(tables::unassigned_code_point) {
        let (old, young) = rest.split_at(at);
        let (young, after) = young.split_at(young.chars().next()?.len_utf8());
        prepared.push_str(&stringprep::resourceprep(old).ok()?);
        // Some stand for older characters and can be prepared like them.
        prepared.push_str(&stringprep::resourceprep(young).unwrap_or(Cow::Borrowed(young)));
        rest = after;
    }
    prepared.push_str(&stringprep::resourceprep(rest).ok()?);
    Some(Cow::Owned(prepared))
}

/// Prepares twice and refuses text that has no normal form: two spellings of one address must end as one.
fn stable<'a>(text: &'a str, prepare: impl for<'b> Fn(&'b str) -> Option<Cow<'b, str>>) -> Option<Cow<'a, str>> {
    let once = prepare(text)?;
    // Refused by its length in any case; a second round over it would be work for nothing.
    if once.len() > JID_PART_BYTES_MAX {
        return Some(Cow::Owned(once.into_owned()));
    }
    let is_stable = prepare(&once)? == once;
    is_stable.then(|| borrow_unchanged(text, once))
}

/// Preparation may hand back an equal copy; what changed nothing is borrowed.
fn borrow_unchanged<'a>(text: &'a str, prepared: Cow<'_, str>) -> Cow<'a, str> {
    if prepared == text { Cow::Borrowed(text) } else { Cow::Owned(prepared.into_owned()) }
}

/// Where a byte may stand in normal form.
fn is(byte: u8, places: u8) -> bool {
    PLACES[usize::from(byte)] & places != 0
}

const IN_LOCAL: u8 = 1;
const IN_DOMAIN: u8 = 2;
const IN_RESOURCE: u8 = 4;
const NOT_ASCII: u8 = 8;

static PLACES: [u8; 256] = {
    let mut places = [NOT_ASCII; 256];
    let mut byte = 0;
    while byte < 0x80 {
        places[byte as usize] = places_of(byte);
        byte += 1;
    }
    places
};

const fn places_of(byte: u8) -> u8 {
    match byte {
        // Controls.
        0..=0x1f | 0x7f.. => 0,
        // RFC 7622 §3.3.1: what would make the address ambiguous, and blanks. Capitals are not normal before the slash.
        b' ' | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@' | b'A'..=b'Z' => IN_RESOURCE,
        // The underscore is no host name's, but container networks use it, and no rule of XMPP gives it a meaning.
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => IN_LOCAL | IN_DOMAIN | IN_RESOURCE,
        b'!'..=b'~' => IN_LOCAL | IN_RESOURCE,
    }
}
