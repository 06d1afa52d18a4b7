use std::collections::BTreeMap;
use std::num::NonZeroU32;

use bytes::Bytes;

use super::account::{self, AccountRow, Card, RecordCommand, Subscription, SubscriptionKind};
use super::directory::{self, AppKeys, Directory, NewSecret, Refusal, SERVER, members, sessions};
use super::jobs::JOBS;
use super::profile::{Field, Name, NameKind};
use crate::command::Command;
use crate::effect::{Effect, Effects, Note, Random, Site, Turn};
use crate::jid::user::{AppId, UserId};
use crate::limits::TOKENS_PER_USER_MAX;
use crate::owner::{AccountId, Owner};
use crate::row::{Batch, Change, Found, Key, Read, Reads, Rows};
use crate::sasl::credentials::{Credentials, TokenDigest, TokenRecord};
use crate::time::{Now, Timestamp};

const APP: AppId = AppId(1);
const ID: AccountId = AccountId { app: APP, user: UserId(1) };
/// The cheapest there is: nothing here depends on the cost.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN;

struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// Rows, and owners that are loaded for one command each.
#[derive(Default)]
struct Shelf {
    rows: BTreeMap<(&'static str, Vec<u8>), Bytes>,
    now: Timestamp,
    drawn: u8,
}

impl Shelf {
    fn read(&self, reads: &Reads) -> Rows {
        let key_of = |table: &'static str, key: &Key| (table, key.as_slice().to_vec());
        let found = reads.0.iter().map(|read| match read {
            Read::Get(table, key) => Found::Row(self.rows.get(&key_of(table.name(), key)).cloned()),
            Read::Scan { table, range, limit, .. } => {
                let rows = self.rows.range(key_of(table.name(), &range.start)..key_of(table.name(), &range.end));
                Found::Page(rows.take(*limit).map(|((_, key), row)| (Key::from_bytes(key), row.clone())).collect())
            }
        });
        Rows::new(found.collect())
    }

    fn commit(&mut self, batch: &Batch) {
        for change in batch.0.iter().cloned() {
            match change {
                Change::Put(table, key, row) => drop(self.rows.insert((table.name(), key.as_slice().to_vec()), row)),
                Change::Delete(table, key) => drop(self.rows.remove(&(table.name(), key.as_slice().to_vec()))),
                Change::DeleteRange(table, range) => self.rows.retain(|(name, key), _| {
                    let key = key.as_slice();
                    *name != table.name() || key < range.start.as_slice() || range.end.as_slice() <= key
                }),
            }
        }
    }

