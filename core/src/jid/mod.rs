//! JIDs: who a stanza is from and to. RFC 6120 §2.1, RFC 7622, with the string profiles of RFC 6122.
//!
//! [`Jid`] is what a parser hands out: it borrows the text when that is already in its normal form, which costs no
//! allocation for the ASCII addresses nearly everybody has, and owns a normalised copy otherwise. [`BareJid`] and
//! [`FullJid`] are kept: one shared allocation, cheap to clone, and the type says whether there is a resource.
//!
//! Every value is in normal form, so equality, hashing and order are those of the text, and a map keyed by a
//! `BareJid` can be asked with a `&str`. [`user`] and [`object`] read the local parts that this server gives out.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::JID_PART_BYTES_MAX;

pub mod object;
mod prepare;
pub mod user;

pub use object::{DialogId, MessageId, ObjectId, RoomJid};
pub use user::{AppId, UserId, UserJid, local_of, server_resource, user_of};

/// Greatest length of a whole JID in normal form, in bytes.
pub const JID_BYTES_MAX: usize = 3 * JID_PART_BYTES_MAX + 2;

const _: () = assert!(JID_BYTES_MAX <= u16::MAX as usize);

/// Why a text is not the JID that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JidError {
    /// `@` with nothing before it.
    #[error("nothing before the @")]
    LocalEmpty,
    /// More than [`JID_PART_BYTES_MAX`] bytes before the `@`.
    #[error("the part before the @ is longer than 1023 bytes")]
    LocalTooLong,
    /// A character that nodeprep forbids before the `@`.
    #[error("the part before the @ holds a forbidden character")]
    LocalForbidden,
    /// No domain at all.
    #[error("the domain is missing")]
    DomainEmpty,
    /// A domain of more than [`JID_PART_BYTES_MAX`] bytes.
    #[error("the domain is longer than 1023 bytes")]
    DomainTooLong,
    /// Two dots in a row, or one in front.
    #[error("the domain has an empty label")]
    LabelEmpty,
    /// A label of more than 63 bytes, as DNS counts them.
    #[error("a label of the domain is longer than 63 bytes")]
    LabelTooLong,
    /// A character that no host name has, a hyphen at a label's edge, or a broken `xn--` label.
    #[error("the domain is not a host name")]
    DomainForbidden,
    /// Brackets without an IPv6 address between them.
    #[error("the domain is not an IPv6 address in brackets")]
    AddressLiteral,
    /// `/` with nothing after it.
    #[error("nothing after the /")]
    ResourceEmpty,
    /// More than [`JID_PART_BYTES_MAX`] bytes after the `/`.
    #[error("the resource is longer than 1023 bytes")]
    ResourceTooLong,
    /// A character that resourceprep forbids after the `/`.
    #[error("the resource holds a forbidden character")]
    ResourceForbidden,
    /// A resource where a bare JID is wanted.
    #[error("a bare JID has no resource")]
    ResourceUnexpected,
    /// No resource where a full JID is wanted.
    #[error("a full JID needs a resource")]
    ResourceMissing,
    /// More than a domain where only a domain is wanted.
    #[error("only a domain belongs here")]
    NotDomain,
}

/// Where the parts lie in the text. A local part is never empty, so 0 says that there is none; likewise a
/// `domain_end` at the end of the text says that there is no resource.
#[derive(Clone, Copy)]
struct Layout {
    local_end: u16,
    domain_end: u16,
}

impl Layout {
    fn local(self, text: &str) -> Option<&str> {
        (self.local_end > 0).then(|| &text[..self.local_end as usize])
    }

    fn domain(self, text: &str) -> &str {
        let start = if self.local_end > 0 { self.local_end as usize + 1 } else { 0 };
        &text[start..self.domain_end as usize]
    }

    fn bare(self, text: &str) -> &str {
        &text[..self.domain_end as usize]
    }

    fn resource(self, text: &str) -> Option<&str> {
        text.get(self.domain_end as usize + 1..)
    }
}

/// A JID with or without a resource, in normal form, borrowed from the text it was parsed from where possible.
#[derive(Clone)]
pub struct Jid<'a> {
    text: Cow<'a, str>,
    layout: Layout,
}

impl<'a> Jid<'a> {
    /// Reads a JID and brings it into normal form: local part and domain in lower case, no dot at the end of the
    /// domain, `xn--` labels as the letters they stand for. RFC 7622 §3.2 gives the order in which to split.
    pub fn parse(text: &'a str) -> Result<Self, JidError> {
        let (bare, resource) = match memchr::memchr(b'/', text.as_bytes()) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let (local, domain) = match memchr::memchr(b'@', bare.as_bytes()) {
            Some(at) => (Some(&bare[..at]), &bare[at + 1..]),
            None => (None, bare),
        };
        let parts = Parts::prepare(local, domain, resource)?;
        let layout = parts.layout();
        // Only where preparation changed nothing is the text itself the JID.
        let text = if parts.same_as(text) { Cow::Borrowed(text) } else { Cow::Owned(parts.join()) };
        Ok(Self { text, layout })
    }

