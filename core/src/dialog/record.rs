//! Making, changing and deleting a dialog. Product page, "Create dialog", "Update dialog", "Delete dialog"; server notes §9.3.
//!
//! | | private | group | public |
//! |---|---|---|---|
//! | name, photo | nobody: they are the other's | occupants | owner |
//! | custom parameters | occupants | occupants | owner |
//! | add | nobody | occupants | nobody: all are in |
//! | remove | nobody | oneself; the owner anyone | nobody |
//! | delete | from one's own sight | leave | nobody |
//! | delete for all | owner | owner | owner |

use crate::effect::Turn;
use crate::jid::user::{DialogId, UserId};
use crate::limits::{BUMP_MEMBERS_MAX, OCCUPANTS_MAX};
use crate::model::dialog::{self, Answer, Change, Data, DialogKind, DialogRow, Head, Reader, Refusal};
use crate::model::directory::{self, members};
use crate::model::inbox::{self, Standing};
use crate::owner::Owner;
use crate::row::{Batch, Reads, Rows, Unreadable};
use crate::time::Timestamp;

use super::presence::{Farewell, OutOf};
use super::{Dialog, Flow, lists};

/// What a new dialog is to be.
pub(super) struct New {
    pub by: UserId,
    pub kind: DialogKind,
    pub name: Option<String>,
    pub photo: Option<String>,
    pub occupants: Vec<UserId>,
    pub data: Option<Data>,
}

impl Dialog {
    pub(super) fn create(&mut self, mut new: New, turn: &mut Turn<'_>) -> Flow {
        let by = new.by;
        new.occupants.retain(|&user| user != by);
        new.occupants.sort_unstable();
        new.occupants.dedup();
        let refusal = match (new.kind, new.occupants.as_slice()) {
            (DialogKind::Private, []) => Some(Refusal::WrongOccupants),
            (DialogKind::Private, [other]) if DialogId::private(&turn.site.pairs, self.app, by, *other) != self.id => {
                Some(Refusal::Taken)
            }
            (DialogKind::Private, [_]) => None,
            (DialogKind::Private, _) => Some(Refusal::TooManyForPrivate),
            (DialogKind::Public | DialogKind::Group, others) if others.len() >= OCCUPANTS_MAX => {
                Some(Refusal::TooManyOccupants)
            }
            (DialogKind::Public | DialogKind::Group, _) => None,
        };
        if let Some(refusal) = refusal {
            return self.refuse(refusal, turn);
        }
        if let Some(record) = &self.record {
            let same = record.kind == new.kind && (record.kind == DialogKind::Private || record.owner == by);
            return if same { self.show_again(by, turn) } else { self.refuse(Refusal::Taken, turn) };
        }
        let all = new.occupants.iter().chain([&by]);
        let reads = all.fold(Reads::none(), |reads, &user| reads.and(members::read(self.app, user)));
        self.read(reads, turn, move |dialog, mut rows, turn| {
            if !all_exist(&mut rows, new.occupants.len() + 1)? {
                return dialog.refuse(Refusal::UnknownUsers, turn);
            }
            let mut batch = Batch::default();
            let public = (new.kind == DialogKind::Public).then(|| new.name.clone().unwrap_or_default());
            dialog.begin(new, turn.now.stamp, &mut batch);
            match public {
                Some(name) => dialog.publish(Some(name), batch, turn),
                None => turn.out.write(batch),
            }
            let occupants = dialog.record.as_ref().map(|record| record.occupants.clone()).unwrap_or_default();
            dialog.enter(&occupants, turn);
            dialog.answer_record(0, Some(dialog.place(None)), turn)
        })
    }

    /// The dialog comes to be; the caller writes the batch and tells the lists.
    pub(super) fn begin(&mut self, new: New, now: Timestamp, batch: &mut Batch) {
        let named = new.kind != DialogKind::Private;
        let mut occupants = match new.kind {
            DialogKind::Public => Vec::new(),
            DialogKind::Group | DialogKind::Private => new.occupants,
        };
        if new.kind != DialogKind::Public {
            occupants.push(new.by);
            occupants.sort_unstable();
        }
        let record = DialogRow {
            kind: new.kind,
            owner: new.by,
            name: new.name.filter(|_| named),
            photo: new.photo.filter(|_| named),
            parted: Vec::new(),
            large: occupants.len() > BUMP_MEMBERS_MAX,
            occupants,
            data: new.data,
            subject: None,
            created_at: now,
            updated_at: now,
        };
        self.head = Head { updated_at: now, ..Head::default() };
        self.loaded_to = 0;
        dialog::put(batch, self.app, self.id, &record);
        dialog::put_head(batch, self.app, self.id, &self.head);
        self.standing = lists::standing(Some(&record), &self.head);
        self.record = Some(record);
        self.unsettle(&[], &[], batch);
    }

