//! External components: gateways, bots and services that are programs of their own. XEP-0114
//!
//! A component has a domain of the server, and whatever address there is at that domain. It connects over TCP, shows that it knows
//! the secret, and from then on sends and gets stanzas. Which of it is where:
//!
//! | subject | file |
//! |---|---|
//! | what the operator has set | here |
//! | header, handshake, elements: the stream of one connection | `stream` |
//! | who is connected, and what becomes of stanzas for it | here |
//! | what it sends | `sending` |
//!
//! A [`Component`] is an owner without rows. Like any other it lives on one shard; the connection comes there once the component has
//! shown its secret, and stanzas of users come as notes. Everything waits for it in the queue of its connection and nowhere else:
//! a stanza that finds nobody connected, or no room in the queue, goes back to its sender as an error, and so does what is still
//! in the queue when the connection ends. What was written to the socket counts as taken: the protocol has no acknowledgements.
//!
//! *Tenancy:* a component serves all apps or those that its settings name. To the users of the others its domain is some address
//! elsewhere, and their addresses are nobody's to it.

use std::sync::Arc;

use crate::account::acks::report;
use crate::effect::{Note, SessionId, Turn};
use crate::error::{Condition, StanzaError};
use crate::ext::Secret;
use crate::jid::Jid;
use crate::jid::user::AppId;
use crate::ns;
use crate::owner::ComponentId;
use crate::route::way_back;
use crate::stanza::{IqKind, Kind, Leftover, MessageKind, Parcel, PresenceKind, Remains, Sender, Subscription};
use crate::xml::{Element, Nodes};

mod sending;
pub mod stream;
#[cfg(test)]
mod tests;

pub use stream::{Stream, frame_element};

/// A component that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    id: ComponentId,
    /// Its domain, in normal form.
    pub domain: Arc<str>,
    apps: Option<Arc<[AppId]>>,
    secret: Secret,
}

impl Settings {
    /// The component with this domain, which is in normal form, and this secret, for these apps or for all there are.
    pub fn new(domain: &str, secret: &str, apps: Option<&[AppId]>) -> Settings {
        let secret = Secret::new(secret);
        Settings { id: ComponentId::of(domain), domain: domain.into(), apps: apps.map(Into::into), secret }
    }

    /// Which it is.
    pub fn id(&self) -> ComponentId {
        self.id
    }

    /// Whether the users of this app can reach it, and it them.
    pub fn serves(&self, app: AppId) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(&app))
    }

    /// Whether the two serve an app in common.
    pub fn meets(&self, other: &Settings) -> bool {
        match (&self.apps, &other.apps) {
            (Some(mine), Some(_)) => mine.iter().any(|&app| other.serves(app)),
            (None, _) | (_, None) => true,
        }
    }
}

/// A component while something has to do with it.
#[derive(Debug)]
pub struct Component {
    id: ComponentId,
    /// Its connection.
    session: Option<SessionId>,
}

impl Component {
    /// A component that is not connected.
    pub fn new(id: ComponentId) -> Component {
        Component { id, session: None }
    }

    /// The connection, if there is one.
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Gives the component its connection; false when it has one.
    pub fn connect(&mut self, session: SessionId) -> bool {
        let free = self.session.is_none();
        if free {
            self.session = Some(session);
        }
        free
    }

    /// The connection has ended, and this is what was still to be sent.
    pub fn detach(&mut self, session: SessionId, remains: Remains, turn: &mut Turn<'_>) {
        if self.session == Some(session) {
            self.session = None;
        }
        for leftover in remains.waiting {
            self.takes_back(&leftover, turn);
        }
    }

    /// Takes a note from an owner.
    pub fn note(&mut self, note: Note, turn: &mut Turn<'_>) {
        match note {
            Note::Stanza(parcel) => self.takes(&parcel, turn),
            // There was no room for it.
            Note::Late(_, leftover) => self.takes_back(&leftover, turn),
            Note::Round { .. }
            | Note::Dropped(_)
            | Note::Copied { .. }
            | Note::Visit { .. }
            | Note::Absent { .. }
            | Note::Command { .. }
            | Note::Confirmed(_)
            | Note::Learned(..)
            | Note::Wants { .. }
            | Note::Expired(_)
            | Note::CutAgain(..)
            | Note::Taken(..)
            | Note::Overdue(..)
            | Note::Drain(..)
            | Note::Handled { .. } => debug_assert!(false, "not for a component"),
        }
    }

