//! The card of a room: as it was set, and beside it the hashes of its pictures. XEP-0486

use super::{CARDS, key};
use crate::jid::user::{AppId, DialogId};
use crate::row::{self, Batch, Key, Reads, Rows, Unreadable};

const VERSION: u8 = 1;

/// What a row of [`CARDS`] holds; the number is part of its key.
#[derive(Clone, Copy)]
enum Part {
    Hashes = 0,
    Card = 1,
}

fn part(app: AppId, id: DialogId, part: Part) -> Key {
    key(app, id).u8(part as u8)
}

/// The hashes of the pictures, as [`found_hashes`] takes them.
pub fn read_hashes(app: AppId, id: DialogId) -> Reads {
    Reads::get(&CARDS, part(app, id, Part::Hashes))
}

/// What [`read_hashes`] found.
pub fn found_hashes(rows: &mut Rows) -> Result<Vec<String>, Unreadable> {
    Ok(rows.decoded(VERSION)?.unwrap_or_default())
}

/// The card, as [`found_card`] takes it.
pub fn read_card(app: AppId, id: DialogId) -> Reads {
    Reads::get(&CARDS, part(app, id, Part::Card))
}

/// What [`read_card`] found: an element that stands for itself.
pub fn found_card(rows: &mut Rows) -> Result<Option<String>, Unreadable> {
    rows.decoded(VERSION)
}

/// Sets the card, or with none takes it away.
pub fn put_card(batch: &mut Batch, app: AppId, id: DialogId, card: Option<&str>, hashes: &[String]) {
    match card {
        Some(card) => batch.put(&CARDS, part(app, id, Part::Card), row::encode(VERSION, &card)),
        None => batch.delete(&CARDS, part(app, id, Part::Card)),
    }
    match hashes {
        [] => batch.delete(&CARDS, part(app, id, Part::Hashes)),
        [..] => batch.put(&CARDS, part(app, id, Part::Hashes), row::encode(VERSION, &hashes)),
    }
}
