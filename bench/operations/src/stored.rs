//! Rows of dialogs as the server keeps them, and a place in memory to read them from.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::effect::Random;
use proto::jid::user::{AppId, DialogId, MessageId, UserId};
use proto::limits::BUMP_MEMBERS_MAX;
use proto::model::dialog::{self, Body, Content, DialogKind, DialogRow, Head, Last, MessageRow, Place, Reader};
use proto::row::{Batch, Change, Found, Key, Read, Reads, Rows};
use proto::time::Timestamp;

/// The app of all that is measured.
pub const APP: AppId = AppId(1);
/// Who owns, reads and writes; one of the members of each dialog.
pub const VIEWER: UserId = UserId(1);
/// When the first message was sent, in Unix seconds.
pub const START_SECS: u64 = 1_700_000_000;
/// Messages that are handed over at a time.
const BATCH_MESSAGES: u64 = 10_000;

/// No chance.
pub struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Writes a group with so many members and messages, half of which the viewer has seen, by `commit`; gives its id.
pub fn dialog(number: u64, members: u64, messages: u64, mut commit: impl FnMut(Batch)) -> DialogId {
    let start = Timestamp::from_secs(START_SECS);
    let id = DialogId::drawn(start, number.to_be_bytes());
    let mut head = Head { updated_at: start, ..Head::default() };
    let mut batch = Batch::default();
    dialog::put(&mut batch, APP, id, &group(number, members));
    for message in 0..messages {
        let row = message_row(number, message);
        let order = head.next_order(row.date_sent);
        head.order = order;
        head.count += 1;
        let text = Some(format!("message {message}"));
        head.last = Some(Last { id: row.id, order, sender: row.sender, date_sent: row.date_sent, text });
        row.put(&mut batch, APP, id, order);
        dialog::put_place(&mut batch, APP, id, row.id, &Place::of_message(order, row.sender));
        if message % BATCH_MESSAGES == BATCH_MESSAGES - 1 {
            commit(std::mem::take(&mut batch));
        }
    }
    dialog::put_head(&mut batch, APP, id, &head);
    let reader = Reader { seen: messages / 2, fixed: messages / 2, ..Reader::default() };
    reader.put(&mut batch, APP, id, VIEWER);
    commit(batch);
    id
}

fn group(number: u64, members: u64) -> DialogRow {
    let start = Timestamp::from_secs(START_SECS);
    DialogRow {
        kind: DialogKind::Group,
        owner: VIEWER,
        name: Some(format!("dialog {number}")),
        photo: None,
        occupants: (1..=members).map(UserId).collect(),
        data: None,
        subject: None,
        parted: Vec::new(),
        large: members as usize > BUMP_MEMBERS_MAX,
        created_at: start,
        updated_at: start,
    }
}

fn message_row(dialog: u64, number: u64) -> MessageRow {
    let at = Timestamp::from_secs(START_SECS + number);
    let content = Content { text: Some(format!("This is message {number} of a conversation.")), ..Content::default() };
    MessageRow {
        id: MessageId::drawn(at, (dialog << 32 | number).to_be_bytes()),
        sender: UserId(1 + number % 2),
        recipient: None,
        date_sent: at.secs(),
        created_at: at,
        updated_at: at,
        body: Body::Plain { content, markable: true },
    }
}

/// Rows in memory.
#[derive(Default)]
pub struct Drawer(BTreeMap<(&'static str, Key), Bytes>);

impl Drawer {
    /// Takes what a batch sets; nothing here ever removes rows.
    pub fn commit(&mut self, batch: Batch) {
        for change in batch.0 {
            match change {
                Change::Put(table, key, value) => drop(self.0.insert((table.name(), key), value)),
                Change::Delete(table, key) => drop(self.0.remove(&(table.name(), key))),
                Change::DeleteRange(table, range) => {
                    self.0.retain(|(name, key), _| *name != table.name() || !range.contains(key));
                }
            }
        }
    }

    /// What is there.
    pub fn read(&self, reads: &Reads) -> Rows {
        let found = |read: &Read| match read {
            Read::Get(table, key) => Found::Row(self.0.get(&(table.name(), key.clone())).cloned()),
            Read::Scan { table, range, limit, backwards } => {
                let range = (table.name(), range.start.clone())..(table.name(), range.end.clone());
                let rows = self.0.range(range).map(|((_, key), value)| (key.clone(), value.clone()));
                Found::Page(if *backwards { rows.rev().take(*limit).collect() } else { rows.take(*limit).collect() })
            }
        };
        Rows::new(reads.0.iter().map(found).collect::<Vec<_>>())
    }
}
