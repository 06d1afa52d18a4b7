//! What a dialog keeps: its record, its one history, who has read what. Server notes §9 and §10.
//!
//! | table | key after the dialog | holds |
//! |---|---|---|
//! | [`DIALOGS`] | | [`DialogRow`]: what people set, and who is in it; rewritten when that changes |
//! | [`HEADS`] | | [`Head`]: last message and counters; rewritten by each saved message |
//! | [`MESSAGES`] | order | [`MessageRow`] |
//! | [`MESSAGE_IDS`] | message | [`Place`]: where the message is and whose it is |
//! | [`RECEIPTS`] | order, user | [`Receipt`]: one user's marks on one message |
//! | [`READERS`] | user | [`Reader`]: how much one user has seen, and up to where everything |
//! | [`HIDDEN`] | order, user | nothing: the user has deleted the message for himself |
//! | [`CARDS`] | part | the room's card, and the hashes of its pictures: [`card`] |
//! | [`DIRTY`] | | [`Unsettled`]: the members' lists may lag behind |
//!
//! A saved message writes a row each of four tables, whatever the number of members, and marking one writes two. What a user
//! has not read is the head's count less the reader's: two rows.
//!
//! *Orders.* A message's order grows with its arrival: its `date_sent` in the upper bits, or one more than the order before it
//! when that is greater. So a page of history is one range, and what was added last comes last, whatever the clocks of the
//! senders say.

use std::fmt;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::canary::{Rule, is_broken};
use crate::jid::user::{AppId, DialogId, MessageId, ObjectId, RoomJid, UserId};
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Range, Reads, Rows, Table, Unreadable};
use crate::time::Timestamp;

pub mod card;
mod command;
mod message;
pub mod page;
mod place;
mod receipt;
pub mod shelf;
pub mod view;

pub use command::{Answer, Answered, Change, Command, Delivery, Draft, Marks, Refusal, Which};
pub use message::{
    Attachment, Body, Content, DATE_SENT_SECS_MAX, Marker, MessageRow, Retraction, body_of, content_of, date_sent,
    dialog_of, is_reserved, marker, params, saved_params,
};
pub use place::{Entry, Place, found_entry, found_place, put_place, read_place};
pub use receipt::{Reader, Receipt};

/// dialog → [`DialogRow`].
pub static DIALOGS: Table = Table::new("dialogs");
/// dialog → [`Head`].
pub static HEADS: Table = Table::new("heads");
/// dialog, order → [`MessageRow`].
pub static MESSAGES: Table = Table::new("messages");
/// dialog, message → [`Place`].
pub static MESSAGE_IDS: Table = Table::new("message_ids").mostly_absent();
/// dialog, order, user → [`Receipt`].
pub static RECEIPTS: Table = Table::new("receipts");
/// dialog, user → [`Reader`].
pub static READERS: Table = Table::new("readers");
/// dialog, order, user → nothing.
pub static HIDDEN: Table = Table::new("hidden");
/// dialog, part → the room's card or the hashes of its pictures.
pub static CARDS: Table = Table::new("room_cards");
/// dialog → [`Unsettled`].
pub static DIRTY: Table = Table::new("dirty");

/// Everything a dialog has goes with these.
pub static TABLES: [&Table; 9] =
    [&DIALOGS, &HEADS, &MESSAGES, &MESSAGE_IDS, &RECEIPTS, &READERS, &HIDDEN, &CARDS, &DIRTY];

const DIALOG_VERSION: u8 = 1;
/// Without [`Head::beside`].
const HEAD_VERSION_OLD: u8 = 1;
const HEAD_VERSION: u8 = 2;
const DIRTY_VERSION: u8 = 1;

/// How far below the seconds of an order its sequence reaches.
const SEQUENCE_BITS: u32 = 24;

/// What kind of conversation it is; the numbers are those of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DialogKind {
    /// Every user of the app may come in.
    Public = 1,
    /// For its occupants.
    Group = 2,
    /// For two, once a pair.
    Private = 3,
}

