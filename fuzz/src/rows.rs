//! Stored rows of any content: reading one never panics, and what is read can be written and read again.

use std::fmt::Debug;
use std::ops::Not;

use bytes::Bytes;
use proto::account::Account;
use proto::account::offline::{OFFLINE, Queue};
use proto::account::roster::{Item, ROSTER, Roster};
use proto::account::seen::{LASTS, LastSeen};
use proto::ext::fast;
use proto::jid::{AppId, UserId};
use proto::model::account::{self, AccountRow, TOKENS, TokenRow, USERS};
use proto::model::dialog::{self, MessageRow, Reader, Receipt};
use proto::model::directory::{self, Directory, apps, members, sessions};
use proto::model::jobs;
use proto::model::profile::Profile;
use proto::model::upload::{Label, Upload};
use proto::owner::AccountId;
use proto::row::{self, Found, Key, Read, Reads, Rows, Table, Unreadable};
use proto::sasl::{ClientId, TokenDigest};
use proto::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

const ID: AccountId = AccountId { app: AppId(92), user: UserId(55) };

/// The first byte chooses the table, the second is how long a key is below its owner; then the key, then the row.
pub fn run(data: &[u8]) {
    let &[table, key_bytes, ref rest @ ..] = data else { return };
    let (below, value) = rest.split_at(usize::from(key_bytes).min(rest.len()));
    let row = Bytes::copy_from_slice(value);
    match table % 16 {
        0 => written_again(value, AccountRow::read, |row| vec![row.card.created_at]),
        1 => written_again(value, row_of::<TokenRow>, |row| vec![row.created_at, row.expires_at]),
        2 => written_again(value, Profile::read, |row| vec![row.created_at, row.updated_at]),
        3 => written_again(value, apps::AppRecord::read, |row| vec![row.created_at]),
        4 => written_again(value, sessions::SessionRow::read, |row| {
            vec![row.created_at, row.touched_at, sessions::ends_after(row.touched_at)]
        }),
        5 => {
            written_again(value, jobs::read, |_| Vec::new());
            written_again(value, row_of::<Upload>, |row| {
                let now = Timestamp::from_secs(0);
                let _ = (row.is_open(now), row.is_over(now));
                vec![row.given, row.day_until()].into_iter().chain(row.until).chain(row.counts_until()).collect()
            });
            written_again(value, Label::decode, |label| label.until.into_iter().collect());
        }
        6 => written_again(value, row_of::<Item>, |_| Vec::new()),
        7 => written_again(value, row_of::<LastSeen>, |row| vec![row.at]),
        8 => {
            let reads = directory::load_reads(ID.app);
            let _ = Directory::load(ID.app, answered(&reads, &directory::COUNTERS, &[], &row));
        }
        9 => {
            let digest = TokenDigest::of("");
            let one = || Rows::new(vec![Found::Row(Some(row.clone()))]);
            let _ = members::found_name(&mut one());
            let _ = members::is_offered(&mut one(), &digest, Timestamp::from_secs(0));
            let _ = apps::found_by_account_key(&mut one());
        }
        10 => {
            let client = ClientId::unnamed([0; 16]);
            let reads = fast::login_reads(ID, client);
            let kept = fast::login_tokens(Timestamp::from_secs(0), Rows::new(vec![Found::Row(Some(row.clone()))]));
            assert!(reads.0.len() == 1 && kept.is_ok_and(|kept| kept.len() > 2).not(), "two tokens at most");
            let reads = account::login_reads(ID);
            for table in [&USERS, &TOKENS] {
                let _ = account::login_facts(Timestamp::from_secs(0), answered(&reads, table, below, &row));
            }
        }
        11 => loads_account(below, &row),
        12 => written_again(value, MessageRow::decode, |row| {
            let _ = row.content();
            vec![row.created_at, row.updated_at]
        }),
        13 => written_again(value, Receipt::decode, |row| vec![row.at]),
        14 => written_again(value, Reader::decode, |row| vec![row.at]),
        _ => loads_dialog(below, &row),
    }
}

/// As the modules read their tables, whose first format is 1.
fn row_of<T: DeserializeOwned>(value: &[u8]) -> Result<T, Unreadable> {
    row::decode(1, value)
}

fn written_again<T: Serialize + Debug>(
    value: &[u8],
    read: impl Fn(&[u8]) -> Result<T, Unreadable>,
    stamps: impl Fn(&T) -> Vec<Timestamp>,
) {
    let Ok(row) = read(value) else { return };
    // Values cannot be compared: some hold NaN.
    let written = row::encode(value[0], &row);
    assert_eq!(read(&written).map(|row| row::encode(value[0], &row)).as_ref(), Ok(&written));
    // Everything can be shown to people, and to the log.
    let _ = format!("{row:?}");
    for stamp in stamps(&row) {
        let _ = (stamp.iso().to_string(), stamp.iso_millis().to_string(), stamp.header());
    }
}

/// An account with one odd row in one of its tables.
fn loads_account(below: &[u8], row: &Bytes) {
    let reads = Account::load_reads(ID);
    for table in [&USERS, &ROSTER, &OFFLINE, &LASTS] {
        if let Ok(account) = Account::load(ID, "localhost", answered(&reads, table, below, row)) {
            let _ = (account.exists(), account.roster().version(), account.seen());
        }
    }
    let _ = Roster::load(ID, &mut answered(&Roster::reads(ID), &ROSTER, below, row));
    let _ = Queue::load(&mut answered(&Queue::reads(ID), &OFFLINE, below, row));
}

/// A dialog whose rows are all the same odd one, and keys of its tables.
fn loads_dialog(below: &[u8], row: &Bytes) {
    let found = || Found::Row(Some(row.clone()));
    if let Ok(Some((record, head))) = dialog::load(&mut Rows::new(vec![found(), Found::Row(None)])) {
        let _ = (record.has(ID.user), record.other(ID.user), head.at(), format!("{record:?}"));
    }
    let _ = dialog::load(&mut Rows::new(vec![Found::Row(None), found()]));
    let _ = dialog::found_dirty(&mut Rows::new(vec![found()]));
    let _ = dialog::found_place(&mut Rows::new(vec![found()]));
    let key = Key::from_bytes(below);
    let _ = (dialog::order_of(&key), dialog::mark_of(&key), dialog::reader_of(&key));
}

/// The answers of a store that has one row, in one table.
fn answered(reads: &Reads, with: &Table, below: &[u8], row: &Bytes) -> Rows {
    let found = reads.0.iter().map(|read| match read {
        Read::Get(table, _) => Found::Row((*table == with).then(|| row.clone())),
        Read::Scan { table, range, .. } if *table == with => {
            let key = Key::from_bytes(range.start.as_slice()).bytes(below);
            Found::Page(vec![(key, row.clone())])
        }
        Read::Scan { .. } => Found::Page(Vec::new()),
    });
    Rows::new(found.collect())
}
