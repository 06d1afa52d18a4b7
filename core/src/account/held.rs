//! What a session is not told while its client is inactive. XEP-0352, server notes §2.1.
//!
//! Presence, chat states, events of nodes (XEP-0163) and copies of the user's own messages wait in the session, in the order in
//! which they came; of each resource's presence the newest alone. All of it goes out when the client becomes active, when it is too
//! much, and before a message or a subscription: nothing overtakes what it may be about. Iqs and acknowledgements go past, for
//! somebody waits for them and they say nothing of presence.
//!
//! Everything that the account tells its sessions passes through [`Account::held_back`], so that no handler has to know of this, nor
//! of sessions whose client was cut off ([`super::resumption`]), nor of those that have lists of their own ([`super::privacy`]). It
//! costs nothing until a client is inactive or away or has such a list. What is held is lost with the session: it would be of no use
//! to another.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::effect::{Effect, Effects, SessionId, Turn};
use crate::ext::{CHAIN, carbons};
use crate::limits::{HELD_BYTES_MAX, HELD_STANZAS_MAX};
use crate::ns;
use crate::stanza::{Leftover, MessageKind, PresenceKind};
use crate::xml::Nodes;

use super::Account;

/// What waits for one inactive client, oldest first.
#[derive(Debug, Default)]
pub(super) struct Held {
    stanzas: VecDeque<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    /// Whose presence it is; none for anything else.
    presence_of: Option<Box<str>>,
    stanza: Bytes,
}

/// When a stanza may go out to an inactive client.
#[derive(Debug, PartialEq, Eq)]
enum Haste {
    /// Later; with the full JID whose presence it is.
    Later(Option<Box<str>>),
    /// Now, after what is held.
    InTurn,
    /// Now, before what is held.
    AtOnce,
}

impl Held {
    fn keep(&mut self, presence_of: Option<Box<str>>, stanza: Bytes) {
        if presence_of.is_some()
            && let Some(older) = self.stanzas.iter().position(|waiting| waiting.presence_of == presence_of)
            && let Some(older) = self.stanzas.remove(older)
        {
            self.bytes -= older.stanza.len();
        }
        self.bytes += stanza.len();
        self.stanzas.push_back(Waiting { presence_of, stanza });
    }

    fn is_full(&self) -> bool {
        self.stanzas.len() >= HELD_STANZAS_MAX || self.bytes >= HELD_BYTES_MAX
    }

    fn release(&mut self, session: SessionId, out: &mut Effects) {
        self.bytes = 0;
        for waiting in self.stanzas.drain(..) {
            out.deliver(session, waiting.stanza);
        }
    }
}

impl Account {
    /// Nobody looks at this client. What is said in rooms comes here too from now on.
    pub fn becomes_inactive(&mut self, id: SessionId, turn: &mut Turn<'_>) {
        if let Some(session) = self.session_mut(id)
            && session.held.is_none()
        {
            session.held = Some(Box::default());
            self.guards(id, turn);
        }
    }

    /// Somebody does: all that waited goes out.
    pub fn becomes_active(&mut self, id: SessionId, turn: &mut Turn<'_>) {
        if let Some(mut held) = self.session_mut(id).and_then(|session| session.held.take()) {
            held.release(id, turn.out);
            self.guards(id, turn);
            self.looks_again(id);
        }
    }

    /// Has what dialogs write to a session come here first, where there is something to hold it against, and no longer.
    pub(super) fn guards(&mut self, id: SessionId, turn: &mut Turn<'_>) {
        let filtered = self.filters_rooms(id, turn.site);
        let Some(session) = self.session_mut(id) else { return };
        let wanted = filtered || session.held.is_some();
        if session.guarded != wanted {
            session.guarded = wanted;
            turn.out.push(Effect::Guard(id, wanted));
        }
    }

    fn sleeps(&self, id: SessionId) -> bool {
        self.session(id).is_some_and(|session| !session.is_awake())
    }

