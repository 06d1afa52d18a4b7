//! What goes wrong, sorted by whose fault it is, and the one place where each cause becomes words on the wire.
//!
//! A handler names a cause: a [`Condition`] for an ordinary refusal, a [`Misbehaviour`] or an [`XmlError`] for a peer that
//! does not keep the rules. [`ProtocolError::stream_error`] turns causes into stream errors, [`StreamError::write`] and
//! [`StanzaError::write_reply`] turn errors into bytes; nobody else spells error XML.

use crate::ns;
use crate::xml::{Element, Writer, XmlError};

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
}

impl StreamError {
    /// A condition with a text of its own.
    pub const fn new(condition: StreamCondition, text: &'static str) -> StreamError {
        StreamError { condition, text }
    }
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> StreamError {
        StreamError { condition, text: condition.text() }
    }
}

/// Why a stanza is refused. RFC 6120 §8.3.3, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Malformed or incomplete. §8.3.3.1
    BadRequest,
    /// Something of that name exists. §8.3.3.2
    Conflict,
    /// Known, but not done here. §8.3.3.3
    FeatureNotImplemented,
    /// The sender may not. §8.3.3.4
    Forbidden,
    /// The addressee has left for good. §8.3.3.5
    Gone,
    /// Our fault. §8.3.3.6
    InternalServerError,
    /// There is nothing of that name. §8.3.3.7
    ItemNotFound,
    /// Not an address. §8.3.3.8
    JidMalformed,
    /// Does not meet the receiver's terms. §8.3.3.9
    NotAcceptable,
    /// Nobody may. §8.3.3.10
    NotAllowed,
    /// The sender has to log in. §8.3.3.11
    NotAuthorized,
    /// Against a local rule, such as a limit. §8.3.3.12
    PolicyViolation,
    /// The addressee is away. §8.3.3.13
    RecipientUnavailable,
    /// The addressee is elsewhere. §8.3.3.14
    Redirect,
    /// The sender has to register. §8.3.3.15
    RegistrationRequired,
    /// There is no such server. §8.3.3.16
    RemoteServerNotFound,
    /// The other server does not answer. §8.3.3.17
    RemoteServerTimeout,
    /// The server is too busy, or the sender has used up a share. §8.3.3.18
    ResourceConstraint,
    /// Nobody there who does this, or who may be told about. §8.3.3.19
    ServiceUnavailable,
    /// The sender has to subscribe. §8.3.3.20
    SubscriptionRequired,
    /// None of the others. §8.3.3.21
    UndefinedCondition,
    /// Not at this point. §8.3.3.22
    UnexpectedRequest,
}

/// What the sender can do about a stanza error. RFC 6120 §8.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Log in or gain rights, then repeat.
    Auth,
    /// Nothing.
    Cancel,
    /// Nothing is wrong; a warning.
    Continue,
    /// Change the request, then repeat.
    Modify,
    /// Repeat later.
    Wait,
}

impl ErrorType {
    /// The attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        }
    }
}

