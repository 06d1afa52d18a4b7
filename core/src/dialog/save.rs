//! Saving messages. Server notes §3.2 to §3.4 and §4.3, wire notes §15.2.
//!
//! A saved message is on disk before anybody gets it. What goes out is what came in, with three parameters replaced: the ids of
//! dialog and message, and the time that counts. An id of 24 hex digits that the client chose is kept, and the same id from the
//! same sender is the same message: it is neither saved nor brought to anyone a second time. (Anyone it may not have reached,
//! because the server stopped between saving and delivering, gets it again rather than never.)

use std::sync::Arc;

use bytes::Bytes;

use crate::account::Progress;
use crate::canary::{Rule, is_broken};
use crate::command::Command as AnyCommand;
use crate::effect::{Effect, Note, SessionId, Site, Turn};
use crate::jid::user::{DialogId, MessageId, UserId};
use crate::limits::{ATTACHMENTS_MAX, CUSTOM_FIELDS_MAX, LAST_MESSAGE_BYTES_MAX};
use crate::model::account::Command as AccountCommand;
use crate::model::dialog::{
    self, Answer, Body, Delivery, DialogKind, Draft, Last, MessageRow, Place, Reader, Refusal, cut,
};
use crate::model::directory::members;
use crate::model::inbox;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{Batch, Reads, Rows, Unreadable};
use crate::stanza::{Kind, MessageKind, Parcel, Sender, Way};
use crate::xml::{Element, Nodes, Writer};

use super::occupants::Guise;
use super::record::{New, all_exist};
use super::retraction::is_retraction;
use super::rewrite::{Inside, param, rewritten};
use super::wire::{bare, notification, occupant_id, room_jid, seat_of, stanza_id, stanza_of, to_one};
use super::{Asker, Dialog, Flow, report};

/// What was read for a message that is to be saved.
struct Ready {
    /// Where a message of its id is already.
    known: Option<Place>,
    /// The sender's reader; none in a dialog that counts nothing.
    reader: Option<Reader>,
    /// The other one of a private dialog that comes to be with this message.
    begins: Option<UserId>,
}

impl Dialog {
    /// The rows for saving a message, as [`Dialog::ready`] takes them.
    fn ready_reads(&self, by: UserId, id: Option<MessageId>, begins: Option<UserId>) -> Reads {
        let mut reads = Reads::none();
        if let Some(id) = id {
            reads = reads.and(dialog::read_place(self.app, self.id, id));
        }
        if self.counts_unread() || begins.is_some() {
            reads = reads.and(self.reader_reads(by));
        }
        match begins {
            Some(other) => reads.and(members::read(self.app, by)).and(members::read(self.app, other)),
            None => reads,
        }
    }

    /// Takes the answer to [`Dialog::ready_reads`]; none when one of the two of a new dialog does not exist.
    fn ready(
        &mut self,
        by: UserId,
        id: Option<MessageId>,
        begins: Option<UserId>,
        rows: &mut Rows,
    ) -> Result<Option<Ready>, Unreadable> {
        let known = if id.is_some() { dialog::found_entry(rows)? } else { None };
        let known = known.filter(|_| !is_broken(Rule::SameIdSameMessage));
        let counted = self.counts_unread() || begins.is_some();
        let reader = if counted { Some(self.reader_found(by, rows)?) } else { None };
        if begins.is_some() && !all_exist(rows, 2)? {
            return Ok(None);
        }
        Ok(Some(Ready { known, reader, begins }))
    }

    /// Puts a message at the end of the history: the head, the message, its place and its sender's reader, whatever the number
    /// of members. What is asked for after this happens once they are on disk.
    fn append(&mut self, row: &MessageRow, text: Option<&str>, ready: Ready, turn: &mut Turn<'_>) {
        let mut batch = Batch::default();
        if let Some(other) = ready.begins {
            let new = New {
                by: row.sender,
                kind: DialogKind::Private,
                name: None,
                photo: None,
                occupants: vec![other],
                data: None,
            };
            self.begin(new, turn.now.stamp, &mut batch);
        }
        let order = self.head.next_order(row.date_sent);
        self.head.order = order;
        self.head.count += 1;
        self.head.updated_at = turn.now.stamp;
        let text = text.map(|text| cut(text, LAST_MESSAGE_BYTES_MAX).to_owned());
        self.head.last = Some(Last { id: row.id, order, sender: row.sender, date_sent: row.date_sent, text });
        row.put(&mut batch, self.app, self.id, order);
        dialog::put_place(&mut batch, self.app, self.id, row.id, &Place::of_message(order, row.sender));
        dialog::put_head(&mut batch, self.app, self.id, &self.head);
        if let Some(mut reader) = ready.reader {
            reader.seen += 1;
            reader.fixed += 1;
            self.put_reader(row.sender, reader, &mut batch);
        }
        let back = self.bring_back(&mut batch);
        if self.is_to_move() || !back.is_empty() {
            self.unsettle(&back, &[], &mut batch);
        }
        turn.out.write(batch);
        match ready.begins {
            Some(_) => {
                self.standing = super::lists::standing(self.record.as_ref(), &self.head);
                let members = self.record.as_ref().map(|record| record.occupants.clone()).unwrap_or_default();
                self.enter(&members, turn);
            }
            None => {
                self.bump(turn);
                self.enter(&back, turn);
            }
        }
    }

