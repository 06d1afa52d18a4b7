//! What a user sees of dialogs: which rows to read, and what they say. Any shard may look; nothing here changes anything.

use super::{DIALOGS, DialogRow, HEADS, Head, READERS, Reader, found_head, key, load, load_reads, reader_key};
use crate::jid::user::{AppId, DialogId, UserId};
use crate::row::{Reads, Rows, Unreadable};

/// A dialog as one user sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Which.
    pub id: DialogId,
    /// What it is.
    pub record: DialogRow,
    /// Its newest message.
    pub head: Head,
    /// What the user has not read in it; always zero in a public dialog, and for one who does not have it in his list.
    pub unread: u64,
}

impl Seen {
    /// When the dialog last changed, messages included.
    pub fn updated_at(&self) -> crate::time::Timestamp {
        self.record.updated_at.max(self.head.updated_at)
    }
}

/// The dialog as `viewer` sees it, whether or not he may; [`seen`] takes it.
pub fn seen_reads(app: AppId, id: DialogId, viewer: UserId) -> Reads {
    load_reads(app, id).and_get(&READERS, reader_key(app, id, viewer))
}

/// What [`seen_reads`] found; none when there is no such dialog.
pub fn seen(id: DialogId, viewer: UserId, rows: &mut Rows) -> Result<Option<Seen>, Unreadable> {
    let found = load(rows)?;
    let reader = Reader::found(rows)?;
    Ok(found.map(|(record, head)| {
        let counts = record.counts_unread() && record.is_listed_by(viewer);
        let unread = if counts { head.count.saturating_sub(reader.seen) } else { 0 };
        Seen { id, record, head, unread }
    }))
}

/// The two rows that tell what one of a dialog's occupants has not read; [`unread`] takes them.
pub fn unread_reads(app: AppId, id: DialogId, user: UserId) -> Reads {
    Reads::get(&HEADS, key(app, id)).and_get(&READERS, reader_key(app, id, user))
}

/// How many messages the user has not read.
pub fn unread(rows: &mut Rows) -> Result<u64, Unreadable> {
    let head = found_head(rows)?.unwrap_or_default();
    Ok(head.count.saturating_sub(Reader::found(rows)?.seen))
}

/// What the dialog is, alone; [`record`] takes it.
pub fn record_reads(app: AppId, id: DialogId) -> Reads {
    Reads::get(&DIALOGS, key(app, id))
}

/// What [`record_reads`] found.
pub fn record(rows: &mut Rows) -> Result<Option<DialogRow>, Unreadable> {
    rows.decoded(super::DIALOG_VERSION)
}
