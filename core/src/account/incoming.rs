//! What comes to the account from others. RFC 6121 §8.5 as the product's server adapts it.

use std::mem;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::canary::{Rule, is_broken};
use crate::effect::{Note, SessionId, Site, Turn};
use crate::error::{Condition, Refusal, StanzaError};
use crate::ext::{self, IqRoute, Place, Request};
use crate::owner::{AccountId, Owner};
use crate::route::way_back;
use crate::row::{Reads, Rows};
use crate::stanza::{Awaited, Backing, Entrusted, IqKind, Kind, MessageKind, Parcel, PresenceKind, Sender};
use crate::xml::{Element, Nodes};

use super::acks::report;
use super::offline::Reach;
use super::outgoing::{address, result};
use super::rounds::copy_back;
use super::{Account, Session};

/// What would become of a message that has come to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The resource it is for gets it.
    Resource(SessionId),
    /// The resources that take messages get it, now or after what they are still being given.
    Everywhere,
    /// It waits for the user.
    Kept,
    /// It goes back to its sender.
    Back(Condition),
    /// Nobody gets it.
    Nowhere,
}

impl Parcel {
    /// Of no use to a user none of whose resources is connected.
    pub(super) fn is_of_the_moment(&self) -> bool {
        match self.kind {
            Kind::Message { kind: MessageKind::Headline | MessageKind::Groupchat, .. } => {
                self.resource.is_none() || self.topic.is_some()
            }
            Kind::Message { kind: MessageKind::Error, .. } => true,
            Kind::Message { kind: MessageKind::Chat | MessageKind::Normal, .. } => false,
            Kind::Presence { .. } => true,
            Kind::Iq(kind) => !kind.is_request(),
        }
    }
}

/// Reports a parcel as taken care of by this account, when somebody waits for that.
pub(super) fn settle(parcel: &Parcel, at: AccountId, turn: &mut Turn<'_>) {
    copy_back(parcel, at, turn);
    if let Some(receipt) = parcel.receipt {
        report(receipt, turn);
    }
}

/// Has a session tell the sender, instead of the account.
fn awaits(parcel: &mut Parcel, turn: &Turn<'_>) -> Option<Box<Awaited>> {
    if is_broken(Rule::AckedIsSafe) {
        return None;
    }
    let receipt = parcel.receipt.take()?;
    Some(Box::new(Awaited { receipt, since: turn.now.instant, overdue: false }))
}

impl Account {
    pub(super) fn plan_parcel(&self, parcel: &Parcel, _site: &Site) -> Reads {
        if !(matches!(parcel.kind, Kind::Iq(_)) && parcel.resource.is_none()) {
            return Reads::none();
        }
        let mut nodes = Nodes::new();
        match self.request(parcel, &mut nodes, |request, route| (route.plan)(request, self)) {
            Some(Ok(reads)) => reads,
            Some(Err(_)) | None => Reads::none(),
        }
    }

    pub(super) fn takes(&mut self, mut parcel: Parcel, rows: Rows, turn: &mut Turn<'_>) {
        match parcel.kind {
            Kind::Message { kind, lasting, .. } => self.takes_message(&mut parcel, kind, lasting, turn),
            Kind::Presence { kind, directed } => self.takes_presence(&parcel, kind, directed, turn),
            Kind::Iq(kind) => self.takes_iq(&parcel, kind, rows, turn),
        }
        settle(&parcel, self.id, turn);
    }

    fn takes_message(&mut self, parcel: &mut Parcel, kind: MessageKind, lasting: bool, turn: &mut Turn<'_>) {
        if let Some(topic) = &parcel.topic {
            return self.takes_event(parcel, topic, turn);
        }
        let course = self.course(parcel, kind, lasting);
        if !parcel.look.has_hooks() {
            return self.follow(course, parcel, kind, lasting, turn);
        }
        match self.before_taking(parcel, kind, course, turn) {
            ControlFlow::Continue(None) => self.follow(course, parcel, kind, lasting, turn),
            ControlFlow::Continue(Some(stanza)) => {
                let sent = mem::replace(&mut parcel.stanza, stanza);
                self.follow(course, parcel, kind, lasting, turn);
                // Its sender's copies are of what was sent.
                parcel.stanza = sent;
            }
            ControlFlow::Break(()) => {}
        }
    }