impl Condition {
    /// All of them.
    pub const ALL: [Condition; 22] = [
        Condition::BadRequest,
        Condition::Conflict,
        Condition::FeatureNotImplemented,
        Condition::Forbidden,
        Condition::Gone,
        Condition::InternalServerError,
        Condition::ItemNotFound,
        Condition::JidMalformed,
        Condition::NotAcceptable,
        Condition::NotAllowed,
        Condition::NotAuthorized,
        Condition::PolicyViolation,
        Condition::RecipientUnavailable,
        Condition::Redirect,
        Condition::RegistrationRequired,
        Condition::RemoteServerNotFound,
        Condition::RemoteServerTimeout,
        Condition::ResourceConstraint,
        Condition::ServiceUnavailable,
        Condition::SubscriptionRequired,
        Condition::UndefinedCondition,
        Condition::UnexpectedRequest,
    ];

    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Condition::BadRequest => "bad-request",
            Condition::Conflict => "conflict",
            Condition::FeatureNotImplemented => "feature-not-implemented",
            Condition::Forbidden => "forbidden",
            Condition::Gone => "gone",
            Condition::InternalServerError => "internal-server-error",
            Condition::ItemNotFound => "item-not-found",
            Condition::JidMalformed => "jid-malformed",
            Condition::NotAcceptable => "not-acceptable",
            Condition::NotAllowed => "not-allowed",
            Condition::NotAuthorized => "not-authorized",
            Condition::PolicyViolation => "policy-violation",
            Condition::RecipientUnavailable => "recipient-unavailable",
            Condition::Redirect => "redirect",
            Condition::RegistrationRequired => "registration-required",
            Condition::RemoteServerNotFound => "remote-server-not-found",
            Condition::RemoteServerTimeout => "remote-server-timeout",
            Condition::ResourceConstraint => "resource-constraint",
            Condition::ServiceUnavailable => "service-unavailable",
            Condition::SubscriptionRequired => "subscription-required",
            Condition::UndefinedCondition => "undefined-condition",
            Condition::UnexpectedRequest => "unexpected-request",
        }
    }

    /// The type that belongs to the condition, unless a case asks for another. RFC 6120 §8.3.3.
    pub const fn kind(self) -> ErrorType {
        match self {
            Condition::Forbidden
            | Condition::NotAuthorized
            | Condition::RegistrationRequired
            | Condition::SubscriptionRequired => ErrorType::Auth,
            Condition::Conflict
            | Condition::FeatureNotImplemented
            | Condition::Gone
            | Condition::InternalServerError
            | Condition::ItemNotFound
            | Condition::NotAllowed
            | Condition::RemoteServerNotFound
            | Condition::ServiceUnavailable
            | Condition::UndefinedCondition => ErrorType::Cancel,
            Condition::BadRequest
            | Condition::JidMalformed
            | Condition::NotAcceptable
            | Condition::PolicyViolation
            | Condition::Redirect => ErrorType::Modify,
            Condition::RecipientUnavailable
            | Condition::RemoteServerTimeout
            | Condition::ResourceConstraint
            | Condition::UnexpectedRequest => ErrorType::Wait,
        }
    }

    /// The number that clients older than XMPP look at. XEP-0086 §3.
    pub const fn code(self) -> u16 {
        match self {
            Condition::Gone | Condition::Redirect => 302,
            Condition::BadRequest | Condition::JidMalformed | Condition::UnexpectedRequest => 400,
            Condition::NotAuthorized => 401,
            Condition::Forbidden | Condition::PolicyViolation => 403,
            Condition::ItemNotFound | Condition::RecipientUnavailable | Condition::RemoteServerNotFound => 404,
            Condition::NotAllowed => 405,
            Condition::NotAcceptable => 406,
            Condition::RegistrationRequired | Condition::SubscriptionRequired => 407,
            Condition::Conflict => 409,
            Condition::InternalServerError | Condition::ResourceConstraint | Condition::UndefinedCondition => 500,
            Condition::FeatureNotImplemented => 501,
            Condition::ServiceUnavailable => 503,
            Condition::RemoteServerTimeout => 504,
        }
    }

    /// What to tell a person when nothing more is known. Old SDKs read it without asking whether it is there.
    pub const fn text(self) -> &'static str {
        match self {
            Condition::BadRequest => "The request is malformed or incomplete.",
            Condition::Conflict => "Something of that name exists already.",
            Condition::FeatureNotImplemented => "This server does not do that.",
            Condition::Forbidden => "You do not have the right to do that.",
            Condition::Gone => "The recipient is no longer here.",
            Condition::InternalServerError => "The server has a fault.",
            Condition::ItemNotFound => "The item was not found.",
            Condition::JidMalformed => "The address is malformed.",
            Condition::NotAcceptable => "The request does not meet the recipient's terms.",
            Condition::NotAllowed => "Nobody is allowed to do that.",
            Condition::NotAuthorized => "Log in first.",
            Condition::PolicyViolation => "A rule of this server was not kept.",
            Condition::RecipientUnavailable => "The recipient is not available.",
            Condition::Redirect => "The recipient is at another address.",
            Condition::RegistrationRequired => "Register first.",
            Condition::RemoteServerNotFound => "The recipient's server was not found.",
            Condition::RemoteServerTimeout => "The recipient's server does not answer.",
            Condition::ResourceConstraint => "There is no room for more at the moment.",
            Condition::ServiceUnavailable => "Service not available.",
            Condition::SubscriptionRequired => "Subscribe first.",
            Condition::UndefinedCondition => "The request cannot be carried out.",
            Condition::UnexpectedRequest => "The request does not belong here.",
        }
    }
}