    /// A message from one user to another that is to be saved; with `anew`, under another id than its own.
    pub(super) fn saves_private(&mut self, to: AccountId, parcel: Parcel, anew: bool, turn: &mut Turn<'_>) -> Flow {
        let Some((by, other)) = self.parties(to, &parcel, turn.site) else {
            debug_assert!(false, "not for this private dialog");
            return self.drops(to, &parcel, turn);
        };
        let id = if anew { None } else { id_of(&parcel.stanza) };
        let begins = self.record.is_none().then_some(other);
        let reads = self.ready_reads(by, id, begins);
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let Some(ready) = dialog.ready(by, id, begins, &mut rows)? else {
                // Nobody learns from this whether there is such a user.
                return dialog.drops(to, &parcel, turn);
            };
            match ready.known {
                Some(place) if place.sender == by => dialog.repeats_private(to, parcel, place, turn),
                known => {
                    let id = id.filter(|_| known.is_none());
                    match dialog.saves_new_private(&parcel, by, other, id, ready, turn) {
                        Some(stanza) => dialog.gives_back(to, Parcel { stanza, ..parcel }, turn),
                        None => dialog.drops(to, &parcel, turn),
                    }
                }
            }
        })
    }

    /// Sender and recipient, if this is their dialog.
    fn parties(&self, to: AccountId, parcel: &Parcel, site: &Site) -> Option<(UserId, UserId)> {
        let (by, other) = (parcel.from.account?.user, to.user);
        (by != other && DialogId::private(&site.pairs, self.app, by, other) == self.id).then_some((by, other))
    }

    fn saves_new_private(
        &mut self,
        parcel: &Parcel,
        by: UserId,
        other: UserId,
        id: Option<MessageId>,
        ready: Ready,
        turn: &mut Turn<'_>,
    ) -> Option<Bytes> {
        let to = bare(self.account(other), turn.site);
        let (row, text) = self.rewrite(&parcel.stanza, id, &to, None, turn)?;
        let row = MessageRow { sender: by, recipient: Some(other), ..row };
        let Body::Stanza(bytes) = &row.body else { return None };
        let stanza = Bytes::from(bytes.clone());
        self.append(&row, text.as_deref(), ready, turn);
        Some(stanza)
    }

    /// The recipient gets a stanza behind all that it has sent here before.
    pub(super) fn gives_back(&self, to: AccountId, parcel: Parcel, turn: &mut Turn<'_>) -> Flow {
        turn.out.send(Owner::Account(to), Note::Stanza(Parcel { way: Way::Round, ..parcel }));
        Ok(Progress::Done)
    }

    /// Nothing comes of it.
    fn drops(&self, to: AccountId, parcel: &Parcel, turn: &mut Turn<'_>) -> Flow {
        if let Some(from) = parcel.from.account {
            turn.out.send(Owner::Account(to), Note::Dropped(from.user));
            if parcel.copied {
                turn.out.send(Owner::Account(from), Note::Copied { with: to.user, parcel: None });
            }
        }
        report(parcel.receipt, turn);
        Ok(Progress::Done)
    }

    /// The message is there already. If this very state saved it, it went out then.
    fn repeats_private(&mut self, to: AccountId, parcel: Parcel, place: Place, turn: &mut Turn<'_>) -> Flow {
        if place.order > self.loaded_to {
            return self.drops(to, &parcel, turn);
        }
        self.read_message(place.order, turn, move |dialog, row, turn| match row {
            Some(MessageRow { body: Body::Stanza(bytes), .. }) => {
                dialog.gives_back(to, Parcel { stanza: bytes.into(), ..parcel }, turn)
            }
            Some(_) | None => dialog.drops(to, &parcel, turn),
        })
    }

    /// One message of the history.
    fn read_message(
        &mut self,
        order: u64,
        turn: &mut Turn<'_>,
        then: impl FnOnce(&mut Dialog, Option<MessageRow>, &mut Turn<'_>) -> Flow + 'static,
    ) -> Flow {
        let reads = Reads::get(&dialog::MESSAGES, dialog::order_key(self.app, self.id, order));
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let row = rows.row().map(|row| MessageRow::decode(&row)).transpose()?;
            then(dialog, row, turn)
        })
    }

    /// The message as it goes out and is kept: with the ids and the time that count in the place of what the client said. The
    /// row is without its parties. Of a room, `occupant` is the id of the one who speaks.
    fn rewrite(
        &self,
        stanza: &[u8],
        id: Option<MessageId>,
        archive: &str,
        occupant: Option<&str>,
        turn: &mut Turn<'_>,
    ) -> Option<(MessageRow, Option<String>)> {
        let mut nodes = Nodes::new();
        let message = nodes.reread(stanza)?;
        // None of a message that is kept though it does not ask for that: nothing is added to what it says.
        let params = dialog::saved_params(message);
        let id = id.unwrap_or_else(|| MessageId::drawn(turn.now.stamp, turn.random.array()));
        let date_sent = params.map_or(turn.now.stamp.secs(), |params| dialog::date_sent(params, turn.now.stamp));
        let (id_text, dialog_text, date_text) = (id.to_string(), self.id.to_string(), date_sent.to_string());
        let ours = |child: Element<'_>| {
            child.ns() == ns::CLIENT && matches!(child.name(), "message_id" | "dialog_id" | "date_sent")
        };
        let append = |xml: &mut Writer<'_>| {
            let Some(params) = params else { return };
            param(params, "date_sent", &date_text, xml);
            param(params, "dialog_id", &dialog_text, xml);
            param(params, "message_id", &id_text, xml);
        };
        let inside = params.map(|child| Inside { child, drop: &ours, append: &append });
        let drop: &dyn Fn(Element<'_>) -> bool = if occupant.is_some() { &is_rooms } else { &|_| false };
        let bytes = rewritten(message, drop, inside, &|xml| {
            stanza_id(archive, &id_text, xml);
            if let Some(occupant) = occupant {
                occupant_id(occupant, xml);
            }
        });
        let text = dialog::body_of(message);
        let row = MessageRow {
            id,
            sender: UserId(0),
            recipient: None,
            date_sent,
            created_at: turn.now.stamp,
            updated_at: turn.now.stamp,
            body: Body::Stanza(bytes),
        };
        Some((row, text))
    }

    /// Something said in the room about a message, as it goes out and is kept.
    pub(super) fn aside_of(
        &self,
        parcel: &Parcel,
        by: UserId,
        id: Option<MessageId>,
        turn: &mut Turn<'_>,
    ) -> Option<MessageRow> {
        let room = room_jid(self.app, self.id, turn.site);
        let occupant = self.occupant_id(by, turn.site);
        let (row, _) = self.rewrite(&parcel.stanza, id, &room, Some(&occupant), turn)?;
        let Body::Stanza(stanza) = row.body else { return None };
        Some(self.aside(row.id, by, stanza, turn.now.stamp))
    }

    /// What is said about a message is kept in the archive, without being one of the history. XEP-0444 and the like
    pub(super) fn saves_aside(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        by: UserId,
        anew: bool,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let id = if anew { None } else { id_of(&parcel.stanza) };
        let reads = id.map_or_else(Reads::none, |id| dialog::read_place(self.app, self.id, id));
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let known = if id.is_some() { dialog::found_entry(&mut rows)? } else { None };
            if let Some(known) = known.filter(|known| known.sender == by) {
                return dialog.repeats_in_room(session, parcel, known, turn);
            }
            if let Some(row) = dialog.aside_of(&parcel, by, id.filter(|_| known.is_none()), turn) {
                let mut batch = Batch::default();
                let mut head = dialog.head.clone();
                dialog.put_aside(&row, &mut head, &mut batch);
                dialog.head = head;
                dialog::put_head(&mut batch, dialog.app, dialog.id, &dialog.head);
                turn.out.write(batch);
                dialog.says_again(&row, None, turn);
                dialog.notes_marker(by, Nodes::new().reread(&parcel.stanza).and_then(dialog::marker), turn);
            }
            report(parcel.receipt, turn);
            Ok(Progress::Done)
        })
    }

    /// Brings a row to those in the room who understand it, or to this session alone. What was taken back is not said again.
    fn says_again(&mut self, row: &MessageRow, only: Option<(SessionId, &Parcel)>, turn: &mut Turn<'_>) {
        let stanza = stanza_of(self.app, self.id, row, turn.site).into_owned();
        match (&row.body, only) {
            (Body::Retracted(_), _) => {}
            (_, Some((session, parcel))) => to_one(seat_of(session, parcel), stanza, turn),
            (Body::Aside(bytes), None) => {
                let news = Nodes::new().reread(bytes).is_some_and(is_news);
                self.say_to(stanza.into(), |guise| !news || guise == Guise::Any, turn);
            }
            (Body::Stanza(_) | Body::Plain { .. }, None) => self.say(stanza.into(), turn),
        }
    }

    /// A message to the room that is to be saved, from one who may.
    pub(super) fn saves_in_room(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        by: UserId,
        anew: bool,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let id = if anew { None } else { id_of(&parcel.stanza) };
        let reads = self.ready_reads(by, id, None);
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let Some(ready) = dialog.ready(by, id, None, &mut rows)? else { return Ok(Progress::Done) };
            match ready.known {
                Some(place) if place.sender == by => dialog.repeats_in_room(session, parcel, place, turn),
                known => {
                    let id = id.filter(|_| known.is_none());
                    let room = room_jid(dialog.app, dialog.id, turn.site);
                    let occupant = dialog.occupant_id(by, turn.site);
                    if let Some((row, text)) = dialog.rewrite(&parcel.stanza, id, &room, Some(&occupant), turn) {
                        let row = MessageRow { sender: by, ..row };
                        let stanza = stanza_of(dialog.app, dialog.id, &row, turn.site).into_owned();
                        dialog.append(&row, text.as_deref(), ready, turn);
                        dialog.say(stanza.into(), turn);
                    }
                    report(parcel.receipt, turn);
                    Ok(Progress::Done)
                }
            }
        })
    }

    /// The message is there already: its sender sees so by getting it once more.
    pub(super) fn repeats_in_room(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        place: Place,
        turn: &mut Turn<'_>,
    ) -> Flow {
        self.read_message(place.order, turn, move |dialog, row, turn| {
            if let Some(row) = row {
                let only = (place.order > dialog.loaded_to).then_some((session, &parcel));
                dialog.says_again(&row, only, turn);
            }
            report(parcel.receipt, turn);
            Ok(Progress::Done)
        })
    }

    /// A message from REST.
    pub(super) fn saves_draft(&mut self, mut draft: Draft, turn: &mut Turn<'_>) -> Flow {
        let by = draft.by;
        let begins = match (&self.record, draft.to) {
            (Some(record), _) if record.admits(by) => None,
            (Some(_), _) => return self.refuse(Refusal::Forbidden, turn),
            (None, Some(other))
                if other != by && DialogId::private(&turn.site.pairs, self.app, by, other) == self.id =>
            {
                Some(other)
            }
            (None, _) => return self.refuse(Refusal::NoDialog, turn),
        };
        let other = begins.or_else(|| self.record.as_ref().and_then(|record| record.other(by)));
        if let Some(other) = other.filter(|_| !draft.admitted) {
            return self.has_judged(draft, other, turn);
        }
        draft.content.custom.retain(|(name, _)| !dialog::is_reserved(name));
        draft.content.custom.truncate(CUSTOM_FIELDS_MAX);
        draft.content.attachments.truncate(ATTACHMENTS_MAX);
        let reads = self.ready_reads(by, Some(draft.id), begins);
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let Some(ready) = dialog.ready(by, Some(draft.id), begins, &mut rows)? else {
                return dialog.refuse(Refusal::UnknownUsers, turn);
            };
            match ready.known {
                Some(place) if place.sender == by => {
                    dialog.read_message(place.order, turn, |dialog, row, turn| match row {
                        Some(row) if row.is_message() => dialog.answer_message(row, None, turn),
                        Some(_) | None => dialog.refuse(Refusal::Taken, turn),
                    })
                }
                Some(_) => dialog.refuse(Refusal::Taken, turn),
                None => dialog.saves_new_draft(draft, ready, turn),
            }
        })
    }

    /// Whether a message reaches a user is for the user's account to say, before it is kept or counted. XEP-0016 §2.2; it comes
    /// back if it does, and whoever waits is answered then.
    fn has_judged(&mut self, draft: Draft, by: UserId, turn: &mut Turn<'_>) -> Flow {
        let Asker { reply, job, .. } = std::mem::take(&mut self.asker);
        let command = AccountCommand::Judge { dialog: self.id, draft };
        let note = Note::Command { command: AnyCommand::Account(command), reply, job };
        turn.out.send(Owner::Account(self.account(by)), note);
        Ok(Progress::Done)
    }

    fn saves_new_draft(&mut self, draft: Draft, ready: Ready, turn: &mut Turn<'_>) -> Flow {
        let Draft { by, id, content, markable, delivery, .. } = draft;
        let begins = ready.begins.is_some() && delivery != Delivery::System;
        let recipient = ready.begins.or_else(|| self.record.as_ref().and_then(|record| record.other(by)));
        let now = turn.now.stamp;
        let text = content.text.clone();
        let row = MessageRow {
            id,
            sender: by,
            recipient,
            date_sent: now.secs(),
            created_at: now,
            updated_at: now,
            body: Body::Plain { content, markable },
        };
        match delivery {
            Delivery::System => self.notify(&row, turn),
            Delivery::None => self.append(&row, text.as_deref(), ready, turn),
            Delivery::Chat => {
                self.append(&row, text.as_deref(), ready, turn);
                let stanza = stanza_of(self.app, self.id, &row, turn.site).into_owned();
                match recipient {
                    Some(other) => self.send_as(by, other, MessageKind::Chat, stanza, turn),
                    None => self.say(stanza.into(), turn),
                }
            }
        }
        let inbox = begins.then(|| self.place(None));
        self.answer_message(row, inbox, turn)
    }

    fn answer_message(&mut self, row: MessageRow, inbox: Option<inbox::Command>, turn: &mut Turn<'_>) -> Flow {
        let kind = self.record.as_ref().map_or(DialogKind::Private, |record| record.kind);
        self.answer(Answer::Message { row: Box::new(row), kind, receipt: None }, inbox, turn)
    }

    /// Tells each of the others something that is not kept.
    fn notify(&mut self, row: &MessageRow, turn: &mut Turn<'_>) {
        let others: Vec<UserId> = match &self.record {
            Some(record) => record.occupants.iter().copied().filter(|&user| user != row.sender).collect(),
            None => row.recipient.into_iter().collect(),
        };
        for other in others {
            let stanza = notification(self.app, self.id, row, &row.content(), other, turn.site);
            self.send_as(row.sender, other, MessageKind::Headline, stanza, turn);
        }
    }

    /// Brings one user a message in another's name.
    fn send_as(&self, by: UserId, to: UserId, kind: MessageKind, stanza: Vec<u8>, turn: &mut Turn<'_>) {
        let from = Sender { jid: bare(self.account(by), turn.site).into(), account: Some(self.account(by)) };
        let kind = Kind::Message { kind, lasting: true };
        let parcel = Parcel { way: Way::Dialog, ..Parcel::new(from, None, kind, stanza.into()) };
        turn.out.send(Owner::Account(self.account(to)), Note::Stanza(parcel));
    }

    /// Brings everybody in the room the same bytes.
    pub(super) fn say(&mut self, stanza: Bytes, turn: &mut Turn<'_>) {
        let seats = self.room.everyone();
        if !seats.is_empty() {
            turn.out.push(Effect::Fanout(stanza, Arc::clone(&seats)));
        }
    }
}

