//! The apps of the server, and the keys that their clients and their makers hold.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{Answer, Directory, SERVER};
use crate::effect::{Random, Turn};
use crate::jid::user::AppId;
use crate::owner::Owner;
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::time::Timestamp;

/// app → [`AppRecord`]; all of them lie with the directory of [`SERVER`].
pub static APPS: Table = Table::new("apps");
/// account key → app.
pub static ACCOUNT_KEYS: Table = Table::new("account_keys");

/// The most apps that a listing shows.
pub const APPS_LISTED_MAX: usize = 10_000;

const APP_VERSION: u8 = 1;
const ACCOUNT_KEY_VERSION: u8 = 1;

/// 120 random bits each, as 20 characters that need no escaping anywhere.
const KEY_CHARS: usize = 20;

/// What proves that a client belongs to an app.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppKeys {
    /// Sent with each new session; no secret, it ships in every copy of the app.
    pub auth_key: String,
    /// Signs new sessions.
    pub auth_secret: String,
    /// Leads mobile clients to the endpoints.
    pub account_key: String,
}

impl AppKeys {
    /// New keys.
    pub fn draw(random: &mut dyn Random) -> AppKeys {
        AppKeys { auth_key: key_text(random), auth_secret: key_text(random), account_key: key_text(random) }
    }
}

fn key_text(random: &mut dyn Random) -> String {
    // 64 characters, so that six bits of each random byte pick one evenly.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    random.array::<KEY_CHARS>().iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

impl fmt::Debug for AppKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKeys(hidden)")
    }
}

/// An app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Its number, from 1.
    pub id: AppId,
    /// For people.
    pub name: String,
    /// Its keys.
    pub keys: AppKeys,
    /// When it was made.
    pub created_at: Timestamp,
}

impl AppRecord {
    /// Reads a row of [`APPS`].
    pub fn read(value: &[u8]) -> Result<AppRecord, Unreadable> {
        row::decode(APP_VERSION, value)
    }

    /// Whether `auth_key` is the app's, compared in constant time.
    pub fn has_auth_key(&self, auth_key: &str) -> bool {
        self.keys.auth_key.as_bytes().ct_eq(auth_key.as_bytes()).into()
    }
}

/// One app.
pub fn read(app: AppId) -> Reads {
    Reads::get(&APPS, app_key(app))
}

/// All apps, in the order in which they were made.
pub fn read_all() -> Reads {
    Reads::scan(&APPS, Key::of(&Owner::App(SERVER)).all_below(), APPS_LISTED_MAX)
}

/// The app of an account key; [`found_by_account_key`] takes the answer.
pub fn read_by_account_key(account_key: &str) -> Reads {
    Reads::get(&ACCOUNT_KEYS, account_key_key(account_key))
}

/// The app that [`read_by_account_key`] found.
pub fn found_by_account_key(rows: &mut Rows) -> Result<Option<AppId>, Unreadable> {
    rows.decoded(ACCOUNT_KEY_VERSION)
}

fn app_key(app: AppId) -> Key {
    Key::of(&Owner::App(SERVER)).u32(app.0)
}

fn account_key_key(account_key: &str) -> Key {
    Key::of(&Owner::App(SERVER)).text(account_key)
}

/// The app that has these keys already, wherever among all apps it is: apps are made rarely, and there are few.
pub(super) fn plan_create(keys: &AppKeys) -> Reads {
    read_all().and_get(&ACCOUNT_KEYS, account_key_key(&keys.account_key))
}

impl Directory {
    pub(super) fn create_app(
        &mut self,
        turn: &mut Turn<'_>,
        name: String,
        keys: AppKeys,
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let apps = rows.page().iter().map(|(_, row)| AppRecord::read(row)).collect::<Result<Vec<_>, _>>()?;
        if let Some(same) = found_by_account_key(rows)? {
            let app = apps.into_iter().find(|app| app.id == same).ok_or(Unreadable::Malformed)?;
            return Ok(Answer::App(app));
        }
        self.counters.app += 1;
        let app = AppRecord { id: AppId(self.counters.app), name, keys, created_at: turn.now.stamp };
        let mut batch = Batch::default();
        batch.put(&APPS, app_key(app.id), row::encode(APP_VERSION, &app));
        batch.put(&ACCOUNT_KEYS, account_key_key(&app.keys.account_key), row::encode(ACCOUNT_KEY_VERSION, &app.id));
        self.keep_counters(&mut batch);
        turn.out.write(batch);
        Ok(Answer::App(app))
    }
}
