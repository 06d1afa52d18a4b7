//! Messages that are taken away for all. Server notes §10, XEP-0424, XEP-0425.
//!
//! Whoever orders it, over REST or in the room, the same is done: the message is no longer in the API's history, and nobody has it
//! unread. In a room its place remains in the archive, as a tombstone, and beside it the word that took it away, so that clients
//! which were not there learn of both (XEP-0424 §5). Of a private dialog nothing remains.
//!
//! It costs a row for each user who had seen the message.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::effect::Turn;
use crate::jid::user::{MessageId, UserId};
use crate::limits::LAST_MESSAGE_BYTES_MAX;
use crate::model::dialog::{
    self, Answer, Body, Entry, HIDDEN, Head, Last, MESSAGES, MessageRow, Place, READERS, RECEIPTS, Reader, Receipt,
    Retraction, cut, mark_of, order_key, order_of, reader_of,
};
use crate::row::{Batch, Range, Reads, Rows, Unreadable};
use crate::time::Timestamp;
use crate::xml::Nodes;

use super::occupants::Guise;
use super::wire::retraction;
use super::{Dialog, Flow};

/// More readers and marks than a message can have.
const ALL_ROWS: usize = usize::MAX / 2;
/// What is read at once in search of the last message.
const LAST_ROWS: usize = 32;

/// Who takes messages away.
pub(super) enum Cause {
    /// Their sender, over REST.
    Order,
    /// The sender of the one there is, with these words in the room and this `id` of their stanza.
    Said(Box<MessageRow>, String),
    /// A moderator of the room.
    Moderated { by: UserId, reason: Option<String> },
}

/// What went with one message.
struct Marks {
    order: u64,
    sender: UserId,
    receipts: BTreeMap<UserId, Receipt>,
    hidden: BTreeSet<UserId>,
}

impl Dialog {
    /// Takes messages of `by` away for all.
    pub(super) fn remove(&mut self, by: UserId, ids: Vec<MessageId>, turn: &mut Turn<'_>) -> Flow {
        if let Err(refusal) = self.admitted(by) {
            return self.refuse(refusal, turn);
        }
        self.find(ids, turn, move |dialog, found, turn| {
            let (own, denied): (Vec<_>, Vec<_>) = found.here.into_iter().partition(|(_, place)| place.sender == by);
            let denied = denied.into_iter().map(|(id, _)| id).collect();
            let done = own.iter().map(|(id, _)| *id).collect();
            let answer = Answer::Sorted { done, denied, missing: found.missing };
            dialog.take_away(own, Cause::Order, turn, |dialog, turn| dialog.answer(answer, None, turn))
        })
    }

    /// Takes messages away, whose places were just found. `then` comes after everybody has heard of it.
    pub(super) fn take_away(
        &mut self,
        taken: Vec<(MessageId, Place)>,
        cause: Cause,
        turn: &mut Turn<'_>,
        then: impl FnOnce(&mut Dialog, &mut Turn<'_>) -> Flow + 'static,
    ) -> Flow {
        if taken.is_empty() {
            return then(self, turn);
        }
        let orders: BTreeSet<u64> = taken.iter().map(|(_, place)| place.order).collect();
        let last = self.head.last.as_ref().map(|last| last.order).filter(|order| orders.contains(order));
        let Some(last) = last else { return self.take_with(taken, None, cause, turn, then) };
        let mut before = dialog::key(self.app, self.id).all_below();
        before.end = order_key(self.app, self.id, last);
        let then = move |dialog: &mut Dialog, last, turn: &mut Turn<'_>| {
            dialog.take_with(taken, Some(last), cause, turn, then)
        };
        self.last_message(before, orders, turn, Box::new(then))
    }

