//! What a component sends: to users of the apps that it serves, to other components, and to the server.
//!
//! What it says to a user goes the way of what another user would: past his privacy lists, to his resources or to what waits for him.
//! It is no part of a dialog of two users, so none of it is in the archive.
//!
//! Rooms have accounts for members and files have accounts for owners: neither service talks to components.

use bytes::Bytes;

use crate::account::outgoing::{address, honest, result, stamped, stamped_presence};
use crate::command::Command;
use crate::effect::{Note, Turn};
use crate::error::{Condition, StanzaError, StreamCondition, StreamError, may_be_refused};
use crate::ext;
use crate::ext::chain::Instead;
use crate::jid::Jid;
use crate::model::account::{Command as Order, Subscription as Step};
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::route::{Target, target_of_component};
use crate::stanza::{IqKind, Kind, MessageKind, Parcel, PresenceKind, Sender, Subscription};
use crate::xml::Element;

use super::{Component, Settings, kind_of, wants_answer};

/// A stanza of a component, with what was found out about it.
struct Sent<'a> {
    stanza: Element<'a>,
    me: &'a Settings,
    /// In whose name.
    from: Sender,
    to: &'a Jid<'a>,
}

impl Component {
    /// Takes an element from the component. An error ends its stream.
    pub fn stanza(&self, stanza: Element<'_>, turn: &mut Turn<'_>) -> Result<(), StreamError> {
        let site = turn.site;
        let me = site.component_with(self.id).ok_or(StreamCondition::HostGone)?;
        if stanza.ns() != ns::CLIENT || !matches!(stanza.name(), "message" | "presence" | "iq") {
            return Err(StreamCondition::UnsupportedStanzaType.into());
        }
        let from = stanza.attr("from").unwrap_or_default();
        // XEP-0114 §3: of its own domain, and whoever it likes there.
        let from = match Jid::parse(&from) {
            Ok(from) if from.domain() == &*me.domain => Sender { jid: from.as_str().into(), account: None },
            Ok(_) | Err(_) => return Err(StreamCondition::InvalidFrom.into()),
        };
        let to = address(stanza).ok_or(StreamCondition::ImproperAddressing)?;
        let Ok(to) = Jid::parse(&to) else {
            self.refuses(stanza, &from, Condition::JidMalformed, turn);
            return Ok(());
        };
        let sent = Sent { stanza, me, from, to: &to };
        match kind_of(stanza) {
            Some(Kind::Message { kind, .. }) => self.sends_message(&sent, kind, turn),
            Some(Kind::Presence { kind, .. }) => self.sends_presence(&sent, kind, turn),
            Some(Kind::Iq(kind)) => self.sends_iq(&sent, kind, turn),
            None => self.refuses(stanza, &sent.from, Condition::BadRequest, turn),
        }
        Ok(())
    }

    fn sends_message(&self, sent: &Sent<'_>, kind: MessageKind, turn: &mut Turn<'_>) {
        let condition = match target_of_component(sent.to, sent.me, turn.site) {
            Target::User(account, resource) => {
                let look = turn.site.chain.look(kind, sent.stanza);
                let bytes = honest((sent.stanza, look), &Instead::default(), &sent.from.jid, &[], turn.site);
                let kind = Kind::Message { kind, lasting: look.is_lasting() };
                let parcel = Parcel::new(sent.from.clone(), resource.map(Into::into), kind, bytes);
                return turn.out.send(Owner::Account(account), Note::Stanza(Parcel { look, ..parcel }));
            }
            Target::Component(other) => {
                return sent.passes_on(Owner::Component(other), Kind::Message { kind, lasting: true }, turn);
            }
            // RFC 6121 §8.5.1 and the tenancy: as for the users of another app.
            Target::Nobody if sent.to.is_bare() || matches!(kind, MessageKind::Chat | MessageKind::Error) => return,
            Target::Nobody => Condition::RecipientUnavailable,
            Target::Server | Target::Own => return,
            Target::RoomService | Target::Uploads | Target::Room | Target::Dialog(..) => Condition::ServiceUnavailable,
            // The local link is for users.
            Target::Link(_) | Target::Elsewhere => Condition::RemoteServerNotFound,
        };
        self.refuses(sent.stanza, &sent.from, condition, turn);
    }

