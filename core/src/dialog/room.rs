//! The dialog's room: who is in it, from which devices, and what they say to each other. XEP-0045 as server notes §4 have it.
//!
//! A nick is the user's number; all of a user's devices are under it, and the others hear of the first that comes and the last
//! that goes. The room exists while its dialog does, and nobody can make one by entering.

use std::sync::Arc;

use bytes::Bytes;

use crate::account::Progress;
use crate::effect::{Effect, Note, Seat, SessionId, Turn};
use crate::error::{Condition, StanzaError};
use crate::ext::archive::is_archived;
use crate::ext::chain::Facts;
use crate::jid::user::UserId;
use crate::limits::{RESOURCES_MAX, ROOM_PRESENCE_BYTES_MAX, ROOM_SEATS_MAX};
use crate::model::dialog::{
    self, Command, DialogKind, DialogRow, Marker, Marks, Subject, Which, body_of, marker, saved_params,
};
use crate::ns;
use crate::row::Batch;
use crate::stanza::{MessageKind, PRESENCE_ID, Parcel, PresenceKind};
use crate::xml::{Element, Nodes, Writer};

use super::invitation::is_mediated;
use super::occupants::{Guise, Occupant};
use super::retraction::is_retraction;
use super::rewrite::rewritten;
use super::save::{is_news, is_rooms};
use super::wire::{occupant_id, refuse, room_jid, seat_of, to_one};
use super::{Dialog, Flow, report};

/// Server notes §4.3.
const NO_ROOM: &str = "There is no such room.";
const NO_RIGHT: &str = "Insufficient privileges to send groupchat message.";

impl Dialog {
    /// The room's dialog, if it has a room.
    pub(super) fn room_record(&self) -> Option<&DialogRow> {
        self.record.as_ref().filter(|record| record.has_room())
    }

    /// A message to the room or to someone in it.
    pub(super) fn takes_message(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        kind: MessageKind,
        id_used: bool,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let Some(user) = parcel.from.account.map(|account| account.user) else { return Ok(Progress::Done) };
        // Who declines an invitation is not inside.
        let is_admitted = self.room_record().is_some_and(|record| record.admits(user));
        if is_admitted && kind == MessageKind::Normal && parcel.resource.is_none() && has_mediation(&parcel) {
            return self.mediates(session, &parcel, user, turn);
        }
        let refusal = match (self.room_record(), kind, parcel.resource.is_some()) {
            (_, MessageKind::Error, _) => return self.done(&parcel, turn),
            (None, _, _) => Some(StanzaError::new(Condition::ItemNotFound, NO_ROOM)),
            (Some(_), MessageKind::Groupchat, true) => Some(Condition::BadRequest.into()),
            (Some(record), _, _) if !record.admits(user) => Some(StanzaError::new(Condition::Forbidden, NO_RIGHT)),
            (Some(_), _, _) if !self.room.has(user, session) => {
                Some(StanzaError::new(Condition::NotAcceptable, "Join the room first."))
            }
            (Some(_), MessageKind::Groupchat, false) => {
                return self.takes_groupchat(session, parcel, user, id_used, turn);
            }
            (Some(_), _, true) => return self.passes_on(session, &parcel, user, turn),
            // XEP-0045 §7.13: nobody has to ask for a voice.
            (Some(_), MessageKind::Chat | MessageKind::Normal | MessageKind::Headline, false) => {
                Some(Condition::NotAllowed.into())
            }
        };
        if let Some(error) = refusal {
            refuse(session, &parcel, &self.addressed(&parcel, turn), error, turn);
        }
        self.done(&parcel, turn)
    }

    pub(super) fn done(&self, parcel: &Parcel, turn: &mut Turn<'_>) -> Flow {
        report(parcel.receipt, turn);
        Ok(Progress::Done)
    }