impl DialogKind {
    /// The kind of this number.
    pub fn read(number: u64) -> Option<DialogKind> {
        match number {
            1 => Some(DialogKind::Public),
            2 => Some(DialogKind::Group),
            3 => Some(DialogKind::Private),
            _ => None,
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// What a dialog is.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct DialogRow {
    /// Public, group or private.
    pub kind: DialogKind,
    /// Who made it.
    pub owner: UserId,
    /// For groups.
    pub name: Option<String>,
    /// Free text, for groups.
    pub photo: Option<String>,
    /// Ascending, each once. None are kept of a public dialog.
    pub occupants: Vec<UserId>,
    /// Custom parameters.
    pub data: Option<Data>,
    /// The subject of the room. XEP-0045 §8.1.
    pub subject: Option<Subject>,
    /// Of a private dialog, who has put it out of his sight until the next message.
    pub parted: Vec<UserId>,
    /// It has, or once had, more members than have their lists reordered for each message.
    pub large: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed, saved messages aside.
    pub updated_at: Timestamp,
}

/// Names and members are nobody's business in a log.
impl fmt::Debug for DialogRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} with {} occupants", self.kind, self.owner, self.occupants.len())
    }
}

impl DialogRow {
    /// Whether the user is one of the occupants.
    pub fn has(&self, user: UserId) -> bool {
        self.occupants.binary_search(&user).is_ok()
    }

    /// Whether the user may read, write and join: an occupant, or in a public dialog anyone of the app.
    pub fn admits(&self, user: UserId) -> bool {
        self.kind == DialogKind::Public || self.has(user) || is_broken(Rule::MembersOnly)
    }

    /// Whether it is in the user's list.
    pub fn is_listed_by(&self, user: UserId) -> bool {
        self.admits(user) && !self.parted.contains(&user)
    }

    /// Whether it has a room.
    pub fn has_room(&self) -> bool {
        self.kind != DialogKind::Private
    }

    /// Whether unread messages are counted in it.
    pub fn counts_unread(&self) -> bool {
        self.kind != DialogKind::Public
    }

    /// Of a private dialog, the one who is not `user`.
    pub fn other(&self, user: UserId) -> Option<UserId> {
        match self.kind {
            DialogKind::Private => self.occupants.iter().copied().find(|&other| other != user),
            DialogKind::Public | DialogKind::Group => None,
        }
    }
}

/// The custom parameters of a dialog: fields of a class of the app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// The class.
    pub class: String,
    /// In the order in which they were set, each once.
    pub fields: Vec<(String, Value)>,
}

impl Data {
    /// Takes over what `newer` sets; another class begins anew.
    pub fn merge(&mut self, newer: Data) {
        if self.class != newer.class {
            *self = newer;
            return;
        }
        for (name, value) in newer.fields {
            match self.fields.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => self.fields.push((name, value)),
            }
        }
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// A value of a custom field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the variants are those of JSON")]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
}

/// What a room is said to be about.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The text; empty takes the subject back.
    pub text: String,
    /// Who said so.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
}

/// What changes with each message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Messages there are; those deleted for all do not count.
    pub count: u64,
    /// The greatest order ever given out.
    pub order: u64,
    /// The newest message.
    pub last: Option<Last>,
    /// When a message last came, changed its text or went.
    pub updated_at: Timestamp,
    /// What the archive has besides: messages that were taken back, and what was said about messages.
    pub beside: u64,
}

impl Head {
    /// How many messages there are in the archive.
    pub fn archived(&self) -> u64 {
        self.count + self.beside
    }

    /// The order of the next message.
    pub fn next_order(&self, date_sent: u64) -> u64 {
        (self.order + 1).max(date_sent << SEQUENCE_BITS)
    }

    /// Where the dialog stands in lists by last message: Unix seconds, zero without any.
    pub fn at(&self) -> u32 {
        self.last.as_ref().map_or(0, |last| u32::try_from(last.date_sent).unwrap_or(u32::MAX))
    }
}

