//! XML as XMPP uses it: bytes in, checked views out, and the one writer.
//!
//! ```text
//! socket bytes -> framer (where does this element end?) -> parser (strict, offsets only) -> Element (a view)
//!                                                                    splice, writer -> bytes
//! ```
//!
//! [`framer`] finds whole top-level elements at any split of the input, looking at each byte once. [`Nodes`] tokenises
//! one whole element in place and refuses whatever XML 1.0, Namespaces in XML or RFC 6120 §11 refuse; [`Element`] is a
//! `Copy` handle into it. [`Writer`] is the only maker of XML; [`splice`] forwards stanzas by copying their payload.
//!
//! *Invariant:* nothing here knows what a stanza is; names and namespaces mean nothing to this module, except that
//! `jabber:client` is what forwarded bytes take for granted.

#[cfg(test)]
mod agreement;
mod chars;
mod context;
mod declaration;
pub mod element;
mod error;
pub mod framer;
#[cfg(test)]
mod oracle;
mod parser;
pub mod splice;
pub mod writer;

pub use context::Context;
pub use element::Element;
pub use error::XmlError;
pub use framer::{Frame, Framer};
pub use parser::Nodes;
pub use writer::{Name, Writer};

/// How much XML one peer may make us hold or look at. Checked while the bytes arrive, not after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one top-level element, or of the stream header, both tags included.
    pub element_bytes_max: usize,
    /// Nesting below the stream; a top-level element is at depth 1.
    pub depth_max: usize,
    /// Attributes on one element, namespace declarations included.
    pub attributes_max: usize,
    /// Bytes of one attribute value as written.
    pub attribute_bytes_max: usize,
    /// Bytes of one element or attribute name, prefix included. At most [`NAME_BYTES_CEILING`] counts.
    pub name_bytes_max: usize,
    /// Prefixes declared at any one place: on the element, its ancestors and the stream header together.
    pub prefixes_max: usize,
}

impl Limits {
    /// Before the peer has authenticated: a header, a SASL exchange, an early iq.
    pub const NEGOTIATION: Limits = Limits {
        element_bytes_max: 16 * 1024,
        depth_max: 8,
        attributes_max: 32,
        attribute_bytes_max: 4 * 1024,
        name_bytes_max: 256,
        prefixes_max: 16,
    };

    /// For a user who has logged in.
    pub const STANZA: Limits = Limits {
        element_bytes_max: 256 * 1024,
        depth_max: 64,
        attributes_max: 128,
        attribute_bytes_max: 64 * 1024,
        name_bytes_max: 256,
        prefixes_max: 32,
    };

    /// For what passed the limits on its way in and grew a little since: the sender's address, a delay.
    pub const OWN: Limits = Limits {
        element_bytes_max: usize::MAX / 4,
        depth_max: 1 << 16,
        attributes_max: 1 << 12,
        attribute_bytes_max: usize::MAX / 4,
        name_bytes_max: NAME_BYTES_CEILING,
        prefixes_max: 1 << 12,
    };
}

/// The longest name the offset table can hold, whatever the limits say.
pub const NAME_BYTES_CEILING: usize = u16::MAX as usize;

// RFC 6120 §13.12: a server must not refuse stanzas of 10,000 bytes or less.
const _: () = assert!(Limits::NEGOTIATION.element_bytes_max >= 10_000);
const _: () = assert!(Limits::STANZA.name_bytes_max <= NAME_BYTES_CEILING);
