//! What the account's own sessions send. RFC 6120 §8 and §10, RFC 6121 §8.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::dialog::{is_ping, no_room, rewritten};
use crate::effect::{Note, SessionId, Site, Turn};
use crate::error::{Condition, StanzaError};
use crate::ext::chain::{Facts, Instead, Look, Sending};
use crate::ext::{self, Place, Request};
use crate::jid::Jid;
use crate::ns;
use crate::owner::{ComponentId, Owner};
use crate::route::{Target, target};
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind, Kind, MessageKind, PRESENCE_ID, Parcel, Receipt, Sender};
use crate::xml::{Element, Nodes, Writer, splice};

use super::privacy::blocked;
use super::privacy::lists::Traffic;
use super::{Account, Progress};

impl Account {
    /// A message from an own session. Returns whether another account reports it as handled.
    pub(super) fn sends_message(
        &mut self,
        from: SessionId,
        stanza: Element<'_>,
        receipt: Option<Receipt>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let kind = MessageKind::read(stanza.attr("type").as_deref());
        let to = address(stanza);
        let to = match to.as_deref().map(Jid::parse).transpose() {
            Ok(to) => to,
            Err(_) => {
                if kind != MessageKind::Error {
                    self.refuse(from, stanza, Condition::JidMalformed.into(), turn);
                }
                return false;
            }
        };
        let look = turn.site.chain.look(kind, stanza);
        let sending =
            Sending { session: from, message: stanza, kind, look, to: to.as_ref(), readdressed: false, receipt };
        self.sends(&sending, Instead::default(), turn)
    }

    /// A message from an own session goes to whom it is for, unless an extension has something against that. Returns whether
    /// another account reports it as handled.
    pub(crate) fn sends(&mut self, sending: &Sending<'_>, mut instead: Instead, turn: &mut Turn<'_>) -> bool {
        if sending.look.has_hooks() {
            match self.before_sending(sending, &mut instead, turn) {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(passed_on) => return passed_on,
            }
        }
        self.sends_on(sending, &instead, turn)
    }

    fn sends_on(&mut self, sending: &Sending<'_>, instead: &Instead, turn: &mut Turn<'_>) -> bool {
        let &Sending { session: from, message: stanza, kind, look, to, receipt, .. } = sending;
        if !self.may_send(from, Traffic::Other, to) {
            return self.refuse_sending(sending, blocked(), turn);
        }
        let (account, resource) = match target(to, self.id, turn.site) {
            Target::Own => (self.id, None),
            Target::User(account, resource) => (account, resource),
            // RFC 6121 §8.5.1 and the tenancy: what is said to a user of another app gets the answer, or the silence, of one to a user
            // who is not connected.
            Target::Nobody => {
                let is_to_resource = to.is_some_and(|to| to.resource().is_some());
                if is_to_resource && !matches!(kind, MessageKind::Chat | MessageKind::Error) {
                    return self.refuse_sending(sending, Condition::RecipientUnavailable.into(), turn);
                }
                return false;
            }
            Target::Server => return false,
            Target::RoomService | Target::Uploads => {
                return self.refuse_sending(sending, Condition::ServiceUnavailable.into(), turn);
            }
            Target::Link(None) => return self.refuse_sending(sending, Condition::ServiceUnavailable.into(), turn),
            Target::Link(Some(local)) => {
                let Some(sender) = self.full_sender(from) else { return false };
                let stanza = honest((stanza, look), instead, &sender.jid, &[], turn.site);
                return self.says_on_link(sending, local, &stanza, turn);
            }
            Target::Dialog(dialog, nick) => return self.says_in_room(sending, instead, (dialog, nick), turn),
            Target::Room => return self.refuse_sending(sending, no_room(), turn),
            Target::Component(component) => return self.says_to_component(sending, instead, component, turn),
            Target::Elsewhere => {
                return self.refuse_sending(sending, Condition::RemoteServerNotFound.into(), turn);
            }
        };
        let resource = resource.map(Into::into);
        let Some(sender) = self.full_sender(from) else { return false };
        // RFC 6121 §5.2.1: a message without an address is for the sender's own account.
        let own = to.is_none().then(|| self.jid.clone());
        let readdressed: &[_] = match (&own, to) {
            (Some(own), _) => &[("to", Some(&**own))],
            (None, Some(to)) if sending.readdressed => &[("to", Some(to.as_str()))],
            (None, _) => &[],
        };
        let stanza_bytes = honest((stanza, look), instead, &sender.jid, readdressed, turn.site);
        let way = self.way(account, kind, look, stanza, turn);
        let is_copied = account != self.id && self.is_copied(from, kind, look);
        let kind = Kind::Message { kind, lasting: look.is_lasting() };
        let parcel = Parcel { receipt, way, look, ..Parcel::new(sender, resource, kind, stanza_bytes) };
        if is_copied {
            self.post_copied(account, parcel, turn);
        } else {
            self.post(account, parcel, turn);
        }
        receipt.is_some()
    }