/// A stanza error: the condition and what a particular case says differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StanzaError<'a> {
    /// What a client acts on.
    pub condition: Condition,
    /// What can be done about it.
    pub kind: ErrorType,
    /// What a person reads.
    pub text: &'a str,
    /// The application's own condition: name and namespace. RFC 6120 §8.3.4.
    pub detail: Option<(&'static str, &'static str)>,
}

impl From<Condition> for StanzaError<'_> {
    fn from(condition: Condition) -> Self {
        StanzaError { condition, kind: condition.kind(), text: condition.text(), detail: None }
    }
}

impl<'a> StanzaError<'a> {
    /// A condition with a text of its own.
    pub fn new(condition: Condition, text: &'a str) -> StanzaError<'a> {
        StanzaError { text, ..StanzaError::from(condition) }
    }
}

/// How a peer breaks the rules of its stream, one variant per cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Misbehaviour {
    /// The first element is not a stream header of the streams namespace.
    #[error("the root element is not a stream of {}", ns::STREAMS)]
    NotAStream,
    /// The streams namespace hangs on another prefix than `stream`. RFC 6120 §4.8.5.
    #[error("the prefix of the streams namespace is not 'stream'")]
    StreamPrefix,
    /// The content namespace is not `jabber:client`; other servers do not connect here.
    #[error("the content namespace is not jabber:client")]
    ContentNamespace,
    /// The header does not say `version="1.0"` or later.
    #[error("the stream header has no version, or one below 1.0")]
    Version,
    /// The header does not say whom it is for.
    #[error("the stream header has no 'to'")]
    NoDomain,
    /// The header is for a domain that is not served here.
    #[error("the domain in 'to' is not served here")]
    OtherDomain,
    /// A message or presence before login.
    #[error("a stanza before login")]
    StanzaBeforeLogin,
    /// A message or presence before binding.
    #[error("a stanza before a resource is bound")]
    StanzaBeforeBind,
    /// Requests went on after each was answered with `not-authorized`.
    #[error("too many requests before login")]
    TooManyEarlyStanzas,
    /// Wrong passwords went on.
    #[error("too many failed logins")]
    TooManyAuthFailures,
    /// A login on a stream that has one.
    #[error("a second login on one stream")]
    SecondLogin,
    /// A top-level element that nobody here understands.
    #[error("an element that is not understood here")]
    UnknownElement,
    /// A top-level element of a namespace that no stream has.
    #[error("an element of a namespace that is not supported here")]
    UnknownNamespace,
    /// No resource was bound in time.
    #[error("login took too long")]
    LoginTimeout,
    /// The header's `xml:lang` is no language tag.
    #[error("the stream header's language is too long")]
    LangTooLong,
}

/// Whatever can go wrong between a peer and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The bytes are not the XML that streams are made of.
    NotWellFormed(XmlError),
    /// The peer does not keep the order of things.
    PeerMisbehaved(Misbehaviour),
    /// An ordinary answer, not a fault: the stanza gets an error and the stream goes on.
    Refused(Condition),
}

