//! The stream header: who is asked for, in which version, in which namespaces. RFC 6120 §4.7 and §4.8, RFC 7395 §3.4.

use std::borrow::Cow;

use crate::error::Misbehaviour;
use crate::jid::Domain;
use crate::ns;
use crate::websocket;
use crate::xml::{Context, Element};

use super::Transport;

/// A language tag longer than this is not kept: stanzas would carry it. RFC 5646 §4.4.1 finds 35 enough.
const LANG_BYTES_MAX: usize = 35;

/// Checks what a client opened its stream with, and says what that declares for everything inside the stream.
///
/// `from` is ignored: who the client is, SASL finds out. RFC 6120 §4.7.1.
pub(super) fn check(header: Element<'_>, transport: Transport, domain: &Domain) -> Result<Context, Misbehaviour> {
    match transport {
        Transport::Tcp => check_namespaces(header)?,
        Transport::WebSocket | Transport::Bosh => check_open(header)?,
    }
    check_domain(header, domain)?;
    check_version(header)?;
    let lang_bytes = header.attr_ns("lang", ns::XML).map_or(0, |lang| lang.len());
    if transport.stands_alone() && (lang_bytes == 0 || lang_bytes > LANG_BYTES_MAX) {
        return Ok(Context::ALONE);
    }
    if lang_bytes > LANG_BYTES_MAX {
        return Err(Misbehaviour::LangTooLong);
    }
    Ok(Context::declared_by(header))
}

/// RFC 6120 §4.8.
fn check_namespaces(header: Element<'_>) -> Result<(), Misbehaviour> {
    if !header.is("stream", ns::STREAMS) {
        return Err(Misbehaviour::NotAStream);
    }
    // RFC 6120 §4.8.5: others may be refused, and no client has one.
    if header.prefix() != "stream" {
        return Err(Misbehaviour::StreamPrefix);
    }
    // RFC 6120 §4.8.2. `jabber:server` and `jabber:component:accept` end here too.
    if header.default_ns() != ns::CLIENT {
        return Err(Misbehaviour::ContentNamespace);
    }
    Ok(())
}

fn check_open(header: Element<'_>) -> Result<(), Misbehaviour> {
    if websocket::is_open(header) { Ok(()) } else { Err(Misbehaviour::NotAStream) }
}

/// RFC 6120 §4.9.3.6, and after a restart §4.7.2: what was authenticated for one domain is good for no other.
fn check_domain(header: Element<'_>, domain: &Domain) -> Result<(), Misbehaviour> {
    let to = header.attr("to").ok_or(Misbehaviour::NoDomain)?;
    match Domain::parse(&to) {
        Ok(asked) if asked == *domain => Ok(()),
        Ok(_) | Err(_) => Err(Misbehaviour::OtherDomain),
    }
}

/// RFC 6120 §4.7.5: major and minor are numbers of their own; whatever is 1.0 or later gets 1.0. Without one it would be a
/// client from before SASL, which cannot log in here.
fn check_version(header: Element<'_>) -> Result<(), Misbehaviour> {
    let version = header.attr("version").unwrap_or(Cow::Borrowed("0.9"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match version.split_once('.') {
        Some((major, minor)) if is_number(major) && is_number(minor) && major.bytes().any(|byte| byte != b'0') => {
            Ok(())
        }
        Some(_) | None => Err(Misbehaviour::Version),
    }
}
