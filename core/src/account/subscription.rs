//! Subscriptions: who may see whose presence, agreed between two accounts. RFC 6121 §3.
//!
//! Each step changes two rosters that two owners keep. The first writes its own and, in the same batch, a job with the step for
//! the other; the job stands until the other has written. Applying a step twice changes nothing the second time.

use bytes::Bytes;

use crate::command::Command;
use crate::effect::{Note, SessionId, Turn, promised};
use crate::error::{Condition, StanzaError};
use crate::ext::roster::push;
use crate::jid::Jid;
use crate::model::account::{Command as Order, Subscription as Step};
use crate::owner::Owner;
use crate::route::{Target, target};
use crate::row::Batch;
use crate::stanza::{Kind, PRESENCE_ID, Parcel, PresenceKind, Sender, Subscription};
use crate::xml::Element;

use super::Account;
use super::offline::Reach;
use super::outgoing::stamped_presence;
use super::privacy::lists::Traffic;

impl Subscription {
    /// The value of the `type` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Subscription::Subscribe => "subscribe",
            Subscription::Subscribed => "subscribed",
            Subscription::Unsubscribe => "unsubscribe",
            Subscription::Unsubscribed => "unsubscribed",
        }
    }

    /// Reads the value of a `type` attribute.
    pub fn read(kind: &str) -> Option<Subscription> {
        use Subscription::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
        [Subscribe, Subscribed, Unsubscribe, Unsubscribed].into_iter().find(|known| known.as_str() == kind)
    }
}

impl Account {
    /// An own session sends a subscription stanza. RFC 6121 §3.1.2, §3.1.5, §3.2.2, §3.3.2.
    pub(super) fn sends_subscription(
        &mut self,
        from: SessionId,
        asked: Subscription,
        to: &Jid<'_>,
        stanza: Element<'_>,
        turn: &mut Turn<'_>,
    ) {
        // §3.1.2: what is addressed to a resource counts for the account.
        let contact = to.bare_str().to_owned();
        let owner = match target(Some(&to.to_bare().as_jid()), self.id, turn.site) {
            Target::Own => {
                let error = StanzaError::new(Condition::NotAllowed, "You can not subscribe to yourself.");
                return self.refuse(from, stanza, error, turn);
            }
            Target::User(account, _) => Some(Owner::Account(account)),
            Target::Component(component) => Some(Owner::Component(component)),
            // As if to a user who never answers: the same for one who does not exist and for one of another app.
            Target::Nobody => None,
            Target::Server
            | Target::RoomService
            | Target::Uploads
            | Target::Link(_)
            | Target::Room
            | Target::Dialog(..) => {
                return self.refuse(from, stanza, Condition::ServiceUnavailable.into(), turn);
            }
            Target::Elsewhere => return self.refuse(from, stanza, Condition::RemoteServerNotFound.into(), turn),
        };
        if asked == Subscription::Subscribe && self.roster.item(&contact).is_none() && self.roster.is_full() {
            return self.refuse(from, stanza, Condition::ResourceConstraint.into(), turn);
        }
        // §3.1.2: from the bare JID, to the bare JID.
        let bytes = stamped_presence(stanza, &self.jid, Some(&contact));
        let mut batch = Batch::default();
        let was_seen = self.roster.is_watched_by(&contact);
        let sent = self.roster.sends(asked, &contact, self.id, &mut batch);
        let sender = self.full_sender(from).unwrap_or_else(|| self.sender());
        match owner {
            Some(owner) if sent.pass => self.send_step((asked, sent.number), (sender, owner), &bytes, batch, turn),
            Some(_) | None => turn.out.write(batch),
        }
        if sent.pushed {
            self.push_item(&contact, turn);
        }
        match asked {
            // §3.1.5: the contact now sees who is here.
            Subscription::Subscribed if sent.pass => self.show_to(&contact, true, turn),
            // §3.2.2. One who was refused has never seen who is here, and does not now.
            Subscription::Unsubscribed if was_seen => self.show_to(&contact, false, turn),
            Subscription::Subscribe
            | Subscription::Subscribed
            | Subscription::Unsubscribe
            | Subscription::Unsubscribed => {}
        }
    }

    /// Sends a step, with the number of the request that it is or answers, to a contact, together with what changes here. A component
    /// has no roster, and sees presence.
    fn send_step(
        &mut self,
        step: (Subscription, u64),
        (sender, to): (Sender, Owner),
        stanza: &Bytes,
        mut batch: Batch,
        turn: &mut Turn<'_>,
    ) {
        let note = self.promise_step(step, (sender, to), stanza, &mut batch, turn);
        turn.out.write(batch);
        turn.out.send(to, note);
    }

    /// What such a step is sent as, once the batch is on disk.
    fn promise_step(
        &mut self,
        (kind, number): (Subscription, u64),
        (sender, to): (Sender, Owner),
        stanza: &Bytes,
        batch: &mut Batch,
        turn: &Turn<'_>,
    ) -> Note {
        if let Owner::Component(_) = to {
            return Note::Stanza(step_to_component(kind, sender, stanza));
        }
        let step = Step { from: self.jid.to_string(), kind, stanza: stanza.to_vec() };
        let id = self.next_job(turn);
        promised(batch, self.owner(), id, to, Command::Account(Order::step(step, number)))
    }

