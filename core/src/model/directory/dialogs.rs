//! The public dialogs of an app: in everybody's list, and so kept once.

use super::{Answer, Directory};
use crate::effect::Turn;
use crate::jid::user::{AppId, DialogId, ObjectId};
use crate::owner::Owner;
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};

/// app, dialog → its name.
pub static PUBLIC_DIALOGS: Table = Table::new("public_dialogs");

const VERSION: u8 = 1;

/// The public dialogs after `last` (from the first for none), by id; [`listed`] takes them.
pub fn reads(app: AppId, last: Option<DialogId>, limit: usize) -> Reads {
    let mut range = Key::of(&Owner::App(app)).all_below();
    if let Some(last) = last {
        range.start = key(app, last).u8(0);
    }
    Reads::scan(&PUBLIC_DIALOGS, range, limit)
}

/// What [`reads`] found.
pub fn listed(rows: &mut Rows) -> Result<Vec<(DialogId, String)>, Unreadable> {
    let read = |(key, value): &(Key, bytes::Bytes)| {
        let id = key.as_slice().last_chunk::<12>().ok_or(Unreadable::Malformed)?;
        Ok((DialogId(ObjectId(*id)), row::decode(VERSION, value)?))
    };
    rows.page().iter().map(read).collect()
}

fn key(app: AppId, dialog: DialogId) -> Key {
    Key::of(&Owner::App(app)).bytes(dialog.as_bytes())
}

impl Directory {
    pub(super) fn list_dialog(&mut self, turn: &mut Turn<'_>, dialog: DialogId, name: Option<String>) -> Answer {
        let mut batch = Batch::default();
        match name {
            Some(name) => batch.put(&PUBLIC_DIALOGS, key(self.app, dialog), row::encode(VERSION, &name)),
            None => batch.delete(&PUBLIC_DIALOGS, key(self.app, dialog)),
        }
        turn.out.write(batch);
        Answer::Done
    }
}