    /// A dialog that is there already comes back into the sight of the one who asked.
    fn show_again(&mut self, by: UserId, turn: &mut Turn<'_>) -> Flow {
        self.read(self.reader_reads(by), turn, move |dialog, mut rows, turn| {
            let reader = dialog.reader_found(by, &mut rows)?;
            let mut batch = Batch::default();
            if let Some(record) = dialog.record.as_mut().filter(|record| record.parted.contains(&by)) {
                record.parted.retain(|&user| user != by);
                dialog::put(&mut batch, dialog.app, dialog.id, record);
                dialog.unsettle(&[by], &[], &mut batch);
            }
            turn.out.write(batch);
            dialog.enter(&[by], turn);
            dialog.answer_record(dialog.unread(&reader), Some(dialog.place(None)), turn)
        })
    }

    fn unread(&self, reader: &Reader) -> u64 {
        if self.counts_unread() { self.head.count.saturating_sub(reader.seen) } else { 0 }
    }

    fn answer_record(&mut self, unread: u64, inbox: Option<inbox::Command>, turn: &mut Turn<'_>) -> Flow {
        let Some(record) = self.record.clone() else { return self.refuse(Refusal::NoDialog, turn) };
        let inbox = inbox.filter(|_| record.kind != DialogKind::Public);
        let answer = Answer::Dialog { record: Box::new(record), head: Box::new(self.head.clone()), unread };
        self.answer(answer, inbox, turn)
    }

    pub(super) fn counts_unread(&self) -> bool {
        self.record.as_ref().is_some_and(DialogRow::counts_unread)
    }

