//! Messages that are taken back in the room: by their senders (XEP-0424), and by moderators (XEP-0425).
//!
//! A message is named by its id in the room's archive, and by nothing else. Who may not take it back is told so, and what names no
//! message is refused, so that nothing of the kind reaches clients that trust the room less than they should.

use crate::account::Progress;
use crate::effect::{SessionId, Turn};
use crate::error::{Condition, StanzaError};
use crate::jid::user::{MessageId, UserId};
use crate::model::dialog::{self, Body, Entry, MessageRow, Place};
use crate::ns;
use crate::stanza::Parcel;
use crate::xml::{Element, Nodes};

use super::orders::reason_in;
use super::removal::Cause;
use super::room::no_room;
use super::save::id_of;
use super::wire::{refuse, room_jid, seat_of, to_one};
use super::{Dialog, Flow, report};

/// Whether a message takes one back.
pub(super) fn is_retraction(message: Element<'_>) -> bool {
    message.child("retract", ns::RETRACT).is_some()
}

/// The message that is to be taken back.
fn target_of(message: Element<'_>) -> Result<MessageId, StanzaError<'static>> {
    let mut all = message.children().filter(|child| child.is("retract", ns::RETRACT));
    let (Some(retract), None) = (all.next(), all.next()) else { return Err(Condition::BadRequest.into()) };
    // XEP-0425 §5: that is for the room to say.
    if retract.children().any(|child| child.ns() == ns::MODERATE) {
        return Err(Condition::BadRequest.into());
    }
    let id = retract.attr("id").ok_or(Condition::BadRequest)?;
    MessageId::parse(id.as_bytes()).ok_or_else(no_message)
}

impl Dialog {
    /// A message in the room that takes one back.
    pub(super) fn takes_back(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        by: UserId,
        anew: bool,
        turn: &mut Turn<'_>,
    ) -> Flow {
        // Whoever can say it can hear it.
        self.room.shows_interest(by, session);
        let mut nodes = Nodes::new();
        let Some(message) = nodes.reread(&parcel.stanza) else { return Ok(Progress::Done) };
        let target = match target_of(message) {
            Ok(target) => target,
            Err(error) => return self.keeps(session, &parcel, error, turn),
        };
        let id = if anew { None } else { id_of(&parcel.stanza) };
        let mut reads = dialog::read_place(self.app, self.id, target);
        if let Some(id) = id {
            reads = reads.and(dialog::read_place(self.app, self.id, id));
        }
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let place = dialog::found_entry(&mut rows)?;
            let known = if id.is_some() { dialog::found_entry(&mut rows)? } else { None };
            if let Some(known) = known.filter(|known| known.sender == by) {
                return dialog.repeats_in_room(session, parcel, known, turn);
            }
            let place = match place {
                None | Some(Place { entry: Entry::Aside, .. }) => {
                    return dialog.keeps(session, &parcel, no_message(), turn);
                }
                Some(place) if place.sender != by => return dialog.keeps(session, &parcel, not_yours(), turn),
                Some(place) => place,
            };
            let Some((row, stanza)) = dialog.word_of(&parcel, by, id.filter(|_| known.is_none()), turn) else {
                report(parcel.receipt, turn);
                return Ok(Progress::Done);
            };
            if place.entry == Entry::Retracted {
                // It is as he wants it; the others know.
                if let Body::Aside(stanza) = row.body {
                    to_one(seat_of(session, &parcel), stanza, turn);
                }
                report(parcel.receipt, turn);
                return Ok(Progress::Done);
            }
            let cause = Cause::Said(Box::new(row), stanza);
            dialog.take_away(vec![(target, place)], cause, turn, move |_, turn| {
                report(parcel.receipt, turn);
                Ok(Progress::Done)
            })
        })
    }

    /// What was said, as it goes out and is kept, and the `id` of its stanza.
    fn word_of(
        &self,
        parcel: &Parcel,
        by: UserId,
        id: Option<MessageId>,
        turn: &mut Turn<'_>,
    ) -> Option<(MessageRow, String)> {
        let row = self.aside_of(parcel, by, id, turn)?;
        let mut nodes = Nodes::new();
        let stanza = nodes.reread(&parcel.stanza)?.attr("id").map(|id| id.into_owned());
        let stanza = stanza.unwrap_or_else(|| row.id.to_string());
        Some((row, stanza))
    }

    /// Nothing is taken back.
    fn keeps(&self, session: SessionId, parcel: &Parcel, error: StanzaError<'_>, turn: &mut Turn<'_>) -> Flow {
        refuse(session, parcel, &room_jid(self.app, self.id, turn.site), error, turn);
        report(parcel.receipt, turn);
        Ok(Progress::Done)
    }

    /// A moderator's order to take a message back. XEP-0425 §3
    pub(super) fn moderates(
        &mut self,
        session: SessionId,
        parcel: &Parcel,
        by: UserId,
        order: Element<'_>,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let Some(record) = self.room_record().filter(|record| record.admits(by)) else {
            return self.answers(session, parcel, Err(no_room()), turn);
        };
        let target = match order.attr("id") {
            _ if record.owner != by => Err(not_yours()),
            None => Err(Condition::BadRequest.into()),
            // Another thing to do with a message, which the XEP leaves room for.
            Some(_) if order.child("retract", ns::RETRACT).is_none() => Err(Condition::FeatureNotImplemented.into()),
            Some(id) => MessageId::parse(id.as_bytes()).ok_or_else(no_message),
        };
        let target = match target {
            Ok(target) => target,
            Err(error) => return self.answers(session, parcel, Err(error), turn),
        };
        let reason = reason_in(order, ns::MODERATE);
        self.holds_iq(session, parcel.clone());
        let reads = dialog::read_place(self.app, self.id, target);
        self.read(reads, turn, move |dialog, mut rows, turn| match dialog::found_place(&mut rows)? {
            None => dialog.answer_iq(Err(no_message()), turn),
            Some(place) => {
                let cause = Cause::Moderated { by, reason };
                dialog.take_away(vec![(target, place)], cause, turn, |dialog, turn| {
                    dialog.answer_iq(Ok(Vec::new()), turn)
                })
            }
        })
    }
}

fn no_message() -> StanzaError<'static> {
    StanzaError::new(Condition::ItemNotFound, "There is no such message in the room's archive.")
}

fn not_yours() -> StanzaError<'static> {
    StanzaError::new(Condition::Forbidden, "Only its sender and moderators take a message back.")
}
