//! What goes back over HTTP: `<body/>`, always with status 200. XEP-0124 §7.2 and §17.

use crate::ns;
use crate::xml::Writer;

/// Why a session ends, or never begins. XEP-0124 §17.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Not a BOSH body, XML that cannot be read, or attributes that say nothing.
    BadRequest,
    /// The domain is not served here.
    HostUnknown,
    /// The first request does not say which domain it is for.
    ImproperAddressing,
    /// No such session, or a rid out of its window; which of the two is nobody's business.
    ItemNotFound,
    /// Too many requests, too often, or too much.
    PolicyViolation,
    /// The server is shutting down.
    SystemShutdown,
}

impl Terminal {
    /// The condition's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Terminal::BadRequest => "bad-request",
            Terminal::HostUnknown => "host-unknown",
            Terminal::ImproperAddressing => "improper-addressing",
            Terminal::ItemNotFound => "item-not-found",
            Terminal::PolicyViolation => "policy-violation",
            Terminal::SystemShutdown => "system-shutdown",
        }
    }

    /// The whole answer.
    pub fn body(self) -> Vec<u8> {
        body(|xml| {
            xml.attr("type", "terminate").attr("condition", self.as_str());
        })
    }
}

/// A `<body/>` whose attributes, then content, the closure writes.
pub(super) fn body(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("body").ns(ns::BOSH);
    write(&mut xml);
    drop(xml);
    out
}
