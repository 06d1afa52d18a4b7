//! Where a message is in the history, by its id.

use serde::{Deserialize, Serialize};

use super::{MESSAGE_IDS, place_key};
use crate::jid::user::{AppId, DialogId, MessageId, UserId};
use crate::row::{self, Batch, Reads, Rows, Unreadable};

/// Of a message.
const VERSION: u8 = 1;
/// Of something else, which it says.
const VERSION_ENTRY: u8 = 2;

/// Where something is in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its order.
    pub order: u64,
    /// Who sent it.
    pub sender: UserId,
    /// What is there.
    pub entry: Entry,
}

/// What a history holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A message.
    Message,
    /// Where a message was that was taken back.
    Retracted,
    /// Something that was said about a message.
    Aside,
}

impl Place {
    /// The place of a message.
    pub fn of_message(order: u64, sender: UserId) -> Place {
        Place { order, sender, entry: Entry::Message }
    }
}

/// What has this id, as [`found_place`] and [`found_entry`] take it.
pub fn read_place(app: AppId, id: DialogId, message: MessageId) -> Reads {
    Reads::get(&MESSAGE_IDS, place_key(app, id, message))
}

/// The place of a message that [`read_place`] found.
pub fn found_place(rows: &mut Rows) -> Result<Option<Place>, Unreadable> {
    Ok(found_entry(rows)?.filter(|place| place.entry == Entry::Message))
}

/// The place of whatever [`read_place`] found.
pub fn found_entry(rows: &mut Rows) -> Result<Option<Place>, Unreadable> {
    let Some(row) = rows.row() else { return Ok(None) };
    if row.first() == Some(&VERSION_ENTRY) {
        let (order, sender, entry) = row::decode(VERSION_ENTRY, &row)?;
        return Ok(Some(Place { order, sender, entry }));
    }
    let (order, sender) = row::decode(VERSION, &row)?;
    Ok(Some(Place::of_message(order, sender)))
}

/// Says where something is.
pub fn put_place(batch: &mut Batch, app: AppId, id: DialogId, message: MessageId, place: &Place) {
    let Place { order, sender, entry } = *place;
    let row = match entry {
        Entry::Message => row::encode(VERSION, &(order, sender)),
        Entry::Retracted | Entry::Aside => row::encode(VERSION_ENTRY, &(order, sender, entry)),
    };
    batch.put(&MESSAGE_IDS, place_key(app, id, message), row);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::user::ObjectId;
    use crate::row::{Change, Found};

    #[test]
    fn messages_are_found_and_everything_else_by_those_who_ask_for_it() {
        for entry in [Entry::Message, Entry::Retracted, Entry::Aside] {
            let place = Place { order: 7 << 24, sender: UserId(300), entry };
            let mut batch = Batch::default();
            let id = ObjectId([1; 12]);
            put_place(&mut batch, AppId(1), DialogId(id), MessageId(id), &place);
            let Change::Put(_, _, row) = &batch.0[0] else { panic!("a put") };
            let rows = || Rows::new(vec![Found::Row(Some(row.clone()))]);
            assert_eq!(found_entry(&mut rows()), Ok(Some(place)));
            assert_eq!(found_place(&mut rows()), Ok(Some(place).filter(|_| entry == Entry::Message)));
        }
        assert_eq!(found_entry(&mut Rows::new(vec![Found::Row(None)])), Ok(None));
        let short = Rows::new(vec![Found::Row(Some(row::encode(VERSION_ENTRY, &7u64)))]);
        assert_eq!(found_entry(&mut { short }), Err(Unreadable::Malformed));
    }
}