    /// RFC 6121 §8.5.2 and §8.5.3, and the table of the product's server: chat and normal messages wait for a user who is away,
    /// headlines never do.
    fn course(&self, parcel: &Parcel, kind: MessageKind, lasting: bool) -> Course {
        if let Some(resource) = &parcel.resource {
            if let Some(session) = self.by_resource(resource) {
                return Course::Resource(session);
            }
            match kind {
                MessageKind::Chat => {}
                MessageKind::Error => return Course::Nowhere,
                // The same for a user who does not exist, so that nobody learns who does.
                MessageKind::Normal | MessageKind::Headline | MessageKind::Groupchat => {
                    return Course::Back(Condition::RecipientUnavailable);
                }
            }
        }
        if !self.exists() {
            return Course::Nowhere;
        }
        match kind {
            MessageKind::Chat | MessageKind::Normal if self.is_live() => Course::Everywhere,
            // It follows what a session is still being given.
            MessageKind::Chat | MessageKind::Normal if lasting && self.feeds_drain() => Course::Everywhere,
            MessageKind::Chat | MessageKind::Normal if lasting && !self.has_room_for(&parcel.stanza) => {
                // XEP-0160 §3: the sender hears of a full queue.
                Course::Back(Condition::ServiceUnavailable)
            }
            MessageKind::Chat | MessageKind::Normal if lasting => Course::Kept,
            MessageKind::Headline | MessageKind::Groupchat if self.sessions.iter().any(Session::takes_messages) => {
                Course::Everywhere
            }
            MessageKind::Chat
            | MessageKind::Normal
            | MessageKind::Headline
            | MessageKind::Groupchat
            | MessageKind::Error => Course::Nowhere,
        }
    }

    fn is_live(&self) -> bool {
        self.sessions.iter().any(|session| session.live_since.is_some())
    }

    fn follow(&mut self, course: Course, parcel: &mut Parcel, kind: MessageKind, lasting: bool, turn: &mut Turn<'_>) {
        match (course, kind) {
            (Course::Resource(session), _) => self.takes_directly(session, parcel, kind, lasting, turn),
            (Course::Everywhere, MessageKind::Chat | MessageKind::Normal) if lasting => self.hand_out(parcel, turn),
            (Course::Everywhere, MessageKind::Chat | MessageKind::Normal) => {
                self.deliver_to_live(&parcel.stanza, turn);
            }
            (Course::Everywhere, MessageKind::Headline | MessageKind::Groupchat | MessageKind::Error) => {
                for session in self.sessions.iter().filter(|session| session.takes_messages()) {
                    turn.out.deliver(session.id, parcel.stanza.clone());
                }
            }
            (Course::Kept, _) => self.hand_out(parcel, turn),
            (Course::Back(condition), _) => self.return_to_sender(parcel, condition, turn),
            (Course::Nowhere, _) => {}
        }
    }

    /// A message to a resource that is connected.
    fn takes_directly(
        &mut self,
        session: SessionId,
        parcel: &mut Parcel,
        kind: MessageKind,
        lasting: bool,
        turn: &mut Turn<'_>,
    ) {
        let stanza = parcel.stanza.clone();
        match kind {
            MessageKind::Chat | MessageKind::Normal if lasting && self.is_draining(session) => {
                // It is still being given older ones, perhaps of the same sender.
                if self.keep(parcel, Reach::Resource, turn).is_some() {
                    self.comes_to(session, &parcel.stanza);
                }
            }
            MessageKind::Chat | MessageKind::Normal if lasting => {
                self.comes_to(session, &stanza);
                let awaited = awaits(parcel, turn);
                turn.out.entrust(session, Entrusted { stanza, backing: Backing::Others(0), awaited });
            }
            MessageKind::Chat
            | MessageKind::Normal
            | MessageKind::Headline
            | MessageKind::Groupchat
            | MessageKind::Error => turn.out.deliver(session, stanza),
        }
    }

