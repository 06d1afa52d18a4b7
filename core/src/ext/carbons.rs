//! XEP-0280: Message Carbons. What one of a user's clients sends, the others see.
//!
//! Only *sent* messages are copied. A message to a bare JID goes to all resources of that user, and `<received/>` copies, which
//! the XEP has for the rest, must never go out: the product's SDKs take any element named `received` in a message, at whatever
//! depth, for the marker that a message was delivered, and would mark one with the id of another. Wire notes §15.4.
//!
//! | copied | not copied |
//! |---|---|
//! | `chat`; `normal` with a body | headlines, errors, messages of rooms |
//! | | chat states, markers and receipts alone: the user's own clients have no use for them |
//! | | what asks for it with `<private/>` or XEP-0334's `<no-copy/>` |
//! | | to oneself: the account itself gets it, or the one resource that was named |
//! | | what claims to be a copy: it goes its way unchanged, and recipients know that it is not from their own account (§11) |
//!
//! A message that is to be saved is copied as the dialog delivers it, with its ids, and after it is on disk.

use bytes::Bytes;

use super::chain::{Facts, Look, Watch};
use super::{At, Extension, IqRoute, Nonza, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::{SessionId, Turn};
use crate::error::{Condition, StreamCondition};
use crate::ns;
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind, MessageKind};
use crate::xml::{Element, Writer, splice};

pub(super) static CARBONS: Extension = Extension {
    name: "Message Carbons",
    spec: Spec::Xep(280, "1.0.1"),
    server_features: &[ns::CARBONS],
    account_features: &[ns::CARBONS],
    iq: &[
        IqRoute { at: At::Home, kind: IqKind::Set, ns: ns::CARBONS, name: "enable", plan: nothing, apply: on_enable },
        IqRoute { at: At::Home, kind: IqKind::Set, ns: ns::CARBONS, name: "disable", plan: nothing, apply: on_disable },
    ],
    messages: &[
        Watch::facts(ns::CARBONS, &["private"], Facts::NO_COPY),
        Watch::facts(ns::CARBONS, &["sent"], Facts::NO_COPY.and(Facts::SAYS)),
        // For the sake of the SDKs, as the module says: a receipt (XEP-0184), or something forged.
        Watch::facts("", &["received"], Facts::NO_COPY),
    ],
    inline: &[Nonza { name: "enable", ns: ns::CARBONS, apply: on_inline }],
    ..Extension::NONE
};

/// §4; asked twice, it stays on.
fn on_enable(request: &Request<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    switch(request, account, true)
}

/// §5
fn on_disable(request: &Request<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    switch(request, account, false)
}

/// XEP-0386 §3.2: it works, so there is nothing to say.
fn on_inline(
    account: &mut Account,
    session: SessionId,
    _: Element<'_>,
    _: &mut Turn<'_>,
) -> Result<(), StreamCondition> {
    account.set_carbons(session, true);
    Ok(())
}

fn switch(request: &Request<'_>, account: &mut Account, on: bool) -> IqAnswer {
    let session = request.session.ok_or(Condition::NotAllowed)?;
    account.set_carbons(session, on);
    Ok(Vec::new())
}

/// Whether the sender's other clients get a copy of a message to somebody else.
pub(crate) fn is_copied(kind: MessageKind, look: Look) -> bool {
    let eligible = match kind {
        MessageKind::Chat => !look.is_state() && !look.is(Facts::MARKER),
        MessageKind::Normal => look.is(Facts::BODY),
        MessageKind::Error | MessageKind::Groupchat | MessageKind::Headline => false,
    };
    eligible && !look.is(Facts::NO_COPY)
}

/// The copy of a message as it was delivered, but for the resource that it is for. §7 keeps the type outside; SDKs need the id
/// there as well.
pub(crate) fn sent(own: &str, message: Element<'_>) -> Vec<u8> {
    let stanza = message.raw().as_bytes();
    let mut plain = Vec::with_capacity(stanza.len() + 32);
    splice::with_namespace(stanza, &mut plain);
    let mut out = Vec::with_capacity(plain.len() + 256);
    let mut xml = Writer::new(&mut out);
    xml.open("message").attr("from", own);
    xml.attr_opt("type", message.attr("type").as_deref()).attr_opt("id", message.attr("id").as_deref());
    xml.open("sent").ns(ns::CARBONS).open("forwarded").ns(ns::FORWARD).raw_bytes(&plain);
    xml.close().close().close();
    drop(xml);
    out
}