    /// A message for a component: its sender's other sessions see it at once, and no dialog does. Returns whether the component
    /// reports it as handled.
    fn says_to_component(
        &self,
        sending: &Sending<'_>,
        instead: &Instead,
        component: ComponentId,
        turn: &mut Turn<'_>,
    ) -> bool {
        let &Sending { session, message, kind, look, to, receipt, .. } = sending;
        let Some(sender) = self.full_sender(session) else { return false };
        let readdressed = [("to", to.map(Jid::as_str))];
        let set = if sending.readdressed { &readdressed[..] } else { &[] };
        let stanza = honest((message, look), instead, &sender.jid, set, turn.site);
        if self.is_copied(session, kind, look) {
            self.copy(&sender.jid, &stanza, turn);
        }
        let kind = Kind::Message { kind, lasting: look.is_lasting() };
        let parcel = Parcel { receipt, look, ..Parcel::new(sender, None, kind, stanza) };
        turn.out.send(Owner::Component(component), Note::Stanza(parcel));
        receipt.is_some()
    }

    /// A message cannot be sent; nobody else reports it.
    pub(super) fn refuse_sending(&self, sending: &Sending<'_>, error: StanzaError<'_>, turn: &mut Turn<'_>) -> bool {
        // RFC 6120 §8.3.1: an error is never answered with an error.
        if sending.kind != MessageKind::Error {
            let from = sending.to.filter(|_| sending.readdressed);
            self.refuse_from(sending.session, sending.message, from.map(Jid::as_str), error, turn);
        }
        false
    }

    /// An iq from an own session.
    pub(super) fn sends_iq(
        &mut self,
        from: SessionId,
        stanza: Element<'_>,
        rows: Option<Rows>,
        turn: &mut Turn<'_>,
    ) -> Progress {
        let Some(kind) = IqKind::read(stanza.attr("type").as_deref()) else {
            self.refuse(from, stanza, Condition::BadRequest.into(), turn);
            return Progress::Done;
        };
        // RFC 6120 §8.2.3: a request has exactly one child.
        if kind.is_request() && stanza.children().count() != 1 {
            self.refuse(from, stanza, Condition::BadRequest.into(), turn);
            return Progress::Done;
        }
        let to = address(stanza);
        let to = match to.as_deref().map(Jid::parse).transpose() {
            Ok(to) => to,
            Err(_) => {
                self.refuse_request(from, kind, stanza, Condition::JidMalformed, turn);
                return Progress::Done;
            }
        };
        if !self.may_send(from, Traffic::Other, to.as_ref()) {
            self.refuse_request(from, kind, stanza, blocked(), turn);
            return Progress::Done;
        }
        match target(to.as_ref(), self.id, turn.site) {
            Target::Own => return self.answers(from, kind, stanza, Place::Own, rows, turn),
            Target::Server => return self.answers(from, kind, stanza, Place::Server, rows, turn),
            // RFC 6120 §8.1.3. The server itself answers without, but other clients need not.
            Target::User(..) | Target::Component(_) if kind.is_request() && stanza.attr("id").is_none() => {
                self.refuse(from, stanza, Condition::BadRequest.into(), turn);
            }
            Target::User(account, resource) => {
                // RFC 6121 §8.5.2.1.3: answers go to a resource; one for a bare address answers nothing.
                if (kind.is_request() || resource.is_some())
                    && let Some(sender) = self.full_sender(from)
                {
                    let bytes = stamped(stanza, &sender.jid, &[]);
                    let resource = resource.map(Into::into);
                    let parcel = Parcel::new(sender, resource, Kind::Iq(kind), bytes);
                    self.post(account, parcel, turn);
                }
            }
            Target::Component(component) => {
                if let Some(sender) = self.full_sender(from) {
                    let bytes = stamped(stanza, &sender.jid, &[]);
                    let parcel = Parcel::new(sender, None, Kind::Iq(kind), bytes);
                    turn.out.send(Owner::Component(component), Note::Stanza(parcel));
                }
            }
            Target::Uploads => return self.answers(from, kind, stanza, Place::Uploads, rows, turn),
            Target::Link(None) => {
                let stamped = match self.full_sender(from) {
                    Some(sender) => stamped(stanza, &sender.jid, &[]),
                    None => return Progress::Done,
                };
                if !self.asks_link(from, stanza, stamped, turn) {
                    return self.answers(from, kind, stanza, Place::Link, rows, turn);
                }
            }
            // Nobody there is asked anything.
            Target::Link(Some(_)) => self.refuse_request(from, kind, stanza, Condition::ServiceUnavailable, turn),
            Target::RoomService => return self.answers_service(from, kind, stanza, rows, turn),
            Target::Dialog(dialog, nick) => {
                if kind.is_request() {
                    self.visits(from, (dialog, nick), Kind::Iq(kind), stanza, turn);
                }
            }
            Target::Nobody => {
                self.refuse_request(from, kind, stanza, Condition::ServiceUnavailable, turn);
            }
            Target::Room => {
                let pings_occupant = to.as_ref().is_some_and(|to| to.resource().is_some())
                    && stanza.first_child().is_some_and(|payload| is_ping(payload, kind));
                if pings_occupant {
                    self.refuse(from, stanza, Condition::NotAcceptable.into(), turn);
                } else if kind.is_request() {
                    self.refuse(from, stanza, no_room(), turn);
                }
            }
            Target::Elsewhere => self.refuse_request(from, kind, stanza, Condition::RemoteServerNotFound, turn),
        }
        Progress::Done
    }