    /// A message that must not be lost, to every resource that takes messages. When none of them has it at once it waits in a row;
    /// otherwise its sender hears that it is taken care of when the first of them has taken it.
    fn hand_out(&mut self, parcel: &mut Parcel, turn: &mut Turn<'_>) {
        let order = self.queue.next_order(turn.now.stamp);
        let (mut shown, mut asleep) = (false, false);
        for session in self.sessions.iter().filter(|session| session.live_since.is_some()) {
            if session.is_awake() {
                let tells = !self.feeds_drain() && !self.keeps_from(session.id, &parcel.stanza, turn.site);
                let awaited = if tells { awaits(parcel, turn) } else { None };
                let stanza = parcel.stanza.clone();
                turn.out.entrust(session.id, Entrusted { stanza, backing: Backing::Others(order), awaited });
                shown = true;
            } else {
                asleep = true;
            }
        }
        let mut backing = Backing::Others(order);
        // A session that is still being given what waited gets this after it, by the same way.
        if !shown || self.feeds_drain() {
            let Some(row) = self.keep(parcel, Reach::Account, turn) else { return };
            if self.feeds_drain() {
                self.waits_already(order);
            } else if asleep {
                self.parked.insert(row, order, None);
                backing = Backing::Parked { row, given: order };
            }
        }
        if asleep {
            let theirs = self.sessions.iter().filter(|session| session.live_since.is_some() && !session.is_awake());
            for session in theirs {
                turn.out.entrust(session.id, Entrusted::new(parcel.stanza.clone(), backing));
            }
        }
        self.comes(&parcel.stanza, turn.site);
    }

    fn deliver_to_live(&self, stanza: &Bytes, turn: &mut Turn<'_>) {
        for session in self.sessions.iter().filter(|session| session.live_since.is_some()) {
            turn.out.deliver(session.id, stanza.clone());
        }
    }

    fn takes_presence(&mut self, parcel: &Parcel, kind: PresenceKind, directed: bool, turn: &mut Turn<'_>) {
        match kind {
            PresenceKind::Probe => self.answer_probe(&parcel.from, turn),
            PresenceKind::Available | PresenceKind::Unavailable => {
                if let Some(resource) = &parcel.resource {
                    if let Some(session) = self.by_resource(resource) {
                        turn.out.deliver(session, parcel.stanza.clone());
                    }
                    return;
                }
                // RFC 6121 §4.4.3: a broadcast reaches those who asked to see it, also should the other side think otherwise.
                if directed || self.roster.watches(parcel.from.bare()) || parcel.from.account == Some(self.id) {
                    self.deliver_to_available(&parcel.stanza, turn);
                }
            }
            PresenceKind::Error => {
                if let Some(session) = parcel.resource.as_deref().and_then(|resource| self.by_resource(resource)) {
                    turn.out.deliver(session, parcel.stanza.clone());
                }
            }
            // These travel as commands, because they must not be lost.
            PresenceKind::Subscription(_) => debug_assert!(false, "a subscription came as a parcel"),
        }
    }