impl From<XmlError> for ProtocolError {
    fn from(error: XmlError) -> ProtocolError {
        ProtocolError::NotWellFormed(error)
    }
}

impl From<Misbehaviour> for ProtocolError {
    fn from(cause: Misbehaviour) -> ProtocolError {
        ProtocolError::PeerMisbehaved(cause)
    }
}

impl From<Condition> for ProtocolError {
    fn from(condition: Condition) -> ProtocolError {
        ProtocolError::Refused(condition)
    }
}

impl ProtocolError {
    /// The stream error of a fault; none for what is answered with a stanza error.
    pub fn stream_error(&self) -> Option<StreamError> {
        match self {
            ProtocolError::NotWellFormed(error) => Some(StreamError::from(*error)),
            ProtocolError::PeerMisbehaved(cause) => Some(StreamError::from(*cause)),
            ProtocolError::Refused(_) => None,
        }
    }
}

impl From<XmlError> for StreamError {
    fn from(error: XmlError) -> StreamError {
        use StreamCondition::{NotWellFormed, PolicyViolation, RestrictedXml, UnsupportedEncoding};
        match error {
            XmlError::Syntax => StreamError::new(NotWellFormed, "A tag or an attribute is malformed."),
            XmlError::Truncated => StreamError::new(NotWellFormed, "The element is not complete."),
            XmlError::MismatchedTag => StreamError::new(NotWellFormed, "An end tag does not match its start tag."),
            XmlError::TextOutsideElement => StreamError::new(NotWellFormed, "There is text outside of any element."),
            XmlError::ContentAfterEnd => StreamError::new(NotWellFormed, "Something follows the end."),
            XmlError::DuplicateAttribute => StreamError::new(NotWellFormed, "An attribute is given twice."),
            XmlError::CdataEndInText => StreamError::new(NotWellFormed, "There is ']]>' in the text."),
            XmlError::ForbiddenCharacter => {
                StreamError::new(NotWellFormed, "There is a character that XML does not allow.")
            }
            XmlError::MalformedReference => StreamError::new(NotWellFormed, "An '&' starts no reference."),
            XmlError::UndeclaredPrefix => StreamError::new(NotWellFormed, "A namespace prefix is not declared."),
            XmlError::ReservedNamespace => {
                StreamError::new(NotWellFormed, "A namespace declaration is reserved or empty.")
            }
            XmlError::BadDeclaration => StreamError::new(NotWellFormed, "The XML declaration is malformed."),
            XmlError::Encoding | XmlError::NotUtf8 => UnsupportedEncoding.into(),
            XmlError::Dtd => StreamError::new(RestrictedXml, "DTDs are not allowed."),
            XmlError::Comment => StreamError::new(RestrictedXml, "Comments are not allowed."),
            XmlError::ProcessingInstruction => {
                StreamError::new(RestrictedXml, "Processing instructions are not allowed.")
            }
            XmlError::Entity => StreamError::new(RestrictedXml, "Only the five predefined entities are allowed."),
            XmlError::TooBig => StreamError::new(PolicyViolation, "The element is too big."),
            XmlError::TooDeep => StreamError::new(PolicyViolation, "Elements are nested too deep."),
            XmlError::TooManyAttributes => StreamError::new(PolicyViolation, "An element has too many attributes."),
            XmlError::AttributeTooLong => StreamError::new(PolicyViolation, "An attribute is too long."),
            XmlError::NameTooLong => StreamError::new(PolicyViolation, "A name is too long."),
            XmlError::TooManyPrefixes => StreamError::new(PolicyViolation, "There are too many namespace prefixes."),
        }
    }
}