    fn refuse_request(
        &mut self,
        session: SessionId,
        kind: IqKind,
        stanza: Element<'_>,
        error: impl Into<StanzaError<'static>>,
        turn: &mut Turn<'_>,
    ) {
        if kind.is_request() {
            self.refuse(session, stanza, error.into(), turn);
        }
    }

    /// An iq from an own session to its account, or to something that has no owner but the account for what concerns it.
    fn answers(
        &mut self,
        from: SessionId,
        kind: IqKind,
        iq: Element<'_>,
        place: Place,
        rows: Option<Rows>,
        turn: &mut Turn<'_>,
    ) -> Progress {
        // An answer to the server: its ping, a roster push, or what the client can do.
        if !kind.is_request() {
            self.hears_answer(from, kind, iq, turn);
            return Progress::Done;
        }
        let Some(payload) = iq.first_child() else { return Progress::Done };
        let Some(sender) = self.full_sender(from) else { return Progress::Done };
        let route = match ext::find(kind, payload, place) {
            Ok(route) => route,
            Err(condition) => {
                self.refuse(from, iq, condition.into(), turn);
                return Progress::Done;
            }
        };
        let request = Request { iq, payload, from: &sender, session: Some(from), place };
        let answer = match (rows, self.lookup.take()) {
            (Some(rows), Some(lookup)) => (lookup.then)(&request, self, rows, turn),
            (Some(rows), None) => (route.apply)(&request, self, rows, turn),
            // What was left behind by an iq whose rows could not be read is dropped.
            (None, _) => {
                let reads = (route.plan)(&request, self);
                if !reads.is_empty() {
                    return Progress::Needs(reads);
                }
                (route.apply)(&request, self, Rows::default(), turn)
            }
        };
        if let Some(lookup) = &mut self.lookup {
            return Progress::Needs(std::mem::take(&mut lookup.reads));
        }
        if !self.waits(from, &request, turn) {
            self.concludes(from, iq, &sender, answer, turn);
        }
        Progress::Done
    }

    /// Gives an own session the answer to its iq.
    pub(super) fn concludes(
        &mut self,
        from: SessionId,
        iq: Element<'_>,
        sender: &Sender,
        answer: IqAnswer,
        turn: &mut Turn<'_>,
    ) {
        match answer {
            Ok(payload) => {
                turn.out.deliver(from, result(iq, &sender.jid, &payload));
                for stanza in self.after_result.drain(..) {
                    turn.out.deliver(from, stanza);
                }
            }
            Err(refusal) => self.refuse(from, iq, refusal.error(), turn),
        }
    }

