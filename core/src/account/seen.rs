//! When a user was last here, for XEP-0012.

use serde::{Deserialize, Serialize};

use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::time::Timestamp;

/// account → [`LastSeen`].
pub static LASTS: Table = Table::new("lasts");

const VERSION: u8 = 1;

/// The end of the user's last presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    /// When the last resource went.
    pub at: Timestamp,
    /// What it said as it went. RFC 6121 §4.7.2.2.
    pub status: Option<String>,
}

impl LastSeen {
    /// The row it is in.
    pub fn reads(id: AccountId) -> Reads {
        Reads::get(&LASTS, key(id))
    }

    /// Takes the answer to [`LastSeen::reads`].
    pub fn load(rows: &mut Rows) -> Result<Option<LastSeen>, Unreadable> {
        rows.decoded(VERSION)
    }

    /// Adds the row to a batch.
    pub fn keep(&self, id: AccountId, batch: &mut Batch) {
        batch.put(&LASTS, key(id), row::encode(VERSION, self));
    }
}

fn key(id: AccountId) -> Key {
    Key::of(&Owner::Account(id))
}