    /// Puts a JID together from its parts, each brought into normal form.
    pub fn from_parts(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Jid<'static>, JidError> {
        let parts = Parts::prepare(local, domain, resource)?;
        Ok(Jid { layout: parts.layout(), text: Cow::Owned(parts.join()) })
    }

    /// The whole JID, in normal form.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the `@`, if there is one. Never empty.
    pub fn local(&self) -> Option<&str> {
        self.layout.local(&self.text)
    }

    /// The domain. Never empty.
    pub fn domain(&self) -> &str {
        self.layout.domain(&self.text)
    }

    /// The part after the `/`, if there is one. Never empty.
    pub fn resource(&self) -> Option<&str> {
        self.layout.resource(&self.text)
    }

    /// Everything before the `/`.
    pub fn bare_str(&self) -> &str {
        self.layout.bare(&self.text)
    }

    /// Whether there is no resource.
    pub fn is_bare(&self) -> bool {
        self.layout.domain_end as usize == self.text.len()
    }

    /// The JID without its resource, to keep.
    pub fn to_bare(&self) -> BareJid {
        BareJid { text: self.bare_str().into(), layout: self.layout }
    }

    /// The JID with its resource, to keep; `None` without one.
    pub fn to_full(&self) -> Option<FullJid> {
        (!self.is_bare()).then(|| FullJid { text: self.text.as_ref().into(), layout: self.layout })
    }

    /// The same JID, free of the text it was parsed from.
    pub fn into_owned(self) -> Jid<'static> {
        Jid { text: Cow::Owned(self.text.into_owned()), layout: self.layout }
    }
}

/// The three parts in normal form, on their way into one text.
struct Parts<'a> {
    local: Option<Cow<'a, str>>,
    domain: Cow<'a, str>,
    resource: Option<Cow<'a, str>>,
}

impl<'a> Parts<'a> {
    fn prepare(local: Option<&'a str>, domain: &'a str, resource: Option<&'a str>) -> Result<Self, JidError> {
        Ok(Self {
            local: local.map(prepare::local).transpose()?,
            domain: prepare::domain(domain)?,
            resource: resource.map(prepare::resource).transpose()?,
        })
    }

    fn layout(&self) -> Layout {
        let local_end = self.local.as_ref().map_or(0, |local| local.len());
        let domain_start = if local_end > 0 { local_end + 1 } else { 0 };
        // Each part is at most JID_PART_BYTES_MAX, so both fit.
        Layout { local_end: local_end as u16, domain_end: (domain_start + self.domain.len()) as u16 }
    }

    /// Whether joining the parts would give `text` again: preparation borrowed everything and dropped no final dot.
    fn same_as(&self, text: &str) -> bool {
        let borrowed = |part: &Cow<'_, str>| matches!(part, Cow::Borrowed(_));
        self.bytes() == text.len()
            && borrowed(&self.domain)
            && self.local.as_ref().is_none_or(&borrowed)
            && self.resource.as_ref().is_none_or(&borrowed)
    }

    fn bytes(&self) -> usize {
        self.local.as_ref().map_or(0, |local| local.len() + 1)
            + self.domain.len()
            + self.resource.as_ref().map_or(0, |resource| resource.len() + 1)
    }

    fn join(&self) -> String {
        let mut text = String::with_capacity(self.bytes());
        if let Some(local) = &self.local {
            text.push_str(local);
            text.push('@');
        }
        text.push_str(&self.domain);
        if let Some(resource) = &self.resource {
            text.push('/');
            text.push_str(resource);
        }
        text
    }
}

/// A JID without a resource: an account, a room, or a server.
#[derive(Clone)]
pub struct BareJid {
    text: Arc<str>,
    layout: Layout,
}

impl BareJid {
    /// Reads a JID that must not have a resource.
    pub fn parse(text: &str) -> Result<Self, JidError> {
        let jid = Jid::parse(text)?;
        if jid.is_bare() { Ok(jid.to_bare()) } else { Err(JidError::ResourceUnexpected) }
    }

    /// Puts together what is known to be in normal form.
    fn of_prepared(local: &str, domain: &Domain) -> Self {
        let parts = Parts { local: Some(Cow::Borrowed(local)), domain: Cow::Borrowed(domain.as_str()), resource: None };
        Self { layout: parts.layout(), text: parts.join().into() }
    }

