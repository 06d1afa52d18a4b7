//! Files that users leave with the server: first a slot, then the file. XEP-0363
//!
//! An account has a row for each of its slots and files; that is what its share is counted from. The file itself lies outside of
//! the store under its [`FileId`] alone, with what has to be known to hand it out, and nobody needs the account for that. It is
//! there in full before the account is told to count it as kept, and a file that no account counts is handed out to nobody who was
//! not told its name: what a crash leaves between the two goes with the day it was for.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::command::Command as AnyCommand;
use crate::effect::{Random, Turn};
use crate::limits::UPLOADS_PER_USER_MAX;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::time::Timestamp;

/// account, file → [`Upload`].
pub static UPLOADS: Table = Table::new("uploads");

const VERSION: u8 = 1;

/// The name of a file: the last day on which it is wanted, and more chance than anybody can guess.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId([u8; FILE_ID_BYTES]);

const FILE_ID_BYTES: usize = 16;

impl FileId {
    /// A name for a file that is kept until then, or for good.
    pub fn draw(random: &mut dyn Random, until: Option<Timestamp>) -> FileId {
        let mut bytes: [u8; FILE_ID_BYTES] = random.array();
        bytes[..2].copy_from_slice(&until.map_or(FOR_GOOD, Day::of).0.to_be_bytes());
        FileId(bytes)
    }

    /// Reads 32 hex digits in lower case; `None` for anything else.
    pub fn parse(text: &str) -> Option<FileId> {
        read_hex(text).map(FileId)
    }

    /// The last day of the file.
    pub fn day(self) -> Day {
        Day(u16::from_be_bytes([self.0[0], self.0[1]]))
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Who knows the name of a file may have it, so no log shows more than its day.
impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId(of day {})", self.day().0)
    }
}

/// A day since 1970 in UTC. The last one that there is stands for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u16);

const FOR_GOOD: Day = Day(u16::MAX);

impl Day {
    /// The day of a moment.
    pub fn of(moment: Timestamp) -> Day {
        Day(u16::try_from(moment.secs() / (24 * 60 * 60)).unwrap_or(u16::MAX - 1).min(u16::MAX - 1))
    }
}

/// What opens a slot: whoever uploads has to show it.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct SlotKey([u8; SLOT_KEY_BYTES]);

const SLOT_KEY_BYTES: usize = 16;

impl SlotKey {
    /// A new key.
    pub fn draw(random: &mut dyn Random) -> SlotKey {
        SlotKey(random.array())
    }

    /// Reads 32 hex digits in lower case; `None` for anything else.
    pub fn parse(text: &str) -> Option<SlotKey> {
        read_hex(text).map(SlotKey)
    }
}

impl fmt::Display for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotKey(private)")
    }
}

impl PartialEq for SlotKey {
    fn eq(&self, other: &SlotKey) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SlotKey {}

fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let is_hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.iter().all(is_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// A slot or a file of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// How large the file is, or will be.
    pub bytes: u64,
    /// When the slot was given out.
    pub given: Timestamp,
    /// When it goes; none for never.
    pub until: Option<Timestamp>,
    /// What may come; none once it is there.
    pub slot: Option<Slot>,
}

/// What was promised to whoever uploads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// What opens it.
    pub key: SlotKey,
    /// By when the upload has to begin.
    pub begins_by: Timestamp,
    /// The file's name, fit for a path.
    pub name: String,
    /// The media type, if it was named.
    pub content_type: Option<String>,
}

impl Upload {
    /// When it counts for nothing any more, if ever: a slot that nobody used in time, and a file that is gone, though not within
    /// the day that it is a part of. Else short lives would be a way around what a user may bring in a day.
    pub fn counts_until(&self) -> Option<Timestamp> {
        match &self.slot {
            Some(slot) => Some(slot.begins_by.after(self.time_max())),
            None => self.until.map(|until| until.max(self.day_until())),
        }
    }

    /// Whether neither the file nor the slot counts for anything any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.counts_until().is_some_and(|until| until < now)
    }

    /// Until when it is a part of what the user has brought within a day.
    pub fn day_until(&self) -> Timestamp {
        self.given.after(DAY)
    }

    /// Whether an upload may still begin.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let is_wanted = self.until.is_none_or(|until| now <= until);
        is_wanted && self.slot.as_ref().is_some_and(|slot| now <= slot.begins_by)
    }

    /// How long an upload can take at the slowest pace that is put up with, and some time on top.
    fn time_max(&self) -> Duration {
        Duration::from_secs(600 + self.bytes / SLOWEST_BYTES_PER_SEC)
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A client that sends or takes a file more slowly than this, after its first [`request_time_max`](crate::limits::Limits), is
/// hung up on.
pub const SLOWEST_BYTES_PER_SEC: u64 = 4 * 1024;

/// What has to be known to hand a file out; it is kept with the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The name that the file's address ends in.
    pub name: String,
    /// The media type.
    pub content_type: String,
    /// When the file goes; none for never.
    pub until: Option<Timestamp>,
}

const LABEL_VERSION: u8 = 1;

impl Label {
    /// As it is kept.
    pub fn encode(&self) -> bytes::Bytes {
        row::encode(LABEL_VERSION, self)
    }

    /// Reads what [`Label::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Label, Unreadable> {
        row::decode(LABEL_VERSION, bytes)
    }
}

