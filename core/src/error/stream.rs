//! Stream errors: why a stream ends. RFC 6120 §4.9.

use crate::ns;
use crate::xml::Writer;

/// Why a stream ends. RFC 6120 §4.9.3, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamCondition {
    /// XML that cannot be processed. §4.9.3.1
    BadFormat,
    /// A prefix that is missing or not the expected one. §4.9.3.2
    BadNamespacePrefix,
    /// A newer stream took this one's place. §4.9.3.3
    Conflict,
    /// Nothing came for too long. §4.9.3.4
    ConnectionTimeout,
    /// The domain is no longer served here. §4.9.3.5
    HostGone,
    /// The domain is not served here. §4.9.3.6
    HostUnknown,
    /// `to` or `from` is missing or not an address. §4.9.3.7
    ImproperAddressing,
    /// Our fault. §4.9.3.8
    InternalServerError,
    /// `from` is not who the stream belongs to. §4.9.3.9
    InvalidFrom,
    /// A stream or content namespace that is not supported. §4.9.3.10
    InvalidNamespace,
    /// XML that a schema forbids. §4.9.3.11
    InvalidXml,
    /// Something that needs a login first. §4.9.3.12
    NotAuthorized,
    /// Not XML, or not namespace-well-formed. §4.9.3.13
    NotWellFormed,
    /// Against a local rule, such as a limit. §4.9.3.14
    PolicyViolation,
    /// What the server needs to answer is out of reach. §4.9.3.15
    RemoteConnectionFailed,
    /// Security needs a new stream. §4.9.3.16
    Reset,
    /// The server lacks what it would take. §4.9.3.17
    ResourceConstraint,
    /// XML that RFC 6120 §11.1 forbids. §4.9.3.18
    RestrictedXml,
    /// Another host serves this. §4.9.3.19
    SeeOtherHost,
    /// The server is being shut down. §4.9.3.20
    SystemShutdown,
    /// None of the others. §4.9.3.21
    UndefinedCondition,
    /// Not UTF-8. §4.9.3.22
    UnsupportedEncoding,
    /// A mandatory feature that is missing. §4.9.3.23
    UnsupportedFeature,
    /// A top-level element that is not understood. §4.9.3.24
    UnsupportedStanzaType,
    /// A stream version below 1.0. §4.9.3.25
    UnsupportedVersion,
}