/// A copy for this resource.
pub(crate) fn for_resource(copy: &[u8], jid: &str) -> Bytes {
    let mut out = Vec::with_capacity(copy.len() + jid.len() + 8);
    splice::with_attribute(copy, "to", jid, &mut out);
    out.into()
}

/// Whether this is a copy that the account `own` has made.
pub(crate) fn is_copy(message: Element<'_>, own: &str) -> bool {
    message.child("sent", ns::CARBONS).is_some() && message.attr("from").as_deref() == Some(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::CHAIN;
    use crate::ext::stage::{self, ADAM, Stage};
    use crate::xml::{Context, Limits, Nodes};

    fn with<T>(source: &str, look: impl FnOnce(Element<'_>) -> T) -> T {
        let mut nodes = Nodes::new();
        look(nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(source))
    }

    #[test]
    fn a_client_turns_it_on_and_off_as_often_as_it_likes() {
        let mut stage = Stage::new();
        for to in ["", " to='1-1@localhost'", " to='localhost'"] {
            for what in ["enable", "enable", "disable", "disable"] {
                let answer =
                    stage.ask(ADAM, &format!("<iq type='set' id='1'{to}><{what} xmlns='urn:xmpp:carbons:2'/></iq>"));
                assert!(answer.starts_with(r#"<iq type="result" id="1""#) && answer.ends_with("/>"), "{answer}");
            }
        }
        let get = "<iq type='get' id='2'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
        assert_eq!(stage::condition(&stage.ask(ADAM, get)), "bad-request");
        let others = "<iq type='set' id='3' to='2-1@localhost'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
        assert_eq!(stage::condition(&stage.ask(ADAM, others)), "service-unavailable");
    }

    #[test]
    fn copies_what_people_say_to_each_other() {
        for (copied, content) in [
            (true, "<body>x</body>"),
            (true, "<body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/>"),
            (true, "<x xmlns='urn:key-exchange'/>"),
            (false, "<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
            (false, "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"),
            (false, "<received xmlns='urn:xmpp:chat-markers:0' id='1'/>"),
            (false, "<received xmlns='urn:xmpp:receipts' id='1'/>"),
            (true, "<body>x</body><request xmlns='urn:xmpp:receipts'/>"),
            (true, "<body>x</body><markable xmlns='urn:xmpp:chat-markers:0'/>"),
            (false, "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>"),
            (true, "<body>x</body><private xmlns='urn:other'/>"),
            (false, "<body>x</body><no-copy xmlns='urn:xmpp:hints'/>"),
            (false, "<body>x</body><received xmlns='urn:xmpp:carbons:2'/>"),
            (false, "<body>x</body><sent xmlns='urn:xmpp:carbons:2'/>"),
        ] {
            let is = |kind| {
                with(&format!("<message>{content}</message>"), |message| is_copied(kind, CHAIN.look(kind, message)))
            };
            assert_eq!(is(MessageKind::Chat), copied, "{content}");
            assert_eq!(is(MessageKind::Normal), copied && content.contains("<body>"), "{content}");
            for kind in [MessageKind::Headline, MessageKind::Groupchat, MessageKind::Error] {
                assert!(!is(kind), "{content}");
            }
        }
    }

    #[test]
    fn the_copy_has_outside_what_sdks_look_for() {
        let source = "<message from='1-7@d/a' to='2-7@d' type='chat' id='5&amp;'><body>&lt;Hi</body></message>";
        let copy = with(source, |message| sent("1-7@d", message));
        assert_eq!(
            String::from_utf8(for_resource(&copy, "1-7@d/tab").to_vec()).unwrap(),
            concat!(
                r#"<message to="1-7@d/tab" from="1-7@d" type="chat" id="5&amp;"><sent xmlns="urn:xmpp:carbons:2">"#,
                r#"<forwarded xmlns="urn:xmpp:forward:0"><message xmlns="jabber:client" from='1-7@d/a' to='2-7@d' "#,
                r#"type='chat' id='5&amp;'><body>&lt;Hi</body></message></forwarded></sent></message>"#
            )
        );
        let text = String::from_utf8(copy).unwrap();
        assert!(with(&text, |copy| is_copy(copy, "1-7@d")));
        assert!(!with(&text, |copy| is_copy(copy, "2-7@d")), "only one's own account makes copies");
    }
}
