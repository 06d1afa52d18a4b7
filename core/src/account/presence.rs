//! Presence: broadcasts, probes, and directed presence. RFC 6121 §4.

use bytes::Bytes;

use crate::dialog::no_entry;
use crate::effect::{Effect, Note, SessionId, Turn};
use crate::error::Condition;
use crate::ext::addressing;
use crate::jid::Jid;
use crate::jid::user::DialogId;
use crate::limits::DIRECTED_MAX;
use crate::model::account::{Command as Order, Subscription as Step, SubscriptionKind};
use crate::model::directory;
use crate::model::directory::members::SEEN_PAUSE_MIN;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::route::{Target, target, way_back};
use crate::row::Batch;
use crate::stanza::{Kind, PRESENCE_ID, Parcel, PresenceKind, Sender};
use crate::xml::{Element, Writer, splice};

use super::outgoing::{address, stamped_presence};
use super::privacy::blocked;
use super::privacy::lists::Traffic;
use super::seen::LastSeen;
use super::subscription::step_to_component;
use super::{Account, Session};

/// What an available resource last said.
#[derive(Clone, Debug)]
pub struct Presence {
    /// RFC 6121 §4.7.2.3
    pub priority: i8,
    /// The stanza from the full JID, without `to`.
    pub(super) stanza: Bytes,
}

impl Account {
    /// A presence from an own session.
    pub(super) fn sends_presence(&mut self, from: SessionId, stanza: Element<'_>, turn: &mut Turn<'_>) -> bool {
        let Some(kind) = PresenceKind::read(stanza.attr("type").as_deref()) else {
            self.refuse(from, stanza, Condition::BadRequest.into(), turn);
            return false;
        };
        let to = address(stanza);
        let Some(to) = to.as_deref() else {
            match kind {
                PresenceKind::Available => self.appear(from, stanza, turn),
                PresenceKind::Unavailable => self.leave(from, Some(stanza), turn),
                // RFC 6121 §3.1.1: subscriptions name a contact. §4.3: probes are the server's.
                PresenceKind::Subscription(_) | PresenceKind::Probe => {
                    self.refuse(from, stanza, Condition::BadRequest.into(), turn);
                }
                PresenceKind::Error => {}
            }
            return false;
        };
        let Ok(to) = Jid::parse(to) else {
            if kind != PresenceKind::Error {
                self.refuse(from, stanza, Condition::JidMalformed.into(), turn);
            }
            return false;
        };
        let traffic = match kind {
            PresenceKind::Available | PresenceKind::Unavailable => Traffic::PresenceOut,
            PresenceKind::Subscription(_) | PresenceKind::Probe | PresenceKind::Error => Traffic::Other,
        };
        if !self.may_send(from, traffic, Some(&to)) && !self.is_in_room(from, &to, turn) {
            if kind != PresenceKind::Error {
                self.refuse(from, stanza, blocked(), turn);
            }
            return false;
        }
        match kind {
            PresenceKind::Subscription(asked) => self.sends_subscription(from, asked, &to, stanza, turn),
            PresenceKind::Available | PresenceKind::Unavailable | PresenceKind::Probe | PresenceKind::Error => {
                self.sends_directed(from, kind, &to, stanza, turn);
            }
        }
        false
    }

    /// Whether the session has entered this room; whoever is in goes on as before, and above all can go out.
    fn is_in_room(&self, session: SessionId, to: &Jid<'_>, turn: &Turn<'_>) -> bool {
        let entered = |session: &Session| session.directed.iter().any(|known| **known == *to.bare_str());
        to.domain() == &*turn.site.muc_domain && self.session(session).is_some_and(entered)
    }