    fn takes_groupchat(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        user: UserId,
        id_used: bool,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let mut nodes = Nodes::new();
        let Some(message) = nodes.reread(&parcel.stanza) else { return self.done(&parcel, turn) };
        if is_retraction(message) {
            return self.takes_back(session, parcel, user, id_used, turn);
        }
        if let Some(subject) = subject_of(message) {
            let allowed =
                self.record.as_ref().is_some_and(|record| record.kind != DialogKind::Public || record.owner == user);
            if !allowed {
                refuse(session, &parcel, &room_jid(self.app, self.id, turn.site), Condition::Forbidden.into(), turn);
                return self.done(&parcel, turn);
            }
            self.set_subject(subject, user, turn);
            let stanza = self.reflected(message, user, turn);
            self.say_to(stanza, |guise| guise != Guise::Script, turn);
            return self.done(&parcel, turn);
        }
        let marker = marker(message);
        let look = turn.site.chain.look(MessageKind::Groupchat, message);
        match (saved_params(message), turn.site.archiving.rooms && is_archived(look)) {
            (Some(_), _) if marker.is_none() => return self.saves_in_room(session, parcel, user, id_used, turn),
            (None, true) if !look.is(Facts::BODY) => return self.saves_aside(session, parcel, user, id_used, turn),
            (None, true) if marker.is_none() => return self.saves_in_room(session, parcel, user, id_used, turn),
            (Some(_) | None, _) => {}
        }
        let stanza = self.reflected(message, user, turn);
        if is_news(message) {
            self.room.shows_interest(user, session);
            self.say_to(stanza, |guise| guise == Guise::Any, turn);
        } else {
            self.say(stanza, turn);
        }
        self.notes_marker(user, marker, turn);
        self.done(&parcel, turn)
    }

    /// What a marker says in the room counts as it does over REST. XEP-0333 §4.3
    pub(super) fn notes_marker(&self, by: UserId, marker: Option<Marker>, turn: &mut Turn<'_>) {
        let Some((id, read)) = marker.and_then(|marker| Some((marker.id?, marker.read))) else { return };
        let marks = Marks { read: read.then_some(true), delivered: true };
        let command = Command::Mark { by, which: Which::Ids(vec![id]), marks, astray: false };
        turn.out.send(self.owner(), Note::Command { command: command.into(), reply: None, job: None });
    }

    /// A message as the room passes it on.
    pub(super) fn reflected(&self, message: Element<'_>, by: UserId, turn: &Turn<'_>) -> Bytes {
        let id = self.occupant_id(by, turn.site);
        rewritten(message, &is_rooms, None, &|xml| occupant_id(&id, xml)).into()
    }

    /// Brings the same bytes to those in the room who understand them.
    pub(super) fn say_to(&self, stanza: Bytes, understands: impl Fn(Guise) -> bool, turn: &mut Turn<'_>) {
        let seats = self.room.those_who_hear(understands);
        if !seats.is_empty() {
            turn.out.push(Effect::Fanout(stanza, seats));
        }
    }

    fn set_subject(&mut self, text: String, by: UserId, turn: &mut Turn<'_>) {
        let Some(record) = &mut self.record else { return };
        record.subject = Some(Subject { text, by, at: turn.now.stamp });
        let mut batch = Batch::default();
        dialog::put(&mut batch, self.app, self.id, record);
        turn.out.write(batch);
    }

    /// A private message from one in the room to another. XEP-0045 §7.5.
    fn passes_on(&mut self, session: SessionId, parcel: &Parcel, user: UserId, turn: &mut Turn<'_>) -> Flow {
        let to = parcel.resource.as_deref().and_then(|nick| nick.parse::<UserId>().ok());
        let seats = to.map(|to| self.room.seats_of(to)).filter(|seats| !seats.is_empty());
        let room = room_jid(self.app, self.id, turn.site);
        let Some(seats) = seats else {
            let from = format!("{room}/{}", parcel.resource.as_deref().unwrap_or_default());
            refuse(session, parcel, &from, Condition::ItemNotFound.into(), turn);
            return self.done(parcel, turn);
        };
        let mut nodes = Nodes::new();
        if let Some(message) = nodes.reread(&parcel.stanza) {
            let id = self.occupant_id(user, turn.site);
            let stanza = rewritten(message, &is_rooms, None, &|xml| {
                xml.empty("x", ns::MUC_USER);
                occupant_id(&id, xml);
            });
            turn.out.push(Effect::Fanout(stanza.into(), seats));
        }
        debug_assert!(self.room.has(user, session), "only those inside talk");
        self.done(parcel, turn)
    }