impl From<Misbehaviour> for StreamError {
    fn from(cause: Misbehaviour) -> StreamError {
        use StreamCondition as C;
        match cause {
            Misbehaviour::NotAStream => StreamError::new(C::InvalidNamespace, "This is not an XMPP stream header."),
            Misbehaviour::StreamPrefix => {
                StreamError::new(C::BadNamespacePrefix, "The stream header needs the prefix 'stream'.")
            }
            Misbehaviour::ContentNamespace => StreamError::new(
                C::InvalidNamespace,
                "Only clients connect here: the content namespace is jabber:client.",
            ),
            Misbehaviour::Version => C::UnsupportedVersion.into(),
            Misbehaviour::NoDomain => {
                StreamError::new(C::ImproperAddressing, "The stream header needs a 'to' with the chat domain.")
            }
            Misbehaviour::OtherDomain => C::HostUnknown.into(),
            Misbehaviour::StanzaBeforeLogin => C::NotAuthorized.into(),
            Misbehaviour::StanzaBeforeBind => StreamError::new(C::NotAuthorized, "Bind a resource first."),
            Misbehaviour::TooManyEarlyStanzas => {
                StreamError::new(C::PolicyViolation, "Too many requests without a login and a bound resource.")
            }
            Misbehaviour::TooManyAuthFailures => StreamError::new(C::PolicyViolation, "Too many failed logins."),
            Misbehaviour::SecondLogin => StreamError::new(C::PolicyViolation, "This stream is logged in already."),
            Misbehaviour::UnknownElement => C::UnsupportedStanzaType.into(),
            Misbehaviour::UnknownNamespace => {
                StreamError::new(C::UnsupportedStanzaType, "Elements of this namespace are not understood here.")
            }
            Misbehaviour::LoginTimeout => StreamError::new(C::ConnectionTimeout, "The login took too long."),
            Misbehaviour::LangTooLong => StreamError::new(C::PolicyViolation, "The language tag is too long."),
        }
    }
}

impl StreamError {
    /// Appends `<stream:error/>`; the prefix is the stream's. RFC 6120 §4.9.2.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut xml = Writer::new(out);
        xml.open("stream:error").empty(self.condition.as_str(), ns::STREAM_ERRORS);
        xml.open("text").ns(ns::STREAM_ERRORS).attr("xml:lang", "en").text(self.text);
    }
}

impl StanzaError<'_> {
    /// Appends the error that answers `stanza`: the same name and id, the original children, then `<error/>`. RFC 6120 §8.3.1.
    ///
    /// `from` is the address that was asked and `to` the one who asked: what the stanza itself says about its sender is not to
    /// be believed. An error or a result must never get one: see [`may_be_refused`].
    pub fn write_reply(&self, stanza: Element<'_>, from: Option<&str>, to: Option<&str>, out: &mut Vec<u8>) {
        let mut xml = Writer::new(out);
        xml.open(stanza_name(stanza.name()));
        xml.attr_opt("from", from).attr_opt("to", to).attr("type", "error");
        xml.attr_opt("id", stanza.attr("id").as_deref());
        for child in stanza.children() {
            xml.copy(child, ns::CLIENT);
        }
        self.write_child(&mut xml);
    }

    /// Writes the `<error/>` child alone. RFC 6120 §8.3.2; the code is XEP-0086's.
    pub fn write_child(&self, xml: &mut Writer<'_>) {
        xml.open("error").attr_int("code", self.condition.code()).attr("type", self.kind.as_str());
        xml.empty(self.condition.as_str(), ns::STANZA_ERRORS);
        xml.open("text").ns(ns::STANZA_ERRORS).attr("xml:lang", "en").text(self.text).close();
        if let Some((name, ns)) = self.detail {
            xml.empty(name, ns);
        }
        xml.close();
    }
}

/// Whether a stanza may be answered with an error at all: two servers that answered errors with errors would never stop.
/// RFC 6120 §8.3.1.
pub fn may_be_refused(stanza: Element<'_>) -> bool {
    !matches!(stanza.attr("type").as_deref(), Some("error" | "result"))
}

