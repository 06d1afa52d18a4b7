//! The members' lists of dialogs: who has this one in it, and where.
//!
//! Lists belong to the accounts and are written behind. The first change after a quiet time puts a row beside itself that says
//! so; it goes when the dialog has been quiet again. A dialog that has such a row at startup tells its members once more.

use crate::effect::{Note, Turn};
use crate::jid::user::UserId;
use crate::model::dialog::{self, Answer, DialogKind, DialogRow, Head};
use crate::model::inbox::{self, Standing};
use crate::owner::Owner;
use crate::row::{Batch, Reads};

use super::{Dialog, Flow};

/// Where lists are to have the dialog.
pub(super) fn standing(record: Option<&DialogRow>, head: &Head) -> Standing {
    match record {
        Some(record) if record.large => Standing::Large,
        Some(_) | None => Standing::At(head.at()),
    }
}

impl Dialog {
    /// The members' lists are about to change: says so in the batch that changes the dialog.
    pub(super) fn unsettle(&mut self, entered: &[UserId], parted: &[UserId], batch: &mut Batch) {
        let known = self.unsettled.is_some();
        let unsettled = self.unsettled.get_or_insert_default();
        let before = unsettled.parted.len();
        unsettled.parted.retain(|user| !entered.contains(user) && !parted.contains(user));
        let changed = unsettled.parted.len() != before || !parted.is_empty();
        unsettled.parted.extend_from_slice(parted);
        if changed || !known {
            dialog::put_dirty(batch, self.app, self.id, unsettled);
        }
    }

    /// A message brings the dialog back to those who had put it out of their sight. Returns them; they are told once the batch is
    /// written.
    pub(super) fn bring_back(&mut self, batch: &mut Batch) -> Vec<UserId> {
        let Some(record) = self.record.as_mut().filter(|record| !record.parted.is_empty()) else { return Vec::new() };
        let back = std::mem::take(&mut record.parted);
        dialog::put(batch, self.app, self.id, record);
        back
    }

    /// Whether a new last message would move the dialog in its members' lists.
    pub(super) fn is_to_move(&self) -> bool {
        self.is_listed() && self.standing != standing(self.record.as_ref(), &self.head)
    }

    fn is_listed(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.kind != DialogKind::Public)
    }

    /// Moves the dialog to where its last message puts it. A message within the same second moves nothing.
    pub(super) fn bump(&mut self, turn: &mut Turn<'_>) {
        if !self.is_to_move() {
            return;
        }
        let from = self.standing;
        self.standing = standing(self.record.as_ref(), &self.head);
        let Some(record) = &self.record else { return };
        for &user in record.occupants.iter().filter(|user| !record.parted.contains(user)) {
            self.tell(user, self.place(Some(from)), turn);
        }
    }

    /// The dialog comes into the lists of these users.
    pub(super) fn enter(&self, users: &[UserId], turn: &mut Turn<'_>) {
        if self.is_listed() {
            users.iter().for_each(|&user| self.tell(user, self.place(None), turn));
        }
    }

    /// The dialog goes out of the lists of these users.
    pub(super) fn exit(&self, users: &[UserId], turn: &mut Turn<'_>) {
        let command = inbox::Command::Drop { dialog: self.id, from: self.standing };
        users.iter().for_each(|&user| self.tell(user, command, turn));
    }

    pub(super) fn place(&self, from: Option<Standing>) -> inbox::Command {
        inbox::Command::Place { dialog: self.id, from, to: self.standing }
    }

    fn tell(&self, user: UserId, command: inbox::Command, turn: &mut Turn<'_>) {
        let note = Note::Command { command: command.into(), reply: None, job: None };
        turn.out.send(Owner::Account(self.account(user)), note);
    }

    /// After a restart: says again what may have been lost.
    pub(super) fn announce(&mut self, turn: &mut Turn<'_>) -> Flow {
        let reads = Reads::get(&dialog::DIRTY, dialog::key(self.app, self.id));
        self.read(reads, turn, |dialog, mut rows, turn| {
            let Some(unsettled) = dialog::found_dirty(&mut rows)? else {
                return dialog.answer(Answer::Done, None, turn);
            };
            dialog.exit(&unsettled.parted, turn);
            let members = dialog.record.as_ref().map(|record| record.occupants.clone()).unwrap_or_default();
            let back: Vec<UserId> = members.into_iter().filter(|user| !unsettled.parted.contains(user)).collect();
            dialog.enter(&back, turn);
            dialog.unsettled = Some(unsettled);
            dialog.answer(Answer::Done, None, turn)
        })
    }
}