    /// Presence to one address, whoever is subscribed. RFC 6121 §4.6.
    pub(crate) fn sends_directed(
        &mut self,
        from: SessionId,
        kind: PresenceKind,
        to: &Jid<'_>,
        stanza: Element<'_>,
        turn: &mut Turn<'_>,
    ) {
        let (owner, resource) = match target(Some(to), self.id, turn.site) {
            Target::Own => (self.owner(), None),
            Target::User(account, resource) => (Owner::Account(account), resource),
            Target::Component(component) => (Owner::Component(component), None),
            Target::Server => return addressing::on_presence(self, from, kind, to, stanza, turn),
            Target::Nobody | Target::RoomService | Target::Uploads | Target::Link(_) => return,
            Target::Dialog(dialog, nick) => return self.sends_to_room(from, kind, to, (dialog, nick), stanza, turn),
            Target::Room if kind == PresenceKind::Available => {
                if let Some(session) = self.session(from) {
                    turn.out.deliver(from, no_entry(stanza, to.as_str(), &session.jid).into());
                }
                return;
            }
            Target::Elsewhere if kind == PresenceKind::Available => {
                return self.refuse(from, stanza, Condition::RemoteServerNotFound.into(), turn);
            }
            Target::Room | Target::Elsewhere => return,
        };
        // RFC 6121 §4.3: probes are a server's. One for a contact may pass; where a request waits, the answer would undo it.
        if kind == PresenceKind::Probe && owner != self.owner() && !self.roster.watches(to.bare_str()) {
            return;
        }
        if !self.directs(from, kind, to.as_str(), stanza, turn) {
            return;
        }
        let Some(sender) = self.full_sender(from) else { return };
        let mut bytes = stamped_presence(stanza, &sender.jid, Some(to.as_str()));
        if kind == PresenceKind::Available {
            bytes = self.advertises(bytes);
        }
        let kind = Kind::Presence { kind, directed: true };
        let parcel = Parcel::new(sender, resource.map(Into::into), kind, bytes);
        turn.out.send(owner, Note::Stanza(parcel));
    }

    /// Presence to a room: entering and leaving it. XEP-0045 §7.2, §7.14.
    fn sends_to_room(
        &mut self,
        from: SessionId,
        kind: PresenceKind,
        to: &Jid<'_>,
        room: (DialogId, Option<&str>),
        stanza: Element<'_>,
        turn: &mut Turn<'_>,
    ) {
        // Whatever nick was asked for, the session is in the room once.
        if self.directs(from, kind, to.bare_str(), stanza, turn) {
            self.visits(from, room, Kind::Presence { kind, directed: true }, stanza, turn);
        }
    }

    /// Remembers to whom a session showed itself; false when that are too many.
    fn directs(
        &mut self,
        from: SessionId,
        kind: PresenceKind,
        to: &str,
        stanza: Element<'_>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(session) = self.session_mut(from) else { return false };
        let known = session.directed.iter().position(|known| **known == *to);
        match (kind, known) {
            (PresenceKind::Available, None) if session.directed.len() >= DIRECTED_MAX => {
                self.refuse(from, stanza, Condition::ResourceConstraint.into(), turn);
                return false;
            }
            (PresenceKind::Available, None) => session.directed.push(to.into()),
            (PresenceKind::Unavailable, Some(at)) => {
                session.directed.swap_remove(at);
            }
            _ => {}
        }
        true
    }

    /// A resource becomes available, or says something new about itself. RFC 6121 §4.2, §4.4.
    fn appear(&mut self, from: SessionId, stanza: Element<'_>, turn: &mut Turn<'_>) {
        let Some(session) = self.session(from) else { return };
        let priority = priority(stanza);
        let bytes = self.advertises(stamped_presence(stanza, &session.jid, None));
        let first = session.presence.is_none();
        let wanted_messages = session.takes_messages();
        let presence = Presence { priority, stanza: bytes };
        self.broadcast(&presence.stanza, from, PresenceKind::Available, turn);
        if let Some(session) = self.session_mut(from) {
            session.presence = Some(presence);
        }
        if first {
            self.welcome(from, turn);
        }
        self.reads_caps(from, stanza, first, turn);
        self.tells_seen(turn);
        match (wanted_messages, priority >= 0) {
            (false, true) => self.starts_taking(from, turn),
            (true, false) => self.stops_taking(from),
            (true, true) | (false, false) => {}
        }
    }

    /// The API shows when a user was last active, and every presence is activity. Server notes §2.3.
    fn tells_seen(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.instant;
        if self.told_seen.is_none_or(|at| now.since(at) >= SEEN_PAUSE_MIN) {
            self.told_seen = Some(now);
            let command = directory::Command::Seen { user: self.id.user }.into();
            turn.out.send(Owner::App(self.id.app), Note::Command { command, reply: None, job: None });
        }
    }

    /// What a resource that has just become available is told. RFC 6121 §4.2.2, §3.1.3.
    fn welcome(&mut self, new: SessionId, turn: &mut Turn<'_>) {
        for session in self.sessions.iter().filter(|session| session.id != new) {
            if let Some(presence) = &session.presence {
                turn.out.deliver(new, addressed(&presence.stanza, &self.jid));
            }
        }
        let Some(sender) = self.full_sender(new) else { return };
        for contact in self.roster.watched() {
            self.probes(contact, &sender, turn);
        }
        for request in self.roster.requests() {
            turn.out.deliver(new, Bytes::copy_from_slice(request));
        }
    }