    fn sends_presence(&self, sent: &Sent<'_>, kind: PresenceKind, turn: &mut Turn<'_>) {
        let directed = Kind::Presence { kind, directed: true };
        let condition = match (target_of_component(sent.to, sent.me, turn.site), kind) {
            (Target::User(account, _), PresenceKind::Subscription(kind)) => {
                return sent.subscribes(kind, account, turn);
            }
            (Target::User(account, resource), _) => {
                let bytes = stamped_presence(sent.stanza, &sent.from.jid, Some(sent.to.as_str()));
                let parcel = Parcel::new(sent.from.clone(), resource.map(Into::into), directed, bytes);
                return turn.out.send(Owner::Account(account), Note::Stanza(parcel));
            }
            (Target::Component(other), _) => return sent.passes_on(Owner::Component(other), directed, turn),
            (Target::Nobody | Target::Server | Target::Own, _) => return,
            (Target::RoomService | Target::Uploads | Target::Room | Target::Dialog(..), _) => {
                Condition::ServiceUnavailable
            }
            (Target::Link(_) | Target::Elsewhere, _) => Condition::RemoteServerNotFound,
        };
        if wants_answer(directed) {
            self.refuses(sent.stanza, &sent.from, condition, turn);
        }
    }

    fn sends_iq(&self, sent: &Sent<'_>, kind: IqKind, turn: &mut Turn<'_>) {
        // RFC 6120 §8.1.3, §8.2.3
        let is_whole = sent.stanza.attr("id").is_some() && sent.stanza.children().count() == 1;
        let condition = match target_of_component(sent.to, sent.me, turn.site) {
            _ if kind.is_request() && !is_whole => Condition::BadRequest,
            Target::User(account, resource) => {
                let bytes = stamped(sent.stanza, &sent.from.jid, &[]);
                let parcel = Parcel::new(sent.from.clone(), resource.map(Into::into), Kind::Iq(kind), bytes);
                return turn.out.send(Owner::Account(account), Note::Stanza(parcel));
            }
            Target::Component(other) => return sent.passes_on(Owner::Component(other), Kind::Iq(kind), turn),
            Target::Server if kind == IqKind::Get => match self.asks_server(sent, turn) {
                Ok(()) => return,
                Err(condition) => condition,
            },
            Target::Server
            | Target::Own
            | Target::Nobody
            | Target::RoomService
            | Target::Uploads
            | Target::Room
            | Target::Dialog(..) => Condition::ServiceUnavailable,
            Target::Link(_) | Target::Elsewhere => Condition::RemoteServerNotFound,
        };
        self.refuses(sent.stanza, &sent.from, condition, turn);
    }

    fn asks_server(&self, sent: &Sent<'_>, turn: &mut Turn<'_>) -> Result<(), Condition> {
        let payload = sent.stanza.first_child().ok_or(Condition::BadRequest)?;
        let answer = ext::answer_component(payload, sent.me, turn)?;
        self.hears(result(sent.stanza, &sent.from.jid, &answer), turn);
        Ok(())
    }

    /// Answers a stanza of the component with an error, unless it is an answer itself. RFC 6120 §8.3
    fn refuses(&self, stanza: Element<'_>, from: &Sender, condition: Condition, turn: &mut Turn<'_>) {
        if may_be_refused(stanza) {
            let mut bytes = Vec::new();
            StanzaError::from(condition).write_reply(stanza, address(stanza).as_deref(), Some(&from.jid), &mut bytes);
            self.hears(bytes.into(), turn);
        }
    }

    /// The server says something to the component.
    fn hears(&self, stanza: Bytes, turn: &mut Turn<'_>) {
        if let Some(session) = self.session {
            turn.out.deliver(session, stanza);
        }
    }

    /// The account behind an address, if it is of a user that the component sees.
    pub(super) fn account_of(&self, jid: &Jid<'_>, turn: &Turn<'_>) -> Option<AccountId> {
        match target_of_component(jid, turn.site.component_with(self.id)?, turn.site) {
            Target::User(account, _) => Some(account),
            Target::Own
            | Target::Server
            | Target::Uploads
            | Target::Link(_)
            | Target::RoomService
            | Target::Room
            | Target::Dialog(..)
            | Target::Nobody
            | Target::Component(_)
            | Target::Elsewhere => None,
        }
    }
}

impl Sent<'_> {
    /// To a component, as it is.
    fn passes_on(&self, to: Owner, kind: Kind, turn: &mut Turn<'_>) {
        let bytes = stamped(self.stanza, &self.from.jid, &[]);
        turn.out.send(to, Note::Stanza(Parcel::new(self.from.clone(), None, kind, bytes)));
    }

    /// RFC 6121 §3.1.2: from the bare JID, to the bare JID.
    fn subscribes(&self, kind: Subscription, to: AccountId, turn: &mut Turn<'_>) {
        let bytes = stamped_presence(self.stanza, self.from.bare(), Some(self.to.bare_str()));
        let step = Step { from: self.from.bare().to_owned(), kind, stanza: bytes.to_vec() };
        let command = Command::Account(Order::Subscription(step));
        turn.out.send(Owner::Account(to), Note::Command { command, reply: None, job: None });
    }
}