    pub(super) fn update(&mut self, by: UserId, mut change: Change, turn: &mut Turn<'_>) -> Flow {
        let Some(record) = &self.record else { return self.refuse(Refusal::NoDialog, turn) };
        if let Err(refusal) = may_update(record, by, &change) {
            return self.refuse(refusal, turn);
        }
        change.push.retain(|&user| !record.has(user));
        change.push.sort_unstable();
        change.push.dedup();
        if record.kind != DialogKind::Group {
            change.push.clear();
            change.pull.clear();
        }
        if record.occupants.len() + change.push.len() > OCCUPANTS_MAX {
            return self.refuse(Refusal::TooManyOccupants, turn);
        }
        let reader = self.reader_reads(by);
        let reads = change.push.iter().fold(reader, |reads, &user| reads.and(members::read(self.app, user)));
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let reader = dialog.reader_found(by, &mut rows)?;
            if !all_exist(&mut rows, change.push.len())? {
                return dialog.refuse(Refusal::UnknownUsers, turn);
            }
            dialog.apply_change(by, change, turn);
            if dialog.record.as_ref().is_some_and(|record| record.admits(by)) {
                return dialog.answer_record(dialog.unread(&reader), Some(dialog.place(None)), turn);
            }
            // Nobody waits for the user's list: it asks the dialog who is in it, and a word that goes round by whoever answers could
            // come after one that takes the user in again.
            if dialog.record.is_none() {
                return dialog.answer(Answer::Done, None, turn);
            }
            dialog.answer_record(0, None, turn)
        })
    }

    /// Makes a change that was checked: the record first, then the room and the lists.
    fn apply_change(&mut self, by: UserId, change: Change, turn: &mut Turn<'_>) {
        let Some(record) = &mut self.record else { return };
        let renamed = change.name.is_some() && change.name != record.name && record.kind != DialogKind::Private;
        if record.kind != DialogKind::Private {
            record.name = change.name.or(record.name.take());
            if let Some(photo) = change.photo {
                record.photo = photo;
            }
        }
        if let Some(data) = change.data {
            match &mut record.data {
                Some(known) => known.merge(data),
                none => *none = Some(data),
            }
        }
        record.occupants.extend(&change.push);
        record.occupants.sort_unstable();
        let mut pulled = change.pull;
        pulled.sort_unstable();
        pulled.dedup();
        pulled.retain(|user| record.occupants.binary_search(user).is_ok());
        record.occupants.retain(|user| pulled.binary_search(user).is_err());
        record.updated_at = turn.now.stamp;
        if record.kind == DialogKind::Group && record.occupants.is_empty() {
            return self.destroy(by, &pulled, &Farewell::default(), turn);
        }
        let grown = !record.large && record.occupants.len() > BUMP_MEMBERS_MAX;
        record.large |= grown;
        let entered: Vec<UserId> = change.push.into_iter().filter(|user| pulled.binary_search(user).is_err()).collect();
        let name = record.name.clone().filter(|_| renamed && record.kind == DialogKind::Public);

        let mut batch = Batch::default();
        dialog::put(&mut batch, self.app, self.id, record);
        if !(entered.is_empty() && pulled.is_empty() && !grown) {
            self.unsettle(&entered, &pulled, &mut batch);
        }
        match name {
            Some(name) => self.publish(Some(name), batch, turn),
            None => turn.out.write(batch),
        }
        self.exit(&pulled, turn);
        self.kick(&pulled, by, None, OutOf::Dialog, turn);
        if renamed {
            self.announce_settings(turn);
        }
        if grown {
            self.bump(turn);
        } else {
            self.enter(&entered, turn);
        }
    }

    /// With `force`, the dialog goes; `farewell` is for those in its room.
    pub(super) fn delete(&mut self, by: UserId, force: bool, farewell: &Farewell, turn: &mut Turn<'_>) -> Flow {
        let Some(record) = &mut self.record else { return self.refuse(Refusal::NoDialog, turn) };
        let allowed = if force { record.owner == by } else { record.has(by) };
        if !allowed {
            return self.refuse(Refusal::Forbidden, turn);
        }
        match (force, record.kind) {
            (true, _) => {
                let members = record.occupants.clone();
                self.destroy(by, &members, farewell, turn);
            }
            (false, DialogKind::Private) => {
                let mut batch = Batch::default();
                if !record.parted.contains(&by) {
                    record.parted.push(by);
                    dialog::put(&mut batch, self.app, self.id, record);
                }
                self.unsettle(&[], &[by], &mut batch);
                turn.out.write(batch);
                self.exit(&[by], turn);
            }
            (false, DialogKind::Group | DialogKind::Public) => {
                self.apply_change(by, Change { pull: vec![by], ..Change::default() }, turn);
            }
        }
        self.answer(Answer::Done, None, turn)
    }

    /// The dialog goes, with its history and its room.
    fn destroy(&mut self, by: UserId, members: &[UserId], farewell: &Farewell, turn: &mut Turn<'_>) {
        let Some(record) = self.record.take() else { return };
        let mut batch = Batch::default();
        let all = dialog::key(self.app, self.id).all_below();
        for table in dialog::TABLES {
            batch.delete_range(table, all.clone());
        }
        // Those whose lists still show it find out when they read it: a list asks each dialog who is in it.
        self.unsettled = None;
        if record.kind == DialogKind::Public {
            self.publish(None, batch, turn);
        } else {
            turn.out.write(batch);
            self.exit(members, turn);
        }
        self.close_room(&record, by, farewell, turn);
        self.readers = super::readers::Readers::default();
        self.head = Head::default();
        self.loaded_to = 0;
        self.standing = Standing::At(0);
    }

    /// Tells the app's directory that there is a public dialog of this name, or none any more.
    fn publish(&mut self, name: Option<String>, batch: Batch, turn: &mut Turn<'_>) {
        let command = directory::Command::ListDialog { dialog: self.id, name }.into();
        let job = self.next_job(turn);
        turn.out.send_surely(self.owner(), job, batch, Owner::App(self.app), command);
    }
}

fn may_update(record: &DialogRow, by: UserId, change: &Change) -> Result<(), Refusal> {
    let allowed = match record.kind {
        DialogKind::Public => record.owner == by,
        DialogKind::Private => record.has(by),
        DialogKind::Group => record.has(by) && (record.owner == by || change.pull.iter().all(|&user| user == by)),
    };
    if !allowed {
        return Err(Refusal::Forbidden);
    }
    let moves = !(change.push.is_empty() && change.pull.is_empty());
    if record.kind == DialogKind::Private && moves {
        return Err(Refusal::WrongOccupants);
    }
    Ok(())
}

/// Whether all users whose records were read exist.
pub(super) fn all_exist(rows: &mut Rows, count: usize) -> Result<bool, Unreadable> {
    let mut all = true;
    for _ in 0..count {
        all &= members::found(rows)?.is_some();
    }
    Ok(all)
}