    /// A resource is no longer available. RFC 6121 §4.5. Without a stanza the server speaks for it.
    pub(super) fn leave(&mut self, from: SessionId, stanza: Option<Element<'_>>, turn: &mut Turn<'_>) {
        let Some(session) = self.session_mut(from) else { return };
        let was_available = session.presence.take().is_some();
        let directed = std::mem::take(&mut session.directed);
        let jid = session.jid.clone();
        let status =
            stanza.and_then(|stanza| stanza.child("status", ns::CLIENT)).map(|status| status.text().into_owned());
        self.stops_taking(from);
        let bytes = match stanza {
            Some(stanza) => stamped_presence(stanza, &jid, None),
            None => unavailable(&jid),
        };
        if was_available {
            self.broadcast(&bytes, from, PresenceKind::Unavailable, turn);
            if !self.is_available() {
                let seen = LastSeen { at: turn.now.stamp, status };
                let mut batch = Batch::default();
                seen.keep(self.id, &mut batch);
                self.seen = Some(seen);
                turn.out.push(Effect::WriteBehind(batch));
            }
        }
        let sender = Sender { jid, account: Some(self.id) };
        for to in directed {
            let Ok(address) = Jid::parse(&to) else { continue };
            // RFC 6121 §4.6.3: those who were told by the broadcast are not told again.
            if was_available && self.roster.is_watched_by(address.bare_str()) {
                continue;
            }
            let (owner, resource) = match target(Some(&address), self.id, turn.site) {
                Target::Own => (self.owner(), None),
                Target::User(account, resource) => (Owner::Account(account), resource),
                Target::Component(component) => (Owner::Component(component), None),
                Target::Dialog(dialog, _) => {
                    self.leaves_room(from, &sender.jid, dialog, turn);
                    continue;
                }
                Target::Nobody
                | Target::Server
                | Target::RoomService
                | Target::Uploads
                | Target::Link(_)
                | Target::Room
                | Target::Elsewhere => continue,
            };
            let kind = Kind::Presence { kind: PresenceKind::Unavailable, directed: true };
            let stanza = addressed(&bytes, &to);
            let parcel = Parcel::new(sender.clone(), resource.map(Into::into), kind, stanza);
            turn.out.send(owner, Note::Stanza(parcel));
        }
    }

    /// Tells all who may see it, and the user's own resources: the sender gets its presence back, which clients take for
    /// the sign that they are connected.
    pub(super) fn broadcast(&self, stanza: &Bytes, from: SessionId, kind: PresenceKind, turn: &mut Turn<'_>) {
        let Some(sender) = self.full_sender(from) else { return };
        let own = addressed(stanza, &self.jid);
        for session in &self.sessions {
            let is_sender = session.id == from;
            if session.presence.is_some() || (is_sender && kind == PresenceKind::Available) {
                turn.out.deliver(session.id, own.clone());
            }
        }
        for contact in self.roster.watchers().filter(|contact| self.may(Some(from), Traffic::PresenceOut, contact)) {
            self.tell(contact, &sender, stanza, kind, turn);
        }
    }

    fn tell(&self, contact: &str, sender: &Sender, stanza: &Bytes, kind: PresenceKind, turn: &mut Turn<'_>) {
        let Some(owner) = self.contact_owner(contact, turn) else { return };
        let kind = Kind::Presence { kind, directed: false };
        let stanza = addressed(stanza, contact);
        let parcel = Parcel::new(sender.clone(), None, kind, stanza);
        turn.out.send(owner, Note::Stanza(parcel));
    }

    /// A contact is told of every available resource, or of the end of each.
    pub(super) fn show_to(&self, contact: &str, available: bool, turn: &mut Turn<'_>) {
        for session in &self.sessions {
            let Some(presence) = &session.presence else { continue };
            if !self.may(Some(session.id), Traffic::PresenceOut, contact) {
                continue;
            }
            let sender = Sender { jid: session.jid.clone(), account: Some(self.id) };
            if available {
                self.shows(contact, &sender, presence, turn);
            } else {
                self.vanishes_for(contact, &sender, turn);
            }
        }
    }

    /// A contact is told that a resource is there.
    pub(super) fn shows(&self, contact: &str, sender: &Sender, presence: &Presence, turn: &mut Turn<'_>) {
        self.tell(contact, sender, &presence.stanza, PresenceKind::Available, turn);
    }