    fn takes_iq(&mut self, parcel: &Parcel, kind: IqKind, rows: Rows, turn: &mut Turn<'_>) {
        if let Some(resource) = &parcel.resource {
            match self.by_resource(resource) {
                Some(session) => turn.out.deliver(session, parcel.stanza.clone()),
                // RFC 6121 §8.5.3.2.3
                None if kind.is_request() => self.return_to_sender(parcel, Condition::ServiceUnavailable, turn),
                None => {}
            }
            return;
        }
        // Nobody but the account itself could have asked what this is the answer to.
        if !kind.is_request() {
            return self.service_answers(parcel, kind, turn);
        }
        let mut nodes = Nodes::new();
        // The request is answered on behalf of the user, who does not see it. RFC 6121 §8.5.2.1.3
        let answer = {
            let Some(iq) = nodes.reread(&parcel.stanza) else { return };
            let Some(payload) = iq.first_child() else { return };
            let place = self.place_of(parcel);
            let request = Request { iq, payload, from: &parcel.from, session: None, place };
            let applied = ext::find(kind, payload, place)
                .and_then(|route| if self.exists() { Ok(route) } else { Err(Condition::ServiceUnavailable) })
                .map_err(Refusal::from)
                .and_then(|route| (route.apply)(&request, self, rows, turn));
            match applied {
                Ok(payload) => result(iq, &parcel.from.jid, &payload),
                Err(refusal) => refused(iq, &parcel.from, refusal.error()),
            }
        };
        let kind = IqKind::Result;
        self.send_back(&parcel.from, Kind::Iq(kind), answer, turn);
    }

    /// Finds the route of an iq parcel and looks at both.
    fn request<T>(
        &self,
        parcel: &Parcel,
        nodes: &mut Nodes,
        look: impl FnOnce(&Request<'_>, &IqRoute) -> T,
    ) -> Option<Result<T, Condition>> {
        let Kind::Iq(kind) = parcel.kind else { return None };
        let iq = nodes.reread(&parcel.stanza)?;
        let payload = iq.first_child()?;
        let place = self.place_of(parcel);
        let request = Request { iq, payload, from: &parcel.from, session: None, place };
        Some(ext::find(kind, payload, place).map(|route| look(&request, route)))
    }

    fn place_of(&self, parcel: &Parcel) -> Place {
        if parcel.from.account == Some(self.id) { Place::Own } else { Place::Other }
    }

    /// Answers a stanza that could not be delivered. RFC 6120 §8.3.
    pub(super) fn return_to_sender(&self, parcel: &Parcel, condition: Condition, turn: &mut Turn<'_>) {
        self.return_with(parcel, condition.into(), turn);
    }

    pub(super) fn return_with(&self, parcel: &Parcel, error: StanzaError<'_>, turn: &mut Turn<'_>) {
        let mut nodes = Nodes::new();
        let Some(stanza) = nodes.reread(&parcel.stanza) else { return };
        let bytes = refused(stanza, &parcel.from, error);
        let kind = match parcel.kind {
            Kind::Message { .. } => Kind::Message { kind: MessageKind::Error, lasting: false },
            Kind::Presence { .. } => Kind::Presence { kind: PresenceKind::Error, directed: true },
            Kind::Iq(_) => Kind::Iq(IqKind::Error),
        };
        self.send_back(&parcel.from, kind, bytes, turn);
    }

    /// Sends something back to the resource or the component a stanza came from.
    pub(crate) fn send_back(&self, to: &Sender, kind: Kind, stanza: Bytes, turn: &mut Turn<'_>) {
        if self.answers_link(to, kind, &stanza, turn) {
            return;
        }
        match way_back(to, turn.site) {
            // An account has not asked.
            Some((Owner::Account(_), None)) | None => {}
            Some((owner, resource)) => {
                let parcel = Parcel::new(self.sender(), resource.map(Into::into), kind, stanza);
                turn.out.send(owner, Note::Stanza(parcel));
            }
        }
    }

    pub(super) fn by_resource(&self, resource: &str) -> Option<SessionId> {
        self.sessions.iter().find(|session| session.resource() == resource).map(|session| session.id)
    }

    pub(super) fn deliver_to_available(&self, stanza: &Bytes, turn: &mut Turn<'_>) {
        for session in self.sessions.iter().filter(|session| session.presence.is_some()) {
            turn.out.deliver(session.id, stanza.clone());
        }
    }

    /// The sessions that see changes of the roster.
    pub(super) fn interested(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(|session| session.interested)
    }
}

fn refused(stanza: Element<'_>, to: &Sender, error: StanzaError<'_>) -> Bytes {
    let mut bytes = Vec::new();
    error.write_reply(stanza, address(stanza).as_deref(), Some(&to.jid), &mut bytes);
    bytes.into()
}