impl StreamCondition {
    /// All of them.
    pub const ALL: [StreamCondition; 25] = [
        StreamCondition::BadFormat,
        StreamCondition::BadNamespacePrefix,
        StreamCondition::Conflict,
        StreamCondition::ConnectionTimeout,
        StreamCondition::HostGone,
        StreamCondition::HostUnknown,
        StreamCondition::ImproperAddressing,
        StreamCondition::InternalServerError,
        StreamCondition::InvalidFrom,
        StreamCondition::InvalidNamespace,
        StreamCondition::InvalidXml,
        StreamCondition::NotAuthorized,
        StreamCondition::NotWellFormed,
        StreamCondition::PolicyViolation,
        StreamCondition::RemoteConnectionFailed,
        StreamCondition::Reset,
        StreamCondition::ResourceConstraint,
        StreamCondition::RestrictedXml,
        StreamCondition::SeeOtherHost,
        StreamCondition::SystemShutdown,
        StreamCondition::UndefinedCondition,
        StreamCondition::UnsupportedEncoding,
        StreamCondition::UnsupportedFeature,
        StreamCondition::UnsupportedStanzaType,
        StreamCondition::UnsupportedVersion,
    ];

    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            StreamCondition::BadFormat => "bad-format",
            StreamCondition::BadNamespacePrefix => "bad-namespace-prefix",
            StreamCondition::Conflict => "conflict",
            StreamCondition::ConnectionTimeout => "connection-timeout",
            StreamCondition::HostGone => "host-gone",
            StreamCondition::HostUnknown => "host-unknown",
            StreamCondition::ImproperAddressing => "improper-addressing",
            StreamCondition::InternalServerError => "internal-server-error",
            StreamCondition::InvalidFrom => "invalid-from",
            StreamCondition::InvalidNamespace => "invalid-namespace",
            StreamCondition::InvalidXml => "invalid-xml",
            StreamCondition::NotAuthorized => "not-authorized",
            StreamCondition::NotWellFormed => "not-well-formed",
            StreamCondition::PolicyViolation => "policy-violation",
            StreamCondition::RemoteConnectionFailed => "remote-connection-failed",
            StreamCondition::Reset => "reset",
            StreamCondition::ResourceConstraint => "resource-constraint",
            StreamCondition::RestrictedXml => "restricted-xml",
            StreamCondition::SeeOtherHost => "see-other-host",
            StreamCondition::SystemShutdown => "system-shutdown",
            StreamCondition::UndefinedCondition => "undefined-condition",
            StreamCondition::UnsupportedEncoding => "unsupported-encoding",
            StreamCondition::UnsupportedFeature => "unsupported-feature",
            StreamCondition::UnsupportedStanzaType => "unsupported-stanza-type",
            StreamCondition::UnsupportedVersion => "unsupported-version",
        }
    }

    /// What to tell a person when nothing more is known.
    pub const fn text(self) -> &'static str {
        match self {
            StreamCondition::BadFormat => "The XML cannot be processed.",
            StreamCondition::BadNamespacePrefix => "A namespace prefix is missing or unexpected.",
            StreamCondition::Conflict => "Another connection took this resource.",
            StreamCondition::ConnectionTimeout => "Nothing was received for too long.",
            StreamCondition::HostGone => "This domain is no longer served here.",
            StreamCondition::HostUnknown => "This domain is not served here.",
            StreamCondition::ImproperAddressing => "An address is missing or malformed.",
            StreamCondition::InternalServerError => "The server has a fault.",
            StreamCondition::InvalidFrom => "The from address is not this stream's.",
            StreamCondition::InvalidNamespace => "A namespace is not supported.",
            StreamCondition::InvalidXml => "The XML is not valid.",
            StreamCondition::NotAuthorized => "Log in first.",
            StreamCondition::NotWellFormed => "The XML is not well-formed.",
            StreamCondition::PolicyViolation => "A rule of this server was not kept.",
            StreamCondition::RemoteConnectionFailed => "A server that is needed cannot be reached.",
            StreamCondition::Reset => "The stream has to be opened anew.",
            StreamCondition::ResourceConstraint => "The server is too busy.",
            StreamCondition::RestrictedXml => "Comments, processing instructions, DTDs and entities are not allowed.",
            StreamCondition::SeeOtherHost => "Another host serves this.",
            StreamCondition::SystemShutdown => "The server is shutting down.",
            StreamCondition::UndefinedCondition => "The stream cannot go on.",
            StreamCondition::UnsupportedEncoding => "Only UTF-8 is understood.",
            StreamCondition::UnsupportedFeature => "A feature that is needed is missing.",
            StreamCondition::UnsupportedStanzaType => "This element is not understood here.",
            StreamCondition::UnsupportedVersion => "Only version 1.0 of XMPP is understood.",
        }
    }
}

/// A stream error: the condition, and what to tell a person about the case at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// What a client acts on.
    pub condition: StreamCondition,
    /// What its developer reads.
    pub text: &'static str,
    /// What an extension has to say of it. RFC 6120 §4.9.4
    pub detail: Option<Detail>,
}

/// What an extension has to say of a stream error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The client claims to have taken more stanzas than it was sent. XEP-0198 §4
    HandledTooMany {
        /// What the client says.
        handled: u32,
        /// What is true.
        sent: u32,
    },
}

impl StreamError {
    /// A condition with a text of its own.
    pub const fn new(condition: StreamCondition, text: &'static str) -> StreamError {
        StreamError { condition, text, detail: None }
    }

    /// The client acknowledges what it was not sent. XEP-0198 §4
    pub const fn handled_too_many(handled: u32, sent: u32) -> StreamError {
        let text = "You acknowledged more stanzas than were sent to you.";
        let detail = Some(Detail::HandledTooMany { handled, sent });
        StreamError { condition: StreamCondition::UndefinedCondition, text, detail }
    }
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> StreamError {
        StreamError::new(condition, condition.text())
    }
}

impl StreamError {
    /// Appends `<stream:error/>`; the prefix is the stream's. RFC 6120 §4.9.2.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut xml = Writer::new(out);
        xml.open("stream:error").empty(self.condition.as_str(), ns::STREAM_ERRORS);
        xml.open("text").ns(ns::STREAM_ERRORS).attr("xml:lang", "en").text(self.text).close();
        match self.detail {
            None => {}
            Some(Detail::HandledTooMany { handled, sent }) => {
                xml.open("handled-count-too-high").ns(ns::SM);
                xml.attr_int("h", handled).attr_int("send-count", sent);
            }
        }
    }
}
