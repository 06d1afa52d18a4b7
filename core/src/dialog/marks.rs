//! Who has read what, and messages that change or go. Server notes §3.5 and §10, wire notes §6.4 and §6.5.
//!
//! What a user has not read is worked out from counters, so every change here keeps them exact: a message counts as seen by a
//! user when it is his own, when he has read it, or when he has taken it out of his sight. Marking writes the mark and the
//! user's reader.

use std::collections::BTreeSet;

use crate::account::Progress;
use crate::effect::{Effect, Note, Turn};
use crate::jid::user::{DialogId, MessageId, UserId};
use crate::limits::{COMMAND_MESSAGES_MAX, LAST_MESSAGE_BYTES_MAX};
use crate::model::dialog::{
    self, Answer, Body, Command, HIDDEN, MESSAGES, Marks, MessageRow, Place, RECEIPTS, Receipt, Refusal, Which, cut,
    mark_key, order_key,
};
use crate::model::inbox;
use crate::ns;
use crate::owner::Owner;
use crate::row::{Batch, Reads, Rows, Unreadable};

use super::rewrite::rewritten;
use super::{Dialog, Flow};

/// Dialogs of a user in which a marker without one is looked for.
const ASTRAY_DIALOGS_MAX: usize = 100;

/// The messages of a command: those that are in the dialog, and those that are not.
pub(super) struct Found {
    pub here: Vec<(MessageId, Place)>,
    pub missing: Vec<MessageId>,
}

impl Dialog {
    pub(super) fn mark(&mut self, by: UserId, which: Which, marks: Marks, turn: &mut Turn<'_>) -> Flow {
        if let Err(refusal) = self.admitted(by) {
            return self.refuse(refusal, turn);
        }
        if !self.counts_unread() {
            // Public dialogs list no readers. Product page; server notes §10.
            return self.answer(Answer::Done, None, turn);
        }
        match which {
            Which::All => self.mark_all(by, marks, turn),
            Which::Ids(ids) => {
                self.find(ids, turn, move |dialog, found, turn| dialog.mark_found(by, found, marks, turn))
            }
        }
    }

    /// A marker that names no dialog came to the one of its two users. What it is about may as well have been said in a group that
    /// both are in: it is looked for where something was said last. Wire notes §15.5.
    pub(super) fn mark_wherever(&mut self, by: UserId, ids: Vec<MessageId>, marks: Marks, turn: &mut Turn<'_>) -> Flow {
        self.find(ids, turn, move |dialog, found, turn| {
            let Found { here, missing } = found;
            if missing.is_empty() {
                return dialog.mark(by, Which::Ids(here.into_iter().map(|(id, _)| id).collect()), marks, turn);
            }
            let lists = inbox::reads(dialog.account(by), ASTRAY_DIALOGS_MAX);
            dialog.read(lists, turn, move |dialog, mut rows, turn| {
                let own = dialog.id;
                let listed = inbox::listed(&mut rows)?.into_iter().map(|entry| entry.dialog);
                let others: Vec<DialogId> = listed.filter(|id| *id != own).collect();
                let pairs: Vec<_> =
                    others.iter().flat_map(|&id| missing.iter().map(move |&message| (id, message))).collect();
                let reads = pairs.iter().fold(Reads::none(), |reads, &(id, message)| {
                    reads.and(dialog::read_place(dialog.app, id, message))
                });
                dialog.read(reads, turn, move |dialog, mut rows, turn| {
                    for (id, message) in pairs {
                        if dialog::found_place(&mut rows)?.is_some() {
                            let which = Which::Ids(vec![message]);
                            let command = Command::Mark { by, which, marks, astray: false };
                            let note = Note::Command { command: command.into(), reply: None, job: None };
                            turn.out.send(Owner::Dialog(dialog.app, id), note);
                        }
                    }
                    Ok(Progress::Done)
                })
            })
        })
    }

    pub(super) fn admitted(&self, by: UserId) -> Result<(), Refusal> {
        match &self.record {
            None => Err(Refusal::NoDialog),
            Some(record) if record.admits(by) => Ok(()),
            Some(_) => Err(Refusal::Forbidden),
        }
    }