/// The newest message as lists of dialogs show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Which.
    pub id: MessageId,
    /// Where.
    pub order: u64,
    /// By whom.
    pub sender: UserId,
    /// Unix seconds.
    pub date_sent: u64,
    /// Its text, cut at [`crate::limits::LAST_MESSAGE_BYTES_MAX`].
    pub text: Option<String>,
}

impl fmt::Debug for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} at {}", self.id, self.sender, self.date_sent)
    }
}

/// Who has to hear of the dialog after a crash besides those who are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// Users who are no longer in it, or have put it out of their sight.
    pub parted: Vec<UserId>,
}

/// The order of the first message that can have been sent at `secs` or later. A message's order is never below this, and above
/// it only when an older one came with a later date.
pub fn first_order(secs: u64) -> u64 {
    secs.min(u64::from(u32::MAX)) << SEQUENCE_BITS
}

/// The greatest `secs` whose [`first_order`] is not above this order.
pub fn order_secs(order: u64) -> u64 {
    order >> SEQUENCE_BITS
}

/// What the ids of private dialogs are made with, so that nobody can tell from an id whether two users have one.
#[derive(Clone, Debug)]
pub struct Pairs(hmac::Key);

impl Pairs {
    /// From the server's secret. With another secret no private dialog of old is found again.
    pub fn of(secret: &[u8; 32]) -> Pairs {
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"private dialogs");
        Pairs(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }
}

/// What the ids of occupants are made with, so that nobody can tell from one who it is, or where else he is. XEP-0421
#[derive(Clone, Debug)]
pub struct OccupantIds(hmac::Key);

impl OccupantIds {
    /// From the server's secret. With another secret everybody has another id in every room.
    pub fn of(secret: &[u8; 32]) -> OccupantIds {
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"occupants");
        OccupantIds(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }

    /// The id of a user in the room of a dialog.
    pub fn id(&self, app: AppId, dialog: DialogId, user: UserId) -> String {
        let mut source = [0; 4 + 12 + 8];
        source[..4].copy_from_slice(&app.0.to_be_bytes());
        source[4..16].copy_from_slice(dialog.as_bytes());
        source[16..].copy_from_slice(&user.0.to_be_bytes());
        let hash = hmac::sign(&self.0, &source);
        let mut id = String::with_capacity(OCCUPANT_ID_CHARS);
        for byte in &hash.as_ref()[..OCCUPANT_ID_CHARS / 2] {
            for digit in [byte >> 4, byte & 0xf] {
                id.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        id
    }
}

/// Of 128 that there may be.
const OCCUPANT_ID_CHARS: usize = 40;

impl DialogId {
    /// The private dialog of two users of an app, found without any index: the same whoever asks, and living where the account
    /// of the lower number does.
    pub fn private(pairs: &Pairs, app: AppId, one: UserId, two: UserId) -> DialogId {
        let (low, high) = (one.min(two), one.max(two));
        let mut source = [0; 4 + 8 + 8];
        source[..4].copy_from_slice(&app.0.to_be_bytes());
        source[4..12].copy_from_slice(&low.0.to_be_bytes());
        source[12..].copy_from_slice(&high.0.to_be_bytes());
        let hash = hmac::sign(&pairs.0, &source);
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&hash.as_ref()[..12]);
        let partition = Owner::Account(AccountId { app, user: low }).partition().number();
        bytes[10] = (bytes[10] & 0xf0) | (partition >> 8) as u8;
        bytes[11] = partition as u8;
        DialogId(ObjectId(bytes))
    }

    /// A new dialog's id out of chance; the last bits of it place the dialog.
    pub fn drawn(now: Timestamp, random: [u8; 8]) -> DialogId {
        DialogId(object_id(now, random))
    }
}

impl MessageId {
    /// A new message's id out of chance.
    pub fn drawn(now: Timestamp, random: [u8; 8]) -> MessageId {
        MessageId(object_id(now, random))
    }
}

fn object_id(now: Timestamp, random: [u8; 8]) -> ObjectId {
    let [a, b, c, d, e, f, g, h] = random;
    ObjectId::new(now.secs() as u32, [a, b, c, d, e], u32::from_be_bytes([0, f, g, h]))
}

/// The local part of the dialog's room.
pub fn room(app: AppId, id: DialogId) -> String {
    RoomJid { app, dialog: id }.local()
}

/// The key that all rows of a dialog begin with.
pub fn key(app: AppId, id: DialogId) -> Key {
    Key::of(&Owner::Dialog(app, id))
}

/// What a dialog is made of.
pub fn load_reads(app: AppId, id: DialogId) -> Reads {
    Reads::get(&DIALOGS, key(app, id)).and_get(&HEADS, key(app, id))
}

/// Takes the answer to [`load_reads`]; none when there is no such dialog.
pub fn load(rows: &mut Rows) -> Result<Option<(DialogRow, Head)>, Unreadable> {
    let record = rows.decoded(DIALOG_VERSION)?;
    let head = found_head(rows)?;
    Ok(record.map(|record| (record, head.unwrap_or_default())))
}

/// The head in a row of [`HEADS`], if there is one.
pub fn found_head(rows: &mut Rows) -> Result<Option<Head>, Unreadable> {
    let Some(row) = rows.row() else { return Ok(None) };
    if row.first() != Some(&HEAD_VERSION_OLD) {
        return row::decode(HEAD_VERSION, &row).map(Some);
    }
    let (count, order, last, updated_at) = row::decode(HEAD_VERSION_OLD, &row)?;
    Ok(Some(Head { count, order, last, updated_at, beside: 0 }))
}

/// Sets what the dialog is.
pub fn put(batch: &mut Batch, app: AppId, id: DialogId, row: &DialogRow) {
    batch.put(&DIALOGS, key(app, id), row::encode(DIALOG_VERSION, row));
}

/// Sets its head.
pub fn put_head(batch: &mut Batch, app: AppId, id: DialogId, head: &Head) {
    batch.put(&HEADS, key(app, id), row::encode(HEAD_VERSION, head));
}

/// Says that the members' lists may lag behind.
pub fn put_dirty(batch: &mut Batch, app: AppId, id: DialogId, unsettled: &Unsettled) {
    batch.put(&DIRTY, key(app, id), row::encode(DIRTY_VERSION, unsettled));
}

/// The row of [`DIRTY`], if there is one.
pub fn found_dirty(rows: &mut Rows) -> Result<Option<Unsettled>, Unreadable> {
    rows.decoded(DIRTY_VERSION)
}

/// The key of a row of [`MESSAGE_IDS`].
pub fn place_key(app: AppId, id: DialogId, message: MessageId) -> Key {
    key(app, id).bytes(message.as_bytes())
}

/// The key of a row of [`MESSAGES`], and what those of [`RECEIPTS`] and [`HIDDEN`] begin with.
pub fn order_key(app: AppId, id: DialogId, order: u64) -> Key {
    key(app, id).u64(order)
}

/// The key of a row of [`RECEIPTS`] or [`HIDDEN`].
pub fn mark_key(app: AppId, id: DialogId, order: u64, user: UserId) -> Key {
    order_key(app, id, order).u64(user.0)
}

/// The key of a row of [`READERS`].
pub fn reader_key(app: AppId, id: DialogId, user: UserId) -> Key {
    key(app, id).u64(user.0)
}

/// The orders from `first` up to `last`, both inside, with whatever hangs on them.
pub fn orders(app: AppId, id: DialogId, first: u64, last: u64) -> Range {
    Range { start: order_key(app, id, first), end: order_key(app, id, last).all_below().end }
}

/// The dialog in a key of [`DIRTY`].
pub fn owner_of(key: &Key) -> Option<Owner> {
    let [_, _, a, b, c, d, id @ ..] = *key.as_slice().first_chunk::<18>()?;
    Some(Owner::Dialog(AppId(u32::from_be_bytes([a, b, c, d])), DialogId(ObjectId(id))))
}

/// The order in a key of [`MESSAGES`].
pub fn order_of(key: &Key) -> Result<u64, Unreadable> {
    key.as_slice().last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)).ok_or(Unreadable::Malformed)
}