    /// A step that a contact took. RFC 6121 §3.1.3, §3.1.6, §3.2.3, §3.3.3.
    pub(super) fn takes_subscription(&mut self, step: Step, number: u64, turn: &mut Turn<'_>) {
        // XEP-0016 §2.2: lists come before what RFC 6121 does with it.
        if !self.exists() || !self.may(None, Traffic::Other, &step.from) {
            return;
        }
        let stanza = Bytes::from(step.stanza);
        let mut batch = Batch::default();
        let was_seen = self.roster.is_watched_by(&step.from);
        let received = self.roster.receives((step.kind, number), &step.from, &stanza, self.id, &mut batch);
        let shown = self.is_available();
        if received.deliver && !shown && step.kind != Subscription::Subscribe {
            // A request waits in the roster; the other three wait with the messages.
            self.keep_stanza(&stanza, Reach::Account, &mut batch, turn);
        }
        turn.out.write(batch);
        if received.deliver && shown {
            self.deliver_to_available(&stanza, turn);
        }
        if received.pushed {
            self.push_item(&step.from, turn);
        }
        if let Some(reply) = received.reply
            && let Some(owner) = self.contact_owner(&step.from, turn)
        {
            self.sends_step((reply, number), &step.from, owner, turn);
        }
        if received.deliver && step.kind == Subscription::Subscribed {
            self.asks_contact_for_last(&step.from, turn);
        }
        // §3.3.3: who no longer subscribes sees everyone leave.
        if step.kind == Subscription::Unsubscribe && was_seen {
            self.show_to(&step.from, false, turn);
        }
    }

    /// Takes a contact out of the roster and ends what was agreed with it. RFC 6121 §2.5.
    pub fn remove_contact(&mut self, contact: &str, turn: &mut Turn<'_>) -> Result<(), Condition> {
        let mut batch = Batch::default();
        let item = self.roster.remove(contact, self.id, &mut batch).ok_or(Condition::ItemNotFound)?;
        let owner = self.contact_owner(contact, turn);
        let (unsubscribe, unsubscribed) =
            (item.subscription.to() || item.asked, item.subscription.from() || item.request.is_some());
        // Who is taken out while a request of his waits is refused that one, and no later one.
        let refused = if item.subscription.from() { 0 } else { item.request_as };
        let due = [(Subscription::Unsubscribe, 0, unsubscribe), (Subscription::Unsubscribed, refused, unsubscribed)];
        // All of it is on disk or nothing: after a crash nobody would know that the contact lacks one.
        let mut notes = Vec::new();
        for (kind, number, _) in due.into_iter().filter(|(.., due)| *due) {
            let Some(owner) = owner else { break };
            let stanza = self.plain_step(kind, contact);
            let note = self.promise_step((kind, number), (self.sender(), owner), &stanza, &mut batch, turn);
            notes.push((owner, note));
        }
        turn.out.write(batch);
        notes.into_iter().for_each(|(owner, note)| turn.out.send(owner, note));
        self.push_removal(contact, turn);
        if item.subscription.from() {
            self.show_to(contact, false, turn);
        }
        Ok(())
    }

    /// The account is being removed: every contact is told that the agreement is over.
    pub(super) fn part_from_contacts(&mut self, turn: &mut Turn<'_>) {
        let contacts: Vec<String> = self.roster.all().map(str::to_owned).collect();
        for contact in contacts {
            let Some(owner) = self.contact_owner(&contact, turn) else { continue };
            for kind in [Subscription::Unsubscribe, Subscription::Unsubscribed] {
                let stanza = self.plain_step(kind, &contact);
                self.send_step((kind, 0), (self.sender(), owner), &stanza, Batch::default(), turn);
            }
        }
    }

    /// Sets a contact's name and groups. RFC 6121 §2.3
    pub(crate) fn name_contact(
        &mut self,
        contact: &str,
        name: Option<String>,
        groups: Vec<String>,
        batch: &mut Batch,
    ) -> Result<(), Condition> {
        if self.roster.item(contact).is_none() && self.roster.is_full() {
            return Err(Condition::ResourceConstraint);
        }
        self.roster.name(contact, name, groups, self.id, batch);
        Ok(())
    }

    /// The session gets pushes from now on. RFC 6121 §2.1.6.
    pub(crate) fn takes_interest(&mut self, session: SessionId) {
        if let Some(session) = self.session_mut(session) {
            session.interested = true;
        }
    }

    /// Shows a contact as it now is to the sessions that have asked for the roster.
    pub(crate) fn push_item(&self, contact: &str, turn: &mut Turn<'_>) {
        let Some(item) = self.roster.item(contact) else { return };
        for session in self.interested() {
            turn.out.deliver(session.id, push(contact, Some(item), item.version, &session.jid));
        }
    }

    /// Shows contacts to one session behind the result it is about to get. RFC 6121 §2.6.3
    pub(crate) fn push_after_result(&mut self, to: SessionId, contacts: &[String]) {
        let Some(jid) = self.session(to).map(|session| session.jid.clone()) else { return };
        for contact in contacts {
            if let Some(item) = self.roster.item(contact) {
                self.after_result.push(push(contact, Some(item), item.version, &jid));
            }
        }
    }

    fn push_removal(&self, contact: &str, turn: &mut Turn<'_>) {
        for session in self.interested() {
            turn.out.deliver(session.id, push(contact, None, self.roster.version(), &session.jid));
        }
    }

    pub(super) fn plain_step(&self, kind: Subscription, contact: &str) -> Bytes {
        let mut bytes = Vec::new();
        let attributes = [("type", kind.as_str()), ("from", &*self.jid), ("to", contact), ("id", PRESENCE_ID)];
        crate::xml::Writer::new(&mut bytes).leaf("presence", &attributes);
        bytes.into()
    }
}

/// A step as a component gets it.
pub(super) fn step_to_component(kind: Subscription, from: Sender, stanza: &Bytes) -> Parcel {
    let kind = Kind::Presence { kind: PresenceKind::Subscription(kind), directed: true };
    Parcel::new(from, None, kind, stanza.clone())
}