/// Something for the account, on behalf of an upload over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Somebody wants to upload.
    Begin {
        /// Which file.
        file: FileId,
        /// What was shown.
        key: SlotKey,
    },
    /// The file is on disk in full.
    Keep {
        /// Which.
        file: FileId,
    },
}

impl From<Command> for AnyCommand {
    fn from(command: Command) -> AnyCommand {
        AnyCommand::Account(super::account::Command::Upload(command))
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// That file may come.
    Open {
        /// How large it is.
        bytes: u64,
        /// When it goes.
        until: Option<Timestamp>,
        /// What was promised.
        slot: Slot,
    },
    /// The account counts the file as kept.
    Kept,
    /// There is no such slot, or not for whoever asks.
    NoSlot,
    /// The file is there already.
    Used,
}

/// The rows for [`apply`].
pub fn plan(id: AccountId, command: &Command) -> Reads {
    match command {
        Command::Begin { file, .. } | Command::Keep { file } => Reads::get(&UPLOADS, key(id, *file)),
    }
}

/// Applies a command.
pub fn apply(id: AccountId, command: &Command, rows: &mut Rows, turn: &mut Turn<'_>) -> Result<Answer, Unreadable> {
    let Some(mut upload) = rows.decoded::<Upload>(VERSION)? else { return Ok(Answer::NoSlot) };
    match command {
        Command::Begin { key, .. } => {
            let is_open = upload.is_open(turn.now.stamp);
            Ok(match upload.slot {
                None => Answer::Used,
                Some(slot) if is_open && slot.key == *key => {
                    Answer::Open { bytes: upload.bytes, until: upload.until, slot }
                }
                Some(_) => Answer::NoSlot,
            })
        }
        Command::Keep { file } => {
            if upload.slot.take().is_some() {
                let mut batch = Batch::default();
                put(id, *file, &upload, &mut batch);
                turn.out.write(batch);
            }
            Ok(Answer::Kept)
        }
    }
}

/// All slots and files of an account.
pub fn reads(id: AccountId) -> Reads {
    Reads::scan(&UPLOADS, Key::of(&Owner::Account(id)).all_below(), UPLOADS_PER_USER_MAX)
}

/// The answer to [`reads`].
pub fn all(rows: &mut Rows) -> Result<Vec<(FileId, Upload)>, Unreadable> {
    let read = |(key, value): &(Key, bytes::Bytes)| {
        let file = key.as_slice().last_chunk().ok_or(Unreadable::Malformed)?;
        Ok((FileId(*file), row::decode(VERSION, value)?))
    };
    rows.page().iter().map(read).collect()
}

/// Adds or changes a row.
pub fn put(id: AccountId, file: FileId, upload: &Upload, batch: &mut Batch) {
    batch.put(&UPLOADS, key(id, file), row::encode(VERSION, upload));
}

/// Takes a row away.
pub fn forget(id: AccountId, file: FileId, batch: &mut Batch) {
    batch.delete(&UPLOADS, key(id, file));
}

fn key(id: AccountId, file: FileId) -> Key {
    Key::of(&Owner::Account(id)).bytes(&file.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);

    impl Random for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
        }
    }

    #[test]
    fn a_file_knows_its_last_day_and_is_named_one_way() {
        let until = Timestamp::from_secs(20_000 * 86_400 + 5);
        let file = FileId::draw(&mut Counting(0), Some(until));
        assert_eq!((file.day(), file.to_string()), (Day(20_000), "4e20030405060708090a0b0c0d0e0f10".to_owned()));
        assert_eq!(FileId::parse(&file.to_string()), Some(file));
        for bad in ["", "4E20030405060708090a0b0c0d0e0f10", "+e20030405060708090a0b0c0d0e0f10", "4e20", "é"] {
            assert_eq!(FileId::parse(bad), None, "{bad}");
        }
        let for_good = FileId::draw(&mut Counting(0), None);
        assert!(for_good.day() > Day::of(Timestamp::from_secs(u64::MAX / 1000)), "no day is later");
        assert!(!format!("{file:?} {:?}", SlotKey::draw(&mut Counting(0))).contains("0405"), "no log lets anybody in");
    }

    #[test]
    fn a_slot_ends_and_an_upload_that_began_in_time_is_waited_for() {
        let at = Timestamp::from_secs;
        let slot = Slot { key: SlotKey([1; 16]), begins_by: at(1_000), name: "a".to_owned(), content_type: None };
        let open = Upload { bytes: 1 << 20, given: at(400), until: Some(at(5_000_000)), slot: Some(slot) };
        assert!(open.is_open(at(1_000)) && !open.is_open(at(1_001)));
        let short = Upload { until: Some(at(900)), ..open.clone() };
        assert!(short.is_open(at(900)) && !short.is_open(at(901)), "nobody could have it");
        assert!(!open.is_over(at(1_800)), "600 seconds, and 256 for the megabyte");
        assert!(open.is_over(at(1_857)));
        let kept = Upload { slot: None, ..open };
        assert!(!kept.is_over(at(5_000_000)) && kept.is_over(at(5_000_001)));
        assert!(!Upload { until: None, ..kept.clone() }.is_over(at(u64::MAX / 1000)));
        let short = Upload { until: Some(at(900)), ..kept };
        assert!(!short.is_over(at(400 + 86_400)) && short.is_over(at(401 + 86_400)), "a part of its day");
    }
}