/// Order and user in a key of [`RECEIPTS`] or [`HIDDEN`].
pub fn mark_of(key: &Key) -> Result<(u64, UserId), Unreadable> {
    let bytes = key.as_slice().last_chunk::<16>().ok_or(Unreadable::Malformed)?;
    let (order, user) = bytes.split_at(8);
    let number = |half: &[u8]| half.iter().fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
    Ok((number(order), UserId(number(user))))
}

/// The user in a key of [`READERS`].
pub fn reader_of(key: &Key) -> Result<UserId, Unreadable> {
    order_of(key).map(UserId)
}

/// A text no longer than `bytes_max`, cut between characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Pairs {
        Pairs::of(&[7; 32])
    }
    use proptest::prelude::*;

    const APP: AppId = AppId(7);

    #[test]
    fn a_pair_has_one_private_dialog_that_lives_with_the_lower_number() {
        let id = DialogId::private(&pairs(), APP, UserId(9), UserId(4));
        assert_eq!(id, DialogId::private(&pairs(), APP, UserId(4), UserId(9)));
        assert_ne!(id, DialogId::private(&pairs(), AppId(8), UserId(4), UserId(9)));
        assert_ne!(id, DialogId::private(&pairs(), APP, UserId(4), UserId(10)));
        // Rows on disk hang on this.
        assert_eq!(id.to_string(), "c6628ac8d2f8c9435cddd788");
        for (low, high) in (1..200).map(|low| (UserId(low), UserId(low * 7 + 1))) {
            let dialog = Owner::Dialog(APP, DialogId::private(&pairs(), APP, low, high));
            assert_eq!(dialog.partition(), Owner::Account(AccountId { app: APP, user: low }).partition());
        }
    }

    #[test]
    fn keys_of_the_history_sort_by_order_and_come_back() {
        let id = DialogId::private(&pairs(), APP, UserId(1), UserId(2));
        let range = orders(APP, id, 5, 9);
        for (order, inside) in [(4, false), (5, true), (9, true), (10, false)] {
            let key = mark_key(APP, id, order, UserId(u64::MAX));
            assert_eq!(range.start <= key && key < range.end, inside, "{order}");
            assert_eq!(mark_of(&key), Ok((order, UserId(u64::MAX))));
        }
        assert_eq!(order_of(&order_key(APP, id, 77)), Ok(77));
        assert_eq!(reader_of(&reader_key(APP, id, UserId(3))), Ok(UserId(3)));
        assert_eq!(owner_of(&key(APP, id)), Some(Owner::Dialog(APP, id)));
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("añb", 99), "añb");
    }

    proptest! {
        #[test]
        fn orders_grow_whatever_the_clocks_say(dates in proptest::collection::vec(0u64..1_000, 1..50)) {
            let mut head = Head::default();
            for date in dates {
                let order = head.next_order(date);
                prop_assert!(order > head.order && order >= first_order(date));
                head.order = order;
            }
        }

        #[test]
        fn heads_and_records_come_back_as_they_were(count in any::<u64>(), order in any::<u64>(), text in any::<Option<String>>()) {
            let id = MessageId::drawn(Timestamp::from_secs(9), [1; 8]);
            let last = Last { id, order, sender: UserId(3), date_sent: 9, text };
            let updated_at = Timestamp::from_millis(count);
            let head = Head { count, order, last: Some(last), updated_at, beside: 0 };
            let old = row::encode(HEAD_VERSION_OLD, &(count, order, &head.last, updated_at));
            for bytes in [row::encode(HEAD_VERSION, &head), old] {
                let mut rows = Rows::new(vec![row::Found::Row(Some(bytes))]);
                prop_assert_eq!(found_head(&mut rows), Ok(Some(head.clone())));
            }
        }
    }
}