/// The id that a client chose for a message, if it is of the form that is kept.
pub(super) fn id_of(stanza: &[u8]) -> Option<MessageId> {
    let mut nodes = Nodes::new();
    let message = nodes.reread(stanza)?;
    message.attr("id").and_then(|id| MessageId::parse(id.as_bytes()))
}

/// Whether a message is of no use to clients that do not know of such things: those of the product would show one without a text.
pub(super) fn is_news(message: Element<'_>) -> bool {
    let of_message = |child: Element<'_>| child.is("reactions", ns::REACTIONS) || child.is("retract", ns::RETRACT);
    message.children().any(of_message)
        && dialog::params(message).is_none()
        && (dialog::body_of(message).is_none() || is_retraction(message))
}

/// What only the room may put into a message, beside what only the server may. Server notes §4.3, XEP-0045, XEP-0421 §6; and what
/// stands in the archive for a message that was taken back, with the name of a moderator who did it.
pub(super) fn is_rooms(child: Element<'_>) -> bool {
    match child.ns() {
        ns::DELAY => child.name() == "delay",
        ns::DELAY_LEGACY | ns::MUC_USER => child.name() == "x",
        ns::OCCUPANT_ID => child.name() == "occupant-id",
        ns::RETRACT => child.name() == "retracted",
        _ => false,
    }
}