    /// Answers an own session's stanza with an error. RFC 6120 §8.3.
    pub(crate) fn refuse(&self, session: SessionId, stanza: Element<'_>, error: StanzaError<'_>, turn: &mut Turn<'_>) {
        self.refuse_from(session, stanza, None, error, turn);
    }

    /// The same in the name of somebody else than the stanza is addressed to, if one is given.
    fn refuse_from(
        &self,
        session: SessionId,
        stanza: Element<'_>,
        from: Option<&str>,
        error: StanzaError<'_>,
        turn: &mut Turn<'_>,
    ) {
        if let Some(session) = self.session(session) {
            let mut bytes = Vec::new();
            let address = address(stanza);
            error.write_reply(stanza, from.or(address.as_deref()), Some(&session.jid), &mut bytes);
            turn.out.deliver(session.id, bytes.into());
        }
    }

    /// An own session as a sender: its full JID.
    pub(crate) fn full_sender(&self, session: SessionId) -> Option<Sender> {
        self.session(session).map(|session| Sender { jid: session.jid.clone(), account: Some(self.id) })
    }
}

/// The result of an iq, from whom it was addressed to. RFC 6120 §8.2.3.
pub(crate) fn result(iq: Element<'_>, to: &str, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(payload.len() + 128);
    let mut xml = Writer::new(&mut bytes);
    xml.open("iq").attr("type", "result").attr_opt("id", iq.attr("id").as_deref());
    xml.attr_opt("from", address(iq).as_deref()).attr("to", to);
    if !payload.is_empty() {
        xml.raw_bytes(payload);
    }
    xml.close();
    drop(xml);
    bytes.into()
}

/// The stanza as it is delivered: `from` is who sent it, whatever the client wrote there. RFC 6120 §8.1.2.1.
pub(crate) fn stamped(stanza: Element<'_>, from: &str, set: &[(&'static str, Option<&str>)]) -> Bytes {
    let mut attributes: smallvec::SmallVec<[(&'static str, Option<&str>); 3]> =
        smallvec::smallvec![("from", Some(from))];
    attributes.extend_from_slice(set);
    let mut bytes = Vec::new();
    splice::forward(stanza, &attributes, |_| {}, &mut bytes);
    bytes.into()
}

/// A presence as [`stamped`], with an id in any case.
pub(crate) fn stamped_presence(presence: Element<'_>, from: &str, to: Option<&str>) -> Bytes {
    let set: &[_] = match presence.attr("id").is_some_and(|id| !id.is_empty()) {
        true => &[("to", to)],
        false => &[("to", to), ("id", Some(PRESENCE_ID))],
    };
    stamped(presence, from, set)
}

/// A message as [`stamped`], without what only this server may say of it, and with what the extensions have changed.
pub(crate) fn honest(
    (message, look): (Element<'_>, Look),
    instead: &Instead,
    from: &str,
    set: &[(&'static str, Option<&str>)],
    site: &Site,
) -> Bytes {
    let mut bytes = stamped(message, from, set);
    // Session descriptions of calls have lines that end with both. Wire notes §19.
    if let Some(kept) = splice::with_returns(&bytes) {
        bytes = kept.into();
    }
    let claims = look.is(Facts::CLAIM) && message.children().any(|child| is_servers(child, site));
    if !claims && instead.is_empty() {
        return bytes;
    }
    let mut nodes = Nodes::new();
    match nodes.reread(&bytes) {
        Some(message) => {
            let drop = |child: Element<'_>| is_servers(child, site) || instead.drops(child);
            rewritten(message, &drop, None, &|xml| instead.write(xml)).into()
        }
        None => bytes,
    }
}

/// Where a message is in an archive (XEP-0359 §5) and when it came (XEP-0203), said in the name of one of our addresses.
fn is_servers(child: Element<'_>, site: &Site) -> bool {
    let by = match child.ns() {
        ns::STANZA_ID if child.name() == "stanza-id" => child.attr("by"),
        ns::DELAY if child.name() == "delay" => child.attr("from"),
        _ => return false,
    };
    by.is_some_and(|by| {
        Jid::parse(&by).is_ok_and(|by| by.domain() == &*site.domain || by.domain() == &*site.muc_domain)
    })
}

/// The `to` of a stanza; clients write an empty one for none.
pub(crate) fn address<'a>(stanza: Element<'a>) -> Option<std::borrow::Cow<'a, str>> {
    stanza.attr("to").filter(|to| !to.is_empty())
}