    /// Somebody sees no more of a resource. His roster may not want presence from here any longer, but he has to hear this one.
    pub(super) fn vanishes_for(&self, to: &str, sender: &Sender, turn: &mut Turn<'_>) {
        let Ok(address) = Jid::parse(to) else { return };
        let Some((owner, resource)) = target(Some(&address), self.id, turn.site).other() else { return };
        let kind = Kind::Presence { kind: PresenceKind::Unavailable, directed: true };
        let stanza = addressed(&unavailable(&sender.jid), to);
        let parcel = Parcel::new(sender.clone(), resource.map(Into::into), kind, stanza);
        turn.out.send(owner, Note::Stanza(parcel));
    }

    /// Asks who of a contact is there. RFC 6121 §4.3.
    pub(super) fn probes(&self, contact: &str, sender: &Sender, turn: &mut Turn<'_>) {
        let Some(owner) = self.contact_owner(contact, turn) else { return };
        let mut bytes = Vec::new();
        let attributes = [("type", "probe"), ("from", &*sender.jid), ("to", contact), ("id", PRESENCE_ID)];
        Writer::new(&mut bytes).leaf("presence", &attributes);
        let kind = Kind::Presence { kind: PresenceKind::Probe, directed: false };
        let parcel = Parcel::new(sender.clone(), None, kind, bytes.into());
        turn.out.send(owner, Note::Stanza(parcel));
    }

    /// Someone's server asks who is there. RFC 6121 §4.3.2.
    pub(super) fn answer_probe(&self, from: &Sender, turn: &mut Turn<'_>) {
        let Some((owner, resource)) = way_back(from, turn.site) else { return };
        if owner != self.owner() && !self.roster.is_watched_by(from.bare()) {
            // The other side believes otherwise; this mends its roster, and says nothing to one who never asked.
            return self.sends_step((SubscriptionKind::Unsubscribed, 0), from.bare(), owner, turn);
        }
        for session in &self.sessions {
            let Some(presence) = &session.presence else { continue };
            if !self.may(Some(session.id), Traffic::PresenceOut, &from.jid) {
                continue;
            }
            let kind = Kind::Presence { kind: PresenceKind::Available, directed: true };
            let sender = Sender { jid: session.jid.clone(), account: Some(self.id) };
            let stanza = addressed(&presence.stanza, &from.jid);
            let parcel = Parcel::new(sender, resource.map(Into::into), kind, stanza);
            turn.out.send(owner, Note::Stanza(parcel));
        }
    }

    /// A subscription step of the server's own, which need not survive a crash: the next probe brings it again.
    pub(super) fn sends_step(
        &self,
        (kind, number): (SubscriptionKind, u64),
        to: &str,
        owner: Owner,
        turn: &mut Turn<'_>,
    ) {
        let stanza = self.plain_step(kind, to);
        let note = match owner {
            Owner::Component(_) => Note::Stanza(step_to_component(kind, self.sender(), &stanza)),
            Owner::Account(_) | Owner::App(_) | Owner::Dialog(..) => {
                let step = Step { from: self.jid.to_string(), kind, stanza: stanza.to_vec() };
                let command = crate::command::Command::Account(Order::step(step, number));
                Note::Command { command, reply: None, job: None }
            }
        };
        turn.out.send(owner, note);
    }

    /// The account behind a contact, if it is a user of this app.
    pub(super) fn contact_account(&self, contact: &str, turn: &Turn<'_>) -> Option<AccountId> {
        match self.contact_owner(contact, turn)? {
            Owner::Account(account) => Some(account),
            Owner::Component(_) | Owner::App(_) | Owner::Dialog(..) => None,
        }
    }

    /// The account or the component behind a contact.
    pub(super) fn contact_owner(&self, contact: &str, turn: &Turn<'_>) -> Option<Owner> {
        let jid = Jid::parse(contact).ok()?;
        target(Some(&jid), self.id, turn.site)
            .other()
            .filter(|(_, resource)| resource.is_none())
            .map(|(owner, _)| owner)
    }
}

fn unavailable(jid: &str) -> Bytes {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).leaf("presence", &[("from", jid), ("type", "unavailable"), ("id", PRESENCE_ID)]);
    bytes.into()
}

pub(super) fn addressed(stanza: &[u8], to: &str) -> Bytes {
    let mut bytes = Vec::with_capacity(stanza.len() + to.len() + 8);
    splice::with_attribute(stanza, "to", to, &mut bytes);
    bytes.into()
}

/// RFC 6121 §4.7.2.3: a whole number from -128 to 127, zero when there is none; what is no such number counts as none.
fn priority(stanza: Element<'_>) -> i8 {
    stanza.child("priority", ns::CLIENT).and_then(|priority| priority.text().trim().parse().ok()).unwrap_or(0)
}
