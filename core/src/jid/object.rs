//! Twelve-byte object ids, and the rooms that are named after them.
//!
//! An id orders by the second it was made in, then by the maker, then by the maker's counter. As text it is 24 hex
//! digits in lower case and nothing else: an id in capitals would not come back as it was sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{AppId, BareJid, Domain, Jid};

/// Length of an object id, in bytes.
pub const OBJECT_ID_BYTES: usize = 12;

/// Length of an object id as text, in hex digits.
pub const OBJECT_ID_DIGITS: usize = 2 * OBJECT_ID_BYTES;

/// A text is not an object id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 24 hex digits in lower case")]
pub struct ObjectIdError;

/// A twelve-byte id: seconds since 1970, five bytes that name the maker, a counter of three bytes; all big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub [u8; OBJECT_ID_BYTES]);

impl ObjectId {
    /// Makes an id. Of `counter` the lower 24 bits count; whoever makes ids steps it by one for each.
    pub fn new(secs: u32, machine: [u8; 5], counter: u32) -> Self {
        let mut bytes = [0; OBJECT_ID_BYTES];
        bytes[..4].copy_from_slice(&secs.to_be_bytes());
        bytes[4..9].copy_from_slice(&machine);
        bytes[9..].copy_from_slice(&counter.to_be_bytes()[1..]);
        Self(bytes)
    }

    /// The second since 1970 in which the id was made.
    pub fn secs(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The bytes, in the order in which ids sort.
    pub fn as_bytes(&self) -> &[u8; OBJECT_ID_BYTES] {
        &self.0
    }

    /// Reads 24 lower-case hex digits; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != OBJECT_ID_DIGITS {
            return None;
        }
        let mut bytes = [0; OBJECT_ID_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The 24 hex digits, in ASCII.
    pub fn to_hex(self) -> [u8; OBJECT_ID_DIGITS] {
        let mut digits = [0; OBJECT_ID_DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        digits
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_hex().iter().try_for_each(|&digit| fmt::Write::write_char(f, char::from(digit)))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        Self::parse(text.as_bytes()).ok_or(ObjectIdError)
    }
}

/// Hex digits where people read (JSON), the twelve bytes alone where they do not (rows).
impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            from.deserialize_str(HexVisitor)
        } else {
            <[u8; OBJECT_ID_BYTES]>::deserialize(from).map(Self)
        }
    }
}

struct HexVisitor;

impl de::Visitor<'_> for HexVisitor {
    type Value = ObjectId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("24 hex digits in lower case")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ObjectId, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! object_id_of {
    ($(#[$doc:meta])* $kind:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $kind(pub ObjectId);

        impl $kind {
            /// Reads 24 lower-case hex digits; `None` for anything else.
            pub fn parse(text: &[u8]) -> Option<Self> {
                ObjectId::parse(text).map(Self)
            }

            /// The twelve bytes, in the order in which ids sort.
            pub fn as_bytes(&self) -> &[u8; OBJECT_ID_BYTES] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $kind {
            type Err = ObjectIdError;

            fn from_str(text: &str) -> Result<Self, ObjectIdError> {
                text.parse().map(Self)
            }
        }

        impl From<ObjectId> for $kind {
            fn from(id: ObjectId) -> Self {
                Self(id)
            }
        }
    };
}

object_id_of! {
    /// The id of a dialog: a conversation of two, or a group's.
    DialogId
}

object_id_of! {
    /// The id of a stored message.
    MessageId
}

/// The room of a dialog: `APPID_DIALOGID` at the domain of the rooms. The domain is not part of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomJid {
    /// The application the dialog belongs to.
    pub app: AppId,
    /// The dialog.
    pub dialog: DialogId,
}

impl RoomJid {
    /// Reads the local part of a room JID; `None` if it is not exactly `APPID_DIALOGID`.
    pub fn parse_local(local: &str) -> Option<Self> {
        let (app, dialog) = local.split_once('_')?;
        Some(Self { app: app.parse().ok()?, dialog: dialog.parse().ok()? })
    }

    /// The room that `jid` names, whether it names an occupant or the room itself; `None` away from `domain`.
    pub fn of(jid: &Jid<'_>, domain: &Domain) -> Option<Self> {
        if jid.domain() != domain.as_str() {
            return None;
        }
        jid.local().and_then(Self::parse_local)
    }

    /// `APPID_DIALOGID`.
    pub fn local(self) -> String {
        self.to_string()
    }

    /// The room's address.
    pub fn at(self, domain: &Domain) -> BareJid {
        BareJid::of_prepared(&self.local(), domain)
    }
}

/// The local part.
impl fmt::Display for RoomJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.app, self.dialog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "56c5bbb628f9ab7a75000002";

    #[test]
    fn puts_seconds_maker_and_counter_in_order() {
        let id = ObjectId::new(0x56c5_bbb6, [0x28, 0xf9, 0xab, 0x7a, 0x75], 0xff00_0002);
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(id.secs(), 0x56c5_bbb6);
        assert!(id < ObjectId::new(0x56c5_bbb6, [0x28, 0xf9, 0xab, 0x7a, 0x75], 3));
        assert!(id < ObjectId::new(0x56c5_bbb7, [0; 5], 0));
    }

    #[test]
    fn reads_24_small_hex_digits_and_nothing_else() {
        assert_eq!(TEXT.parse::<DialogId>().unwrap().to_string(), TEXT);
        let capitals = TEXT.to_uppercase();
        let others =
            ["", &TEXT[1..], "56c5bbb628f9ab7a750000021", &capitals, "56c5bbb628f9ab7a7500000g", "éééééééééééé"];
        for text in others {
            assert_eq!(text.parse::<MessageId>(), Err(ObjectIdError), "{text}");
        }
    }

    #[test]
    fn is_text_for_people_and_twelve_bytes_in_rows() {
        let id: MessageId = TEXT.parse().unwrap();
        let row = postcard::to_allocvec(&id).unwrap();
        assert_eq!(row, id.as_bytes());
        assert_eq!(postcard::from_bytes::<MessageId>(&row), Ok(id));
        let text = de::value::StrDeserializer::<de::value::Error>::new(TEXT);
        assert_eq!(MessageId::deserialize(text), Ok(id));
    }

    #[test]
    fn names_a_room_after_its_dialog() {
        let domain = Domain::parse("muc.chat.example").unwrap();
        let room = RoomJid { app: AppId(92), dialog: TEXT.parse().unwrap() };
        let jid = room.at(&domain);
        assert_eq!(jid, format!("92_{TEXT}@muc.chat.example").as_str());
        assert_eq!(RoomJid::of(&jid.as_jid(), &domain), Some(room));
        assert_eq!(RoomJid::of(&jid.with_resource("55").unwrap().as_jid(), &domain), Some(room));
        for local in ["", "92", TEXT, "92_", "092_56c5bbb628f9ab7a75000002", "92-56c5bbb628f9ab7a75000002"] {
            assert_eq!(RoomJid::parse_local(local), None, "{local}");
        }
    }
}
