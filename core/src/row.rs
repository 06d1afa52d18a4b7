//! Rows: the tables, keys, reads and writes that handlers speak of, and a store carries out.
//!
//! A key begins with the partition and the ids of its owner, so that everything one owner has lies together and every listing
//! is one bounded range. Text inside a key ends in a terminator that cannot occur in text, so that one user's or one list's
//! keys never run into another's whose name begins alike.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::owner::Owner;

/// A column family.
#[derive(Debug)]
pub struct Table {
    name: &'static str,
    mostly_absent: bool,
}

impl Table {
    /// A table of this name; names are unique and never reused for another format.
    pub const fn new(name: &'static str) -> Table {
        Table { name, mostly_absent: false }
    }

    /// Says that most gets ask for a key that is not there, such as "was this one here before?".
    pub const fn mostly_absent(mut self) -> Table {
        self.mostly_absent = true;
        self
    }

    /// Whether most gets find nothing.
    pub fn is_mostly_absent(&self) -> bool {
        self.mostly_absent
    }

    /// The name of the column family.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        self.name == other.name
    }
}

impl Eq for Table {}

/// A row's key: partition, owner, then what the table orders by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(SmallVec<[u8; 40]>);

impl Key {
    /// The key that every key of `owner` begins with.
    pub fn of(owner: &Owner) -> Key {
        let mut key = Key(SmallVec::new());
        key.0.extend_from_slice(&owner.partition().number().to_be_bytes());
        match owner {
            Owner::App(app) => key.u32(app.0),
            Owner::Account(id) => key.u32(id.app.0).u64(id.user.0),
            Owner::Dialog(app, dialog) => key.u32(app.0).bytes(dialog.as_bytes()),
            Owner::Component(id) => key.u64(id.number()),
        }
    }

    /// A key from stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Key {
        Key(SmallVec::from_slice(bytes))
    }

    /// Appends a number of fixed width, in order.
    #[must_use]
    pub fn u8(mut self, number: u8) -> Key {
        self.0.push(number);
        self
    }

    /// Appends a number of fixed width, in order.
    #[must_use]
    pub fn u32(mut self, number: u32) -> Key {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Appends a number of fixed width, in order.
    #[must_use]
    pub fn u64(mut self, number: u64) -> Key {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Appends bytes of a width that is the same in every key of the table.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Key {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends text of any length, in byte order; what follows it cannot be mistaken for more text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Key {
        for &byte in text.as_bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend_from_slice(&[0, 0]);
        self
    }

    /// The bytes as they stand in the store.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The text that the key ends in, when it was appended to the first `at` bytes and holds no NUL (as no text of XML does).
    pub fn text_after(&self, at: usize) -> Option<&str> {
        std::str::from_utf8(self.0.get(at..)?.strip_suffix(&[0, 0])?).ok()
    }

    /// All keys that begin with this one.
    pub fn all_below(&self) -> Range {
        let mut end = self.0.clone();
        // The next key of the same length; past 0xff.. there is none, and the owner prefix (a partition below 4096) rules that out.
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                break;
            }
        }
        Range { start: self.clone(), end: Key(end) }
    }
}

/// Keys from `start` (inside) to `end` (outside).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key that belongs.
    pub start: Key,
    /// The first key that no longer belongs.
    pub end: Key,
}

impl Range {
    /// Whether the key belongs.
    pub fn contains(&self, key: &Key) -> bool {
        self.start <= *key && *key < self.end
    }
}

/// One thing to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The row at this key, if there is one.
    Get(&'static Table, Key),
    /// At most `limit` rows of a range, in key order or against it.
    Scan {
        /// The table.
        table: &'static Table,
        /// The range.
        range: Range,
        /// The most rows that come back.
        limit: usize,
        /// From the end of the range backwards.
        backwards: bool,
    },
}

/// What a handler wants to see before it acts, in the order in which it will take the answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads(pub SmallVec<[Read; 2]>);

impl Reads {
    /// Nothing: the handler needs no rows.
    pub fn none() -> Reads {
        Reads::default()
    }

    /// One row.
    pub fn get(table: &'static Table, key: Key) -> Reads {
        Reads::default().and_get(table, key)
    }

    /// One range, from its start.
    pub fn scan(table: &'static Table, range: Range, limit: usize) -> Reads {
        Reads::default().and_scan(table, range, limit)
    }

    /// This and one row more.
    #[must_use]
    pub fn and_get(mut self, table: &'static Table, key: Key) -> Reads {
        self.0.push(Read::Get(table, key));
        self
    }

    /// This and one range more.
    #[must_use]
    pub fn and_scan(mut self, table: &'static Table, range: Range, limit: usize) -> Reads {
        self.0.push(Read::Scan { table, range, limit, backwards: false });
        self
    }

    /// This and one range more, its last rows first.
    #[must_use]
    pub fn and_scan_back(mut self, table: &'static Table, range: Range, limit: usize) -> Reads {
        self.0.push(Read::Scan { table, range, limit, backwards: true });
        self
    }

    /// These and those, in this order.
    #[must_use]
    pub fn and(mut self, others: Reads) -> Reads {
        self.0.extend(others.0);
        self
    }

    /// Whether there is nothing to look up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What one [`Read`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The answer to a get.
    Row(Option<Bytes>),
    /// The answer to a scan: keys and values in the order asked for.
    Page(Vec<(Key, Bytes)>),
}

/// What the [`Reads`] found, one answer each, in order.
#[derive(Clone, Debug, Default)]
pub struct Rows(std::vec::IntoIter<Found>);