fn stanza_name(name: &str) -> &'static str {
    match name {
        "message" => "message",
        "presence" => "presence",
        _ => "iq",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    fn reply(source: &str, error: StanzaError<'_>) -> String {
        let mut nodes = Nodes::new();
        let stanza = nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).unwrap();
        let mut out = Vec::new();
        error.write_reply(stanza, Some("muc.localhost"), Some("1-2@localhost/r"), &mut out);
        String::from_utf8(out).unwrap()
    }

    // RFC 6120 §8.3.1: the id is kept, and the original payload may be.
    #[test]
    fn an_error_repeats_the_id_and_the_children() {
        let source = "<iq type='get' id='lastActivity&amp;1' from='' to='muc.localhost'><query xmlns='urn:q'><list/></query></iq>";
        assert_eq!(
            reply(source, Condition::ServiceUnavailable.into()),
            "<iq from=\"muc.localhost\" to=\"1-2@localhost/r\" type=\"error\" id=\"lastActivity&amp;1\">\
             <query xmlns='urn:q'><list/></query>\
             <error code=\"503\" type=\"cancel\"><service-unavailable xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/>\
             <text xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\" xml:lang=\"en\">Service not available.</text></error></iq>"
        );
    }

    #[test]
    fn an_error_without_an_id_invents_none() {
        assert!(!reply("<iq type='set'/>", Condition::BadRequest.into()).contains(" id="));
    }

    #[test]
    fn an_error_can_carry_a_condition_of_its_own() {
        let blocked = StanzaError { detail: Some(("blocked", ns::BLOCKING_ERRORS)), ..Condition::NotAcceptable.into() };
        assert!(
            reply("<message/>", blocked).contains("<blocked xmlns=\"urn:xmpp:blocking:errors\"/></error></message>")
        );
    }

    // XEP-0086 §3, on the types of RFC 6120 §8.3.3.
    #[test]
    fn conditions_have_the_old_codes() {
        for (condition, kind, code) in [
            (Condition::ServiceUnavailable, "cancel", 503),
            (Condition::ItemNotFound, "cancel", 404),
            (Condition::NotAuthorized, "auth", 401),
            (Condition::Forbidden, "auth", 403),
            (Condition::NotAllowed, "cancel", 405),
            (Condition::BadRequest, "modify", 400),
            (Condition::Conflict, "cancel", 409),
            (Condition::FeatureNotImplemented, "cancel", 501),
            (Condition::InternalServerError, "cancel", 500),
            (Condition::JidMalformed, "modify", 400),
            (Condition::NotAcceptable, "modify", 406),
            (Condition::RecipientUnavailable, "wait", 404),
            (Condition::RegistrationRequired, "auth", 407),
            (Condition::RemoteServerNotFound, "cancel", 404),
            (Condition::ResourceConstraint, "wait", 500),
        ] {
            assert_eq!((condition.kind().as_str(), condition.code()), (kind, code), "{condition:?}");
        }
    }

    #[test]
    fn every_condition_is_written_as_xml_that_reads_back() {
        let mut nodes = Nodes::new();
        for condition in StreamCondition::ALL {
            let mut out = Vec::new();
            StreamError::from(condition).write(&mut out);
            let error = nodes.parse(&out, &Context::CLIENT, &Limits::STANZA).unwrap();
            assert!(error.is("error", ns::STREAMS));
            assert!(error.child(condition.as_str(), ns::STREAM_ERRORS).is_some());
            assert_eq!(error.child("text", ns::STREAM_ERRORS).unwrap().text(), condition.text());
        }
        for condition in Condition::ALL {
            let source = reply("<presence to='x'/>", condition.into());
            let stanza = nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).unwrap();
            let error = stanza.child("error", ns::CLIENT).unwrap();
            assert!(error.child(condition.as_str(), ns::STANZA_ERRORS).is_some());
            assert!(!error.child("text", ns::STANZA_ERRORS).unwrap().text().is_empty());
        }
    }
}
