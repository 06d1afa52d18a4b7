//! Stanza errors: why a stanza is refused while the stream goes on. RFC 6120 §8.3.

use std::borrow::Cow;

use crate::ns;
use crate::stanza::PRESENCE_ID;
use crate::xml::{Element, Writer};

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
    /// More of the application's own: whole elements, or nothing.
    pub elements: &'a [u8],
}

impl From<Condition> for StanzaError<'_> {
    fn from(condition: Condition) -> Self {
        StanzaError { condition, kind: condition.kind(), text: condition.text(), detail: None, elements: &[] }
    }
}

impl<'a> StanzaError<'a> {
    /// A condition with a text of its own.
    pub fn new(condition: Condition, text: &'a str) -> StanzaError<'a> {
        StanzaError { text, ..StanzaError::from(condition) }
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
        let id = stanza.attr("id");
        xml.attr_opt("id", id.as_deref().or_else(|| (stanza.name() == "presence").then_some(PRESENCE_ID)));
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
        if !self.elements.is_empty() {
            xml.raw_bytes(self.elements);
        }
        xml.close();
    }
}

/// Why a request is refused, with all that a client is to hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What a client acts on.
    pub condition: Condition,
    /// What can be done about it.
    pub kind: ErrorType,
    /// What a person reads.
    pub text: Cow<'static, str>,
    /// The application's own condition: whole elements, or nothing. RFC 6120 §8.3.4.
    pub elements: Vec<u8>,
}

impl From<Condition> for Refusal {
    fn from(condition: Condition) -> Refusal {
        Refusal { condition, kind: condition.kind(), text: condition.text().into(), elements: Vec::new() }
    }
}

impl Refusal {
    /// A condition with a text of its own.
    pub fn new(condition: Condition, text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { text: text.into(), ..Refusal::from(condition) }
    }

    /// The same, with something else to be done about it.
    #[must_use]
    pub fn of_kind(mut self, kind: ErrorType) -> Refusal {
        self.kind = kind;
        self
    }

    /// The same with a condition of the application's own.
    #[must_use]
    pub fn with(mut self, write: impl FnOnce(&mut Writer<'_>)) -> Refusal {
        write(&mut Writer::new(&mut self.elements));
        self
    }

    /// As the error that answers a stanza.
    pub fn error(&self) -> StanzaError<'_> {
        StanzaError { kind: self.kind, text: &self.text, elements: &self.elements, ..self.condition.into() }
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
