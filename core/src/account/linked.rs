//! The account of a user who is on the local link: what is shown of him there, and what passes between him and the bridge. XEP-0174

use bytes::Bytes;

use crate::effect::{Effect, SessionId, Turn};
use crate::error::Condition;
use crate::ext::chain::Sending;
use crate::ext::link_local::Wishes;
use crate::link_local::{Card, Message, Status, Word};
use crate::ns;
use crate::stanza::{Kind, MessageKind, Parcel, Sender};
use crate::xml::{Element, Nodes};

use super::Account;
use super::privacy::lists::Traffic;

/// What an account has of it; nothing for nearly all.
#[derive(Debug)]
pub(super) struct Linked {
    wishes: Wishes,
    /// What is shown now, and of which presence.
    shown: Option<(Bytes, Card)>,
}

impl Linked {
    pub(super) fn of(wishes: Wishes) -> Box<Linked> {
        Box::new(Linked { wishes, shown: None })
    }
}

impl Account {
    /// What the user wants shown, if he has registered with the bridge.
    pub(crate) fn wishes(&self) -> Option<&Wishes> {
        self.linked.as_ref().map(|linked| &linked.wishes)
    }

    /// The user has registered, perhaps once more.
    pub(crate) fn joins_link(&mut self, wishes: Wishes) {
        self.linked = Some(Linked::of(wishes));
    }

    /// The user does not want to be on the link any more.
    pub(crate) fn leaves_link(&mut self, turn: &mut Turn<'_>) {
        if self.linked.take().is_some_and(|linked| linked.shown.is_some()) {
            turn.out.push(Effect::Link(Box::new(Word::Show(self.id, None))));
        }
    }

    /// Tells the bridge what is new, after whatever an input has changed.
    pub(super) fn shows_on_link(&mut self, turn: &mut Turn<'_>) {
        if self.linked.is_none() {
            return;
        }
        let presence = self.presence_on_link(turn);
        let Some(linked) = &mut self.linked else { return };
        let card = match (&presence, &linked.shown) {
            (None, None) => return,
            (Some(new), Some((old, _))) if new.as_ptr() == old.as_ptr() && new.len() == old.len() => return,
            (Some(presence), _) => card(presence, &linked.wishes, &self.jid),
            (None, Some(_)) => None,
        };
        let is_new = linked.shown.as_ref().map(|(_, card)| card) != card.as_ref();
        linked.shown = presence.zip(card.clone());
        if is_new {
            turn.out.push(Effect::Link(Box::new(Word::Show(self.id, card))));
        }
    }

    /// The presence of the resource that would be written to, unless the user's lists keep it from the bridge. XEP-0016 §2.11
    fn presence_on_link(&self, turn: &Turn<'_>) -> Option<Bytes> {
        let link = turn.site.link.as_ref().filter(|link| link.serves(self.id.app))?;
        let seen = self.sessions.iter().filter_map(|session| Some((session, session.presence.as_ref()?)));
        let seen = seen.filter(|(_, presence)| presence.priority >= 0);
        let seen = seen.filter(|(session, _)| self.may(Some(session.id), Traffic::PresenceOut, &link.domain));
        seen.max_by_key(|(_, presence)| presence.priority).map(|(_, presence)| presence.stanza.clone())
    }

    /// A message from an own session for somebody on the link.
    pub(super) fn says_on_link(&self, sending: &Sending<'_>, to: &str, stamped: &[u8], turn: &mut Turn<'_>) -> bool {
        if self.linked.is_none() {
            return self.refuse_sending(sending, Condition::RegistrationRequired.into(), turn);
        }
        let Some(message) = Message::read(sending.message) else {
            return self.refuse_sending(sending, Condition::NotAcceptable.into(), turn);
        };
        let Some(sender) = self.full_sender(sending.session) else { return false };
        if self.is_copied(sending.session, sending.kind, sending.look) {
            self.copy(&sender.jid, stamped, turn);
        }
        let word = Word::Message { account: self.id, from: sender.jid, to: to.into(), message };
        turn.out.push(Effect::Link(Box::new(word)));
        false
    }

    /// A session that is on the link asks who else is. Returns whether the bridge answers.
    pub(super) fn asks_link(&self, from: SessionId, iq: Element<'_>, stamped: Bytes, turn: &mut Turn<'_>) -> bool {
        let asks = iq.attr("type").as_deref() == Some("get")
            && iq.first_child().is_some_and(|query| {
                query.is("query", ns::DISCO_ITEMS) && query.attr("node").is_none_or(|node| node.is_empty())
            });
        let Some(asker) = self.full_sender(from).filter(|_| asks && self.linked.is_some()) else { return false };
        turn.out.push(Effect::Link(Box::new(Word::Who { asker, iq: stamped })));
        true
    }

    /// Sends a message back that comes from the link to a user who has not asked for any, or has left since it was sent. Returns whether
    /// it was such a one.
    pub(super) fn turns_off_link(&self, parcel: &Parcel, turn: &mut Turn<'_>) -> bool {
        let Kind::Message { kind, .. } = parcel.kind else { return false };
        let is_off = parcel.from.account.is_none()
            && self.linked.is_none()
            && turn.site.link.as_ref().is_some_and(|link| link.is_from(&parcel.from.jid));
        if is_off && kind != MessageKind::Error {
            self.return_to_sender(parcel, Condition::ServiceUnavailable, turn);
        }
        is_off
    }

    /// Sends something back over the link, if that is where it is for. Returns whether it was.
    pub(super) fn answers_link(&self, to: &Sender, kind: Kind, stanza: &[u8], turn: &mut Turn<'_>) -> bool {
        let Some(link) = turn.site.link.as_ref().filter(|link| to.account.is_none() && link.is_from(&to.jid)) else {
            return false;
        };
        let local = to.jid.strip_suffix(&*link.domain).and_then(|local| local.strip_suffix('@'));
        let mut nodes = Nodes::new();
        if let (Some(local), Kind::Message { .. }) = (local, kind)
            && let Some(message) = nodes.reread(stanza).and_then(Message::read)
        {
            let word = Word::Message { account: self.id, from: self.jid.clone(), to: local.into(), message };
            turn.out.push(Effect::Link(Box::new(word)));
        }
        true
    }
}

fn card(presence: &[u8], wishes: &Wishes, jid: &str) -> Option<Card> {
    let mut nodes = Nodes::new();
    let presence = nodes.reread(presence)?;
    let text = |name| presence.child(name, ns::CLIENT).map(|child| child.text().trim().to_owned());
    let status = match text("show").as_deref() {
        Some("away" | "xa") => Status::Away,
        Some("dnd") => Status::Busy,
        Some(_) | None => Status::Available,
    };
    Some(Card {
        status,
        text: text("status").filter(|text| wishes.text && !text.is_empty()),
        nick: wishes.nick.clone(),
        jid: wishes.jid.then(|| jid.to_owned()),
    })
}