    fn turn<T>(&mut self, apply: impl FnOnce(&mut Turn<'_>) -> T) -> (T, Vec<Effect>) {
        let site = Site::of("localhost");
        let mut random = Counting(self.drawn);
        let mut out = Effects::new();
        let now = Now { stamp: self.now, ..Now::default() };
        let result = apply(&mut Turn { now, site: &site, random: &mut random, out: &mut out });
        self.drawn = random.0;
        for effect in out.as_slice() {
            if let Effect::Write(batch) | Effect::WriteBehind(batch) = effect {
                self.commit(batch);
            }
        }
        let effects = out.drain().collect();
        (result, effects)
    }

    fn directory(&mut self, app: AppId, command: directory::Command) -> (directory::Answer, Vec<Effect>) {
        let mut state = Directory::load(app, self.read(&directory::load_reads(app))).expect("as written");
        let mut rows = self.read(&directory::plan(app, &command));
        let (answer, effects) = self.turn(|turn| state.apply(turn, command, &mut rows));
        (answer.expect("as written"), effects)
    }

    fn account(&mut self, command: RecordCommand) -> (account::Answer, Vec<Effect>) {
        let mut row = self.account_row();
        let mut rows = self.read(&account::plan(ID, &command));
        let (answer, effects) = self.turn(|turn| account::apply(ID, command, &mut rows, &mut row, turn));
        assert_eq!(row, self.account_row(), "what the owner keeps is what is on disk");
        (answer.expect("as written"), effects)
    }

    fn account_row(&self) -> Option<AccountRow> {
        account::load(&mut self.read(&account::load_reads(ID))).expect("as written")
    }

    fn register(&mut self, login: &str) -> (directory::Answer, Vec<Effect>) {
        let fields = vec![Field::Login(Some(login.to_owned()))];
        self.directory(APP, directory::Command::Register { fields, credentials: credentials("first") })
    }
}

fn credentials(password: &str) -> Credentials {
    Credentials::new(password, [7; 16], ROUNDS)
}

fn token(number: usize) -> TokenRecord {
    credentials("first").token_record(&format!("token {number}"))
}

fn card(version: u64) -> Card {
    Card { version, login: Some(format!("login {version}")), full_name: None, created_at: Timestamp::from_secs(1) }
}

fn create() -> RecordCommand {
    RecordCommand::Create { card: card(1), credentials: credentials("first") }
}

/// An account as it is after a sign-up.
fn signed_up() -> Shelf {
    let mut shelf = Shelf { now: Timestamp::from_secs(1_000_000), ..Shelf::default() };
    shelf.register("bob");
    shelf.account(create());
    shelf
}

#[test]
fn every_command_comes_back_from_its_bytes() {
    let digest = TokenDigest::of("token");
    let user = UserId(u64::MAX);
    let fields = vec![
        Field::Login(Some("Bob".to_owned())),
        Field::Email(None),
        Field::ExternalUserId(Some(5)),
        Field::Tags(vec!["a".to_owned()]),
        Field::AgeOver16(Some(false)),
    ];
    let secret = Some(NewSecret { credentials: credentials("new"), replaces: 3 });
    let expires_at = Timestamp::from_millis(u64::MAX);
    let directory = [
        directory::Command::CreateApp { name: "shop".to_owned(), keys: AppKeys::draw(&mut Counting(0)) },
        directory::Command::Register { fields: fields.clone(), credentials: credentials("x") },
        directory::Command::Update { user, fields, secret },
        directory::Command::Remove { user, sessions: vec![digest] },
        directory::Command::Seen { user },
        directory::Command::OpenSession { token: digest, user: None, nonce: -5, timestamp: 9 },
        directory::Command::TouchSession { token: digest, user: Some(user) },
        directory::Command::AssignSession { token: digest, user: Some(user) },
        directory::Command::CloseSessions { tokens: vec![digest, digest] },
        directory::Command::OfferReset { user, code: digest },
        directory::Command::TakeReset { user, code: digest, credentials: credentials("y") },
    ];
    let account = [
        create(),
        RecordCommand::Revise { card: card(2), secret: Some((2, credentials("z"))) },
        RecordCommand::AddToken { record: token(0), expires_at },
        RecordCommand::ExtendToken { digest, expires_at },
        RecordCommand::RemoveToken { digest },
        RecordCommand::Delete,
    ];
    let subscription = Subscription {
        from: "1-1@localhost".to_owned(),
        kind: SubscriptionKind::Unsubscribed,
        stanza: b"<presence/>".to_vec(),
    };
    let all = directory.into_iter().map(Command::from).chain(account.into_iter().map(Command::from));
    let steps = [0, 7].map(|number| Command::Account(account::Command::step(subscription.clone(), number)));
    for command in all.chain(steps) {
        let bytes = postcard::to_allocvec(&command).expect("plain data");
        assert_eq!(postcard::from_bytes::<Command>(&bytes), Ok(command.clone()));
        assert!(postcard::from_bytes::<Command>(&bytes[..bytes.len() - 1]).is_err(), "{command:?}");
    }
}

#[test]
fn commands_show_no_secrets_and_no_names() {
    let keys = AppKeys::draw(&mut Counting(0));
    let command = directory::Command::CreateApp { name: "shop".to_owned(), keys: keys.clone() };
    assert!(!format!("{command:?}").contains(&keys.auth_secret));
    let fields = vec![Field::Email(Some("bob@example.com".to_owned()))];
    let command = directory::Command::Register { fields, credentials: credentials("first") };
    assert!(!format!("{command:?}").contains("example"));
}

#[test]
fn a_sign_up_is_one_write_with_its_job_and_then_the_job() {
    let mut shelf = Shelf::default();
    let (answer, effects) = shelf.register("Bob");
    assert!(matches!(answer, directory::Answer::User(profile) if profile.id == UserId(1)));
    let [Effect::Write(batch), Effect::Send(to, Note::Command { job: Some(job), .. })] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((*to, job.from), (Owner::Account(ID), Owner::App(APP)));
    let tables = batch.0.iter().map(|change| match change {
        Change::Put(table, ..) => table.name(),
        other => panic!("{other:?}"),
    });
    let tables: Vec<_> = tables.collect();
    for table in ["names", "members", "counters", JOBS.name()] {
        assert!(tables.contains(&table), "{table} in {tables:?}");
    }
}

#[test]
fn taken_names_are_all_named_and_nothing_is_written() {
    let mut shelf = signed_up();
    let fields = vec![Field::Login(Some("BOB".to_owned())), Field::Email(Some("free@example.com".to_owned()))];
    let command = directory::Command::Register { fields, credentials: credentials("first") };
    let (answer, effects) = shelf.directory(APP, command);
    assert_eq!(answer, directory::Answer::Refused(Refusal::Taken(vec![NameKind::Login])));
    assert!(effects.is_empty());
    let name = Name::fold(NameKind::Email, "free@example.com").expect("a name");
    assert_eq!(members::found_name(&mut shelf.read(&members::read_name(APP, &name))), Ok(None));
}

#[test]
fn an_app_is_made_once_for_its_keys_and_only_by_the_server() {
    let mut shelf = Shelf::default();
    let keys = AppKeys::draw(&mut Counting(0));
    let command = directory::Command::CreateApp { name: "shop".to_owned(), keys: keys.clone() };
    let (first, _) = shelf.directory(SERVER, command.clone());
    assert!(matches!(&first, directory::Answer::App(app) if app.id == APP && app.keys == keys));
    let (again, effects) = shelf.directory(SERVER, command.clone());
    assert_eq!(again, first);
    assert!(effects.is_empty());
    let wrong = directory::Answer::Refused(Refusal::WrongDirectory);
    assert_eq!(shelf.directory(APP, command).0, wrong);
    assert_eq!(shelf.directory(SERVER, directory::Command::CloseSessions { tokens: Vec::new() }).0, wrong);
}

#[test]
fn a_password_that_was_changed_meanwhile_is_not_replaced() {
    let mut shelf = signed_up();
    let change = |replaces| directory::Command::Update {
        user: ID.user,
        fields: Vec::new(),
        secret: Some(NewSecret { credentials: credentials("new"), replaces }),
    };
    let (answer, _) = shelf.directory(APP, change(account::FIRST_SECRET));
    assert!(matches!(answer, directory::Answer::User(profile) if profile.secret_version == 2));
    let (answer, effects) = shelf.directory(APP, change(account::FIRST_SECRET));
    assert_eq!(answer, directory::Answer::Refused(Refusal::SecretChanged));
    assert!(effects.is_empty());
}

#[test]
fn revisions_arrive_in_any_order_and_any_number() {
    let newer = RecordCommand::Revise { card: card(3), secret: None };
    let older = RecordCommand::Revise { card: card(2), secret: Some((2, credentials("new"))) };
    for order in [[&newer, &older, &older], [&older, &newer, &older], [&older, &older, &newer]] {
        let mut shelf = signed_up();
        for command in order {
            assert_eq!(shelf.account(command.clone()).0, account::Answer::Done);
        }
        let row = shelf.account_row().expect("the account");
        assert_eq!((row.card.version, row.secret_version), (3, 2));
        assert!(row.credentials.verify_password("new"));
        assert_eq!(shelf.account(create()).1.len(), 0, "a late sign-up changes nothing");
    }
}

#[test]
fn a_sign_up_whose_user_is_gone_makes_no_account() {
    let mut shelf = Shelf::default();
    let (answer, effects) = shelf.account(create());
    assert_eq!(answer, account::Answer::NoAccount);
    assert!(effects.is_empty());
}

#[test]
fn the_oldest_token_makes_room_and_its_session_ends() {
    let mut shelf = signed_up();
    let expires_at = sessions::ends_after(shelf.now);
    for number in 0..TOKENS_PER_USER_MAX {
        shelf.now = Timestamp::from_millis(shelf.now.millis() + 1);
        let (_, effects) = shelf.account(RecordCommand::AddToken { record: token(number), expires_at });
        assert_eq!(effects.len(), 1, "a write alone");
    }
    // Again changes nothing but the time it came.
    assert_eq!(shelf.account(RecordCommand::AddToken { record: token(9), expires_at }).1.len(), 1);
    let (_, effects) = shelf.account(RecordCommand::AddToken { record: token(99), expires_at });
    let [Effect::Write(_), Effect::Send(to, Note::Command { command, .. })] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(*to, Owner::App(APP));
    let ended = vec![*token(0).digest()];
    assert_eq!(*command, directory::Command::CloseSessions { tokens: ended }.into());
    let facts = account::login_facts(shelf.now, shelf.read(&account::login_reads(ID)));
    let facts = facts.expect("as written").expect("the account");
    assert_eq!(facts.tokens.len(), TOKENS_PER_USER_MAX);
    assert!(facts.tokens.contains(&token(99)) && !facts.tokens.contains(&token(0)));
}

#[test]
fn tokens_come_newest_first_and_expired_ones_not_at_all() {
    let mut shelf = signed_up();
    let start = shelf.now;
    for number in 0..4 {
        shelf.now = Timestamp::from_millis(start.millis() + number);
        let expires_at = Timestamp::from_millis(start.millis() + if number == 2 { 10 } else { 1000 });
        shelf.account(RecordCommand::AddToken { record: token(number as usize), expires_at });
    }
    let facts =
        account::login_facts(Timestamp::from_millis(start.millis() + 10), shelf.read(&account::login_reads(ID)));
    let tokens = facts.expect("as written").expect("the account").tokens;
    assert!(tokens == [token(3), token(1), token(0)]);
}

#[test]
fn deleting_leaves_no_row_and_ends_every_session() {
    let mut shelf = signed_up();
    let expires_at = sessions::ends_after(shelf.now);
    shelf.account(RecordCommand::AddToken { record: token(1), expires_at });
    let (answer, effects) = shelf.account(RecordCommand::Delete);
    assert_eq!(answer, account::Answer::Done);
    assert!(matches!(&effects[..], [Effect::Write(_), Effect::Send(..)]));
    assert!(!shelf.rows.keys().any(|(table, _)| [account::USERS.name(), account::TOKENS.name()].contains(table)));
    assert_eq!(shelf.account(RecordCommand::Delete).0, account::Answer::NoAccount);
    assert_eq!(shelf.account(RecordCommand::AddToken { record: token(2), expires_at }).0, account::Answer::NoAccount);
}

#[test]
fn rows_of_another_format_are_an_error_and_not_an_absence() {
    let mut shelf = signed_up();
    for row in shelf.rows.values_mut() {
        *row = Bytes::from_static(&[200, 1]);
    }
    assert!(account::load(&mut shelf.read(&account::load_reads(ID))).is_err());
    assert!(Directory::load(APP, shelf.read(&directory::load_reads(APP))).is_err());
    assert!(account::login_facts(shelf.now, shelf.read(&account::login_reads(ID))).is_err());
}
