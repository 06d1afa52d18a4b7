//! A user's list of dialogs, ordered by their last message. Server notes §9.2.
//!
//! The rows belong to the account and say only which dialogs the user is in and where each stands; the rest is read from the
//! dialogs. They are written blindly and can be written twice: the dialog says where it stood and where it stands. What a crash
//! leaves behind are rows for a dialog that stands elsewhere or whose user has left, so whoever reads the list takes a dialog
//! once and asks it who is in it; a dialog that was busy at the crash tells its members again.
//!
//! Dialogs of more than [`BUMP_MEMBERS_MAX`](crate::limits::BUMP_MEMBERS_MAX) members stay where they are in the lists: they
//! stand in front of the others, and where they belong is worked out when the list is read. Public dialogs are in nobody's list.

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Turn};
use crate::jid::user::{DialogId, ObjectId};
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};

/// account, standing, dialog → nothing.
pub static INBOX: Table = Table::new("inbox");
/// account, dialog → whether the user wants to hear of it while away; no row means yes.
pub static NOTIFICATIONS: Table = Table::new("notifications");

const NOTIFICATIONS_VERSION: u8 = 1;

/// Where a dialog stands in the lists of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// Too many members to be moved with each message.
    Large,
    /// By its last message: Unix seconds, zero when there was none.
    At(u32),
}

/// A change of one user's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The dialog is in the list.
    Place {
        /// Which.
        dialog: DialogId,
        /// Where it may have stood.
        from: Option<Standing>,
        /// Where it stands.
        to: Standing,
    },
    /// The dialog is not in the list.
    Drop {
        /// Which.
        dialog: DialogId,
        /// Where it may have stood.
        from: Standing,
    },
    /// The user wants to hear of messages while away, or does not.
    Notify {
        /// In which dialog.
        dialog: DialogId,
        /// Whether.
        enabled: bool,
    },
}

impl From<Command> for crate::command::Command {
    fn from(command: Command) -> crate::command::Command {
        crate::command::Command::Account(crate::model::account::Command::Inbox(command))
    }
}

/// Does it; whoever answers for it waits for the write.
pub fn apply(id: AccountId, command: Command, awaited: bool, turn: &mut Turn<'_>) {
    let mut batch = Batch::default();
    match command {
        Command::Place { dialog, from, to } => {
            if let Some(from) = from.filter(|from| *from != to) {
                batch.delete(&INBOX, key(id, from, dialog));
            }
            batch.put(&INBOX, key(id, to, dialog), Vec::new());
        }
        Command::Drop { dialog, from } => batch.delete(&INBOX, key(id, from, dialog)),
        Command::Notify { dialog, enabled } => {
            let key = notifications_key(id, dialog);
            if enabled {
                batch.delete(&NOTIFICATIONS, key);
            } else {
                batch.put(&NOTIFICATIONS, key, row::encode(NOTIFICATIONS_VERSION, &enabled));
            }
        }
    }
    turn.out.push(if awaited { Effect::Write(batch) } else { Effect::WriteBehind(batch) });
}

/// Takes all of it away: the user is no more.
pub fn wipe(id: AccountId, batch: &mut Batch) {
    let all = Key::of(&Owner::Account(id)).all_below();
    batch.delete_range(&INBOX, all.clone());
    batch.delete_range(&NOTIFICATIONS, all);
}

/// Whether the user wants to hear of a dialog, as [`notifies`] takes it.
pub fn notification_reads(id: AccountId, dialog: DialogId) -> Reads {
    Reads::get(&NOTIFICATIONS, notifications_key(id, dialog))
}

/// Whether the user wants to hear of it.
pub fn notifies(rows: &mut Rows) -> Result<bool, Unreadable> {
    Ok(rows.decoded(NOTIFICATIONS_VERSION)?.unwrap_or(true))
}

/// The list from its beginning: the large dialogs, then the others by last message, the newest first. [`listed`] takes it.
pub fn reads(id: AccountId, limit: usize) -> Reads {
    Reads::scan(&INBOX, Key::of(&Owner::Account(id)).all_below(), limit)
}

/// The list after the place of `last`.
pub fn reads_after(id: AccountId, last: &Entry, limit: usize) -> Reads {
    let mut range = Key::of(&Owner::Account(id)).all_below();
    range.start = key(id, last.standing, last.dialog).u8(0);
    Reads::scan(&INBOX, range, limit)
}

/// Whether a dialog is at this place in the list, as [`stands`] takes it.
pub fn place_reads(id: AccountId, entry: &Entry) -> Reads {
    Reads::get(&INBOX, key(id, entry.standing, entry.dialog))
}

/// Whether [`place_reads`] found it there.
pub fn stands(rows: &mut Rows) -> bool {
    rows.row().is_some()
}

/// One row of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub standing: Standing,
    /// Which dialog.
    pub dialog: DialogId,
}

/// What [`reads`] found. A dialog that moved in the middle of a crash can be there twice.
pub fn listed(rows: &mut Rows) -> Result<Vec<Entry>, Unreadable> {
    rows.page().iter().map(|(key, _)| entry(key)).collect()
}

fn entry(key: &Key) -> Result<Entry, Unreadable> {
    let bytes = key.as_slice().last_chunk::<17>().ok_or(Unreadable::Malformed)?;
    let [class, a, b, c, d, dialog @ ..] = *bytes;
    let standing = match class {
        LARGE => Standing::Large,
        _ => Standing::At(!u32::from_be_bytes([a, b, c, d])),
    };
    Ok(Entry { standing, dialog: DialogId(ObjectId(dialog)) })
}

const LARGE: u8 = 0;
const ORDERED: u8 = 1;

fn key(id: AccountId, standing: Standing, dialog: DialogId) -> Key {
    let key = Key::of(&Owner::Account(id));
    let key = match standing {
        Standing::Large => key.u8(LARGE).u32(0),
        Standing::At(secs) => key.u8(ORDERED).u32(!secs),
    };
    key.bytes(dialog.as_bytes())
}

fn notifications_key(id: AccountId, dialog: DialogId) -> Key {
    Key::of(&Owner::Account(id)).bytes(dialog.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::user::{AppId, UserId};
    use proptest::prelude::*;

    const ID: AccountId = AccountId { app: AppId(7), user: UserId(1) };

    fn dialog(number: u8) -> DialogId {
        DialogId(ObjectId([number; 12]))
    }

    #[test]
    fn large_dialogs_stand_in_front_and_the_rest_by_time() {
        let keys = [
            key(ID, Standing::Large, dialog(9)),
            key(ID, Standing::At(u32::MAX), dialog(1)),
            key(ID, Standing::At(200), dialog(1)),
            key(ID, Standing::At(100), dialog(0)),
            key(ID, Standing::At(100), dialog(1)),
            key(ID, Standing::At(0), dialog(0)),
        ];
        assert!(keys.is_sorted());
        let after = reads_after(ID, &Entry { standing: Standing::At(100), dialog: dialog(0) }, 1);
        let crate::row::Read::Scan { range, .. } = &after.0[0] else { panic!("a scan") };
        assert!(keys[3] < range.start && range.start < keys[4]);
    }

    proptest! {
        #[test]
        fn entries_come_back(secs in any::<Option<u32>>(), number in any::<u8>()) {
            let entry = Entry { standing: secs.map_or(Standing::Large, Standing::At), dialog: dialog(number) };
            prop_assert_eq!(super::entry(&key(ID, entry.standing, entry.dialog)), Ok(entry));
        }
    }
}