impl Rows {
    /// The answers in the order of the reads.
    pub fn new(found: Vec<Found>) -> Rows {
        Rows(found.into_iter())
    }

    /// The next answer, which was asked for with a get.
    ///
    /// # Panics
    /// When the plan did not ask for it: plan and apply disagree, which is a fault in the handler.
    pub fn row(&mut self) -> Option<Bytes> {
        match self.0.next() {
            Some(Found::Row(row)) => row,
            other => panic!("the plan has no get here: {other:?}"),
        }
    }

    /// The next answer, which was asked for with a scan.
    ///
    /// # Panics
    /// When the plan did not ask for it.
    pub fn page(&mut self) -> Vec<(Key, Bytes)> {
        match self.0.next() {
            Some(Found::Page(page)) => page,
            other => panic!("the plan has no scan here: {other:?}"),
        }
    }

    /// The next answer, decoded; a row that cannot be read is an error, not an absence.
    pub fn decoded<T: DeserializeOwned>(&mut self, version: u8) -> Result<Option<T>, Unreadable> {
        self.row().map(|bytes| decode(version, &bytes)).transpose()
    }
}

/// One change of one row (or one range).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets the row.
    Put(&'static Table, Key, Bytes),
    /// Removes the row, if there is one.
    Delete(&'static Table, Key),
    /// Removes every row of the range.
    DeleteRange(&'static Table, Range),
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(pub Vec<Change>);

impl Batch {
    /// Sets a row.
    pub fn put(&mut self, table: &'static Table, key: Key, value: impl Into<Bytes>) {
        self.0.push(Change::Put(table, key, value.into()));
    }

    /// Removes a row.
    pub fn delete(&mut self, table: &'static Table, key: Key) {
        self.0.push(Change::Delete(table, key));
    }

    /// Removes all rows of a range.
    pub fn delete_range(&mut self, table: &'static Table, range: Range) {
        self.0.push(Change::DeleteRange(table, range));
    }

    /// Adds another batch's changes after these.
    pub fn extend(&mut self, other: Batch) {
        self.0.extend(other.0);
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A stored row that this version cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The row has no version byte.
    #[error("the row is empty")]
    Empty,
    /// The row was written by a version that this one does not know.
    #[error("the row has format {0}, this server reads {1}")]
    Version(u8, u8),
    /// The bytes do not fit the format.
    #[error("the row does not fit its format")]
    Malformed,
}

/// A row's bytes: one byte of format version, then the value.
///
/// # Panics
/// Never for the plain data types that rows are made of.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Bytes {
    let out = postcard::to_extend(value, vec![version]).expect("rows are plain data and serialize");
    Bytes::from(out)
}

/// Reads what [`encode`] wrote.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Unreadable> {
    decode_borrowed(version, bytes)
}

/// As [`decode`], for values that borrow from the row.
pub fn decode_borrowed<'a, T: Deserialize<'a>>(version: u8, bytes: &'a [u8]) -> Result<T, Unreadable> {
    let (&found, value) = bytes.split_first().ok_or(Unreadable::Empty)?;
    if found != version {
        return Err(Unreadable::Version(found, version));
    }
    match postcard::take_from_bytes(value) {
        Ok((decoded, [])) => Ok(decoded),
        // More than the format has is as wrong as less.
        Ok(_) | Err(_) => Err(Unreadable::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::user::{AppId, UserId};
    use crate::owner::AccountId;

    fn account(app: u32, user: u64) -> Key {
        Key::of(&Owner::Account(AccountId { app: AppId(app), user: UserId(user) }))
    }

    #[test]
    fn the_last_text_can_be_read_again() {
        let prefix = account(1, 2).text("node").as_slice().len();
        for text in ["", "a", "ü", "a b"] {
            assert_eq!(account(1, 2).text("node").text(text).text_after(prefix), Some(text));
        }
        assert_eq!(account(1, 2).text("node").u64(7).text_after(prefix), None);
        assert_eq!(account(1, 2).text_after(1000), None);
    }

    #[test]
    fn text_never_runs_into_its_neighbour() {
        let one = account(1, 2).text("a");
        let longer = account(1, 2).text("ab");
        let nul = account(1, 2).text("a\0b");
        for other in [longer, nul] {
            let range = one.all_below();
            assert!(!(range.start <= other && other < range.end), "{other:?} is not below {one:?}");
        }
        assert!(one.all_below().start <= one.clone().u32(9));
        assert!(one.clone().u32(u32::MAX) < one.all_below().end);
    }

    #[test]
    fn ranges_end_after_trailing_ff() {
        let key = account(1, u64::MAX);
        let range = key.all_below();
        assert!(key.clone().bytes(&[0xff; 30]) < range.end);
        assert!(range.end.as_slice().len() < key.as_slice().len());
    }

    #[test]
    fn rows_remember_their_format() {
        let row = encode(3, &("name", 7u32));
        assert_eq!(decode::<(String, u32)>(3, &row), Ok(("name".to_owned(), 7)));
        assert_eq!(decode::<(String, u32)>(4, &row), Err(Unreadable::Version(3, 4)));
        assert_eq!(decode::<(String, u32)>(3, &[]), Err(Unreadable::Empty));
        assert_eq!(decode::<(String, u32)>(3, &[3, 200]), Err(Unreadable::Malformed));
        let longer = [&row[..], &[0]].concat();
        assert_eq!(decode::<(String, u32)>(3, &longer), Err(Unreadable::Malformed));
    }
}