    /// The newest message in a range that is not one of these.
    fn last_message(&mut self, mut range: Range, but: BTreeSet<u64>, turn: &mut Turn<'_>, then: FoundLast) -> Flow {
        let reads = Reads::none().and_scan_back(&MESSAGES, range.clone(), LAST_ROWS);
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let page = rows.page();
            let is_end = page.len() < LAST_ROWS;
            for (key, value) in page {
                let (order, row) = (order_of(&key)?, MessageRow::decode(&value)?);
                if row.is_message() && !but.contains(&order) {
                    let text = row.content().text.as_deref().map(|text| cut(text, LAST_MESSAGE_BYTES_MAX).to_owned());
                    let last = Last { id: row.id, order, sender: row.sender, date_sent: row.date_sent, text };
                    return then(dialog, Some(last), turn);
                }
                range.end = key;
            }
            if is_end { then(dialog, None, turn) } else { dialog.last_message(range, but, turn, then) }
        })
    }

    /// The same, when it is known whether there will be another last message, and which.
    fn take_with(
        &mut self,
        taken: Vec<(MessageId, Place)>,
        last: Option<Option<Last>>,
        cause: Cause,
        turn: &mut Turn<'_>,
        then: impl FnOnce(&mut Dialog, &mut Turn<'_>) -> Flow + 'static,
    ) -> Flow {
        self.read(self.removal_reads(&taken), turn, move |dialog, mut rows, turn| {
            let mut batch = Batch::default();
            let mut head = dialog.head.clone();
            let mut words = Vec::new();
            let mut marks = Vec::new();
            for (id, place) in taken {
                let row = rows.row().map(|row| MessageRow::decode(&row)).transpose()?;
                marks.push(take_marks(place, &mut rows, &mut batch)?);
                match row.filter(|_| dialog.room_record().is_some()) {
                    Some(row) => words.push(dialog.bury(row, place, &cause, &mut head, &mut batch, turn)),
                    None => {
                        batch.delete(&MESSAGES, order_key(dialog.app, dialog.id, place.order));
                        batch.delete(&dialog::MESSAGE_IDS, dialog::place_key(dialog.app, dialog.id, id));
                    }
                }
            }
            dialog.take_from_readers(&marks, &mut rows, &mut batch)?;
            head.count -= marks.len() as u64;
            if let Some(last) = last {
                head.last = last;
            }
            dialog.finish_removal(batch, head, words, turn);
            then(dialog, turn)
        })
    }

    /// The messages, all that hangs on them, and all readers.
    fn removal_reads(&self, taken: &[(MessageId, Place)]) -> Reads {
        let mut reads = Reads::none();
        for (_, place) in taken {
            let key = order_key(self.app, self.id, place.order);
            let below = key.all_below();
            reads = reads.and_get(&MESSAGES, key);
            reads = reads.and_scan(&RECEIPTS, below.clone(), ALL_ROWS).and_scan(&HIDDEN, below, ALL_ROWS);
        }
        reads.and_scan(&READERS, dialog::key(self.app, self.id).all_below(), ALL_ROWS)
    }

    /// Puts a tombstone in the place of a message, and the word that took it away at the end of the history. Returns that word.
    fn bury(
        &self,
        row: MessageRow,
        place: Place,
        cause: &Cause,
        head: &mut Head,
        batch: &mut Batch,
        turn: &mut Turn<'_>,
    ) -> Bytes {
        let now = turn.now.stamp;
        let (aside, by, moderator, reason) = match cause {
            Cause::Said(aside, stanza) => ((**aside).clone(), stanza.clone(), None, None),
            Cause::Order | Cause::Moderated { .. } => {
                let (speaker, moderator, reason) = match cause {
                    Cause::Moderated { by, reason } => (*by, Some(*by), reason.clone()),
                    Cause::Order | Cause::Said(..) => (row.sender, None, None),
                };
                let own = MessageId::drawn(now, turn.random.array());
                let mut aside = self.aside(own, speaker, Vec::new(), now);
                let who = moderator.map(|user| (user, reason.as_deref()));
                aside.body = Body::Aside(retraction(self.app, self.id, &aside, row.id, who, turn.site));
                (aside, own.to_string(), moderator, reason)
            }
        };
        let stanza = match &row.body {
            Body::Stanza(bytes) => {
                Nodes::new().reread(bytes).and_then(|message| Some(message.attr("id")?.into_owned()))
            }
            Body::Plain { .. } | Body::Retracted(_) | Body::Aside(_) => None,
        };
        let stanza = stanza.unwrap_or_else(|| row.id.to_string());
        let body = Body::Retracted(Retraction { stanza, by, at: now, moderator, reason });
        let id = row.id;
        MessageRow { updated_at: now, body, ..row }.put(batch, self.app, self.id, place.order);
        let place = Place { entry: Entry::Retracted, ..place };
        dialog::put_place(batch, self.app, self.id, id, &place);
        head.beside += 1;
        self.put_aside(&aside, head, batch);
        match aside.body {
            Body::Aside(stanza) => stanza.into(),
            Body::Stanza(_) | Body::Plain { .. } | Body::Retracted(_) => Bytes::new(),
        }
    }

    /// Something that was said about messages, as the archive keeps it.
    pub(super) fn aside(&self, id: MessageId, by: UserId, stanza: Vec<u8>, now: Timestamp) -> MessageRow {
        MessageRow {
            id,
            sender: by,
            recipient: None,
            date_sent: now.secs(),
            created_at: now,
            updated_at: now,
            body: Body::Aside(stanza),
        }
    }

    /// Puts an aside at the end of the history; the caller writes the head.
    pub(super) fn put_aside(&self, row: &MessageRow, head: &mut Head, batch: &mut Batch) {
        let order = head.next_order(row.date_sent);
        head.order = order;
        head.beside += 1;
        row.put(batch, self.app, self.id, order);
        let place = Place { order, sender: row.sender, entry: Entry::Aside };
        dialog::put_place(batch, self.app, self.id, row.id, &place);
    }

    /// What readers had seen of them no longer counts.
    fn take_from_readers(&mut self, taken: &[Marks], rows: &mut Rows, batch: &mut Batch) -> Result<(), Unreadable> {
        for (key, value) in rows.page() {
            let user = reader_of(&key)?;
            let before = Reader::decode(&value)?;
            let mut reader = before;
            for marks in taken {
                let hidden = marks.hidden.contains(&user);
                reader.hidden -= u64::from(hidden);
                if !self.counts_unread() {
                    continue;
                }
                let fixed = user == marks.sender || hidden;
                let seen = fixed || before.has_read(marks.order, marks.receipts.get(&user));
                reader.fixed -= u64::from(fixed);
                reader.seen -= u64::from(seen);
            }
            if reader != before {
                self.put_reader(user, reader, batch);
            }
        }
        Ok(())
    }

    fn finish_removal(&mut self, mut batch: Batch, head: Head, words: Vec<Bytes>, turn: &mut Turn<'_>) {
        self.head = Head { updated_at: turn.now.stamp, ..head };
        dialog::put_head(&mut batch, self.app, self.id, &self.head);
        if self.is_to_move() {
            self.unsettle(&[], &[], &mut batch);
        }
        turn.out.write(batch);
        self.bump(turn);
        for stanza in words {
            self.say_to(stanza, |guise| guise == Guise::Any, turn);
        }
    }
}

type FoundLast = Box<dyn FnOnce(&mut Dialog, Option<Last>, &mut Turn<'_>) -> Flow>;

/// The marks on a message go with it.
fn take_marks(place: Place, rows: &mut Rows, batch: &mut Batch) -> Result<Marks, Unreadable> {
    let mut marks =
        Marks { order: place.order, sender: place.sender, receipts: BTreeMap::new(), hidden: BTreeSet::new() };
    for (key, value) in rows.page() {
        marks.receipts.insert(mark_of(&key)?.1, Receipt::decode(&value)?);
        batch.delete(&RECEIPTS, key);
    }
    for (key, _) in rows.page() {
        marks.hidden.insert(mark_of(&key)?.1);
        batch.delete(&HIDDEN, key);
    }
    Ok(marks)
}