    fn mark_all(&mut self, by: UserId, marks: Marks, turn: &mut Turn<'_>) -> Flow {
        self.read(self.reader_reads(by), turn, move |dialog, mut rows, turn| {
            let mut reader = dialog.reader_found(by, &mut rows)?;
            let (order, count, now) = (dialog.head.order, dialog.head.count, turn.now.stamp);
            if marks.delivered {
                reader.get_all(order, now);
            }
            if let Some(read) = marks.read {
                reader.draw(read, order, count, now);
            }
            let mut batch = Batch::default();
            dialog.put_reader(by, reader, &mut batch);
            dialog.commit(batch, turn);
            dialog.answer(Answer::Done, None, turn)
        })
    }

    /// Finds messages by their ids, each once.
    pub(super) fn find(
        &mut self,
        mut ids: Vec<MessageId>,
        turn: &mut Turn<'_>,
        then: impl FnOnce(&mut Dialog, Found, &mut Turn<'_>) -> Flow + 'static,
    ) -> Flow {
        ids.truncate(COMMAND_MESSAGES_MAX);
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        let reads = ids.iter().fold(Reads::none(), |reads, &id| reads.and(dialog::read_place(self.app, self.id, id)));
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let mut found = Found { here: Vec::new(), missing: Vec::new() };
            for id in ids {
                match dialog::found_place(&mut rows)? {
                    Some(place) => found.here.push((id, place)),
                    None => found.missing.push(id),
                }
            }
            then(dialog, found, turn)
        })
    }

    /// The reader of `by` and his marks on the messages, as [`own_marks`] takes them.
    fn own_mark_reads(&self, by: UserId, found: &Found) -> Reads {
        found.here.iter().fold(self.reader_reads(by), |reads, (_, place)| {
            let key = mark_key(self.app, self.id, place.order, by);
            reads.and_get(&RECEIPTS, key.clone()).and_get(&HIDDEN, key)
        })
    }

    fn mark_found(&mut self, by: UserId, found: Found, marks: Marks, turn: &mut Turn<'_>) -> Flow {
        self.read(self.own_mark_reads(by, &found), turn, move |dialog, mut rows, turn| {
            let mut reader = dialog.reader_found(by, &mut rows)?;
            let mut batch = Batch::default();
            for (_, place) in &found.here {
                let (receipt, hidden) = own_marks(&mut rows)?;
                if place.sender == by {
                    continue;
                }
                let read_before = reader.has_read(place.order, receipt.as_ref());
                let got_before = reader.has_got(place.order, receipt.as_ref());
                let read = marks.read.unwrap_or(read_before);
                let delivered = got_before || marks.delivered || read;
                if (read, delivered) == (read_before, got_before) {
                    continue;
                }
                reader.change += 1;
                let receipt = Receipt { delivered, read, change: reader.change, at: turn.now.stamp };
                receipt.put(&mut batch, dialog.app, dialog.id, place.order, by);
                if !hidden {
                    reader.seen = reader.seen + u64::from(read) - u64::from(read_before);
                }
            }
            if !batch.is_empty() {
                dialog.put_reader(by, reader, &mut batch);
            }
            dialog.commit(batch, turn);
            let done = found.here.into_iter().map(|(id, _)| id).collect();
            dialog.answer(Answer::Sorted { done, denied: Vec::new(), missing: found.missing }, None, turn)
        })
    }

    /// Commits; only whoever waits for an answer waits for that.
    fn commit(&mut self, batch: Batch, turn: &mut Turn<'_>) {
        if self.asker.waits() {
            turn.out.write(batch);
        } else if !batch.is_empty() {
            turn.out.push(Effect::WriteBehind(batch));
        }
    }

    /// Takes messages out of the sight of `by`.
    pub(super) fn hide(&mut self, by: UserId, ids: Vec<MessageId>, turn: &mut Turn<'_>) -> Flow {
        if let Err(refusal) = self.admitted(by) {
            return self.refuse(refusal, turn);
        }
        self.find(ids, turn, move |dialog, found, turn| {
            dialog.read(dialog.own_mark_reads(by, &found), turn, move |dialog, mut rows, turn| {
                let mut reader = dialog.reader_found(by, &mut rows)?;
                let counted = dialog.counts_unread();
                let mut batch = Batch::default();
                for (_, place) in &found.here {
                    let (receipt, hidden) = own_marks(&mut rows)?;
                    if hidden {
                        continue;
                    }
                    batch.put(&HIDDEN, mark_key(dialog.app, dialog.id, place.order, by), Vec::new());
                    reader.hidden += 1;
                    if counted && place.sender != by {
                        reader.fixed += 1;
                        reader.seen += u64::from(!reader.has_read(place.order, receipt.as_ref()));
                    }
                }
                if !batch.is_empty() {
                    dialog.put_reader(by, reader, &mut batch);
                }
                dialog.commit(batch, turn);
                let done = found.here.into_iter().map(|(id, _)| id).collect();
                dialog.answer(Answer::Sorted { done, denied: Vec::new(), missing: found.missing }, None, turn)
            })
        })
    }

    /// Changes the text of messages of `by`.
    pub(super) fn edit(&mut self, by: UserId, ids: Vec<MessageId>, text: String, turn: &mut Turn<'_>) -> Flow {
        if let Err(refusal) = self.admitted(by) {
            return self.refuse(refusal, turn);
        }
        self.find(ids, turn, move |dialog, found, turn| {
            let (own, denied): (Vec<_>, Vec<_>) = found.here.into_iter().partition(|(_, place)| place.sender == by);
            let denied = denied.into_iter().map(|(id, _)| id).collect();
            let reads = own.iter().fold(Reads::none(), |reads, (_, place)| {
                reads.and_get(&MESSAGES, order_key(dialog.app, dialog.id, place.order))
            });
            dialog.read(reads, turn, move |dialog, mut rows, turn| {
                let mut batch = Batch::default();
                let mut newest = false;
                for (_, place) in &own {
                    let Some(row) = rows.row() else { continue };
                    let mut row = MessageRow::decode(&row)?;
                    row.body = with_text(row.body, &text);
                    row.updated_at = turn.now.stamp;
                    row.put(&mut batch, dialog.app, dialog.id, place.order);
                    newest |= dialog.head.last.as_ref().is_some_and(|last| last.order == place.order);
                }
                // An older message must not show as the last one. Server notes §10.
                if newest {
                    if let Some(last) = &mut dialog.head.last {
                        last.text = Some(cut(&text, LAST_MESSAGE_BYTES_MAX).to_owned());
                    }
                    dialog.head.updated_at = turn.now.stamp;
                    dialog::put_head(&mut batch, dialog.app, dialog.id, &dialog.head);
                }
                dialog.commit(batch, turn);
                let done = own.into_iter().map(|(id, _)| id).collect();
                dialog.answer(Answer::Sorted { done, denied, missing: found.missing }, None, turn)
            })
        })
    }
}

fn own_marks(rows: &mut Rows) -> Result<(Option<Receipt>, bool), Unreadable> {
    let receipt = rows.row().map(|row| Receipt::decode(&row)).transpose()?;
    Ok((receipt, rows.row().is_some()))
}

/// The same message with another text.
fn with_text(body: Body, text: &str) -> Body {
    match body {
        Body::Plain { mut content, markable } => {
            content.text = Some(text.to_owned());
            Body::Plain { content, markable }
        }
        Body::Stanza(bytes) => {
            let mut nodes = crate::xml::Nodes::new();
            let changed = nodes.reread(&bytes).map(|message| {
                rewritten(message, &|child| child.is("body", ns::CLIENT), None, &|xml| {
                    xml.simple("body", text);
                })
            });
            Body::Stanza(changed.unwrap_or(bytes))
        }
        // No message, and not found as one.
        other @ (Body::Retracted(_) | Body::Aside(_)) => other,
    }
}
