//! Who has seen what.
//!
//! One user's marks on one message are a [`Receipt`]; having read *everything* (or nothing) is a line drawn in the user's
//! [`Reader`], which costs the same whatever lies below it. Of a mark and a line the later one holds: both carry a number that
//! grows with each change the user makes.

use serde::{Deserialize, Serialize};

use super::{READERS, RECEIPTS, mark_key, reader_key};
use crate::jid::user::{AppId, DialogId, UserId};
use crate::row::{self, Batch, Reads, Rows, Unreadable};
use crate::time::Timestamp;

const RECEIPT_VERSION: u8 = 1;
const READER_VERSION: u8 = 1;

/// What one user has said of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// It has arrived. Never taken back.
    pub delivered: bool,
    /// It was read.
    pub read: bool,
    /// The user's change that said so.
    pub change: u64,
    /// When.
    pub at: Timestamp,
}

impl Receipt {
    /// Reads a row of [`RECEIPTS`].
    pub fn decode(value: &[u8]) -> Result<Receipt, Unreadable> {
        row::decode(RECEIPT_VERSION, value)
    }

    /// Adds the row to a batch.
    pub fn put(&self, batch: &mut Batch, app: AppId, id: DialogId, order: u64, user: UserId) {
        batch.put(&RECEIPTS, mark_key(app, id, order, user), row::encode(RECEIPT_VERSION, self));
    }
}

/// How far one user is in one dialog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// Messages that are there and not to be read any more: his own, those he has read, those he does not see.
    pub seen: u64,
    /// Those of them that are so whatever he says of reading: his own and those he does not see.
    pub fixed: u64,
    /// Messages that are there and that he does not see.
    pub hidden: u64,
    /// Of every message up to this order the line says whether it was read.
    pub line_to: u64,
    /// What it says.
    pub line_read: bool,
    /// The change that drew it.
    pub line_change: u64,
    /// Every message up to this order has arrived.
    pub delivered_to: u64,
    /// The last change of this user.
    pub change: u64,
    /// When a line was last drawn.
    pub at: Timestamp,
}

impl Reader {
    /// The row, as [`Reader::found`] takes it.
    pub fn reads(app: AppId, id: DialogId, user: UserId) -> Reads {
        Reads::get(&READERS, reader_key(app, id, user))
    }

    /// The reader that [`Reader::reads`] found; one who has seen nothing has no row.
    pub fn found(rows: &mut Rows) -> Result<Reader, Unreadable> {
        Ok(rows.decoded(READER_VERSION)?.unwrap_or_default())
    }

    /// Reads a row of [`READERS`].
    pub fn decode(value: &[u8]) -> Result<Reader, Unreadable> {
        row::decode(READER_VERSION, value)
    }

    /// Adds the row to a batch.
    pub fn put(&self, batch: &mut Batch, app: AppId, id: DialogId, user: UserId) {
        batch.put(&READERS, reader_key(app, id, user), row::encode(READER_VERSION, self));
    }

    /// Whether this user, who did not send it, has read the message at `order`.
    pub fn has_read(&self, order: u64, receipt: Option<&Receipt>) -> bool {
        let below = order <= self.line_to;
        match receipt {
            Some(receipt) if !below || receipt.change > self.line_change => receipt.read,
            Some(_) | None => below && self.line_read,
        }
    }

    /// Whether it has arrived at this user.
    pub fn has_got(&self, order: u64, receipt: Option<&Receipt>) -> bool {
        order <= self.delivered_to || receipt.is_some_and(|receipt| receipt.delivered) || self.has_read(order, receipt)
    }

    /// Draws the line below everything there is.
    pub fn draw(&mut self, read: bool, order: u64, count: u64, now: Timestamp) {
        self.change += 1;
        self.line_to = order;
        self.line_read = read;
        self.line_change = self.change;
        self.seen = if read { count } else { self.fixed };
        self.at = now;
        if read {
            self.delivered_to = order;
        }
    }

    /// Everything there is has arrived.
    pub fn get_all(&mut self, order: u64, now: Timestamp) {
        self.delivered_to = self.delivered_to.max(order);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mark_and_a_line_the_later_holds() {
        let now = Timestamp::default();
        let mut reader = Reader::default();
        let read = Receipt { delivered: true, read: true, change: 1, at: now };
        reader.change = 1;
        assert!(reader.has_read(5, Some(&read)) && !reader.has_read(5, None));
        reader.draw(true, 9, 3, now);
        assert!(reader.has_read(9, None) && !reader.has_read(10, None));
        let unread = Receipt { read: false, change: 3, ..read };
        assert!(!reader.has_read(5, Some(&unread)), "taken back after the line");
        assert!(reader.has_got(5, Some(&unread)), "what has arrived stays so");
        reader.change = 3;
        reader.draw(true, 9, 3, now);
        assert!(reader.has_read(5, Some(&unread)), "the line was drawn again");
        reader.draw(false, 9, 3, now);
        assert!(!reader.has_read(5, Some(&read)) && !reader.has_read(9, None), "all taken back");
        assert!(reader.has_got(9, None));
    }
}