    /// A presence to the room.
    pub(super) fn takes_presence(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        kind: PresenceKind,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let Some(user) = parcel.from.account.map(|account| account.user) else { return Ok(Progress::Done) };
        match kind {
            PresenceKind::Available => {}
            PresenceKind::Unavailable | PresenceKind::Error => return self.leaves(user, session, &parcel, turn),
            PresenceKind::Probe | PresenceKind::Subscription(_) => return Ok(Progress::Done),
        }
        let condition = match self.room_record() {
            None => Some((Condition::ItemNotFound, NO_ROOM)),
            Some(record) if !record.admits(user) => {
                Some((Condition::RegistrationRequired, "You are no member of this room."))
            }
            // XEP-0045 §7.2.1
            Some(_) if parcel.resource.is_none() => {
                Some((Condition::JidMalformed, "Join as the room's address with a nick."))
            }
            // §7.2.9: the owner still gets in.
            Some(record) if self.is_full(record.owner == user) && !self.room.has(user, session) => {
                Some((Condition::ServiceUnavailable, "The room is full."))
            }
            // §7.6: everybody's nick is given.
            Some(_) if self.room.has(user, session) && self.is_renaming(&parcel, user) => {
                Some((Condition::NotAcceptable, "Nicks are the numbers of users."))
            }
            Some(_) => None,
        };
        match condition {
            Some((condition, text)) => {
                self.turn_away(session, &parcel, condition, text, turn);
                Ok(Progress::Done)
            }
            None => self.enters(session, parcel, user, turn),
        }
    }

    fn is_full(&self, of_owner: bool) -> bool {
        self.room.len() >= if of_owner { ROOM_SEATS_MAX + RESOURCES_MAX } else { ROOM_SEATS_MAX }
    }

    /// Whether one who is in the room would like to be called otherwise, and does not just enter again.
    fn is_renaming(&self, parcel: &Parcel, user: UserId) -> bool {
        let mut nodes = Nodes::new();
        let enters = nodes.reread(&parcel.stanza).is_some_and(|presence| presence.child("x", ns::MUC).is_some());
        !enters && is_forced(parcel, user)
    }

    /// Refuses one who wants in. The SDKs recognise the error by the number 500, whatever the condition, and only if it has the
    /// join's id and its `x`. Server notes §4.1.
    pub(super) fn turn_away(
        &self,
        session: SessionId,
        parcel: &Parcel,
        condition: Condition,
        text: &str,
        turn: &mut Turn<'_>,
    ) {
        let mut nodes = Nodes::new();
        let Some(presence) = nodes.reread(&parcel.stanza) else { return };
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("presence").attr("from", &self.addressed(parcel, turn)).attr("type", "error");
        xml.attr_opt("id", presence.attr("id").as_deref());
        xml.empty("x", ns::MUC);
        refusal(condition, text, &mut xml);
        xml.close();
        drop(xml);
        to_one(seat_of(session, parcel), bytes, turn);
    }

    /// The room's address as the parcel has it.
    pub(super) fn addressed(&self, parcel: &Parcel, turn: &Turn<'_>) -> String {
        let room = room_jid(self.app, self.id, turn.site);
        match &parcel.resource {
            Some(nick) => format!("{room}/{nick}"),
            None => room,
        }
    }