    /// A stanza for the component. Its sender hears that it is taken care of: it waits for the connection, or is answered.
    fn takes(&self, parcel: &Parcel, turn: &mut Turn<'_>) {
        match self.session {
            Some(session) => turn.out.deliver(session, parcel.stanza.clone()),
            None if wants_answer(parcel.kind) => self.gives_back(&parcel.stanza, &parcel.from, turn),
            None => {}
        }
        if let Some(receipt) = parcel.receipt {
            report(receipt, turn);
        }
    }

    /// A stanza that the component was to have, and has not got.
    fn takes_back(&self, leftover: &Leftover, turn: &mut Turn<'_>) {
        let Leftover::Stanza(stanza) = leftover else {
            debug_assert!(false, "nothing is entrusted to components");
            return;
        };
        let mut nodes = Nodes::new();
        let Some(element) = nodes.reread(stanza) else { return };
        let (Some(kind), Some(from)) = (kind_of(element), element.attr("from")) else { return };
        if wants_answer(kind) {
            let account = Jid::parse(&from).ok().and_then(|jid| self.account_of(&jid, turn));
            self.gives_back(stanza, &Sender { jid: (&*from).into(), account }, turn);
        }
    }

    /// Answers a stanza that the component does not get. RFC 6120 §8.3.3.17
    fn gives_back(&self, stanza: &[u8], to: &Sender, turn: &mut Turn<'_>) {
        let mut nodes = Nodes::new();
        let Some(stanza) = nodes.reread(stanza) else { return };
        let Some(kind) = kind_of(stanza).map(kind_of_error) else { return };
        let Some(me) = stanza.attr("to") else { return };
        let Some((owner, resource)) = way_back(to, turn.site) else { return };
        let mut bytes = Vec::new();
        let error = StanzaError::new(Condition::RemoteServerTimeout, "The service is not connected, or too busy.");
        error.write_reply(stanza, Some(&me), Some(&to.jid), &mut bytes);
        let from = Sender { jid: (&*me).into(), account: None };
        turn.out.send(owner, Note::Stanza(Parcel::new(from, resource.map(Into::into), kind, bytes.into())));
    }
}

/// What a stanza is, on its way to a component or from one.
fn kind_of(stanza: Element<'_>) -> Option<Kind> {
    if stanza.ns() != ns::CLIENT {
        return None;
    }
    let kind = stanza.attr("type");
    match stanza.name() {
        "message" => Some(Kind::Message { kind: MessageKind::read(kind.as_deref()), lasting: true }),
        "presence" => Some(Kind::Presence { kind: PresenceKind::read(kind.as_deref())?, directed: false }),
        "iq" => Some(Kind::Iq(IqKind::read(kind.as_deref())?)),
        _ => None,
    }
}

/// What an error about it is.
fn kind_of_error(kind: Kind) -> Kind {
    match kind {
        Kind::Message { .. } => Kind::Message { kind: MessageKind::Error, lasting: false },
        Kind::Presence { .. } => Kind::Presence { kind: PresenceKind::Error, directed: true },
        Kind::Iq(_) => Kind::Iq(IqKind::Error),
    }
}

/// Whether the sender of a stanza has to hear that nobody got it: of what is lost otherwise, and of what he waits for. Presence that
/// goes to all who see it is neither.
fn wants_answer(kind: Kind) -> bool {
    match kind {
        Kind::Message { kind, .. } => kind != MessageKind::Error,
        Kind::Iq(kind) => kind.is_request(),
        Kind::Presence { kind: PresenceKind::Available, directed } => directed,
        Kind::Presence { kind: PresenceKind::Subscription(step), .. } => step == Subscription::Subscribe,
        Kind::Presence { kind: PresenceKind::Unavailable | PresenceKind::Probe | PresenceKind::Error, .. } => false,
    }
}
