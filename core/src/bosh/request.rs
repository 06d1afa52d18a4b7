//! One HTTP request of BOSH: the `<body/>`, read once and free of its bytes. XEP-0124 §6, XEP-0206.

use crate::limits::Limits;
use crate::ns;
use crate::xml::framer::only_element;
use crate::xml::{self, Element, Nodes, Writer, XmlError, splice};

use super::Terminal;

/// RFC 7159 doubles: a rid has to stay a number that JavaScript can count up. XEP-0124 §14.1.
const RID_MAX: u64 = (1 << 53) - 1;

/// A request that is a BOSH `<body/>`. Knows nothing of its session yet.
#[derive(Debug)]
pub struct Request {
    pub(super) rid: u64,
    sid: Option<Box<str>>,
    pub(super) kind: Kind,
    /// The elements in it, each standing alone, as messages for the stream.
    pub(super) elements: Vec<Box<[u8]>>,
    /// Only in the first request of a session.
    pub(super) creation: Creation,
    /// Whom it is for and in which language, in the first request and at restarts.
    pub(super) opening: Opening,
}

/// What a request does besides carrying elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// Opens the stream anew, after login. XEP-0206 §5.
    Restart,
    /// Will be silent for so many seconds. XEP-0124 §10.
    Pause(u64),
    /// Ends the session. XEP-0124 §13.
    Terminate,
}

/// What a client asks for when it begins a session. XEP-0124 §7.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Creation {
    pub wait: u64,
    pub hold: u64,
    pub ver: (u32, u32),
}

/// What stands for the attributes of a stream header.
#[derive(Clone, Debug, Default)]
pub(super) struct Opening {
    pub to: Option<Box<str>>,
    version: Option<Box<str>>,
    lang: Option<Box<str>>,
}

impl Request {
    /// Reads the body of a HTTP request.
    ///
    /// # Errors
    ///
    /// What to answer when it is not one.
    pub fn parse(body: &[u8], limits: &Limits, nodes: &mut Nodes) -> Result<Request, Terminal> {
        let limits = xml::Limits {
            element_bytes_max: limits.body_bytes_max,
            // The stream applies its own, smaller ones to each element.
            depth_max: limits.depth_max + 1,
            attributes_max: limits.attributes_max,
            ..xml::Limits::STANZA
        };
        let bytes = only_element(body, &limits).map_err(unreadable)?;
        let context = xml::Context::ALONE;
        let body = nodes.parse(bytes, &context, &limits).map_err(unreadable)?;
        if !body.is("body", ns::BOSH) {
            return Err(Terminal::BadRequest);
        }
        let rid = number(body, "rid")?.filter(|rid| (1..=RID_MAX).contains(rid)).ok_or(Terminal::BadRequest)?;
        Ok(Request {
            rid,
            sid: body.attr("sid").map(Into::into),
            kind: kind(body)?,
            elements: body.children().map(alone).collect(),
            creation: creation(body)?,
            opening: Opening {
                to: body.attr("to").map(Into::into),
                version: body.attr_ns("version", ns::XBOSH).map(Into::into),
                lang: body.attr_ns("lang", ns::XML).map(Into::into),
            },
        })
    }

    /// The session it belongs to; none if it asks for one.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Whether it carries nothing and asks for nothing but an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.kind == Kind::Plain && self.elements.is_empty()
    }
}

impl Opening {
    /// The stream's first message, as over WebSocket: to the stream machine the two look the same.
    pub(super) fn message(&self) -> Box<[u8]> {
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        xml.open("open").ns(ns::FRAMING);
        xml.attr_opt("to", self.to.as_deref());
        // XEP-0206 §3: clients that leave it out are older than the XEP, not older than XMPP.
        xml.attr("version", self.version.as_deref().unwrap_or("1.0"));
        xml.attr_opt("xml:lang", self.lang.as_deref());
        drop(xml);
        out.into()
    }
}

/// XEP-0124 §17.2: `remote-stream-error` is for what the stream says, and this never got to one.
fn unreadable(error: XmlError) -> Terminal {
    match error {
        XmlError::TooBig
        | XmlError::TooDeep
        | XmlError::TooManyAttributes
        | XmlError::AttributeTooLong
        | XmlError::NameTooLong
        | XmlError::TooManyPrefixes => Terminal::PolicyViolation,
        XmlError::Syntax
        | XmlError::Truncated
        | XmlError::MismatchedTag
        | XmlError::TextOutsideElement
        | XmlError::ContentAfterEnd
        | XmlError::DuplicateAttribute
        | XmlError::CdataEndInText
        | XmlError::ForbiddenCharacter
        | XmlError::MalformedReference
        | XmlError::UndeclaredPrefix
        | XmlError::ReservedNamespace
        | XmlError::BadDeclaration
        | XmlError::Encoding
        | XmlError::NotUtf8
        | XmlError::Dtd
        | XmlError::Comment
        | XmlError::ProcessingInstruction
        | XmlError::Entity => Terminal::BadRequest,
    }
}

fn kind(body: Element<'_>) -> Result<Kind, Terminal> {
    if let Some(kind) = body.attr("type") {
        return if kind == "terminate" { Ok(Kind::Terminate) } else { Err(Terminal::BadRequest) };
    }
    if let Some(seconds) = number(body, "pause")? {
        return Ok(Kind::Pause(seconds));
    }
    match body.attr_ns("restart", ns::XBOSH).as_deref() {
        Some("true" | "1") => Ok(Kind::Restart),
        Some("false" | "0") | None => Ok(Kind::Plain),
        Some(_) => Err(Terminal::BadRequest),
    }
}

fn creation(body: Element<'_>) -> Result<Creation, Terminal> {
    let ver = match body.attr("ver") {
        Some(ver) => version(&ver).ok_or(Terminal::BadRequest)?,
        None => (1, 6),
    };
    Ok(Creation {
        wait: number(body, "wait")?.unwrap_or(super::WAIT_SECS_MAX),
        hold: number(body, "hold")?.unwrap_or(1),
        ver,
    })
}

/// XEP-0124 §7.1: `major.minor`, two numbers and no fraction.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((decimal(major)?.try_into().ok()?, decimal(minor)?.try_into().ok()?))
}

fn number(body: Element<'_>, name: &str) -> Result<Option<u64>, Terminal> {
    match body.attr(name) {
        Some(text) => decimal(&text).map(Some).ok_or(Terminal::BadRequest),
        None => Ok(None),
    }
}

/// The standard parser takes a sign.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A child of the body as it would stand in a message of its own.
fn alone(child: Element<'_>) -> Box<[u8]> {
    let mut out = Vec::new();
    // Old clients leave out xmlns='jabber:client', and mean it. XEP-0124 §7.4 would have them say it.
    let says_its_own = child.declares().any(|(prefix, _)| prefix.is_empty());
    if child.ns() == ns::BOSH && child.prefix().is_empty() && !says_its_own {
        splice::copy_into_client(child, &mut out);
    } else {
        splice::copy(child, "", &mut out);
    }
    out.into()
}