    /// Takes a session in, or hears again from one that is in.
    pub(super) fn seats(&mut self, session: SessionId, parcel: &Parcel, user: UserId, turn: &mut Turn<'_>) {
        let mut nodes = Nodes::new();
        let (Some(presence), Some(seat)) = (nodes.reread(&parcel.stanza), seat_of(session, parcel)) else {
            return;
        };
        let id = presence.attr("id");
        let joins = presence.child("x", ns::MUC).is_some();
        let known = self.room.has(user, session);
        let first = self.room.of(user).next().is_none();
        let says = said(presence);
        let changed = !first && self.room.of(user).any(|occupant| occupant.says != says);
        let here: Arc<[Seat]> = Arc::from([seat.clone()]);
        if joins || !known {
            for (other, occupant) in self.room.users().filter(|(other, _)| *other != user) {
                let stanza = self.shown(other, occupant, None, &[], turn);
                turn.out.push(Effect::Fanout(stanza, Arc::clone(&here)));
            }
        }
        let guise =
            self.room.guise(user, session, if joins || !known { Guise::read(Some(presence)) } else { Guise::Any });
        let occupant = Occupant { seat, says, guise };
        // §7.2.3: in this room everybody sees who is who. SDKs are told no more than they were by the product.
        let statuses: &[u16] = match (guise, is_forced(parcel, user)) {
            (Guise::Any, false) => &[110, 100],
            (Guise::Any, true) => &[110, 100, 210],
            (Guise::Sdk | Guise::Script, false) => &[110],
            (Guise::Sdk | Guise::Script, true) => &[110, 210],
        };
        let own = self.shown(user, &occupant, id.as_deref(), statuses, turn);
        turn.out.push(Effect::Fanout(own, here));
        if first || (known && !joins && changed) {
            let others = self.room.all_but(user);
            if !others.is_empty() {
                let stanza = self.shown(user, &occupant, None, &[], turn);
                turn.out.push(Effect::Fanout(stanza, others));
            }
        }
        self.room.put(user, occupant);
    }
}

fn has_mediation(parcel: &Parcel) -> bool {
    let mut nodes = Nodes::new();
    nodes.reread(&parcel.stanza).is_some_and(is_mediated)
}

/// Whether the nick asked for is another than the user's.
fn is_forced(parcel: &Parcel, user: UserId) -> bool {
    parcel.resource.as_deref().is_some_and(|nick| *nick != *user.to_string())
}

/// Appends the error that a stanza to the room is turned away with.
pub(crate) fn refusal(condition: Condition, text: &str, xml: &mut Writer<'_>) {
    xml.open("error").attr("code", "500").attr("type", condition.kind().as_str());
    xml.empty(condition.as_str(), ns::STANZA_ERRORS);
    xml.open("text").ns(ns::STANZA_ERRORS).attr("xml:lang", "en").text(text).close();
    xml.close();
}

/// What a message to a name that is no room of the sender's app is answered with, the same as for one whose dialog is not there.
pub(crate) fn no_room() -> StanzaError<'static> {
    StanzaError::new(Condition::ItemNotFound, NO_ROOM)
}

/// The presence error for a name that is no room of the sender's app, as [`Dialog::turn_away`] writes it.
pub(crate) fn no_entry(presence: Element<'_>, from: &str, to: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    xml.open("presence").attr("to", to).attr("from", from).attr("type", "error");
    xml.attr("id", presence.attr("id").as_deref().unwrap_or(PRESENCE_ID));
    xml.empty("x", ns::MUC);
    refusal(Condition::ItemNotFound, NO_ROOM, &mut xml);
    xml.close();
    drop(xml);
    bytes
}

/// The new subject in a message that is about nothing else. XEP-0045 §8.1.
fn subject_of(message: Element<'_>) -> Option<String> {
    let alone = body_of(message).is_none() && message.child("thread", ns::CLIENT).is_none();
    let subject = message.child("subject", ns::CLIENT).filter(|_| alone)?;
    Some(subject.text().into_owned())
}

/// What a presence says besides entering, as far as the room passes it on.
pub(super) fn said(presence: Element<'_>) -> Bytes {
    let mut bytes = Vec::new();
    for child in presence.children().filter(|child| !matches!(child.ns(), ns::MUC | ns::MUC_USER | ns::OCCUPANT_ID)) {
        crate::xml::splice::copy(child, ns::CLIENT, &mut bytes);
    }
    if bytes.len() > ROOM_PRESENCE_BYTES_MAX { Bytes::new() } else { bytes.into() }
}