    /// Does something, and keeps back what inactive clients need not know of it yet.
    pub(super) fn held_back<T>(
        &mut self,
        turn: &mut Turn<'_>,
        act: impl FnOnce(&mut Account, &mut Turn<'_>) -> T,
    ) -> T {
        let since = turn.out.as_slice().len();
        let result = act(self, turn);
        self.shows_on_link(turn);
        self.hold_back(since, turn);
        self.tells_services(turn);
        result
    }

    /// Goes over the effects from the `since`th on, and keeps back what inactive clients need not know yet.
    fn hold_back(&mut self, since: usize, turn: &mut Turn<'_>) {
        let filtered = self.has_lists_in_force();
        if !filtered && self.sessions.iter().all(|session| session.held.is_none() && session.is_awake()) {
            return;
        }
        for effect in turn.out.take_from(since) {
            match effect {
                Effect::Deliver(id, stanza) if filtered && self.keeps_from(id, &stanza, turn.site) => {}
                Effect::Entrust(id, message) if filtered && self.keeps_from(id, &message.stanza, turn.site) => {
                    self.passes_over(id, message, turn);
                }
                Effect::Deliver(id, stanza) if self.sleeps(id) => {
                    self.waits_for(id, Leftover::Stanza(stanza), turn);
                }
                Effect::Entrust(id, message) if self.sleeps(id) => {
                    self.waits_for(id, Leftover::Entrusted(message), turn);
                }
                Effect::Deliver(id, stanza) => {
                    self.passes(id, &stanza);
                    self.delivers(id, stanza, turn);
                }
                Effect::Entrust(id, message) => {
                    if let Some(held) = self.held_mut(id) {
                        held.release(id, turn.out);
                    }
                    turn.out.entrust(id, message);
                }
                other @ (Effect::Write(_)
                | Effect::WriteBehind(_)
                | Effect::Fanout(..)
                | Effect::Send(..)
                | Effect::Answer(..)
                | Effect::WhenFlushed(..)
                | Effect::Await(..)
                | Effect::Nonza(..)
                | Effect::Track(..)
                | Effect::Acked(..)
                | Effect::Resumed(..)
                | Effect::Sleeps(..)
                | Effect::Guard(..)
                | Effect::Ask(..)
                | Effect::RemoveFiles(_)
                | Effect::Link(_)
                | Effect::End(..)) => turn.out.push(other),
            }
        }
    }

    fn delivers(&mut self, id: SessionId, stanza: Bytes, turn: &mut Turn<'_>) {
        let own = std::sync::Arc::clone(&self.jid);
        let Some(session) = self.session_mut(id) else { return turn.out.deliver(id, stanza) };
        let Some(held) = &mut session.held else { return turn.out.deliver(id, stanza) };
        match haste(&stanza, &own, &session.jid) {
            Haste::Later(presence_of) => {
                held.keep(presence_of, stanza);
                if held.is_full() {
                    held.release(id, turn.out);
                }
            }
            Haste::InTurn => {
                held.release(id, turn.out);
                turn.out.deliver(id, stanza);
            }
            Haste::AtOnce => turn.out.deliver(id, stanza),
        }
    }

    fn held_mut(&mut self, id: SessionId) -> Option<&mut Held> {
        self.session_mut(id)?.held.as_deref_mut()
    }
}

/// `own` is the account's bare JID, `me` the full one of the client.
fn haste(stanza: &[u8], own: &str, me: &str) -> Haste {
    let mut nodes = Nodes::new();
    let Some(stanza) = nodes.reread(stanza) else { return Haste::AtOnce };
    let kind = stanza.attr("type");
    match stanza.name() {
        "presence" => match (PresenceKind::read(kind.as_deref()), stanza.attr("from")) {
            // Its own, which tells the client that it is connected.
            (Some(PresenceKind::Available | PresenceKind::Unavailable), Some(from)) if from == me => Haste::AtOnce,
            (Some(PresenceKind::Available | PresenceKind::Unavailable), Some(from)) => {
                Haste::Later(Some((*from).into()))
            }
            _ => Haste::InTurn,
        },
        "message" => match MessageKind::read(kind.as_deref()) {
            kind @ (MessageKind::Chat | MessageKind::Normal)
                if CHAIN.look(kind, stanza).is_state() || carbons::is_copy(stanza, own) =>
            {
                Haste::Later(None)
            }
            // XEP-0163: a mood or a picture; whoever has been away from it would get the newest as well.
            MessageKind::Headline if stanza.child("event", ns::PUBSUB_EVENT).is_some() => Haste::Later(None),
            MessageKind::Chat
            | MessageKind::Normal
            | MessageKind::Headline
            | MessageKind::Groupchat
            | MessageKind::Error => Haste::InTurn,
        },
        _ => Haste::AtOnce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(1);

    fn presence(of: &str) -> (Option<Box<str>>, Bytes) {
        (Some(of.into()), format!("<presence from='{of}'/>").into())
    }

    fn released(held: &mut Held) -> Vec<String> {
        let mut out = Effects::new();
        held.release(SESSION, &mut out);
        let text = |effect: &Effect| match effect {
            Effect::Deliver(_, stanza) => String::from_utf8(stanza.to_vec()).expect("text"),
            other => panic!("{other:?}"),
        };
        out.as_slice().iter().map(text).collect()
    }

    #[test]
    fn only_what_nobody_misses_waits() {
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let event = "<event xmlns='http://jabber.org/protocol/pubsub#event'/>";
        let copy = "<sent xmlns='urn:xmpp:carbons:2'/>";
        let presence = |from: &str| Haste::Later(Some(from.into()));
        for (stanza, expected) in [
            ("<presence from='2-1@d/a'/>".to_owned(), presence("2-1@d/a")),
            ("<presence from='2-1@d/a' type='unavailable'/>".to_owned(), presence("2-1@d/a")),
            ("<presence from='1-1@d/other'/>".to_owned(), presence("1-1@d/other")),
            ("<presence from='1-1@d/me'/>".to_owned(), Haste::AtOnce),
            ("<presence from='2-1@d' type='subscribe'/>".to_owned(), Haste::InTurn),
            ("<presence from='2-1@d' type='error'/>".to_owned(), Haste::InTurn),
            (format!("<message type='chat' from='2-1@d/a'>{state}<thread>t</thread></message>"), Haste::Later(None)),
            (format!("<message type='chat' from='2-1@d/a'>{state}<body>x</body></message>"), Haste::InTurn),
            ("<message from='2-1@d/a'><body>x</body></message>".to_owned(), Haste::InTurn),
            (format!("<message type='error' from='2-1@d/a'>{state}</message>"), Haste::InTurn),
            ("<message type='headline' from='2-1@d/a'/>".to_owned(), Haste::InTurn),
            (format!("<message type='headline' from='2-1@d'>{event}</message>"), Haste::Later(None)),
            (format!("<message type='chat' from='1-1@d'>{copy}</message>"), Haste::Later(None)),
            (format!("<message type='chat' from='2-1@d/a'>{copy}</message>"), Haste::InTurn),
            ("<iq type='result' id='1'/>".to_owned(), Haste::AtOnce),
            ("<a xmlns='urn:xmpp:sm:3' h='1'/>".to_owned(), Haste::AtOnce),
        ] {
            assert_eq!(haste(stanza.as_bytes(), "1-1@d", "1-1@d/me"), expected, "{stanza}");
        }
    }

    #[test]
    fn of_each_resource_the_newest_presence_waits_in_the_order_they_came() {
        let mut held = Held::default();
        for of in ["a", "b", "a", "c"] {
            let (of, stanza) = presence(of);
            held.keep(of, stanza);
        }
        held.keep(None, "<message/>".into());
        let expected = ["<presence from='b'/>", "<presence from='a'/>", "<presence from='c'/>", "<message/>"];
        assert_eq!(released(&mut held), expected);
        assert_eq!((released(&mut held).len(), held.bytes), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded_by_number_and_by_bytes() {
        let mut held = Held::default();
        for resource in 1..HELD_STANZAS_MAX {
            let (of, stanza) = presence(&resource.to_string());
            held.keep(of, stanza);
        }
        let (of, stanza) = presence("1");
        held.keep(of, stanza);
        assert!(!held.is_full(), "the same resource again");
        held.keep(None, "<message/>".into());
        assert!(held.is_full());
        released(&mut held);
        held.keep(None, vec![b' '; HELD_BYTES_MAX].into());
        assert!(held.is_full());
    }
}
