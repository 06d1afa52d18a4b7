//! Who owns what: accounts, dialogs, app directories and components, and the partition each of them lives in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::jid::user::{AppId, DialogId, UserId};

/// How many partitions there are; a partition is the unit that is placed on a shard (and, later, on a machine).
pub const PARTITIONS: u16 = 4096;

/// One of [`PARTITIONS`] slices of all owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    /// The partition with this number.
    ///
    /// # Panics
    /// When the number is not below [`PARTITIONS`].
    pub const fn new(number: u16) -> Partition {
        assert!(number < PARTITIONS, "a partition number is below PARTITIONS");
        Partition(number)
    }

    /// Its number, below [`PARTITIONS`].
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// An account of one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountId {
    /// The app it belongs to.
    pub app: AppId,
    /// The user within the app.
    pub user: UserId,
}

impl fmt::Display for AccountId {
    /// The localpart of the account's JID: `USERID-APPID`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.user, self.app)
    }
}

/// A component, by its domain: the same on every shard and in every run, whatever else is configured. XEP-0114
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ComponentId(u64);

impl ComponentId {
    /// The component with this domain, which is in normal form.
    pub fn of(domain: &str) -> ComponentId {
        ComponentId(Fnv::new().bytes(domain.as_bytes()).mixed())
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Whoever alone may change a piece of state and its rows. Stored jobs name owners: new kinds come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// Settings, unique names and lists of one app.
    App(AppId),
    /// One user of one app.
    Account(AccountId),
    /// One conversation of one app.
    Dialog(AppId, DialogId),
    /// A component, which has no rows: all there is of it is who is connected.
    Component(ComponentId),
}

impl Owner {
    /// The partition this owner lives in; the same on every machine and in every release.
    ///
    /// A dialog's id holds its partition, so that whoever makes the id decides where the dialog lives: a private one with one of
    /// its two users.
    pub fn partition(&self) -> Partition {
        let mut hash = Fnv::new();
        match self {
            Owner::App(app) => hash.byte(1).bytes(&app.0.to_be_bytes()),
            Owner::Account(id) => hash.byte(2).bytes(&id.app.0.to_be_bytes()).bytes(&id.user.0.to_be_bytes()),
            Owner::Dialog(_, dialog) => {
                let [.., high, low] = *dialog.as_bytes();
                return Partition(u16::from_be_bytes([high, low]) % PARTITIONS);
            }
            Owner::Component(id) => hash.byte(3).bytes(&id.0.to_be_bytes()),
        };
        Partition((hash.mixed() % u64::from(PARTITIONS)) as u16)
    }
}

/// FNV-1a with a final mix: rows on disk depend on it, so it is written here and must never change.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn byte(&mut self, byte: u8) -> &mut Fnv {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Fnv {
        for &byte in bytes {
            self.byte(byte);
        }
        self
    }

    fn mixed(&self) -> u64 {
        let mut x = self.0;
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^ (x >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user: u64) -> Owner {
        Owner::Account(AccountId { app: AppId(7), user: UserId(user) })
    }

    #[test]
    fn placement_never_changes() {
        // Rows on disk begin with these numbers.
        assert_eq!(Owner::App(AppId(1)).partition().number(), 248);
        assert_eq!(account(1).partition().number(), 2102);
    }

    #[test]
    fn owners_in_stored_jobs_stay_who_they_were() {
        let dialog = DialogId::parse(b"53aaa06f535c12cea9007496").expect("an id");
        let component = Owner::Component(ComponentId::of("echo.localhost"));
        for (owner, kind) in
            [(Owner::App(AppId(1)), 0), (account(1), 1), (Owner::Dialog(AppId(1), dialog), 2), (component, 3)]
        {
            assert_eq!(postcard::to_allocvec(&owner).expect("an owner is a few bytes")[0], kind, "{owner:?}");
        }
    }

    #[test]
    fn accounts_spread_evenly() {
        let mut counts = vec![0u32; usize::from(PARTITIONS)];
        for user in 0..409_600 {
            counts[usize::from(account(user).partition().number())] += 1;
        }
        assert!(counts.iter().all(|&n| (50..160).contains(&n)), "about 100 each");
    }
}
