//! What of a message passes between a user and the link: what is said, whether somebody is typing, receipts, and errors.
//!
//! All else stays behind, in both directions. From the link come copies that claim to be carbons, invitations, archived messages, rules
//! for the server; towards it go the traces of rooms, histories and devices.

use crate::error::{Condition, StanzaError};
use crate::ns;
use crate::stanza::MessageKind;
use crate::xml::{Element, Writer};

/// A message as it passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: MessageKind,
    /// Its id.
    pub id: Option<Box<str>>,
    /// The children that pass, for a place where `jabber:client` is the default namespace.
    pub content: Vec<u8>,
    /// Whether it waits for a user who is away: there is more to it than a chat state.
    pub lasting: bool,
}

impl Message {
    /// What passes of a message; none when that is nothing, and for the messages of rooms.
    pub fn read(message: Element<'_>) -> Option<Message> {
        let kind = MessageKind::read(message.attr("type").as_deref());
        if kind == MessageKind::Groupchat {
            return None;
        }
        let mut content = Vec::new();
        let mut lasting = false;
        let mut xml = Writer::new(&mut content);
        for child in message.children().filter(|child| passes(*child, kind)) {
            lasting |= child.ns() != ns::CHAT_STATES;
            xml.copy(child, ns::CLIENT);
        }
        drop(xml);
        let id = message.attr("id").filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX).map(|id| (*id).into());
        lasting &= matches!(kind, MessageKind::Chat | MessageKind::Normal);
        (!content.is_empty()).then_some(Message { kind, id, content, lasting })
    }

    /// A message of the bridge itself.
    pub fn notice(text: &str) -> Message {
        let mut content = Vec::new();
        Writer::new(&mut content).simple("body", text);
        Message { kind: MessageKind::Headline, id: None, content, lasting: false }
    }

    /// The error that answers it; none for an error. RFC 6120 §8.3.1
    pub fn refused(&self, condition: Condition, text: &'static str) -> Option<Message> {
        if self.kind == MessageKind::Error {
            return None;
        }
        let mut content = Vec::new();
        StanzaError::new(condition, text).write_child(&mut Writer::new(&mut content));
        Some(Message { kind: MessageKind::Error, id: self.id.clone(), content, lasting: false })
    }

    /// The whole stanza. `unverified` is the name of a sender whom nobody has checked, which the stanza then says.
    pub fn write(&self, from: &str, to: &str, unverified: Option<&str>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.content.len() + 200);
        let mut xml = Writer::new(&mut out);
        let kind = match self.kind {
            MessageKind::Chat => Some("chat"),
            MessageKind::Error => Some("error"),
            MessageKind::Groupchat => Some("groupchat"),
            MessageKind::Headline => Some("headline"),
            MessageKind::Normal => None,
        };
        xml.open("message").attr("from", from).attr("to", to).attr_opt("type", kind).attr_opt("id", self.id.as_deref());
        xml.raw_bytes(&self.content);
        if let Some(name) = unverified {
            xml.open("unverified").ns(ns::LINK_LOCAL).attr("name", name).close();
        }
        xml.close();
        drop(xml);
        out
    }
}

fn passes(child: Element<'_>, kind: MessageKind) -> bool {
    match child.ns() {
        ns::CLIENT => match child.name() {
            "body" | "subject" | "thread" => true,
            "error" => kind == MessageKind::Error,
            _ => false,
        },
        ns::CHAT_STATES | ns::RECEIPTS => true,
        _ => false,
    }
}

const ID_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    fn read(message: &str) -> Option<Message> {
        let mut nodes = Nodes::new();
        Message::read(nodes.parse(message.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(message))
    }

    fn through(message: &str) -> Option<String> {
        let written = read(message)?.write("a@b", "c@d", None);
        Some(String::from_utf8(written).unwrap())
    }

    #[test]
    fn what_is_said_passes() {
        let said = "<subject>s</subject><body xml:lang='en'>Art thou &lt;not&gt; Romeo?</body><thread>t</thread>";
        let more = "<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>";
        assert_eq!(
            through(&format!("<message from='x' to='y' type='chat' id='1'>{said}{more}</message>")).unwrap(),
            format!(r#"<message from="a@b" to="c@d" type="chat" id="1">{said}{more}</message>"#)
        );
        // Prefixes that were declared around a child are declared on it.
        assert_eq!(
            through("<message xmlns:s='http://jabber.org/protocol/chatstates'><s:gone/></message>").unwrap(),
            r#"<message from="a@b" to="c@d"><s:gone xmlns:s="http://jabber.org/protocol/chatstates"/></message>"#
        );
    }

    #[test]
    fn what_could_pass_for_something_else_stays_behind() {
        for child in [
            "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'/></sent>",
            "<result xmlns='urn:xmpp:mam:2'/>",
            "<stanza-id xmlns='urn:xmpp:sid:0' by='1-1@localhost' id='1'/>",
            "<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z' from='localhost'/>",
            "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>",
            "<amp xmlns='http://jabber.org/protocol/amp'/>",
            "<addresses xmlns='http://jabber.org/protocol/address'/>",
            "<event xmlns='http://jabber.org/protocol/pubsub#event'/>",
            "<extraParams><save_to_history>1</save_to_history></extraParams>",
            "<html xmlns='http://www.w3.org/1999/xhtml'><body><script/></body></html>",
            "<unverified xmlns='urn:x-rookery:link-local' name='juliet@pronto'/>",
            "<error type='cancel'/>",
            "<body xmlns='urn:other'>x</body>",
        ] {
            assert_eq!(through(&format!("<message type='chat'>{child}</message>")), None, "{child}");
            let both = through(&format!("<message>{child}<body>x</body></message>")).unwrap();
            assert_eq!(both, r#"<message from="a@b" to="c@d"><body>x</body></message>"#, "{child}");
        }
        assert_eq!(through("<message type='groupchat'><body>x</body></message>"), None);
    }

    #[test]
    fn only_what_is_said_waits_for_the_user() {
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        assert!(!read(&format!("<message type='chat'>{state}</message>")).unwrap().lasting);
        assert!(read(&format!("<message>{state}<body>x</body></message>")).unwrap().lasting);
        assert!(!read("<message type='headline'><body>x</body></message>").unwrap().lasting);
    }

    #[test]
    fn errors_are_not_answered_with_errors() {
        let message = read("<message id='7'><body>x</body></message>").unwrap();
        let error = message.refused(Condition::ItemNotFound, "Nobody of that name is here.").unwrap();
        let written = String::from_utf8(error.write("a@b", "c@d", None)).unwrap();
        assert!(written.starts_with(r#"<message from="a@b" to="c@d" type="error" id="7"><error "#), "{written}");
        assert!(written.contains("<item-not-found ") && written.contains("Nobody of that name"), "{written}");
        let again = read(&written).unwrap();
        assert_eq!(again.refused(Condition::ItemNotFound, ""), None);
    }

    #[test]
    fn a_sender_whom_nobody_has_checked_is_marked() {
        let written = read("<message><body>x</body></message>").unwrap().write("a@b", "c@d", Some("r\"<o@f"));
        let mark = r#"<unverified xmlns="urn:x-rookery:link-local" name="r&quot;&lt;o@f"/>"#;
        assert_eq!(
            String::from_utf8(written).unwrap(),
            format!(r#"<message from="a@b" to="c@d"><body>x</body>{mark}</message>"#)
        );
    }
}