    /// The part before the `@`, if there is one.
    pub fn local(&self) -> Option<&str> {
        self.layout.local(&self.text)
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        self.layout.domain(&self.text)
    }

    /// This JID with a resource, which is brought into normal form.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        let resource = prepare::resource(resource)?;
        let mut text = String::with_capacity(self.text.len() + 1 + resource.len());
        text.push_str(&self.text);
        text.push('/');
        text.push_str(&resource);
        Ok(FullJid { text: text.into(), layout: self.layout })
    }

    /// The same JID, borrowed, where a bare or a full one will do.
    pub fn as_jid(&self) -> Jid<'_> {
        Jid { text: Cow::Borrowed(&self.text), layout: self.layout }
    }
}

/// A JID with a resource: one connected client, or one occupant of a room.
#[derive(Clone)]
pub struct FullJid {
    text: Arc<str>,
    layout: Layout,
}

impl FullJid {
    /// Reads a JID that must have a resource.
    pub fn parse(text: &str) -> Result<Self, JidError> {
        Jid::parse(text)?.to_full().ok_or(JidError::ResourceMissing)
    }

    /// The part before the `@`, if there is one.
    pub fn local(&self) -> Option<&str> {
        self.layout.local(&self.text)
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        self.layout.domain(&self.text)
    }

    /// The part after the `/`.
    pub fn resource(&self) -> &str {
        &self.text[self.layout.domain_end as usize + 1..]
    }

    /// Everything before the `/`.
    pub fn bare_str(&self) -> &str {
        self.layout.bare(&self.text)
    }

    /// The JID without its resource, to keep.
    pub fn to_bare(&self) -> BareJid {
        BareJid { text: self.bare_str().into(), layout: self.layout }
    }

    /// The same JID, borrowed, where a bare or a full one will do.
    pub fn as_jid(&self) -> Jid<'_> {
        Jid { text: Cow::Borrowed(&self.text), layout: self.layout }
    }
}

/// A domain in normal form: the chat domain, or the one its rooms live at.
#[derive(Clone)]
pub struct Domain {
    text: Arc<str>,
}

impl Domain {
    /// Reads a domain and brings it into normal form.
    pub fn parse(text: &str) -> Result<Self, JidError> {
        let jid = Jid::parse(text)?;
        if jid.layout.local_end == 0 && jid.is_bare() {
            Ok(Self { text: jid.text.as_ref().into() })
        } else {
            Err(JidError::NotDomain)
        }
    }

    /// This domain as an address: the server itself.
    pub fn to_bare(&self) -> BareJid {
        let layout = Layout { local_end: 0, domain_end: self.text.len() as u16 };
        BareJid { text: Arc::clone(&self.text), layout }
    }
}

/// What the kept kinds share: they are their text.
macro_rules! is_its_text {
    ($kind:ident, $parse:path) => {
        impl $kind {
            /// The whole of it, in normal form.
            pub fn as_str(&self) -> &str {
                &self.text
            }
        }

        impl_text_traits!($kind);

        impl FromStr for $kind {
            type Err = JidError;

            fn from_str(text: &str) -> Result<Self, JidError> {
                $parse(text)
            }
        }

        // A map keyed by this can be asked with the text alone.
        impl Borrow<str> for $kind {
            fn borrow(&self) -> &str {
                &self.text
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(from)?;
                $parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

macro_rules! impl_text_traits {
    ($kind:ident $(<$life:lifetime>)?) => {
        impl $(<$life>)? PartialEq for $kind $(<$life>)? {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }

        impl $(<$life>)? Eq for $kind $(<$life>)? {}

        impl $(<$life>)? PartialEq<str> for $kind $(<$life>)? {
            fn eq(&self, other: &str) -> bool {
                *self.text == *other
            }
        }

        impl $(<$life>)? PartialEq<&str> for $kind $(<$life>)? {
            fn eq(&self, other: &&str) -> bool {
                *self.text == **other
            }
        }

        impl $(<$life>)? Hash for $kind $(<$life>)? {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.text.hash(state);
            }
        }

        impl $(<$life>)? PartialOrd for $kind $(<$life>)? {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $(<$life>)? Ord for $kind $(<$life>)? {
            fn cmp(&self, other: &Self) -> Ordering {
                self.text.cmp(&other.text)
            }
        }

        impl $(<$life>)? fmt::Display for $kind $(<$life>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl $(<$life>)? fmt::Debug for $kind $(<$life>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.text, f)
            }
        }

        impl $(<$life>)? Serialize for $kind $(<$life>)? {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.text)
            }
        }
    };
}

impl_text_traits!(Jid<'a>);
is_its_text!(BareJid, BareJid::parse);
is_its_text!(FullJid, FullJid::parse);
is_its_text!(Domain, Domain::parse);

#[cfg(test)]
mod tests;
