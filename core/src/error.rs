//! What goes wrong, sorted by whose fault it is, and the one place where each cause becomes words on the wire.
//!
//! A handler names a cause: a [`Condition`] for an ordinary refusal, a [`Misbehaviour`] or an [`XmlError`] for a peer that
//! does not keep the rules. [`ProtocolError::stream_error`] turns causes into stream errors, [`StreamError::write`] and
//! [`StanzaError::write_reply`] turn errors into bytes; nobody else spells error XML.

use crate::ns;
use crate::xml::XmlError;

mod stanza;
mod stream;

pub use stanza::{Condition, ErrorType, Refusal, StanzaError, may_be_refused};
pub use stream::{Detail, StreamCondition, StreamError};

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
    /// Something else in the middle of a login by SASL2.
    #[error("something else in the middle of a login")]
    LoginInterrupted,
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
            Misbehaviour::LoginInterrupted => StreamError::new(C::PolicyViolation, "Finish the login first."),
            Misbehaviour::UnknownElement => C::UnsupportedStanzaType.into(),
            Misbehaviour::UnknownNamespace => {
                StreamError::new(C::UnsupportedStanzaType, "Elements of this namespace are not understood here.")
            }
            Misbehaviour::LoginTimeout => StreamError::new(C::ConnectionTimeout, "The login took too long."),
            Misbehaviour::LangTooLong => StreamError::new(C::PolicyViolation, "The language tag is too long."),
        }
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

    #[test]
    fn a_refusal_can_say_more_in_words_of_its_own() {
        let refusal = Refusal::new(Condition::ResourceConstraint, "Later.").of_kind(ErrorType::Cancel);
        let refusal = refusal.with(|xml| {
            xml.open("retry").ns("urn:x").attr("stamp", "<").close();
        });
        let text = reply("<iq type='get' id='1'/>", refusal.error());
        assert!(text.contains("type=\"cancel\"><resource-constraint"), "{text}");
        assert!(text.ends_with(">Later.</text><retry xmlns=\"urn:x\" stamp=\"&lt;\"/></error></iq>"), "{text}");
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
